"""ip_prefix_set: addresses under one name (objects.md 17)."""

from __future__ import annotations

from typing import ClassVar

from yaml.nodes import Node

from voltgw.config.compound import ListOf
from voltgw.config.formats import IPV4_PREFIX, IPV6_PREFIX, PREFIX
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Schema, Text, Type


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


class ListFile(Type[bytes, None]):
    """The contents of a file, by a path from the file it stands in. They are the value, so that a new file is a change."""

    default = None
    words = "the path of a file"

    def read(self, node: Node, reader: Reader) -> bytes | Missing:
        text = self.scalar(node, reader)
        return MISSING if text is MISSING else reader.fetch(node, text.removeprefix("file:"))

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {"type": "string"}

    def plain(self, value: bytes) -> object:
        return f"(a file of {len(value)} bytes)"


@message
class PrefixSetExtension:
    """What voltgw adds to a set of addresses."""

    SINCE: ClassVar = "voltgw"

    file: bytes | None = field(
        ListFile(), "More of them: a file with an address or a prefix in each line; what stands behind it, or behind ``#`` or "
        "``;``, is a remark. A new file is taken within seconds, and touches nothing but the virtual hosts that use the set.",
        example="blocked.txt")


@message
class IpPrefixSetSpec:
    """Addresses under one name."""

    prefix: tuple[str, ...] = field(ListOf(Text(PREFIX)), "Prefixes (2020).")
    ipv4_prefixes: tuple[Ipv4Prefix, ...] = field(ListOf(Nested(Ipv4Prefix)), "IPv4 prefixes.", since="")
    ipv6_prefixes: tuple[Ipv6Prefix, ...] = field(ListOf(Nested(Ipv6Prefix)), "IPv6 prefixes.", since="")
    voltgw: PrefixSetExtension | None = field(Nested(PrefixSetExtension), "What voltgw adds to it.", since="voltgw")
