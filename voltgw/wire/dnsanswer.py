"""DNS messages (RFC 1035 4) of a client: a question written, the addresses of its answer read; sans-IO.

Beside `voltgw.wire.dnsmsg`, which is the server's side. Nothing of an answer is believed but addresses of the name that was
asked for, or of a name to which its chain of CNAME records in this very answer leads.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from voltgw.wire.dnsmsg import AAAA, CNAME, IN, OPT, A

#: What we can take by UDP; larger answers come truncated and are asked for by TCP (RFC 9715).
UDP_BYTES: Final = 1232
#: Records that are looked at, and links of a chain of names that are followed.
MAX_RECORDS: Final = 256
MAX_CHAIN: Final = 16
#: Names that point to each other in a message cannot be longer than this chain of pointers.
_MAX_POINTERS: Final = 32
_MAX_NAME_BYTES: Final = 255
_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")              # type, class, time to live, length
_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_TC: Final = 0x0200
_RD: Final = 0x0100
_RCODE: Final = 0x000F


class BadAnswer(ValueError):
    """What came is no answer to the question: malformed, or to something else. It is passed over."""


class Answer(NamedTuple):
    """What a server says: `rcode` (RFC 1035 4.1.1), the addresses, the shortest time to live in seconds (0 without any).

    `truncated`: there is more than a datagram holds, ask by TCP.
    """

    rcode: int
    addresses: tuple[IPv4Address | IPv6Address, ...]
    ttl_s: int
    truncated: bool


def write_question(identity: int, name: bytes, kind: int) -> bytes:
    """A question for a name in wire form, which is to be looked up recursively; with EDNS (RFC 6891)."""
    return (_HEADER.pack(identity, _RD, 1, 0, 0, 1) + name + struct.pack("!HH", kind, IN)
            + b"\0" + struct.pack("!HHIH", OPT, UDP_BYTES, 0, 0))


def read_answer(data: bytes, identity: int, name: bytes, kind: int) -> Answer:
    """The answer to such a question. Raises `BadAnswer`."""
    if len(data) < _HEADER.size:
        raise BadAnswer("it is too short")
    number, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if number != identity or not flags & _QR or flags & _OPCODE or questions != 1:
        raise BadAnswer("it is not the answer to this question")
    asked, at = read_name(data, _HEADER.size)
    if asked != name or data[at:at + 4] != struct.pack("!HH", kind, IN):
        raise BadAnswer("it answers another question")
    at += 4
    aliases: dict[bytes, bytes] = {}
    found: dict[bytes, list[tuple[IPv4Address | IPv6Address, int]]] = {}
    lives: dict[bytes, int] = {}
    for _ in range(min(answers, MAX_RECORDS)):
        try:
            owner, at = read_name(data, at)
            type_, class_, ttl, size = _FIXED.unpack_from(data, at)
        except (BadAnswer, struct.error):
            if flags & _TC:
                break                       # cut in the middle of a record: it will be asked for by TCP
            raise BadAnswer("a record is cut off") from None
        at += _FIXED.size
        rdata = data[at:at + size]
        if len(rdata) < size:
            if flags & _TC:
                break
            raise BadAnswer("a record is cut off")
        ttl = 0 if ttl > 0x7FFFFFFF else ttl            # RFC 2181 8
        if class_ == IN and type_ == kind:
            if kind == A and size == 4:
                found.setdefault(owner, []).append((IPv4Address(rdata), ttl))
            elif kind == AAAA and size == 16:
                found.setdefault(owner, []).append((IPv6Address(rdata), ttl))
        elif class_ == IN and type_ == CNAME and owner not in aliases:
            aliases[owner], _ = read_name(data, at)
            lives[owner] = ttl
        at += size
    ttls: list[int] = []
    for _ in range(MAX_CHAIN):
        if name in found or name not in aliases:
            break
        ttls.append(lives[name])
        name = aliases[name]
    records = found.get(name, [])
    ttls += [ttl for _, ttl in records]
    addresses = tuple(dict.fromkeys(address for address, _ in records))
    return Answer(flags & _RCODE, addresses, min(ttls) if records else 0, bool(flags & _TC))


def read_name(data: bytes, at: int) -> tuple[bytes, int]:
    """A name, in lower case and without pointers, and where what follows it begins. Raises `BadAnswer`."""
    wire = bytearray()
    after = -1
    for _ in range(_MAX_POINTERS + 128):
        if at >= len(data):
            raise BadAnswer("a name is cut off")
        size = data[at]
        if size >= 0xC0:
            if at + 1 >= len(data):
                raise BadAnswer("a name is cut off")
            if after < 0:
                after = at + 2
            to = (size & 0x3F) << 8 | data[at + 1]
            if to >= at:                    # RFC 1035 4.1.4: a *prior* occurrence; so there is an end
                raise BadAnswer("a name points ahead")
            at = to
            continue
        if size > 63:
            raise BadAnswer("a label has an unknown form")
        wire += data[at:at + 1 + size].lower()
        if len(wire) > _MAX_NAME_BYTES:
            raise BadAnswer("a name is too long")
        at += 1 + size
        if size == 0:
            return bytes(wire), at if after < 0 else after
    raise BadAnswer("a name does not end")
