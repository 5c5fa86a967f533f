"""Clients of an http_loadbalancer: how many requests they may send, and who is refused (objects.md 18)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import IPV4_PREFIX, IPV6_PREFIX, TIMESTAMP
from voltgw.config.objects.matchers import (
    JA4TlsFingerprintMatcherType,
    PolicyHeaderMatcherType,
    TlsFingerprintMatcherType,
)
from voltgw.config.objects.parts import MAX_ASN, AsnMatchList, MessageMetaType, PrefixMatchList, PrefixStringListType
from voltgw.config.objects.rate_limiter import RateLimitValue
from voltgw.config.reader import REFUSES
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Number, Presence, Text
from voltgw.config.values import Ref


@message
class CustomIpAllowedList:
    """Clients that are not counted, in sets."""

    SINCE: ClassVar = ""

    rate_limiter_allowed_prefixes: tuple[Ref, ...] = field(refs("ip_prefix_set", most=4), "The sets.")


@message
class RateLimiterPolicies:
    """Limits by policies."""

    SINCE: ClassVar = ""

    policies: tuple[Ref, ...] = field(refs(), "The policies.")


@message
class RateLimitConfigType:
    """How many requests a user may send."""

    SINCE: ClassVar = ""

    rate_limiter: RateLimitValue = field(Nested(RateLimitValue), "The limit.", required=True)
    no_ip_allowed_list: bool = field(
        Presence(), "All clients are counted.", group="ip_allowed_list_choice", absent="this")
    ip_allowed_list: PrefixStringListType | None = field(
        Nested(PrefixStringListType), "These are not.", group="ip_allowed_list_choice")
    custom_ip_allowed_list: CustomIpAllowedList | None = field(
        Nested(CustomIpAllowedList), "Those in these sets are not.", group="ip_allowed_list_choice")
    no_policies: bool = field(Presence(), "The limit holds for all requests.", group="policy_choice", absent="this")
    policies: RateLimiterPolicies | None = field(
        Nested(RateLimiterPolicies), "Policies say for which.", group="policy_choice", state=REFUSES)


@message
class HttpHeaderList:
    """Conditions on headers; all must hold."""

    SINCE: ClassVar = ""

    headers: tuple[PolicyHeaderMatcherType, ...] = field(ListOf(Nested(PolicyHeaderMatcherType), most=16), "The conditions.")


@message
class SimpleClientSrcRule:
    """Some clients."""

    SINCE: ClassVar = ""

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.")
    expiration_timestamp: str | None = field(Text(TIMESTAMP), "Until when it holds.", absent="for ever")
    ip_prefix: str | None = field(Text(IPV4_PREFIX), "By address.", group="client_source_choice")
    ipv6_prefix: str | None = field(Text(IPV6_PREFIX), "By IPv6 address.", group="client_source_choice")
    as_number: int | None = field(Number(most=MAX_ASN), "By autonomous system.", group="client_source_choice")
    user_identifier: str | None = field(
        Text(most=256), "By what tells users apart.", group="client_source_choice", state=REFUSES)
    http_header: HttpHeaderList | None = field(Nested(HttpHeaderList), "By headers.", group="client_source_choice")
    actions: tuple[str, ...] = field(ListOf(Text(least=1)), "What is not done for trusted ones.")
    skip_processing: bool = field(Presence(), "Nothing is done for them (older form).", group="action_choice")
    waf_skip_processing: bool = field(Presence(), "No web application firewall looks (older form).", group="action_choice")
    bot_skip_processing: bool = field(Presence(), "They are no bots (older form).", group="action_choice")


@message
class DDoSClientSource:
    """Clients that attack."""

    SINCE: ClassVar = ""

    country_list: tuple[str, ...] = field(ListOf(Text(least=1)), "By country.", state=REFUSES)
    asn_list: AsnMatchList | None = field(Nested(AsnMatchList), "By autonomous system.")
    tls_fingerprint_matcher: TlsFingerprintMatcherType | None = field(
        Nested(TlsFingerprintMatcherType), "By JA3 fingerprint.", group="tls_fingerprint_choice")
    ja4_tls_fingerprint_matcher: JA4TlsFingerprintMatcherType | None = field(
        Nested(JA4TlsFingerprintMatcherType), "By JA4 fingerprint.", group="tls_fingerprint_choice")


@message
class DDoSMitigationRule:
    """Clients that are refused as attackers."""

    SINCE: ClassVar = ""

    metadata: MessageMetaType | None = field(Nested(MessageMetaType), "Its name.")
    expiration_timestamp: str | None = field(Text(TIMESTAMP), "Until when it holds.", absent="for ever")
    block: bool = field(Presence(), "They are refused.", group="mitigation_choice", absent="this")
    ip_prefix_list: PrefixMatchList | None = field(
        Nested(PrefixMatchList), "By address.", group="ddos_mitigation_choice")
    ddos_client_source: DDoSClientSource | None = field(
        Nested(DDoSClientSource), "By other things.", group="ddos_mitigation_choice")
