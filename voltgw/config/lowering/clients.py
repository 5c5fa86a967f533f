"""What an http_loadbalancer says of its clients: a rate_limiter, and a service policy of those that are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

from voltgw.config.lowering.making import Maker, Part
from voltgw.config.model import Path
from voltgw.config.objects.extensions import HostExtension
from voltgw.config.objects.http_loadbalancer import HttpLoadbalancerSpec
from voltgw.config.objects.ip_prefix_set import IpPrefixSetSpec
from voltgw.config.objects.parts import AsnMatchList, MessageMetaType, PrefixMatchList
from voltgw.config.objects.rate_limiter import RateLimiterSpec
from voltgw.config.objects.service_policy import RuleList, ServicePolicyListedRule, ServicePolicySpec
from voltgw.config.objects.service_policy_rule import RuleAction, ServicePolicyRuleSpec
from voltgw.config.objects.view_clients import DDoSMitigationRule, SimpleClientSrcRule
from voltgw.config.objects.virtual_host import VirtualHostSpec


def rate_limit(make: Maker[HttpLoadbalancerSpec], host: Part[VirtualHostSpec]) -> None:
    """``rate_limit``: a limiter, and whom it does not count."""
    said = make.spec.rate_limit
    if said is None:
        return
    path: Path = ("rate_limit",)
    limiter = Part(RateLimiterSpec, path)
    limiter.set("limits", (said.rate_limiter,), (*path, "rate_limiter"))
    limiter.ways["limits", 0] = (*path, "rate_limiter")
    host.set("rate_limiter", (make.add("rate_limiter", make.name(), limiter),), path)
    if said.custom_ip_allowed_list is not None:
        host.set("rate_limiter_allowed_prefixes", said.custom_ip_allowed_list.rate_limiter_allowed_prefixes,
                 (*path, "custom_ip_allowed_list", "rate_limiter_allowed_prefixes"))
    elif said.ip_allowed_list is not None:
        listed = (*path, "ip_allowed_list")
        prefixes = Part(IpPrefixSetSpec, listed)
        prefixes.set("prefix", (*said.ip_allowed_list.prefixes, *said.ip_allowed_list.ipv6_prefixes), listed)
        host.set("rate_limiter_allowed_prefixes", (make.add("ip_prefix_set", make.name(), prefixes),), listed)


def refused(make: Maker[HttpLoadbalancerSpec], host: Part[VirtualHostSpec]) -> None:
    """``blocked_clients`` and ``ddos_mitigation_rules``: a policy that is asked before all others."""
    spec = make.spec
    rules: list[Part[Any]] = []
    for number, client in enumerate(spec.blocked_clients):
        rules.append(_listed(f"blocked-client-{number}", client, _blocked(client), ("blocked_clients", number)))
    for number, attacker in enumerate(spec.ddos_mitigation_rules):
        rules.append(_listed(f"ddos-rule-{number}", attacker, _attacker(attacker), ("ddos_mitigation_rules", number)))
    if not rules:
        return
    source: Path = ("blocked_clients",) if spec.blocked_clients else ("ddos_mitigation_rules",)
    listed = Part(RuleList, source)
    listed.put_all("rules", rules)
    policy = Part(ServicePolicySpec, source)
    policy.put("rule_list", listed)
    ref = make.add("service_policy", make.name("blocked"), policy)
    extension = spec.voltgw or HostExtension()
    host.set("voltgw", dataclasses.replace(extension, blocking_policies=(ref, *extension.blocking_policies)),
             ("voltgw",) if spec.voltgw is not None else source)
    host.ways["voltgw", "blocking_policies"] = source


def _listed(
    name: str, said: SimpleClientSrcRule | DDoSMitigationRule, conditions: dict[str, Any], path: Path,
) -> Part[ServicePolicyListedRule]:
    rule = Part(ServicePolicyRuleSpec, path)
    rule.set("action", RuleAction.DENY, path)
    rule.set("expiration_timestamp", said.expiration_timestamp, (*path, "expiration_timestamp"))
    for key, value in conditions.items():
        rule.set(key, value, path)
    made = Part(ServicePolicyListedRule, path)
    metadata = said.metadata
    made.set("metadata", metadata if metadata is not None else MessageMetaType(name=name), (*path, "metadata"))
    made.put("spec", rule)
    return made


def _blocked(client: SimpleClientSrcRule) -> dict[str, Any]:
    prefix = client.ip_prefix if client.ip_prefix is not None else client.ipv6_prefix
    if prefix is not None:
        return {"ip_prefix_list": PrefixMatchList(ip_prefixes=(prefix,))}
    if client.as_number is not None:
        return {"asn_list": AsnMatchList(as_numbers=(client.as_number,))}
    if client.http_header is not None:
        return {"headers": client.http_header.headers}
    return {"ip_prefix_list": PrefixMatchList()}        # nobody: an entry that names no client refuses none


def _attacker(attacker: DDoSMitigationRule) -> dict[str, Any]:
    if attacker.ip_prefix_list is not None:
        return {"ip_prefix_list": attacker.ip_prefix_list}
    source = attacker.ddos_client_source
    if source is None:
        return {"ip_prefix_list": PrefixMatchList()}
    conditions: dict[str, Any] = {}
    if source.asn_list is not None:
        conditions["asn_list"] = source.asn_list
    if source.tls_fingerprint_matcher is not None:
        conditions["tls_fingerprint_matcher"] = source.tls_fingerprint_matcher
    if source.ja4_tls_fingerprint_matcher is not None:
        conditions["ja4_tls_fingerprint"] = source.ja4_tls_fingerprint_matcher
    return conditions
