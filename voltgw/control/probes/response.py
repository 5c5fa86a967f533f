"""As much of an HTTP/1.1 response as a probe needs: the status, the end of the head, a bounded piece of the body.

Sans-IO and strict (RFC 9112): what the data plane would not forward does not pass as healthy here.
"""

from __future__ import annotations

import re
from typing import Final

from voltgw.errors import BadResponse

MAX_HEAD_BYTES: Final = 16 * 1024
#: How much of a body is looked at.
MAX_BODY_BYTES: Final = 64 * 1024
#: 1xx answers that may come before the final one.
MAX_INTERIM: Final = 16
#: Longest line between two chunks: a size, extensions, a trailer field.
MAX_CHUNK_LINE_BYTES: Final = 8 * 1024

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")

_HEAD, _SIZED, _CHUNK_SIZE, _CHUNK, _CHUNK_END, _TRAILER, _UNTIL_CLOSE, _DONE = range(8)


class ResponseReader:
    """Reads one response; `expected` are bytes to look for in the body, b"" = the body does not matter.

    After `feed` or `closed` has returned True, `status` and `found` say all. With `whole` the body is read to its end, if that
    is not too far, so that the connection may be `reusable`.
    """

    __slots__ = ("_closes", "_ended", "_expected", "_held", "_interim", "_left", "_phase", "_whole", "body", "found", "status")

    def __init__(self, expected: bytes, whole: bool = False) -> None:
        self.status = 0
        self.found = False                  # whether the expected bytes were seen
        self.body = bytearray()
        self._expected = expected
        self._whole = whole
        self._closes = False                # the connection ends with this answer
        self._ended = False                 # all of the answer was read
        self._held = b""
        self._phase = _HEAD
        self._interim = 0
        self._left = 0                      # bytes to come of the body, or of the chunk

    def feed(self, data: bytes) -> bool:
        """Take what came; True when no more is needed. Raises BadResponse."""
        self._held += data
        while self._phase != _DONE and self._step():
            pass
        return self._phase == _DONE

    def closed(self) -> bool:
        """The connection has ended; False when something was still to come."""
        if self._phase == _UNTIL_CLOSE:
            self._phase = _DONE
        return self._phase == _DONE

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on the connection (RFC 9112 9.3)."""
        return self._ended and not self._closes and not self._held

    # -- inside: each step takes something from `_held` and returns True, or returns False to wait for more ------------

    def _step(self) -> bool:
        phase = self._phase
        if phase == _HEAD:
            return self._head()
        if phase == _CHUNK_SIZE:
            return self._chunk_size()
        if phase == _CHUNK_END:
            return self._chunk_end()
        if phase == _TRAILER:
            return self._trailer()
        return self._take()

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(self._held) > MAX_HEAD_BYTES:
                raise BadResponse(f"the head is longer than {MAX_HEAD_BYTES} bytes")
            if not self._held.startswith(b"HTTP/1."[:len(self._held)]):
                raise BadResponse("the answer is not HTTP/1.x")
            return False
        lines = self._held[:end].split(b"\r\n")
        self._held = self._held[end + 4:]
        line = _STATUS_LINE.fullmatch(lines[0])
        if line is None:
            raise BadResponse(f"not a status line: {lines[0][:60]!r}")
        fields = [_field(each) for each in lines[1:]]
        status = int(line[1])
        if status == 101:
            raise BadResponse("it changed to a protocol that nobody asked for")
        if status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadResponse(f"more than {MAX_INTERIM} interim answers")
            return True
        self.status = status
        self._closes = lines[0].startswith(b"HTTP/1.0") or any(
            name == b"connection" and b"close" in value.lower() for name, value in fields)
        if not self._expected and not self._whole:
            self._phase = _DONE
        else:
            self._begin_body(fields)
        return True

    def _begin_body(self, fields: list[tuple[bytes, bytes]]) -> None:
        """How the body ends (RFC 9112 6.3)."""
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        lengths = {value for name, value in fields if name == b"content-length"}
        if self.status in (204, 304):
            self._end()
        elif codings:
            if lengths or len(codings) > 1 or codings[0].lower() != b"chunked":
                raise BadResponse("the length of the body cannot be known")
            self._phase = _CHUNK_SIZE
        elif lengths:
            length = lengths.pop()
            if lengths or not length.isdigit() or len(length) > 18:
                raise BadResponse("the length of the body cannot be known")
            self._left = int(length)
            self._phase = _SIZED
            if not self._left:
                self._end()
        else:
            self._phase = _UNTIL_CLOSE if self._expected else _DONE

    def _end(self) -> None:
        self._ended = True
        self._phase = _DONE

    def _take(self) -> bool:
        """Bytes of the body."""
        if not self._held:
            return False
        data = self._held
        if self._phase != _UNTIL_CLOSE:
            data = data[:self._left]
            self._left -= len(data)
        self._held = self._held[len(data):]
        body = self.body
        begin = max(len(body) - len(self._expected) + 1, 0)
        body += data[:MAX_BODY_BYTES - len(body)]
        if not self.found and body.find(self._expected, begin) >= 0:
            self.found = True
        if (self.found and (not self._whole or self._phase == _UNTIL_CLOSE)) or len(body) >= MAX_BODY_BYTES:
            self._phase = _DONE
        elif not self._left and self._phase == _SIZED:
            self._end()
        elif not self._left and self._phase == _CHUNK:
            self._phase = _CHUNK_END
        return True

    def _line(self) -> bytes | None:
        end = self._held.find(b"\r\n")
        if end > MAX_CHUNK_LINE_BYTES or (end < 0 and len(self._held) > MAX_CHUNK_LINE_BYTES):
            raise BadResponse("a chunk's line is too long")
        if end < 0:
            return None
        line = self._held[:end]
        self._held = self._held[end + 2:]
        return line

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size = _SIZE.fullmatch(line)
        if size is None:
            raise BadResponse(f"not a chunk size: {line[:20]!r}")
        self._left = int(size[1], 16)
        self._phase = _CHUNK if self._left else _TRAILER
        return True

    def _chunk_end(self) -> bool:
        if len(self._held) < 2:
            return False
        if not self._held.startswith(b"\r\n"):
            raise BadResponse("a chunk is longer than it said")
        self._held = self._held[2:]
        self._phase = _CHUNK_SIZE
        return True

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._end()
        return True


def _field(line: bytes) -> tuple[bytes, bytes]:
    found = _FIELD.fullmatch(line)
    if found is None:
        raise BadResponse(f"not a field line: {line[:60]!r}")
    return found[1].lower(), found[2]
