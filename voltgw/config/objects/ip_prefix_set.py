"""ip_prefix_set: addresses under one name (objects.md 17)."""

from __future__ import annotations

from typing import ClassVar

from voltgw.config.compound import ListOf
from voltgw.config.formats import IPV4_PREFIX, IPV6_PREFIX, PREFIX
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Text


@message
class Ipv4Prefix:
    """Some IPv4 addresses."""

    SINCE: ClassVar = ""

    ipv4_prefix: str | None = field(Text(IPV4_PREFIX), "The prefix.")
    description: str | None = field(Text(), "Free text.")


@message
class Ipv6Prefix:
    """Some IPv6 addresses."""

    SINCE: ClassVar = ""

    ipv6_prefix: str | None = field(Text(IPV6_PREFIX), "The prefix.")
    description: str | None = field(Text(), "Free text.")


@message
class IpPrefixSetSpec:
    """Addresses under one name."""

    prefix: tuple[str, ...] = field(ListOf(Text(PREFIX)), "Prefixes (2020).")
    ipv4_prefixes: tuple[Ipv4Prefix, ...] = field(ListOf(Nested(Ipv4Prefix)), "IPv4 prefixes.", since="")
    ipv6_prefixes: tuple[Ipv6Prefix, ...] = field(ListOf(Nested(Ipv6Prefix)), "IPv6 prefixes.", since="")
