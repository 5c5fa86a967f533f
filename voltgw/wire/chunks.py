"""Chunked bodies of HTTP/1.1 (RFC 9112 7.1), scanned as they pass.

Nothing here does I/O. What RFC 9112 lets one repair is refused, as in heads (`voltgw.wire.http1`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voltgw.errors import BadResponse
from voltgw.values.defaults import MAX_CHUNK_EXTENSION_BYTES, MAX_TRAILER_BYTES
from voltgw.values.head import FORWARDING
from voltgw.wire.http1 import HOP_NAMES, IN_VALUE, TOKEN

if TYPE_CHECKING:
    from voltgw.errors import BadRequest, ProxyError
    from voltgw.values.head import Field

LAST_CHUNK: Final = b"0\r\n\r\n"
#: What may not come behind a body, because it would change what stood before it (RFC 9110 6.5.1), or is for one hop.
NOT_IN_TRAILERS: Final = frozenset((
    b"host", b"content-length", b"content-encoding", b"content-type", b"content-range", b"te", b"trailer", b"expect",
    b"authorization", b"cookie", b"set-cookie", b"cache-control", b"max-forwards", b"priority", b"connection", b"keep-alive",
    b"proxy-connection", b"transfer-encoding", b"upgrade", *HOP_NAMES, *FORWARDING,
))

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILER: Final = 3
_END: Final = 4


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; `data` must not be empty (that would be the last chunk)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkScanner:
    """Watches a chunked body go by (RFC 9112 7.1) and says where it ends.

    What comes out is a valid chunked body again: chunks as they came, but without extensions and trailers; or, with
    `dechunk`, the data alone (for a peer of HTTP/1.0 or HTTP/2). `trailers` has those that may go on, None = none. `error` is
    raised for anything that is not a chunked body.
    """

    __slots__ = ("_dechunk", "_error", "_extension_bytes", "_held", "_left", "_state", "_trailer_bytes", "done", "trailers")

    def __init__(self, error: type[BadRequest] | type[BadResponse], dechunk: bool = False) -> None:
        self.done = False
        self.trailers: list[Field] | None = None
        self._error: type[ProxyError] = error
        self._dechunk = dechunk
        self._state = _SIZE
        self._left = 0                      # data bytes of the present chunk still to come
        self._held = b""                    # the beginning of a line that is not complete
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what came; return what may pass, and (once `done`) what came behind the body."""
        size = len(data)
        if self._state == _DATA and size < self._left:
            self._left -= size              # the common case of a long chunk
            return data, b""
        if self._held:
            data = self._held + data
            self._held = b""
            size = len(data)
        out: list[bytes] = []
        mark = pos = 0                      # data[mark:pos] may pass but is not in `out` yet
        dechunk = self._dechunk
        while pos < size:
            state = self._state
            if state == _DATA:
                if size - pos < self._left:
                    self._left -= size - pos
                    pos = size
                    break
                pos += self._left
                if dechunk:
                    out.append(data[mark:pos])
                self._state = _DATA_END
            elif state == _DATA_END:
                end = data[pos:pos + 2]
                if end != b"\r\n":
                    if end != b"\r":
                        raise self._error("a chunk is longer than its size (RFC 9112 7.1)")
                    return self._pause(out, data, mark, pos)
                pos += 2
                self._state = _SIZE
            elif state == _SIZE:
                end_of_line = data.find(b"\n", pos)
                if end_of_line < 0:
                    if size - pos > MAX_CHUNK_EXTENSION_BYTES:
                        raise self._error("a chunk-size line without an end")
                    return self._pause(out, data, mark, pos)
                match = _SIZE_LINE.fullmatch(data, pos, end_of_line + 1)
                if match is None:
                    raise self._error("a chunk-size line that is none (RFC 9112 7.1)")
                self._left = int(match[1], 16)
                if self._left >> 62:
                    raise self._error("a chunk too large to be true")
                if match[2] is not None:
                    self._extension_bytes += len(match[2])
                    if self._extension_bytes > MAX_CHUNK_EXTENSION_BYTES:
                        raise self._error("more chunk extensions than allowed")
                if not self._left:
                    if not dechunk:
                        out.append(data[mark:pos])
                    self._state = _TRAILER
                elif match[2] is not None and not dechunk:
                    out.append(data[mark:pos])
                    out.append(match[1] + b"\r\n")
                    mark = end_of_line + 1
                pos = end_of_line + 1
                if dechunk or not self._left:
                    mark = pos
                if self._left:
                    self._state = _DATA
            else:
                end_of_line = data.find(b"\n", pos)
                if end_of_line < 0:
                    if size - pos > MAX_TRAILER_BYTES:
                        raise self._error("more trailers than allowed")
                    return self._pause(out, data, pos, pos)
                line = data[pos:end_of_line + 1]
                pos = mark = end_of_line + 1
                if line == b"\r\n":
                    if not dechunk:
                        out.append(LAST_CHUNK)
                    self._state = _END
                    self.done = True
                    return b"".join(out), data[pos:]
                self._trailer(line)
        if dechunk:
            if self._state == _DATA:
                out.append(data[mark:pos])
        else:
            out.append(data[mark:pos])
        return (out[0] if len(out) == 1 else b"".join(out)), b""

    def _pause(self, out: list[bytes], data: bytes, mark: int, pos: int) -> tuple[bytes, bytes]:
        """Keep the piece of a line from `pos` on until the rest of it comes."""
        self._held = data[pos:]
        if not self._dechunk:
            out.append(data[mark:pos])
        return b"".join(out), b""

    def _trailer(self, line: bytes) -> None:
        """Check one trailer line; it is never merged into the head, which is how a body smuggles fields (RFC 9110 6.5.1)."""
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise self._error("more trailers than allowed")
        if not line.endswith(b"\r\n"):
            raise self._error("a trailer line that ends with a bare LF")
        name, colon, value = line[:-2].partition(b":")
        if not colon or TOKEN.fullmatch(name) is None or (value and not value.translate(IN_VALUE).isalpha()):
            raise self._error("a trailer line that is no field")
        name = name.lower()
        if name not in NOT_IN_TRAILERS and (b"_" not in name or self._error is BadResponse):    # as in a head
            if self.trailers is None:
                self.trailers = []
            self.trailers.append((name, value.strip(b" \t")))
