"""service_policy: which requests to some virtual hosts may pass (objects.md 13.1, 13.2)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import IPV4_PREFIX, IPV6_PREFIX
from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.matchers import MatcherTypeBasic, fingerprint_classes, fingerprints
from voltgw.config.objects.parts import AsnMatchList, MessageMetaType, PolicyPortMatcherType
from voltgw.config.objects.service_policy_rule import ServicePolicyRuleSpec
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Flag, Presence, Text
from voltgw.config.values import Ref


class RuleCombiningAlgorithm(Enum):
    """Which rule of a policy decides."""

    FIRST_MATCH = "FIRST_MATCH"
    DENY_OVERRIDES = "DENY_OVERRIDES"
    ALLOW_OVERRIDES = "ALLOW_OVERRIDES"


@message
class PolicyExtension:
    """What voltgw adds to a service policy."""

    SINCE: ClassVar = "voltgw"

    report_only: bool = field(
        Flag(), "Its verdicts are counted, logged and explained, and change nothing: it takes no part in what becomes of a "
        "request.")


@message
class PolicyPrefixList:
    """Clients by address."""

    SINCE: ClassVar = "+2020-11"

    prefixes: tuple[str, ...] = field(ListOf(Text(IPV4_PREFIX)), "IPv4 prefixes.")
    ipv6_prefixes: tuple[str, ...] = field(ListOf(Text(IPV6_PREFIX)), "IPv6 prefixes.", since="†")


@message
class SourceList:
    """Clients: one condition that holds is enough."""

    SINCE: ClassVar = "+2020-11"

    prefix_list: PolicyPrefixList | None = field(Nested(PolicyPrefixList), "By address.")
    ip_prefix_set: tuple[Ref, ...] = field(refs("ip_prefix_set", most=4), "By address, in sets.")
    asn_list: AsnMatchList | None = field(Nested(AsnMatchList), "By autonomous system, by `gateway.geo`.")
    asn_set: tuple[Ref, ...] = field(refs("bgp_asn_set"), "By autonomous system, in sets.")
    country_list: tuple[str, ...] = field(
        ListOf(Text(least=1)), "By country, by `gateway.geo`; COUNTRY_NONE: it is not known.", example="[COUNTRY_FR]")
    tls_fingerprint_classes: tuple[str, ...] = field(
        fingerprint_classes(), "By what their TLS fingerprint is known for.", state=REFUSES)
    tls_fingerprint_values: tuple[str, ...] = field(fingerprints(), "By TLS fingerprint (JA3).")
    default_action_next_policy: bool = field(
        Presence(), "The rest: the next policy decides.", group="default_action_choice")
    default_action_deny: bool = field(Presence(), "The rest is refused.", group="default_action_choice")
    default_action_allow: bool = field(Presence(), "The rest is let through.", group="default_action_choice")


@message
class ServicePolicyListedRule:
    """A rule that stands in its policy."""

    SINCE: ClassVar = "+2020-11"

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.")
    spec: ServicePolicyRuleSpec | None = field(Nested(ServicePolicyRuleSpec), "What it says.")


@message
class RuleList:
    """Rules that stand in their policy, in order."""

    SINCE: ClassVar = "+2020-11"

    rules_: tuple[ServicePolicyListedRule, ...] = field(ListOf(Nested(ServicePolicyListedRule)), "The rules.")


@message
class LegacyRuleList:
    """Rules by reference, in order."""

    SINCE: ClassVar = "+2020-12†"

    rules_: tuple[Ref, ...] = field(refs("service_policy_rule"), "The rules.")


@message
class ServicePolicySpec:
    """Which requests to some virtual hosts may pass."""

    algo: RuleCombiningAlgorithm = field(Choice(RuleCombiningAlgorithm), "Which rule decides.", since="2020†")
    any_server: bool = field(Presence(), "To every virtual host.", group="server_choice", absent="this")
    server_name: str | None = field(
        Text(most=256), "To this Host or virtual host.", group="server_choice")
    server_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "To virtual hosts with such labels.", group="server_choice")
    server_name_matcher: MatcherTypeBasic | None = field(
        Nested(MatcherTypeBasic), "To such Hosts or virtual hosts.", group="server_choice")
    port_matcher: PolicyPortMatcherType | None = field(
        Nested(PolicyPortMatcherType), "To these ports.", since="2020†")
    allow_list: SourceList | None = field(
        Nested(SourceList), "From clients in this list.", since="+2020-11", group="rule_choice")
    deny_list: SourceList | None = field(
        Nested(SourceList), "Not from clients in this list.", since="+2020-11", group="rule_choice")
    rule_list: RuleList | None = field(
        Nested(RuleList), "As these rules say.", since="+2020-11", group="rule_choice")
    legacy_rule_list: LegacyRuleList | None = field(
        Nested(LegacyRuleList), "As these rules say.", since="+2020-12†", group="rule_choice")
    allow_all_requests: bool = field(Presence(), "All of them.", since="+2021-02", group="rule_choice")
    deny_all_requests: bool = field(Presence(), "None of them.", since="+2021-02", group="rule_choice")
    internally_generated: bool = field(
        Presence(), "Made by the vendor's system.", since="+2021-01†", group="rule_choice", state=REFUSES,
        internal=True)
    rules_: tuple[Ref, ...] = field(
        refs("service_policy_rule", most=256), "As these rules say (2020).", since="2020→2020-12")
    voltgw: PolicyExtension | None = field(Nested(PolicyExtension), "What voltgw adds to it.", since="voltgw")
