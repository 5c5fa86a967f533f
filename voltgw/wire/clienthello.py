"""Reading a TLS ClientHello, before anybody has decided who speaks TLS with the client (RFC 8446 4.1.2, 5.1).

`read_hello` is handed everything that has come so far, as often as something comes, and wants nothing removed: the bytes
stay in the kernel for whoever is chosen. It looks at plain bytes only; with ECH (RFC 9849) the name is the outer one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

#: Largest hello unless the caller says otherwise, and the most that it may say. Hellos with ML-KEM keys are about 1.8 KB.
MAX_HELLO_BYTES: Final = 16 * 1024
MAX_HELLO_OPTION_BYTES: Final = 64 * 1024
#: A record carries at most this much of it (RFC 8446 5.1).
MAX_RECORD_BYTES: Final = 1 << 14
#: Records of a byte each are allowed, but not for a large hello: whoever waits for each of them reads all from the start.
MANY_RECORDS: Final = 512
SMALL_RECORD_BYTES: Final = 64

_ALERT: Final = 21
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_HEADER: Final = 5
_SNI, _GROUPS, _POINT_FORMATS, _SIGNATURES, _ALPN, _VERSIONS, _ECH = 0x0000, 0x000a, 0x000b, 0x000d, 0x0010, 0x002b, 0xfe0d
#: First bytes of HTTP requests, and of the HTTP/2 preface.
_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI ")
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-._")
_DIGITS: Final = frozenset("0123456789.")
#: RFC 8701: 0x0a0a, 0x1a1a, … 0xfafa say nothing; they are there to keep servers tolerant.
_GREASE: Final = frozenset(0x0a0a + 0x1010 * n for n in range(16))

# Alert descriptions (RFC 8446 6.2)
UNEXPECTED_MESSAGE: Final = 10
RECORD_OVERFLOW: Final = 22
ILLEGAL_PARAMETER: Final = 47
DECODE_ERROR: Final = 50
PROTOCOL_VERSION: Final = 70


class NotHello(Enum):
    """What came instead of a hello that can be read."""

    HTTP = "http"               # plain HTTP on a TLS port: it can be answered
    SSLV2 = "sslv2"
    ALERT = "alert"
    GARBAGE = "garbage"         # not TLS at all
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"     # TLS, but it breaks the rules


class HelloRefused(Exception):
    """What has come is no ClientHello, or none that we accept; `alert` is what TLS would answer, the text says why."""

    def __init__(self, kind: NotHello, alert: int, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.alert = alert


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers. Numbers are IANA's, in the client's order, GREASE included (`ja3` and `ja4` leave it out).

    `sni` is lower-case without a final dot, "" when the client named nobody, or an IP address, which is no name
    (RFC 6066 3): `literal` says which. With `ech`, `sni` is the outer name, and the name that is meant may be another.
    `versions` are those of supported_versions, or the one legacy version. `size` counts the handshake message.
    """

    version: int
    random: bytes = field(repr=False)
    session_id: bytes = field(repr=False)
    suites: tuple[int, ...]
    extensions: tuple[int, ...]
    sni: str = ""
    literal: bool = False
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    signatures: tuple[int, ...] = ()
    ech: bool = False
    size: int = 0


def read_hello(data: bytes, limit: int = MAX_HELLO_BYTES) -> ClientHello | int:
    """The hello at the start of `data`, or how many more bytes are needed before looking again is worth it (at least 1).

    `limit` bounds the handshake message, and with it what a caller must hold: records add 5 bytes each, and one that
    carries less than `SMALL_RECORD_BYTES` is refused when it is not among the first `MANY_RECORDS`. Bytes behind the hello
    are not looked at.
    Raises `HelloRefused`, as soon as what has come cannot become one any more.
    """
    if not data:
        return _HEADER
    if data[0] != _HANDSHAKE:
        return _something_else(data)
    if len(data) > 9 and data[1] == 3 and data[5] == _CLIENT_HELLO:
        length, size = data[3] << 8 | data[4], data[6] << 16 | data[7] << 8 | data[8]
        if size + 4 <= length <= MAX_RECORD_BYTES and size <= limit and size + 9 <= len(data):
            return _hello(data[9:9 + size])     # all of it in one record, as nearly always
    message, missing = _joined(data, limit)
    if missing:
        return missing
    return _hello(message)


def is_grease(number: int) -> bool:
    """Whether a suite, extension, group or version is one of RFC 8701's."""
    return number in _GREASE


# -- records -----------------------------------------------------------------------------------------------------------


def _joined(data: bytes, limit: int) -> tuple[bytes, int]:
    """(handshake body, 0) once it is complete, (b"", bytes missing) before. RFC 8446 5.1: it may span records."""
    at = records = 0
    message = b""
    end = len(data)
    pieces: list[bytes] = []
    size = 0
    while True:
        head = data[at:at + _HEADER]
        if head and head[0] != _HANDSHAKE:
            raise HelloRefused(NotHello.MALFORMED, UNEXPECTED_MESSAGE, f"a record of type {head[0]} inside the hello")
        if len(head) > 1 and head[1] != 3:
            if at == 0:
                raise HelloRefused(NotHello.GARBAGE, PROTOCOL_VERSION, "not TLS")
            raise HelloRefused(NotHello.MALFORMED, PROTOCOL_VERSION, "a record of another version inside the hello")
        if len(head) < _HEADER:
            return b"", _HEADER - len(head)
        length = head[3] << 8 | head[4]
        if length > MAX_RECORD_BYTES:
            raise HelloRefused(NotHello.MALFORMED, RECORD_OVERFLOW, f"a record of {length} bytes")
        if length == 0:
            raise HelloRefused(NotHello.MALFORMED, UNEXPECTED_MESSAGE, "an empty record")
        at += _HEADER
        piece = data[at:at + length]
        if piece:
            pieces.append(piece)
            size += len(piece)
        if not message and size >= 4 or len(pieces) == 1 and size and pieces[0][0] != _CLIENT_HELLO:
            message = b"".join(pieces)[:4]
            if message[0] != _CLIENT_HELLO:
                raise HelloRefused(NotHello.MALFORMED, UNEXPECTED_MESSAGE, f"a handshake message of type {message[0]} first")
            if int.from_bytes(message[1:4], "big") > limit:
                raise HelloRefused(
                    NotHello.TOO_LARGE, RECORD_OVERFLOW, f"a hello of {int.from_bytes(message[1:4], 'big')} bytes")
        if len(message) == 4:
            wanted = 4 + int.from_bytes(message[1:4], "big")
            if size >= wanted:
                return b"".join(pieces)[4:wanted], 0
        at += length
        if at > end:
            return b"", at - end
        records += 1
        if records > MANY_RECORDS and length < SMALL_RECORD_BYTES:
            raise HelloRefused(NotHello.MALFORMED, UNEXPECTED_MESSAGE, "a hello in too many records")


def _something_else(data: bytes) -> int:
    """The first byte is not that of a handshake record: say what it is, or how much more it takes to tell."""
    first = data[0]
    if first == _ALERT:
        if len(data) > 1 and data[1] != 3:
            raise HelloRefused(NotHello.GARBAGE, PROTOCOL_VERSION, "not TLS")
        if len(data) < 7:
            return 7 - len(data)
        raise HelloRefused(NotHello.ALERT, UNEXPECTED_MESSAGE, f"alert {data[6]} instead of a hello")
    if first & 0x80:
        if len(data) < 5:
            return 5 - len(data)
        if data[2] == _CLIENT_HELLO and (data[3] == 3 or data[3:5] == b"\0\2"):
            raise HelloRefused(NotHello.SSLV2, PROTOCOL_VERSION, "a hello of SSL version 2")
    for method in _METHODS:
        if data.startswith(method):
            raise HelloRefused(NotHello.HTTP, UNEXPECTED_MESSAGE, "plain HTTP on a TLS port")
        if method.startswith(data):
            return 1
    raise HelloRefused(NotHello.GARBAGE, UNEXPECTED_MESSAGE, "not TLS")


# -- the message -------------------------------------------------------------------------------------------------------


def _malformed(why: str, alert: int = DECODE_ERROR) -> HelloRefused:
    return HelloRefused(NotHello.MALFORMED, alert, f"a malformed hello: {why}")


def _short() -> HelloRefused:
    return _malformed("it ends too early")


def _hello(body: bytes) -> ClientHello:
    """Read in one piece, without a call for each field: every new connection of a TLS port comes through here."""
    end = len(body)
    if end < 2:
        raise _short()
    version = body[0] << 8 | body[1]
    if version >> 8 != 3:
        raise _malformed(f"version {version:#06x}", PROTOCOL_VERSION)
    if end < 35:
        raise _short()
    random = body[2:34]
    at = 35 + body[34]
    session_id = body[35:at]
    if at > end:
        raise _short()
    if len(session_id) > 32:
        raise _malformed("its session id is too long")
    if at + 2 > end:
        raise _short()
    start = at + 2
    at = start + (body[at] << 8 | body[at + 1])
    if at > end:
        raise _short()
    size = at - start
    if not size or size & 1:
        raise _malformed(f"a list of suites of {size} bytes")
    suites = struct.unpack_from(f">{size >> 1}H", body, start)
    if at == end:
        raise _short()
    if not body[at]:
        raise _malformed("no compression method, not even none")
    at += 1 + body[at]
    if at > end:
        raise _short()
    found: dict[int, bytes] = {}
    if at != end:                           # before TLS 1.3 a hello may end here
        if at + 2 > end:
            raise _short()
        size = body[at] << 8 | body[at + 1]
        at += 2
        if at + size > end:
            raise _short()
        if at + size < end:
            raise _malformed("something stands behind its end")
        while at != end:
            if at + 2 > end:
                raise _short()
            kind = body[at] << 8 | body[at + 1]
            if kind in found:
                raise _malformed(f"extension {kind} twice", ILLEGAL_PARAMETER)
            start = at + 4
            if start > end:
                raise _short()
            at = start + (body[at + 2] << 8 | body[at + 3])
            if at > end:
                raise _short()
            found[kind] = body[start:at]
    sni, literal = _server_name(found[_SNI]) if _SNI in found else ("", False)
    return ClientHello(
        version, random, session_id, suites, tuple(found), sni, literal,
        _protocols(found[_ALPN]) if _ALPN in found else (),
        _numbers(found[_VERSIONS], 1, "versions") if _VERSIONS in found else (version,),
        _numbers(found[_GROUPS], 2, "groups") if _GROUPS in found else (),
        tuple(_only_vector(found[_POINT_FORMATS], 1)) if _POINT_FORMATS in found else (),
        _numbers(found[_SIGNATURES], 2, "signature algorithms") if _SIGNATURES in found else (),
        _ECH in found, end + 4,
    )


def _only_vector(data: bytes, width: int) -> bytes:
    """What the length at the start announces, which must be all the rest."""
    if len(data) < width:
        raise _short()
    size = data[0] if width == 1 else data[0] << 8 | data[1]
    if size != len(data) - width:
        raise _short() if size > len(data) - width else _malformed("something stands behind its end")
    return data[width:]


def _numbers(data: bytes, width: int, what: str) -> tuple[int, ...]:
    size = len(data) - width
    if size < 2 or size & 1 or (data[0] if width == 1 else data[0] << 8 | data[1]) != size:
        raise _malformed(f"{what} of {len(_only_vector(data, width))} bytes")
    return struct.unpack_from(f">{size >> 1}H", data, width)


def _server_name(data: bytes) -> tuple[str, bool]:
    """RFC 6066 3: one host_name, ASCII, no final dot (we forgive it), no IP address (it counts as no name)."""
    names = _only_vector(data, 2)
    name = b""
    at, end = 0, len(names)
    while at != end:
        start = at + 3
        if start > end:
            raise _short()
        kind = names[at]
        at = start + (names[at + 1] << 8 | names[at + 2])
        if at > end:
            raise _short()
        if kind:
            continue
        if name:
            raise _malformed("two server names", ILLEGAL_PARAMETER)
        name = names[start:at]
        if not name:
            raise _malformed("an empty server name")
    if not name:
        raise _malformed("a list of no server names")
    name = name.lower()
    if len(name) > 255 or not _NAME.issuperset(name):
        if b":" in name and len(name) < 64 and name.isascii() and name.decode().isprintable():
            return "", True                 # an IPv6 address
        raise _malformed("a server name that is none", ILLEGAL_PARAMETER)
    text = name.decode("ascii")
    if text.endswith("."):
        text = text[:-1]
    if _DIGITS.issuperset(text) and text.count(".") == 3:
        return "", True
    if not text or text.startswith(".") or ".." in text or text.endswith("."):
        raise _malformed("a server name that is none", ILLEGAL_PARAMETER)
    return text, False


def _protocols(data: bytes) -> tuple[bytes, ...]:
    """RFC 7301 3.1."""
    listed = _only_vector(data, 2)
    names = []
    at, end = 0, len(listed)
    while at != end:
        start = at + 1
        at = start + listed[at]
        if at > end:
            raise _short()
        if at == start:
            raise _malformed("an empty protocol name")
        names.append(listed[start:at])
    if not names:
        raise _malformed("a list of no protocols")
    return tuple(names)
