"""forward_proxy_policy: where a forward proxy may go (objects.md 12.5 to 12.7)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import Anything, ListOf
from voltgw.config.formats import HOSTNAME, IPV4_PREFIX, IPV6_PREFIX, OBJECT_NAME
from voltgw.config.names import Reference
from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.parts import (
    AsnMatchList,
    DomainType,
    MessageMetaType,
    PolicyPortMatcherType,
    PrefixStringListType,
)
from voltgw.config.ranges import Ports
from voltgw.config.reader import REFUSES
from voltgw.config.regexes import REGEX
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Presence, Text
from voltgw.config.values import Range, Ref


class ForwardProxyAction(Enum):
    """What becomes of a connection that matches."""

    DENY = "DENY"
    ALLOW = "ALLOW"
    NEXT_POLICY_SET = "NEXT_POLICY_SET"
    NEXT_POLICY = "NEXT_POLICY"


@message
class URLType:
    """A condition on a URL."""

    exact_value: str | None = field(Text(HOSTNAME), "The whole host name.", group="domain_choice")
    suffix_value: str | None = field(Text(HOSTNAME), "Host names that end like this, and this one.", group="domain_choice")
    regex_value: str | None = field(Text(REGEX), "Pattern (RE2) over the whole host name.", group="domain_choice")
    any_path: bool = field(Presence(), "Any path.", group="path_choice", absent="this")
    path_exact_value: str | None = field(Text(), "The whole path.", group="path_choice")
    path_prefix_value: str | None = field(Text(), "Paths that begin like this.", group="path_choice")
    path_regex_value: str | None = field(Text(REGEX), "Pattern (RE2) over the whole path.", group="path_choice")


@message
class L4DestType:
    """Destinations by address and port, for what is neither HTTP nor TLS with a server name."""

    prefixes: tuple[str, ...] = field(ListOf(Text(IPV4_PREFIX)), "IPv4 prefixes.")
    port_ranges: tuple[Range, ...] = field(Ports(65535), "Ports.", example='"80,443,8080-8191"')
    ports: tuple[Range, ...] = field(Ports(65535), "Ports (2020).")
    ipv6_prefixes: tuple[str, ...] = field(ListOf(Text(IPV6_PREFIX)), "IPv6 prefixes.")


@message
class ForwardProxySimpleRuleType:
    """A list of destinations."""

    tls_list: tuple[DomainType, ...] = field(
        ListOf(Nested(DomainType), most=16, unique=True), "TLS by server name.")
    http_list: tuple[URLType, ...] = field(ListOf(Nested(URLType), most=16, unique=True), "HTTP by URL.")
    dest_list: tuple[L4DestType, ...] = field(
        ListOf(Nested(L4DestType), most=16, unique=True), "Everything else by address and port.")
    default_action_next_policy: bool = field(
        Presence(), "The rest: the next policy decides.", group="default_action_choice")
    default_action_deny: bool = field(Presence(), "The rest is refused.", group="default_action_choice")
    default_action_allow: bool = field(Presence(), "The rest is let through.", group="default_action_choice")
    rule_name: str | None = field(Text(OBJECT_NAME), "Its name.", since="2020→2021-05")
    rule_description: str | None = field(Text(most=256), "Free text.", since="2020→2021-05")
    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.", since="+2021-01")


@message
class DomainListType:
    """TLS by server name."""

    tls_list: tuple[DomainType, ...] = field(ListOf(Nested(DomainType)), "The names.")


@message
class URLListType:
    """HTTP by URL."""

    http_list: tuple[URLType, ...] = field(ListOf(Nested(URLType)), "The URLs.")


@message
class L4DestListType:
    """Everything else by address and port (2020)."""

    SINCE: ClassVar = "2020→2020-11"

    dest_list: tuple[L4DestType, ...] = field(ListOf(Nested(L4DestType)), "The destinations.")


@message
class URLCategoryListType:
    """Destinations by what they are about."""

    SINCE: ClassVar = "+2021-12"

    url_categories: tuple[str, ...] = field(ListOf(Text(least=1)), "Categories.", example="[UNCATEGORIZED]")


@message
class ForwardProxyAdvancedRuleType:
    """What becomes of connections from some clients to some destinations."""

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.", since="+2021-01")
    rule_name: str | None = field(Text(), "Its name (2020).", since="2020†")
    rule_description: str | None = field(Text(), "Free text (2020).", since="2020†")
    action: ForwardProxyAction = field(Choice(ForwardProxyAction), "What becomes of them.", required=True)
    all_sources: bool = field(Presence(), "From anybody.", group="source_choice")
    prefix_list: PrefixStringListType | None = field(
        Nested(PrefixStringListType), "From these addresses.", group="source_choice")
    inside_sources: bool = field(
        Presence(), "From whoever is behind inside interfaces.", since="2020†", group="source_choice")
    interface: Ref | None = field(
        Reference("network_interface"), "From whoever is behind one interface.", since="2020†", group="source_choice",
        state=REFUSES)
    namespace: str | None = field(Text(OBJECT_NAME), "From a namespace.", since="2020†", group="source_choice",
        state=REFUSES)
    label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "From whoever has such labels.", group="source_choice",
        state=REFUSES)
    ip_prefix_set: Ref | None = field(
        Reference("ip_prefix_set"), "From addresses of this set.", group="source_choice")
    all_destinations: bool = field(Presence(), "To anywhere.", group="destination_choice")
    tls_list: DomainListType | None = field(Nested(DomainListType), "To these server names.", group="destination_choice")
    http_list: URLListType | None = field(Nested(URLListType), "To these URLs.", group="destination_choice")
    dst_ip_prefix_set: Ref | None = field(
        Reference("ip_prefix_set"), "To addresses of this set.", since="+2020-11", group="destination_choice")
    dst_prefix_list: PrefixStringListType | None = field(
        Nested(PrefixStringListType), "To these addresses.", since="+2020-11", group="destination_choice")
    dst_asn_set: Ref | None = field(
        Reference("bgp_asn_set"), "To autonomous systems of this set.", since="+2020-11", group="destination_choice",
        state=REFUSES)
    dst_asn_list: AsnMatchList | None = field(
        Nested(AsnMatchList), "To these autonomous systems.", since="+2020-11", group="destination_choice",
        state=REFUSES)
    url_category_list: URLCategoryListType | None = field(
        Nested(URLCategoryListType), "To URLs about these things.", since="+2021-12", group="destination_choice",
        state=REFUSES)
    dst_label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "To whoever has such labels.", since="+2020-11", group="destination_choice",
        state=REFUSES)
    no_http_connect_port: bool = field(
        Presence(), "Whatever port CONNECT asks for.", group="http_connect_choice", absent="this")
    port_matcher: PolicyPortMatcherType | None = field(
        Nested(PolicyPortMatcherType), "Ports that CONNECT asks for.", group="http_connect_choice")
    dest_list: L4DestListType | None = field(
        Nested(L4DestListType), "To these addresses and ports.", since="2020→2020-11", group="destination_choice")


@message
class ForwardProxyRuleListType:
    """Rules in order."""

    rules_: tuple[ForwardProxyAdvancedRuleType, ...] = field(
        ListOf(Nested(ForwardProxyAdvancedRuleType)), "The first that matches decides.")


@message
class ForwardProxyPolicySpec:
    """Where a forward proxy may go."""

    any_proxy: bool = field(Presence(), "It is about every forward proxy of the site.", group="proxy_choice")
    network_connector: Ref | None = field(
        Reference("network_connector"), "It is about the proxy of this connector.", group="proxy_choice")
    proxy_label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "It is about proxies with such labels.", group="proxy_choice")
    drp_http_connect: bool = field(
        Presence(), "It is about virtual hosts that resolve their destination from the request.", group="proxy_choice")
    allow_all: bool = field(Presence(), "Anywhere.", group="rule_choice")
    allow_list: ForwardProxySimpleRuleType | None = field(
        Nested(ForwardProxySimpleRuleType), "To what is listed.", group="rule_choice")
    deny_list: ForwardProxySimpleRuleType | None = field(
        Nested(ForwardProxySimpleRuleType), "Not to what is listed.", group="rule_choice")
    rule_list: ForwardProxyRuleListType | None = field(
        Nested(ForwardProxyRuleListType), "As these rules say.", group="rule_choice")
    segment_policy: object = field(Anything(), "Between which segments.", since="+2023-12", state=REFUSES)
