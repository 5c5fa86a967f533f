"""network_policy, its view and its rules: which connections may pass (objects.md 12.9)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import OBJECT_NAME, PREFIX
from voltgw.config.names import Reference
from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.parts import LabelMatcherType, MessageMetaType, PrefixStringListType
from voltgw.config.ranges import Between
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Presence, Text
from voltgw.config.values import Range, Ref

APPLICATIONS = ("APPLICATION_HTTP", "APPLICATION_HTTPS", "APPLICATION_SNMP", "APPLICATION_DNS")


class NetworkPolicyAction(Enum):
    """What becomes of a connection that matches."""

    DENY = "DENY"
    ALLOW = "ALLOW"


class LogAction(Enum):
    """Whether a match is logged."""

    NOLOG = "NOLOG"
    LOG = "LOG"


@message
class NetworkPolicyPrefix:
    """Addresses by their prefixes (2020)."""

    prefix: tuple[str, ...] = field(ListOf(Text(PREFIX)), "Prefixes.")


@message
class NetworkPolicyPrefixSetRef:
    """Addresses by a set of prefixes."""

    SINCE: ClassVar = ""

    ref: tuple[Ref, ...] = field(refs("ip_prefix_set"), "The set.")


@message
class NetworkPolicyApplications:
    """Connections by the application that is known to use their port."""

    SINCE: ClassVar = ""

    applications: tuple[str, ...] = field(ListOf(Text(one_of=APPLICATIONS)), "The applications.")


@message
class ProtocolPortType:
    """Connections by protocol and port."""

    SINCE: ClassVar = ""

    protocol: str | None = field(Text(), "tcp, udp or icmp.")
    port_ranges: tuple[Range, ...] = field(ListOf(Between(0, 65535, "a port or a range of them")), "Ports.")


@message
class NetworkPolicyAdvAction:
    """What else is done about a match."""

    SINCE: ClassVar = ""

    action: LogAction = field(Choice(LogAction), "Whether it is logged.")


@message
class NetworkPolicyEndpoint:
    """The near end: whom the policy is about."""

    SINCE: ClassVar = ""

    any: bool = field(Presence(), "Everybody.", group="endpoint_choice")
    inside_endpoints: bool = field(Presence(), "Whoever is behind inside interfaces.", group="endpoint_choice")
    outside_endpoints: bool = field(Presence(), "Whoever is behind outside interfaces.", group="endpoint_choice")
    prefix_list: PrefixStringListType | None = field(
        Nested(PrefixStringListType), "Some addresses.", group="endpoint_choice")
    label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "Whoever has such labels.", group="endpoint_choice")
    namespace: str | None = field(Text(OBJECT_NAME), "The addresses of a namespace (2021).", group="endpoint_choice")
    interface: Ref | None = field(
        Reference("network_interface"), "Whoever is behind one interface (2021).", group="endpoint_choice")


@message
class NetworkPolicyViewRule:
    """What becomes of connections between the near end and another."""

    SINCE: ClassVar = ""

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.")
    action: NetworkPolicyAction = field(Choice(NetworkPolicyAction), "What becomes of them.")
    any: bool = field(Presence(), "The other end is anybody.", group="other_endpoint")
    prefix_list: PrefixStringListType | None = field(
        Nested(PrefixStringListType), "The other end has one of these addresses.", group="other_endpoint")
    ip_prefix_set: NetworkPolicyPrefixSetRef | None = field(
        Nested(NetworkPolicyPrefixSetRef), "The other end has an address of this set.", group="other_endpoint")
    label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "The other end has such labels.", group="other_endpoint")
    inside_endpoints: bool = field(Presence(), "The other end is behind inside interfaces.", group="other_endpoint")
    outside_endpoints: bool = field(Presence(), "The other end is behind outside interfaces.", group="other_endpoint")
    namespace: str | None = field(
        Text(OBJECT_NAME), "The other end has an address of a namespace.", group="other_endpoint")
    all_traffic: bool = field(Presence(), "Whatever they say.", group="traffic_choice")
    all_tcp_traffic: bool = field(Presence(), "TCP.", group="traffic_choice")
    all_udp_traffic: bool = field(Presence(), "UDP.", group="traffic_choice")
    applications: NetworkPolicyApplications | None = field(
        Nested(NetworkPolicyApplications), "Some applications.", group="traffic_choice")
    protocol_port_range: ProtocolPortType | None = field(
        Nested(ProtocolPortType), "A protocol and ports.", group="traffic_choice")
    label_matcher: LabelMatcherType | None = field(
        Nested(LabelMatcherType), "Labels that must be the same on both ends.")
    keys: tuple[str, ...] = field(ListOf(Text(least=1)), "The same (older form).")
    adv_action: NetworkPolicyAdvAction | None = field(Nested(NetworkPolicyAdvAction), "What else is done.")
    rule_name: str | None = field(Text(), "Its name (older form).")
    rule_description: str | None = field(Text(), "Free text (older form).")


def _rules() -> ListOf[NetworkPolicyViewRule]:
    return ListOf(Nested(NetworkPolicyViewRule), most=128)


@message
class NetworkPolicyRules:
    """What becomes of connections in each direction."""

    SINCE: ClassVar = ""

    ingress_rules: tuple[NetworkPolicyViewRule, ...] = field(_rules(), "To the near end, in order.")
    egress_rules: tuple[NetworkPolicyViewRule, ...] = field(_rules(), "From the near end, in order.")


@message
class NetworkPolicySpec:
    """Which connections may pass."""

    SINCE: ClassVar = ""

    endpoint: NetworkPolicyEndpoint | None = field(Nested(NetworkPolicyEndpoint), "Whom it is about.")
    rules_: NetworkPolicyRules | None = field(
        Nested(NetworkPolicyRules), "What becomes of their connections.", state=REFUSES)
    prefix: NetworkPolicyPrefix | None = field(
        Nested(NetworkPolicyPrefix), "Whom it is about, by address.", since="2020", group="local_end")
    prefix_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "Whom it is about, by label.", since="2020", group="local_end")
    ingress_rules: tuple[Ref, ...] = field(
        refs("network_policy_rule"), "Rules for connections to them, in order.", since="2020", state=REFUSES)
    egress_rules: tuple[Ref, ...] = field(
        refs("network_policy_rule"), "Rules for connections from them, in order.", since="2020", state=REFUSES)


@message
class NetworkPolicyViewSpec:
    """Which connections may pass (the view)."""

    SINCE: ClassVar = ""

    endpoint: NetworkPolicyEndpoint | None = field(Nested(NetworkPolicyEndpoint), "Whom it is about.")
    ingress_rules: tuple[NetworkPolicyViewRule, ...] = field(
        _rules(), "Connections to them, in order.", state=REFUSES)
    egress_rules: tuple[NetworkPolicyViewRule, ...] = field(
        _rules(), "Connections from them, in order.", state=REFUSES)


@message
class NetworkPolicyRuleSpec:
    """One rule of a network policy (2020)."""

    action: NetworkPolicyAction = field(Choice(NetworkPolicyAction), "What becomes of a connection that matches.")
    protocol: str | None = field(Text(), "Its protocol.")
    ports: tuple[Range, ...] = field(ListOf(Between(0, 65535, "a port or a range of them")), "Its ports.")
    prefix: NetworkPolicyPrefix | None = field(Nested(NetworkPolicyPrefix), "The other end by address.", group="remote_end")
    prefix_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "The other end by label.", group="remote_end")
    ip_prefix_set: NetworkPolicyPrefixSetRef | None = field(
        Nested(NetworkPolicyPrefixSetRef), "The other end by a set of prefixes.", group="remote_end")
    label_matcher: LabelMatcherType | None = field(
        Nested(LabelMatcherType), "Labels that must be the same on both ends.", since="")
    adv_action: NetworkPolicyAdvAction | None = field(Nested(NetworkPolicyAdvAction), "What else is done.", since="")
