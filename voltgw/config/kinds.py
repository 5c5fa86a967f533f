"""Every kind of object that is known, whether or not it is acted on, and where its declaration stands.

A new kind is one file below ``objects/`` and the name of its class here. Declarations are imported when the first object of
their kind is read, since a small file should not pay for forty of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from voltgw.config.reader import State
from voltgw.config.schema import Plan, plan_of


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `spec` names the class of its declaration, "" as long as there is none (its spec is kept as plain data)."""

    name: str
    doc: str
    spec: str = ""
    homes: tuple[str, ...] = ()     # namespaces in which it lives beside the referrer's: "shared", "system"
    state: State = State.WARNS      # of the kind as a whole
    view: bool = False              # whether it stands for others
    lowers: bool = False            # whether those others are made from it, by a module of `voltgw.config.lowering`

    @property
    def plural(self) -> str:
        """The API's plural: an s, blindly (objects.md 1.5)."""
        return f"{self.name}s"

    def plan(self) -> Plan | None:
        """Its declaration, prepared for reading; None if there is none yet."""
        if not self.spec:
            return None
        module, _, cls = self.spec.partition(":")
        return plan_of(getattr(importlib.import_module(f"voltgw.config.objects.{module}"), cls))


    def lowering(self) -> Callable[..., list[Any]] | None:
        """What makes the objects that a view stands for; None when nothing does."""
        if not self.lowers:
            return None
        lower: Callable[..., list[Any]] = importlib.import_module(f"voltgw.config.lowering.{self.name}").lower
        return lower


def _table(*kinds: Kind) -> Mapping[str, Kind]:
    return {kind.name: kind for kind in kinds}


_ACTS: Final = State.ACTS
_SYSTEM: Final = ("system",)
_SHARED: Final = ("shared",)

KINDS: Final = _table(
    Kind("virtual_host", "A set of names served by one proxy.", "virtual_host:VirtualHostSpec", state=_ACTS),
    Kind("route", "An ordered list of rules.", "route:RouteSpec", state=_ACTS),
    Kind("cluster", "Endpoints that serve the same thing.", "cluster:ClusterSpec", _SHARED, _ACTS),  # of shared pools
    Kind("endpoint", "Where servers of one service are found.", "endpoint:EndpointSpec", state=_ACTS),
    Kind("advertise_policy", "Where a virtual host is offered.", "advertise_policy:AdvertisePolicySpec", state=_ACTS),
    Kind("healthcheck", "How endpoints are probed.", "healthcheck:HealthcheckSpec", state=_ACTS),
    Kind("rollout", "A canary that ramps itself (voltgw's own kind).", "rollout:RolloutSpec", state=_ACTS),
    Kind("site", "One place with one gateway.", "site:SiteSpec", _SYSTEM, _ACTS),
    # -- known, not acted on yet --------------------------------------------------------------------------------------
    Kind("virtual_site", "Sites selected by their labels.", "virtual_site:VirtualSiteSpec", _SHARED, _ACTS),
    Kind("virtual_network", "An isolated network, on one site or on many.",
         "virtual_network:VirtualNetworkSpec", ("shared", "system"), _ACTS),
    Kind("network_interface", "An interface of a node.", "network_interface:NetworkInterfaceSpec", homes=_SYSTEM),
    Kind("network_connector", "How two networks of a site are joined.",
         "network_connector:NetworkConnectorSpec", _SYSTEM, _ACTS),
    Kind("network_firewall", "Policies of a site's networks.", "network_firewall:NetworkFirewallSpec", _SYSTEM, _ACTS),
    Kind("network_policy", "Which connections may pass.", "network_policy:NetworkPolicySpec", homes=_SYSTEM),
    Kind("network_policy_view", "Which connections may pass (the view).",
         "network_policy:NetworkPolicyViewSpec", homes=_SYSTEM, view=True),
    Kind("network_policy_rule", "One rule of a network policy.", "network_policy:NetworkPolicyRuleSpec", homes=_SYSTEM),
    Kind("network_policy_set", "The network policies of a namespace, in order.", homes=_SYSTEM, state=State.REFUSES),
    Kind("forward_proxy_policy", "Where a forward proxy may go.",
         "forward_proxy_policy:ForwardProxyPolicySpec", _SYSTEM, _ACTS, view=True),
    Kind("fast_acl", "Packets that are dropped early.", homes=_SYSTEM),
    Kind("enhanced_firewall_policy", "Which connections may pass (newer).", homes=_SHARED),
    Kind("fleet", "Settings of many sites.", "fleet:FleetSpec", _SYSTEM, _ACTS),
    Kind("usb_policy", "Which USB devices may be used.", homes=_SYSTEM),
    Kind("log_receiver", "Where logs are sent.", homes=_SYSTEM),
    Kind("dc_cluster_group", "Sites that are joined without a gateway between them.", homes=_SYSTEM),
    Kind("segment", "A part of a network that spans sites.", homes=_SYSTEM),
    Kind("virtual_k8s", "A Kubernetes cluster that spans sites."),
    Kind("discovery", "A registry in which services are found and published.",
         "discovery:DiscoverySpec", _SYSTEM, _ACTS),
    Kind("service_policy", "Which requests may pass.", "service_policy:ServicePolicySpec", homes=_SHARED, state=State.ACTS),
    Kind("service_policy_rule", "One rule of a service policy.",
         "service_policy_rule:ServicePolicyRuleSpec", homes=_SHARED, state=State.ACTS),
    Kind("service_policy_set", "The service policies of a namespace, in order.",
         "service_policy_set:ServicePolicySetSpec", state=State.ACTS),
    Kind("rate_limiter", "How many requests a user may send.", "rate_limiter:RateLimiterSpec", homes=_SHARED, state=_ACTS),
    Kind("user_identification", "What tells users apart.", "user_identification:UserIdentificationSpec", homes=_SHARED,
         state=_ACTS),
    Kind("malicious_user_mitigation", "What is done about users who attack.",
         "malicious_user_mitigation:MaliciousUserMitigationSpec", homes=_SHARED),
    Kind("authentication", "How users log in.", "authentication:AuthenticationSpec", homes=_SHARED),
    Kind("app_firewall", "A web application firewall.", "app_firewall:AppFirewallSpec", homes=_SHARED),
    Kind("waf", "A web application firewall (2020).", "waf:WafSpec", homes=_SHARED),
    Kind("waf_rules", "Core rules of a web application firewall (2020).", "waf:WafRulesSpec", homes=_SHARED),
    Kind("waf_rule_list", "Names of core rules (2020).", "waf:WafRuleListSpec", homes=_SHARED),
    Kind("waf_exclusion_policy", "What a web application firewall lets pass.", homes=_SHARED),
    Kind("app_type", "Virtual hosts that make one application.", "app_type:AppTypeSpec", homes=_SHARED),
    Kind("app_setting", "What is learnt about the applications of a namespace.", "app_setting:AppSettingSpec"),
    Kind("api_definition", "An API against which requests are validated.", homes=_SHARED),
    Kind("sensitive_data_policy", "What API discovery calls sensitive.", homes=_SHARED),
    Kind("certificate", "A certificate with its key.", "certificate:CertificateSpec", homes=_SHARED, state=_ACTS),
    Kind("certificate_chain", "Intermediate certificates.", homes=_SHARED),
    Kind("trusted_ca_list", "Certificates that are trusted.", "trusted_ca_list:TrustedCaListSpec", homes=_SHARED, state=_ACTS),
    Kind("crl", "Certificates that are revoked.", "crl:CrlSpec", homes=_SHARED, state=_ACTS),
    Kind("secret_management_access", "How a store of secrets is reached.",
         "secret_management_access:SecretManagementAccessSpec", homes=("shared", "system")),
    Kind("ip_prefix_set", "Addresses under one name.", "ip_prefix_set:IpPrefixSetSpec", homes=_SHARED, state=State.ACTS),
    Kind("bgp_asn_set", "Autonomous systems under one name.", "bgp_asn_set:BgpAsnSetSpec", homes=_SHARED),
    Kind("geo_location_set", "Countries under one name.", homes=_SHARED),
    Kind("public_ip", "An address on the public internet.", homes=("shared", "system")),
    Kind("address_allocator", "Addresses that are given out.", homes=_SYSTEM),
    Kind("bgp", "BGP of a site.", homes=_SYSTEM),
    Kind("tunnel", "A tunnel to another network.", homes=_SYSTEM),
    Kind("known_label", "A label that is offered for use.", "known_label:KnownLabelSpec", homes=_SHARED),
    Kind("known_label_key", "A label key that is offered for use.", "known_label:KnownLabelKeySpec", homes=_SHARED),
    Kind("namespace", "A namespace.", homes=_SYSTEM),
    Kind("dns_zone", "A DNS zone.", "dns_zone:DnsZoneSpec", homes=_SYSTEM),
    Kind("dns_load_balancer", "DNS answers by client, health and score.",
         "dns_load_balancer:DnsLoadBalancerSpec", homes=_SYSTEM),
    Kind("dns_lb_pool", "Addresses that a DNS load balancer answers with.", "dns_lb_pool:DnsLbPoolSpec", homes=_SYSTEM),
    Kind("dns_lb_health_check", "How such addresses are probed.",
         "dns_lb_health_check:DnsLbHealthCheckSpec", homes=_SYSTEM),
    Kind("http_loadbalancer", "An HTTP load balancer (view).",
         "http_loadbalancer:HttpLoadbalancerSpec", state=_ACTS, view=True, lowers=True),
    Kind("tcp_loadbalancer", "A TCP load balancer (view).",
         "tcp_loadbalancer:TcpLoadbalancerSpec", state=_ACTS, view=True, lowers=True),
    Kind("udp_loadbalancer", "A UDP load balancer (view).",
         "udp_loadbalancer:UdpLoadbalancerSpec", state=_ACTS, view=True, lowers=True),
    Kind("origin_pool", "Origin servers (view).", "origin_pool:OriginPoolSpec", _SHARED, _ACTS, view=True, lowers=True),
)

#: Every spelling of every kind: the name, the API's plural, and the plural that a person writes as a folder's name.
_BY_SPELLING: Final = {
    spelling: kind
    for kind in KINDS.values()
    for spelling in (kind.name, kind.plural, f"{kind.name[:-1]}ies" if kind.name.endswith("y") else kind.plural,
                     f"ves.io.schema.{kind.name}.Object", f"ves.io.schema.views.{kind.name}.Object")
}


def kind_of(spelling: str) -> Kind | None:
    """The kind that a word (``route``, ``routes``, ``advertise-policies``) names, or None."""
    return _BY_SPELLING.get(spelling) or _BY_SPELLING.get(spelling.replace("-", "_").lower())


def plan_named(kind: str) -> Plan | None:
    """The declaration of a kind by its name; None when it is unknown or has none yet."""
    known = KINDS.get(kind)
    return known.plan() if known is not None else None


def spec_class(kind: str) -> type[Any] | None:
    """The class of a kind's spec; None as long as it is kept as plain data."""
    plan = plan_named(kind)
    return plan.cls if plan is not None else None
