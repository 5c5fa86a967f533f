"""The PROXY protocol as it is configured and as it was heard; its bytes are `voltgw.wire.proxyproto`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

#: Types of TLVs as their names in the configuration and in logs (proxy-protocol.txt 2.2).
TLV_NAMES: Final = {
    "ALPN": 0x01, "AUTHORITY": 0x02, "CRC32C": 0x03, "NOOP": 0x04, "UNIQUE_ID": 0x05, "SSL": 0x20, "NETNS": 0x30,
    "AWS": 0xEA, "AZURE": 0xEE,
}
_BY_TYPE: Final = {kind: name for name, kind in TLV_NAMES.items()}
#: What we know of a client ourselves.
OWN_TLVS: Final = frozenset((TLV_NAMES["ALPN"], TLV_NAMES["AUTHORITY"], TLV_NAMES["SSL"]))
#: Every type there is.
ALL_TLVS: Final = frozenset(range(256))


class ProxyHeader(NamedTuple):
    """A header of `size` bytes; the addresses are None where the proxy speaks for itself, or names no IP addresses."""

    size: int
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()
    datagram: bool = False                  # the client that it tells of speaks UDP


@dataclass(frozen=True, slots=True)
class ProxyOut:
    """How endpoints of a cluster are told of clients."""

    version: int                            # 1 or 2
    tell: frozenset[int] = OWN_TLVS         # of what we know ourselves, in version 2
    pass_on: frozenset[int] = ALL_TLVS      # of what the proxy before us has said, in version 2
    first_datagram_only: bool = False       # UDP: the first datagram of a session begins with a header, not each one


def tlv_types(words: Iterable[str]) -> frozenset[int]:
    """The types that names and hexadecimal numbers stand for, ``ALL`` and ``NONE`` too. Raises KeyError, ValueError."""
    types: set[int] = set()
    for word in words:
        if word == "ALL":
            return ALL_TLVS
        if word != "NONE":
            types.add(int(word, 16) if word.startswith("0x") else TLV_NAMES[word])
    return frozenset(types)


def tlv_name(kind: int) -> str:
    """What a type is called: a name of the specification, or its number in hexadecimal."""
    return _BY_TYPE.get(kind) or f"0x{kind:02x}"


def tlv_texts(tlvs: tuple[tuple[int, bytes], ...], most: int) -> list[str]:
    """TLVs as text for people, at most `most` characters of each value: printable ASCII as it is, the rest in hexadecimal."""
    texts = []
    for kind, value in tlvs:
        if kind not in (TLV_NAMES["CRC32C"], TLV_NAMES["NOOP"]):
            plain = kind != TLV_NAMES["SSL"] and value.isascii() and value.decode("ascii").isprintable()
            text = value.decode("ascii") if plain else value.hex()
            texts.append(f"{tlv_name(kind)}={text if len(text) <= most else text[:most] + '...'}")
    return texts
