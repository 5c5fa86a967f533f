"""DNS messages (RFC 1035 4) of an authoritative server: a query read, an answer written; sans-IO.

Names are in wire form (labels with their lengths, the root's zero byte at the end). A name that is looked up is in lower case;
the one that a client has sent is given back to it byte by byte. Only the question, the OPT record, the place of a TSIG and an
IXFR's serial number are read of a query; anything else in it changes no answer of ours.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

# RCODEs (RFC 1035 4.1.1, 2136, 6891, 7873)
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, NOTAUTH, BADVERS, BADCOOKIE = 0, 1, 2, 3, 4, 5, 9, 16, 23
RCODE_NAMES: Final = {
    NOERROR: "NOERROR", FORMERR: "FORMERR", SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", NOTIMP: "NOTIMP", REFUSED: "REFUSED",
    NOTAUTH: "NOTAUTH", BADVERS: "BADVERS", BADCOOKIE: "BADCOOKIE",
}
# types
A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, DS, RRSIG, NSEC, DNSKEY = (
    1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 43, 46, 47, 48)
OPT, CDS, CDNSKEY, SVCB, HTTPS, NXNAME, TSIG, IXFR, AXFR, ANY, CAA = 41, 59, 60, 64, 65, 128, 250, 251, 252, 255, 257
TYPE_NAMES: Final = {
    A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", HINFO: "HINFO", MX: "MX", TXT: "TXT", AAAA: "AAAA", SRV: "SRV",
    DS: "DS", RRSIG: "RRSIG", NSEC: "NSEC", DNSKEY: "DNSKEY", SVCB: "SVCB", HTTPS: "HTTPS", ANY: "ANY", CAA: "CAA",
    AXFR: "AXFR", IXFR: "IXFR", CDS: "CDS", CDNSKEY: "CDNSKEY",
}
TYPES: Final = {name: kind for kind, name in TYPE_NAMES.items()}
IN: Final = 1
ANY_CLASS: Final = 255
QUERY: Final = 0
NOTIFY: Final = 4

# flags (RFC 1035 4.1.1)
QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100
_OPCODE: Final = 0x7800
#: Of the extended flags: the client understands DNSSEC (RFC 3225).
DO: Final = 0x8000
#: It understands that NXNAME in an NSEC says that there is no such name (RFC 9824 5.1).
CO: Final = 0x4000

# options of OPT, and codes of EDE
OPTION_ECS: Final = 8
OPTION_COOKIE: Final = 10
OPTION_KEEPALIVE: Final = 11
OPTION_EDE: Final = 15
EDE_NOT_AUTHORITATIVE: Final = 20

HEADER_BYTES: Final = 12
MAX_NAME_BYTES: Final = 255
MAX_LABEL_BYTES: Final = 63
#: Largest answer over UDP to a client without EDNS (RFC 1035 4.2.1), and to one with it (RFC 9715).
MIN_UDP_BYTES: Final = 512
MAX_UDP_BYTES: Final = 1232
MAX_TCP_BYTES: Final = 65535
#: Options of one OPT that are looked at; a query with more is a malformed one.
MAX_OPTIONS: Final = 16

_HEADER: Final = struct.Struct("!HHHHHH")
_TYPE_CLASS: Final = struct.Struct("!HH")
_OPT: Final = struct.Struct("!BHHIH")
_OPTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
#: The numbers that an SOA ends with, the serial first (RFC 1035 3.3.13).
_SOA_NUMBERS: Final = 20
_COOKIE_BYTES: Final = 8
_SERVER_COOKIE_BYTES: Final = range(8, 33)


class Unanswerable(Exception):
    """Bytes that are no query: too short, or themselves an answer. Whoever answered those could be made to loop."""


class Malformed(Exception):
    """A query that cannot be understood. `answer` is what its client gets: FORMERR with no more than a header."""

    def __init__(self, reason: str, answer: bytes) -> None:
        super().__init__(reason)
        self.answer = answer


class Subnet:
    """The client's network that a resolver tells us of (RFC 7871 6): `family` 1 or 2, `bits`, and the bytes that those take."""

    __slots__ = ("address", "bits", "family")

    def __init__(self, family: int, bits: int, address: bytes) -> None:
        self.family = family
        self.bits = bits
        self.address = address

    def __repr__(self) -> str:
        return f"<Subnet {self.family} {self.address.hex()}/{self.bits}>"


class Query:
    """One query.

    `name` is in lower case, `question` is the whole question as it was sent. `opt` says whether there was an OPT record;
    `size` is the most bytes that an answer over UDP may have.
    """

    __slots__ = ("compact", "cookie", "dnssec", "flags", "id", "keepalive", "kind", "klass", "name", "opcode", "opt",
                 "question", "serial", "server_cookie", "size", "subnet", "tsig", "version")

    def __init__(self, identity: int, flags: int, question: bytes, name: bytes, kind: int, klass: int) -> None:
        self.id = identity
        self.flags = flags
        self.opcode = (flags & _OPCODE) >> 11
        self.question = question
        self.name = name
        self.kind = kind
        self.klass = klass
        self.opt = False
        self.size = MIN_UDP_BYTES
        self.version = 0
        self.dnssec = False
        self.compact = False
        self.cookie = b""                   # of the client, eight bytes
        self.server_cookie = b""            # ours, as the client remembers it
        self.subnet: Subnet | None = None
        self.keepalive = False              # asks how long its connection may idle (RFC 7828)
        self.serial: int | None = None      # which version of the zone an IXFR's client has (RFC 1995 3)
        self.tsig = 0                       # where its last record, a TSIG, begins; 0: it has none (RFC 8945 5.1)

    def __repr__(self) -> str:
        return f"<Query {text_of(self.name)} {type_name(self.kind)}>"


def read_query(data: bytes) -> Query:
    """The query in `data`. Raises `Unanswerable` and `Malformed`.

    The name ends with the first zero byte after the header: that is so of every name that has no zero byte within a label. Of
    those that do, `checked_labels` tells the truth, and whoever does not find a name asks it.
    """
    if len(data) < HEADER_BYTES:
        raise Unanswerable("shorter than a header")
    identity, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    if flags & QR:
        raise Unanswerable("itself an answer")
    end = data.find(0, HEADER_BYTES) + 1
    if questions != 1 or not end or end + 4 > len(data) or data[HEADER_BYTES] > MAX_LABEL_BYTES:
        raise Malformed("not one question", _bare(identity, flags, FORMERR))
    kind, klass = _TYPE_CLASS.unpack_from(data, end)
    query = Query(identity, flags, data[HEADER_BYTES:end + 4], data[HEADER_BYTES:end].lower(), kind, klass)
    if additional or authorities:
        _read_records(query, data, end + 4, answers + authorities, answers + authorities + additional)
    return query


def _read_records(query: Query, data: bytes, at: int, before: int, count: int) -> None:
    """The OPT record, wherever it stands among the additional ones, which begin after `before` others; a TSIG if it is the
    last one."""
    size = len(data)
    for number in range(count):
        try:
            owner = at
            while data[at]:
                if data[at] > MAX_LABEL_BYTES:
                    at += 1
                    break
                at += data[at] + 1
            at += 1
            kind, klass, ttl, length = _RECORD.unpack_from(data, at)
        except (IndexError, struct.error):
            raise _malformed(query, "a record is cut off") from None
        start, at = at + _RECORD.size, at + _RECORD.size + length
        if at > size:
            raise _malformed(query, "a record is cut off")
        if number < before:                 # IXFR and UPDATE have records there
            if kind == SOA and query.kind == IXFR and length > _SOA_NUMBERS:
                query.serial = int.from_bytes(data[at - _SOA_NUMBERS:at - _SOA_NUMBERS + 4], "big")
        elif kind == OPT:
            if query.opt or data[owner]:
                raise _malformed(query, "two OPT records, or one of a name")
            query.opt = True
            query.size = MIN_UDP_BYTES if klass < MIN_UDP_BYTES else klass if klass < MAX_UDP_BYTES else MAX_UDP_BYTES
            query.version = ttl >> 16 & 0xFF
            query.dnssec = bool(ttl & DO)
            query.compact = bool(ttl & CO)
            if length and not query.version:
                _read_options(query, data[start:at])
        elif kind == TSIG:
            if number != count - 1:
                raise _malformed(query, "a TSIG that is not the last record")
            query.tsig = owner


def _read_options(query: Query, data: bytes) -> None:
    at, size = 0, len(data)
    for _ in range(MAX_OPTIONS):
        if at + 4 > size:
            break
        code, length = _OPTION.unpack_from(data, at)
        start, at = at + 4, at + 4 + length
        if at > size:
            break
        if code == OPTION_COOKIE:
            server = length - _COOKIE_BYTES
            if server and server not in _SERVER_COOKIE_BYTES:
                raise _malformed(query, "a cookie of a wrong size")     # RFC 7873 5.2.2
            query.cookie, query.server_cookie = data[start:start + _COOKIE_BYTES], data[start + _COOKIE_BYTES:at]
        elif code == OPTION_ECS:
            query.subnet = _subnet(query, data[start:at])
        elif code == OPTION_KEEPALIVE:
            query.keepalive = True
    if at != size:
        raise _malformed(query, "options that do not fit their record")


def _subnet(query: Query, data: bytes) -> Subnet:
    if len(data) < 4:
        raise _malformed(query, "a client subnet that is cut off")
    family, bits, scope = int.from_bytes(data[:2], "big"), data[2], data[3]
    address = data[4:]
    most = {1: 32, 2: 128}.get(family, 0)
    spare = -bits % 8
    if scope or bits > most or len(address) != (bits + 7) // 8 or (spare and address and address[-1] & (1 << spare) - 1):
        raise _malformed(query, "a client subnet against RFC 7871 6")
    return Subnet(family, bits, address)


def _malformed(query: Query, reason: str) -> Malformed:
    return Malformed(reason, _bare(query.id, query.flags, FORMERR))


def _bare(identity: int, flags: int, rcode: int) -> bytes:
    return _HEADER.pack(identity, QR | flags & (_OPCODE | RD) | rcode, 0, 0, 0, 0)


def checked_labels(query: Query) -> tuple[bytes, ...]:
    """The labels of the name in lower case, the first one first. Raises `Malformed` when it is no name at all."""
    name = query.name
    if len(name) > MAX_NAME_BYTES:
        raise _malformed(query, "the name is too long")
    labels, at = [], 0
    while length := name[at]:
        if length > MAX_LABEL_BYTES:
            raise _malformed(query, "a compressed name, or one of an unknown kind")
        at += length + 1
        if at >= len(name):                 # a label with a zero byte: no host that we know has such a name
            raise _malformed(query, "a name with a zero byte, or cut off")
        labels.append(name[at - length:at])
    return tuple(labels)


# -- answers -------------------------------------------------------------------------------------------------------------------


class Sections:
    """What an answer says, in wire form, ready to be copied: `flags` (AA and the lower four bits of the RCODE), how many
    records each section has, and the records. An owner that is the name asked for is a pointer to the question (0xC00C).
    """

    __slots__ = ("additional", "answers", "authorities", "data", "flags", "heads")

    def __init__(self, flags: int, answers: int, authorities: int, additional: int, data: bytes) -> None:
        self.flags = flags
        self.answers = answers
        self.authorities = authorities
        self.additional = additional
        self.data = data
        self.heads: tuple[bytes, ...] = ()  # once `heads_of` has made them

    @property
    def rcode(self) -> int:
        """The lower four bits of the RCODE."""
        return self.flags & 0xF


def heads_of(sections: Sections) -> tuple[bytes, ...]:
    """What a header says behind its id in answers to plain queries: without RD, with it, and both again with an OPT record."""
    sections.heads = tuple(
        _HEADER.pack(0, QR | sections.flags | desired, 1, sections.answers, sections.authorities, sections.additional + opt)[2:]
        for opt in (0, 1) for desired in (0, RD))
    return sections.heads


def opt_record(query: Query, options: bytes = b"", extended: int = 0) -> bytes:
    """The OPT record of an answer; `extended` are the upper bits of the RCODE."""
    return _OPT.pack(0, OPT, MAX_UDP_BYTES, extended << 24 | (DO if query.dnssec else 0), len(options)) + options


def write_answer(query: Query, sections: Sections, limit: int, options: bytes = b"", extended: int = 0) -> bytes:
    """The whole message. One that is longer than `limit` says TC and has only its OPT record (RFC 2181 9).

    `options` go into the OPT record, which stands only where the query has one (RFC 6891 7); `extended` are the upper bits of
    the RCODE.
    """
    flags = QR | sections.flags | query.flags & (_OPCODE | RD)
    question = query.question
    if not query.opt:
        if HEADER_BYTES + len(question) + len(sections.data) <= limit:
            return _HEADER.pack(query.id, flags, 1, sections.answers, sections.authorities, sections.additional) \
                + question + sections.data
        return _HEADER.pack(query.id, flags | TC, 1, 0, 0, 0) + question
    opt = opt_record(query, options, extended)
    if HEADER_BYTES + len(question) + len(sections.data) + len(opt) <= limit:
        return b"".join((
            _HEADER.pack(query.id, flags, 1, sections.answers, sections.authorities, sections.additional + 1),
            question, sections.data, opt))
    return _HEADER.pack(query.id, flags | TC, 1, 0, 0, 1) + question + opt


def truncated(query: Query, options: bytes = b"") -> bytes:
    """An answer that says no more than "ask again over TCP"."""
    return write_answer(query, _NOTHING, 0, options)


_NOTHING: Final = Sections(AA, 0, 0, 0, b"")


def refusal(query: Query, rcode: int, options: bytes = b"") -> bytes:
    """An answer without records: an error, or nothing to say."""
    return write_answer(query, Sections(rcode & 0xF, 0, 0, 0, b""), MAX_TCP_BYTES, options, rcode >> 4)


def option(code: int, data: bytes) -> bytes:
    """One option of an OPT record."""
    return _OPTION.pack(code, len(data)) + data


def subnet_option(subnet: Subnet, scope: int) -> bytes:
    """The client's subnet given back, and for how many of its bits the answer is true (RFC 7871 7.2.1)."""
    return option(OPTION_ECS, struct.pack("!HBB", subnet.family, subnet.bits, min(scope, subnet.bits)) + subnet.address)


def error_option(code: int, text: str = "") -> bytes:
    """Why, by RFC 8914."""
    return option(OPTION_EDE, code.to_bytes(2, "big") + text.encode())


def record(owner: bytes, kind: int, ttl: int, rdata: bytes) -> bytes:
    """One record of class IN; `owner` is a name or a pointer."""
    return owner + _RECORD.pack(kind, IN, ttl, len(rdata)) + rdata


def https_rdata(alpn: Sequence[bytes], port: int | None, hints: Sequence[IPv4Address | IPv6Address]) -> bytes:
    """What an HTTPS record says of a name that is its own alternative (RFC 9460 2.2, 7): protocols, port, addresses."""
    parameters = []
    if alpn:
        parameters.append((1, b"".join(bytes((len(each),)) + each for each in alpn)))
        if b"http/1.1" not in alpn:
            parameters.append((2, b""))     # no-default-alpn
    if port is not None:
        parameters.append((3, port.to_bytes(2, "big")))
    for key, version in ((4, 4), (6, 6)):
        packed = b"".join(hint.packed for hint in hints if hint.version == version)
        if packed:
            parameters.append((key, packed))
    return b"\0\1\0" + b"".join(_OPTION.pack(key, len(value)) + value for key, value in parameters)


# -- names ---------------------------------------------------------------------------------------------------------------------


def name_of(text: str) -> bytes:
    """A name in wire form and lower case, from its text; dots within a label cannot be said. Raises ValueError."""
    text = text.removesuffix(".")
    wire = b""
    for label in text.lower().split(".") if text else ():
        try:
            data = label.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError(f"{text!r} is not in ASCII: write its labels as xn--...") from None
        if not 0 < len(data) <= MAX_LABEL_BYTES:
            raise ValueError(f"{text!r} has a label of {len(data)} bytes; 1 to {MAX_LABEL_BYTES} may be")
        wire += bytes((len(data),)) + data
    if len(wire) >= MAX_NAME_BYTES:
        raise ValueError(f"{text!r} is longer than a name may be")
    return wire + b"\0"


def text_of(name: bytes) -> str:
    """A name as text, without its last dot; what is not printable stands as ``\\DDD`` (RFC 1035 5.1)."""
    labels, at = [], 0
    while at < len(name) and (length := name[at]):
        label = name[at + 1:at + 1 + length]
        labels.append("".join(
            chr(byte) if 0x20 < byte < 0x7F and byte not in b".\\" else f"\\{byte:03d}" for byte in label))
        at += length + 1
    return ".".join(labels) or "."


def type_name(kind: int) -> str:
    """A, AAAA, ...; TYPE123 where there is no name (RFC 3597)."""
    return TYPE_NAMES.get(kind) or f"TYPE{kind}"
