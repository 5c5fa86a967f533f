"""What a proxy must know of gRPC: its deadlines, and how it is told of errors (the protocol's "HTTP/2 mapping")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from voltgw.values.retry import GRPC_CONDITIONS

if TYPE_CHECKING:
    from voltgw.values.head import Field, RequestHead, ResponseHead

#: Where an answer says how the call went.
GRPC_STATUS: Final = b"grpc-status"
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
#: What a client takes an HTTP status for ("http-grpc-status-mapping"), and ours that have a better one.
_CODES: Final = {400: 13, 401: 16, 403: 7, 404: 12, 408: 4, 413: 8, 429: 8, 431: 8, 502: 14, 503: 14, 504: 4}
_UNKNOWN: Final = 2
#: Codes of gRPC as statuses, for retry conditions: unavailable and deadline-exceeded are what a gateway would say, too.
_NO_CONDITION: Final[frozenset[str]] = frozenset()
_STATUSES: Final = {2: 500, 4: 504, 8: 429, 10: 409, 13: 500, 14: 503}


def is_grpc(head: RequestHead) -> bool:
    """Whether a request is one of gRPC, by its content type."""
    kind = head.get(b"content-type")
    return kind is not None and kind.startswith(b"application/grpc") and kind[16:17] in (b"", b"+", b";")


def grpc_timeout_s(head: RequestHead) -> float | None:
    """How long the client waits (``grpc-timeout``), in seconds; None when it says nothing, or nonsense."""
    value = head.get(b"grpc-timeout")
    match = _TIMEOUT(value) if value is not None else None
    return int(match[1]) * _UNITS[match[2]] if match is not None else None


def retry_status(response: ResponseHead, ended: bool) -> int:
    """The HTTP status by which an answer is judged for another try: one of gRPC that is nothing but an error has its own."""
    if response.status == 200 and ended:
        value = response.get(GRPC_STATUS)
        if value is not None and value.isdigit():
            return _STATUSES.get(int(value[:3]), 200)
    return response.status


def retry_conditions(response: ResponseHead, ended: bool) -> frozenset[str]:
    """The retry condition that an answer of gRPC meets which is nothing but an error, by Envoy's name; none for others."""
    if response.status == 200 and ended:
        value = response.get(GRPC_STATUS)
        if value is not None and value.isdigit():
            name = GRPC_CONDITIONS.get(int(value[:3]))
            if name is not None:
                return frozenset((name,))
    return _NO_CONDITION


def trailers_only(status: int, detail: str) -> list[Field]:
    """An answer of ours to a gRPC request that would have got the HTTP `status`: a 200 without a body that says why."""
    message = "".join(char if " " <= char <= "~" and char != "%" else "".join(f"%{byte:02X}" for byte in char.encode())
                      for char in detail)
    return [(b"content-type", b"application/grpc"), (GRPC_STATUS, b"%d" % _CODES.get(status, _UNKNOWN)),
            (b"grpc-message", message.encode("ascii"))]
