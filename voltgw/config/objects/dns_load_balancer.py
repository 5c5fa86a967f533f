"""dns_load_balancer: DNS answers by client, health and score (objects.md 19)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.names import Reference
from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.parts import AsnMatcherType, AsnMatchList, IpMatcherType, PrefixMatchList
from voltgw.config.quantities import Duration
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Presence
from voltgw.config.values import Ref


class ResourceRecordType(Enum):
    """The type of the records that are answered."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    CNAME = "CNAME"
    SRV = "SRV"


@message
class DnsLoadBalancingRule:
    """Which clients are answered from which pool."""

    SINCE: ClassVar = ""

    geo_location_label_selector: LabelSelectorType | None = field(
        Nested(LabelSelectorType), "Clients by where they are.", group="client_choice")
    geo_location_set: Ref | None = field(
        Reference("geo_location_set"), "Clients by where they are, in a set.", group="client_choice")
    asn_list: AsnMatchList | None = field(Nested(AsnMatchList), "Clients by autonomous system.", group="client_choice")
    asn_matcher: AsnMatcherType | None = field(
        Nested(AsnMatcherType), "Clients by autonomous system, in sets.", group="client_choice")
    ip_prefix_list: PrefixMatchList | None = field(Nested(PrefixMatchList), "Clients by address.", group="client_choice")
    ip_prefix_set: IpMatcherType | None = field(Nested(IpMatcherType), "Clients by address, in sets.", group="client_choice")
    pool: Ref | None = field(Reference("dns_lb_pool"), "They are answered from this pool.", group="action_choice")
    nxdomain: bool = field(Presence(), "They are told that there is no such name.", group="action_choice")
    score: int | None = field(
        Number(1, 32767, also=(0,), zero_is_absent=True), "Of the rules that match, the one with the highest score wins.")


@message
class DnsRuleList:
    """The rules."""

    SINCE: ClassVar = ""

    rules_: tuple[DnsLoadBalancingRule, ...] = field(ListOf(Nested(DnsLoadBalancingRule)), "The rules.")


@message
class ResponseCacheParameters:
    """Which clients share an answer, and for how long."""

    SINCE: ClassVar = ""

    cache_cidr_ipv4: int | None = field(Number(0, 32), "Bits of an IPv4 address that count.")
    cache_cidr_ipv6: int | None = field(Number(0, 128), "Bits of an IPv6 address that count.")
    cache_ttl_s: float | None = field(Duration("s"), "For how long.")


@message
class ResponseCache:
    """Whether answers are kept for other clients."""

    SINCE: ClassVar = ""

    default_response_cache_parameters: bool = field(
        Presence(), "They are, as usual.", group="response_cache_parameters_choice")
    response_cache_parameters: ResponseCacheParameters | None = field(
        Nested(ResponseCacheParameters), "They are.", group="response_cache_parameters_choice")
    disable: bool = field(Presence(), "They are not.", group="response_cache_parameters_choice")


@message
class DnsLoadBalancerSpec:
    """DNS answers by client, health and score."""

    SINCE: ClassVar = ""

    record_type: ResourceRecordType = field(Choice(ResourceRecordType, numbers=False), "Type of the records.")
    rule_list: DnsRuleList | None = field(Nested(DnsRuleList), "Which clients are answered from which pool.")
    fallback_pool: Ref | None = field(Reference("dns_lb_pool"), "The pool where no rule matches.")
    response_cache: ResponseCache | None = field(Nested(ResponseCache), "Whether answers are kept.")
