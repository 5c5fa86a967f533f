"""Proxy-Status (RFC 9209): what went wrong between the client and the endpoint, for whoever reads the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.values.reply import Reply

#: Error types of RFC 9209 2.3 by `ProxyError.detail`, then by flag.
_BY_DETAIL: Final = {
    "connect_failure": b"connection_refused",
    "connect_timeout": b"connection_timeout",
}
_BY_FLAG: Final = {
    "DPE": b"http_request_error",
    "DT": b"http_request_error",
    "IE": b"proxy_internal_error",
    "NC": b"proxy_configuration_error",
    "NR": b"destination_not_found",
    "OM": b"proxy_internal_response",
    "UC": b"connection_terminated",
    "UF": b"destination_unavailable",
    "UH": b"destination_unavailable",
    "UO": b"connection_limit_reached",
    "UR": b"connection_terminated",
    "UPE": b"http_protocol_error",
    "UT": b"http_response_timeout",
}


def proxy_status(reply: Reply, request_id: bytes) -> bytes:
    """The line for an answer of ours to a failure; the request's id is what ``voltgw why`` asks for."""
    error = _BY_DETAIL.get(reply.detail) or _BY_FLAG.get(reply.flag)
    if error is None:
        error = b"http_request_denied" if reply.status < 500 else b"proxy_internal_response"
    return b'proxy-status: voltgw; error=%b; details="request %b"' % (error, request_id)
