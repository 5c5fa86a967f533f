"""The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): the proxy before us tells whom a connection is from.

Reading is a question of the bytes so far: it answers with a header, with how many more bytes it needs, or it raises. A header
is never guessed: bytes that are none are an error.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from voltgw.values.proxyheader import ProxyHeader as ProxyHeader

#: The first twelve bytes of version 2.
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
#: Longest line of version 1, its CRLF included.
MAX_LINE_BYTES: Final = 107
#: Longest header of version 2 that is read; the addresses of AF_UNIX alone take 216 bytes.
MAX_HEADER_BYTES: Final = 4096

TLV_ALPN: Final = 0x01
TLV_AUTHORITY: Final = 0x02
TLV_CRC32C: Final = 0x03
TLV_NOOP: Final = 0x04
TLV_UNIQUE_ID: Final = 0x05
TLV_SSL: Final = 0x20
TLV_SSL_VERSION: Final = 0x21
TLV_SSL_CIPHER: Final = 0x23
#: Of the first byte of TLV_SSL: TLS is spoken; a client certificate came on this connection; one came in this session.
SSL_SPOKEN: Final = 0x01
SSL_CERTIFICATE: Final = 0x02 | 0x04

_HEAD: Final = struct.Struct("!12sBBH")
_INET: Final = struct.Struct("!4s4sHH")
_INET6: Final = struct.Struct("!16s16sHH")
_UNIX_BYTES: Final = 216
_TLV: Final = struct.Struct("!BH")

Address = tuple[str, int]


class ProxyHeaderRefused(ValueError):
    """What a connection began with is no PROXY header."""


def read_header(data: bytes) -> ProxyHeader | int:
    """The header at the beginning of `data`, or how many more bytes are needed at least. Raises `ProxyHeaderRefused`."""
    if data[:12] == SIGNATURE[:len(data)]:
        return _read_2(data)
    if data[:6] == b"PROXY "[:len(data)]:
        return _read_1(data)
    raise ProxyHeaderRefused("it does not begin with a PROXY header")


def _read_1(data: bytes) -> ProxyHeader | int:
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        if len(data) >= MAX_LINE_BYTES:
            raise ProxyHeaderRefused("the line is too long")
        return 2 if not data.endswith(b"\r") else 1
    words = data[6:end].split(b" ")
    family = words[0]
    if family == b"UNKNOWN":
        return ProxyHeader(end + 2)
    if family not in (b"TCP4", b"TCP6") or len(words) != 5:
        raise ProxyHeaderRefused("the line does not have its five words")
    kind = socket.AF_INET if family == b"TCP4" else socket.AF_INET6
    return ProxyHeader(end + 2, (_host(kind, words[1]), _port(words[3])), (_host(kind, words[2]), _port(words[4])))


def _host(kind: socket.AddressFamily, word: bytes) -> str:
    try:
        return socket.inet_ntop(kind, socket.inet_pton(kind, word.decode("ascii")))
    except (OSError, ValueError):
        raise ProxyHeaderRefused("an address is none") from None


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[0] == 0x30 and len(word) > 1) or int(word) > 65535:
        raise ProxyHeaderRefused("a port is none")
    return int(word)


def _read_2(data: bytes) -> ProxyHeader | int:
    if len(data) < _HEAD.size:
        return int(_HEAD.size) - len(data)
    command: int
    family: int
    length: int
    _, command, family, length = _HEAD.unpack_from(data)
    size = _HEAD.size + length
    if command >> 4 != 2 or command & 0xf > 1:
        raise ProxyHeaderRefused("version or command is unknown")
    if size > MAX_HEADER_BYTES:
        raise ProxyHeaderRefused("the header is too long")
    if len(data) < size:
        return int(size) - len(data)
    body = data[_HEAD.size:size]
    source = destination = None
    layout = {1: _INET, 2: _INET6}.get(family >> 4)
    if family >> 4 > 3 or family & 0xf > 2:
        raise ProxyHeaderRefused("the family of the addresses is unknown")
    used = layout.size if layout is not None else _UNIX_BYTES if family >> 4 == 3 else 0
    if command & 0xf == 0 and len(body) < used:
        used = len(body)                    # LOCAL: addresses are to be ignored, however many there are
    if len(body) < used:
        raise ProxyHeaderRefused("the addresses are cut off")
    if layout is not None and command & 0xf == 1:
        near, far, near_port, far_port = layout.unpack_from(body)
        kind = socket.AF_INET if layout is _INET else socket.AF_INET6
        source, destination = (_text(kind, near), near_port), (_text(kind, far), far_port)
    tlvs = tuple(_tlvs(body[used:])) if command & 0xf == 1 else ()
    for kind_of, value in tlvs:
        if kind_of == TLV_CRC32C:
            _check(data[:size], value)
    return ProxyHeader(size, source, destination, tlvs, family & 0xf == 2)


def address_bytes(family: int) -> int:
    """How many bytes of addresses follow a head of version 2 whose fourteenth byte is `family`."""
    return {1: _INET.size, 2: _INET6.size, 3: _UNIX_BYTES}.get(family >> 4, 0)


def _text(kind: socket.AddressFamily, packed: bytes) -> str:
    text = socket.inet_ntop(kind, packed)
    return text[7:] if text.startswith("::ffff:") and "." in text else text


def _tlvs(rest: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(rest):
        if len(rest) - at < _TLV.size:
            raise ProxyHeaderRefused("a TLV is cut off")
        kind, length = _TLV.unpack_from(rest, at)
        at += _TLV.size
        if len(rest) - at < length:
            raise ProxyHeaderRefused("a TLV is cut off")
        yield kind, rest[at:at + length]
        at += length


def _check(header: bytes, checksum: bytes) -> None:
    """The checksum is that of the header with zeros in its own place."""
    place = header.find(_TLV.pack(TLV_CRC32C, 4) + checksum)
    if len(checksum) != 4 or place < 0:
        raise ProxyHeaderRefused("the checksum is not four bytes")
    place += _TLV.size
    if crc32c(header[:place] + b"\0\0\0\0" + header[place + 4:]) != int.from_bytes(checksum, "big"):
        raise ProxyHeaderRefused("the checksum is wrong")


def _table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C: Final = _table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 9260 appendix A)."""
    value = 0xffffffff
    for byte in data:
        value = _CRC32C[(value ^ byte) & 0xff] ^ value >> 8
    return value ^ 0xffffffff


def line_1(source: Address, destination: Address) -> bytes:
    """A header of version 1; UNKNOWN where the two addresses are not of one family."""
    six = ":" in source[0]
    if six is not (":" in destination[0]):
        return b"PROXY UNKNOWN\r\n"
    return (f"PROXY TCP{'6' if six else '4'} {_plain(source[0])} {_plain(destination[0])} {source[1]} {destination[1]}\r\n"
            ).encode("ascii")


def header_2(source: Address, destination: Address, tlvs: Iterable[tuple[int, bytes]] = (), *, datagram: bool = False) -> bytes:
    """A header of version 2; without addresses (AF_UNSPEC) where the two are not of one family."""
    six = ":" in source[0]
    if six is not (":" in destination[0]):
        family, addresses = 0, b""
    else:
        kind, layout = (socket.AF_INET6, _INET6) if six else (socket.AF_INET, _INET)
        family = (2 if six else 1) << 4 | (2 if datagram else 1)
        addresses = layout.pack(socket.inet_pton(kind, _plain(source[0])), socket.inet_pton(kind, _plain(destination[0])),
                                source[1], destination[1])
    body = addresses + b"".join(tlv(kind, value) for kind, value in tlvs)
    return _HEAD.pack(SIGNATURE, 0x21, family, len(body)) + body


def own_header(version: int) -> bytes:
    """A header for what the proxy itself asks, as a health check does: UNKNOWN, or in version 2 LOCAL."""
    return b"PROXY UNKNOWN\r\n" if version == 1 else _HEAD.pack(SIGNATURE, 0x20, 0, 0)


def tlv(kind: int, value: bytes) -> bytes:
    """One type, length and value."""
    return _TLV.pack(kind, len(value)) + value


def ssl_value(version: str, cipher: str, certified: bool) -> bytes:
    """The value of TLV_SSL for a connection whose TLS we have ended; a certificate that was let in was verified."""
    parts = [(TLV_SSL_VERSION, version), (TLV_SSL_CIPHER, cipher)]
    return struct.pack("!BI", SSL_SPOKEN | (SSL_CERTIFICATE if certified else 0), 0) + b"".join(
        tlv(kind, text.encode("ascii", "replace")) for kind, text in parts if text)


def _plain(host: str) -> str:
    """Without the zone of a link-local address, which means nothing elsewhere."""
    return host.partition("%")[0]
