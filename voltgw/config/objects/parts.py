"""Small messages that policies of several kinds share: names of rules, prefixes, domains, AS numbers (objects.md 12, 13)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf, refs
from voltgw.config.formats import HOSTNAME, IPV4_PREFIX, IPV6_PREFIX, OBJECT_NAME
from voltgw.config.ranges import Between
from voltgw.config.regexes import REGEX
from voltgw.config.schema import field, message
from voltgw.config.types import Flag, Number, Text
from voltgw.config.values import Range, Ref

#: Largest AS number (RFC 6793).
MAX_ASN = 0xFFFFFFFF


@message
class MessageMetaType:
    """Name and description of a part of an object."""

    name: str = field(Text(OBJECT_NAME, least=1), "Its name.", required=True)
    description: str | None = field(Text(), "Free text.")
    disable: bool = field(Flag(), "It takes no part.", since="2020†")


@message
class PrefixStringListType:
    """Addresses by their prefixes."""

    prefixes: tuple[str, ...] = field(ListOf(Text(IPV4_PREFIX)), "IPv4 prefixes.")
    ipv6_prefixes: tuple[str, ...] = field(ListOf(Text(IPV6_PREFIX)), "IPv6 prefixes.", since="")


@message
class DomainType:
    """A condition on a host name."""

    exact_value: str | None = field(Text(HOSTNAME), "The whole name.", group="domain_choice")
    suffix_value: str | None = field(Text(HOSTNAME), "Names that end like this, and this one.", group="domain_choice")
    regex_value: str | None = field(Text(REGEX), "Pattern (RE2) over the whole name.", group="domain_choice")


@message
class AsnMatchList:
    """Autonomous systems by number."""

    as_numbers: tuple[int, ...] = field(ListOf(Number(most=MAX_ASN)), "AS numbers.")


@message
class AsnMatcherType:
    """Autonomous systems by the sets they are in."""

    asn_sets: tuple[Ref, ...] = field(refs("bgp_asn_set"), "Sets of AS numbers.")


@message
class LabelMatcherType:
    """Labels whose values must be the same on both sides."""

    keys: tuple[str, ...] = field(ListOf(Text(least=1)), "Label keys.")


@message
class PolicyPortMatcherType:
    """A condition on a port."""

    ports: tuple[Range, ...] = field(
        ListOf(Between(1, 65535, "a port or a range of them")), "Ports and ranges of ports.", example="[443, 8000-8191]")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class PrefixMatchList:
    """A condition on an address."""

    ip_prefixes: tuple[str, ...] = field(ListOf(Text(IPV4_PREFIX)), "Prefixes.")
    invert_match: bool = field(Flag(), "The condition must not hold.")


@message
class IpMatcherType:
    """A condition on an address, by sets of prefixes."""

    prefix_sets: tuple[Ref, ...] = field(refs("ip_prefix_set"), "Sets of prefixes.")
    invert_matcher: bool = field(Flag(), "The condition must not hold.")


@message
class IPThreatCategoryListType:
    """Addresses by what they are known for."""

    SINCE: ClassVar = "+2021-12"

    ip_threat_categories: tuple[str, ...] = field(
        ListOf(Text(one_of=(
            "SPAM_SOURCES", "WINDOWS_EXPLOITS", "WEB_ATTACKS", "BOTNETS", "SCANNERS", "REPUTATION", "PHISHING", "PROXY",
            "MOBILE_THREATS", "TOR_PROXY", "DENIAL_OF_SERVICE", "NETWORK"))), "Categories.")
