"""The frames of HTTP/2 (RFC 9113 4, 6): numbers, errors, and how the small ones are written."""

from __future__ import annotations

from struct import Struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"     #: RFC 9113 3.4
HEADER_BYTES: Final = 9

# Types (RFC 9113 6; PRIORITY_UPDATE: RFC 9218 7.1)
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
PRIORITY_UPDATE: Final = 16

# Flags
END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
PRIORITISED: Final = 0x20

# Settings (RFC 9113 6.5.2; RFC 8441 3; RFC 9218 2.1)
HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8
NO_RFC7540_PRIORITIES: Final = 9

# Error codes (RFC 9113 7)
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13

#: What the numbers are called in the RFC, for logs and records.
ERROR_NAMES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)

DEFAULT_WINDOW: Final = 65535           #: RFC 9113 6.9.2
MAX_WINDOW: Final = (1 << 31) - 1       #: 6.9.1
MIN_MAX_FRAME: Final = 1 << 14          #: 6.5.2, where both sides begin
MAX_MAX_FRAME: Final = (1 << 24) - 1
MAX_STREAM_ID: Final = (1 << 31) - 1

#: The length's upper 16 bits and lower 8, type, flags, stream.
header_of: Final = Struct(">HBBBI").pack
#: `(data, place) -> (length >> 8, length & 255, type, flags, stream with its reserved bit)`.
read_header: Final = Struct(">HBBBI").unpack_from
_setting: Final = Struct(">HI")
_number: Final = Struct(">HBBBII").pack
_goaway: Final = Struct(">HBBBIII").pack

SETTINGS_ACK: Final = header_of(0, 0, SETTINGS, ACK, 0)


def error_name(code: int) -> str:
    """The name of an error code, or its number if it has none."""
    return ERROR_NAMES[code] if code < len(ERROR_NAMES) else f"{code:#x}"


class ConnectionFault(Exception):
    """The peer broke a rule of the connection (RFC 9113 5.4.1): GOAWAY with `code`, and it is over."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class StreamFault(Exception):
    """The peer broke a rule of one stream (RFC 9113 5.4.2): RST_STREAM with `code`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """A frame's first nine octets."""
    return header_of(length >> 8, length & 0xFF, kind, flags, stream_id)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (RFC 9113 6.4)."""
    return _number(0, 4, RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (RFC 9113 6.9); stream 0 is the connection."""
    return _number(0, 4, WINDOW_UPDATE, 0, stream_id, increment)


def ping(payload: bytes, flags: int = 0) -> bytes:
    """PING (RFC 9113 6.7); `payload` has eight octets."""
    return header_of(0, 8, PING, flags, 0) + payload


def goaway(last_id: int, code: int, debug: bytes = b"") -> bytes:
    """GOAWAY (RFC 9113 6.8); `debug` is for people, and may be read by the peer."""
    length = 8 + len(debug)
    return _goaway(length >> 8, length & 0xFF, GOAWAY, 0, 0, last_id, code) + debug


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS (RFC 9113 6.5)."""
    return header(6 * len(values), SETTINGS, 0, 0) + b"".join(_setting.pack(*each) for each in values.items())


def read_settings(payload: bytes) -> dict[int, int]:
    """The values of a SETTINGS frame; of one that stands twice, the last, which is the one that holds."""
    return dict(_setting.iter_unpack(payload))


def headers(stream_id: int, block: bytes, flags: int, max_frame: int) -> bytes:
    """HEADERS with as many CONTINUATION as it takes (RFC 9113 6.2, 6.10); `flags` without END_HEADERS."""
    length = len(block)
    if length <= max_frame:
        return header_of(length >> 8, length & 0xFF, HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = [header(max_frame, HEADERS, flags, stream_id), block[:max_frame]]
    for begin in range(max_frame, length, max_frame):
        piece = block[begin:begin + max_frame]
        last = begin + max_frame >= length
        pieces += (header(len(piece), CONTINUATION, END_HEADERS if last else 0, stream_id), piece)
    return b"".join(pieces)
