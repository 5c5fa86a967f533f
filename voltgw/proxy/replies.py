"""Answers of our own: small, honest, and in the form the client asked for (RFC 9457 problem details, or a page)."""

from __future__ import annotations

import json
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

from voltgw.proxy.casing import recased
from voltgw.proxy.rpc import is_grpc, trailers_only
from voltgw.proxy.status import proxy_status
from voltgw.values.head import ResponseHead
from voltgw.values.reply import Reply
from voltgw.wire.http1 import http_date

if TYPE_CHECKING:
    from voltgw.interfaces import ResponseFilter
    from voltgw.routing.table import Route, VirtualHost
    from voltgw.values.exchange import BodyTransform, Exchange
    from voltgw.values.head import Field, RequestHead

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
REASONS[413] = b"Content Too Large"
REASONS[421] = b"Misdirected Request"
REASONS[499] = b"Client Closed Request"

#: Statuses whose answers have no body, and no Content-Length either (RFC 9110 8.6: in a 304 it would be the 200's).
_BODILESS: Final = frozenset((204, 304))

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title></head>
<body><h1>{status} {title}</h1><p>{detail}</p><p>request {request_id}</p></body></html>
"""


def render(
    reply: Reply, head: RequestHead | None, host: VirtualHost | None, request_id: bytes, wall: float, close: bool,
) -> bytes:
    """The whole answer as bytes: head and body.

    `head` None means that the request was never understood; it is then answered as HTTP/1.1 and the connection closes.
    """
    status = reply.status
    body, content_type = (_page(reply, head, host, request_id) if reply.negotiate and not reply.body
                          else (reply.body, None))
    lines = [b"HTTP/1.1 %d %b" % (status, REASONS.get(status, b""))]
    lines += [b"%b: %b" % field for field in reply.fields]
    if content_type is not None:
        lines.append(b"content-type: " + content_type)
    names = {name for name, _ in reply.fields}
    server = b"server: voltgw" if host is None else host.server_line
    if server is not None and b"server" not in names:
        lines.append(server)
    if b"date" not in names:
        lines.append(b"date: " + http_date(wall))
    if reply.flag:
        lines.append(b"x-request-id: " + request_id)
        if host is not None and host.proxy_status:
            lines.append(proxy_status(reply, request_id))
    if status >= 200 and status not in _BODILESS:
        lines.append(b"content-length: %d" % len(body))
    if close:
        lines.append(b"connection: close")
    elif head is not None and not head.minor:
        lines.append(b"connection: keep-alive")
    if host is not None and host.header_case is not None:
        lines = recased(lines, host.header_case)
    lines.append(b"")
    without_body = status in _BODILESS or status < 200 or (head is not None and head.method == b"HEAD")
    lines.append(b"" if without_body else body)
    return b"\r\n".join(lines)


def version_2(
    reply: Reply, head: RequestHead | None, host: VirtualHost | None, request_id: bytes, wall: float,
) -> tuple[int, list[Field], bytes]:
    """The same for HTTP/2: status, fields and body. An error is told to a client of gRPC in its own way."""
    status = reply.status
    fields = list(reply.fields)
    body, content_type = b"", None
    if head is not None and status >= 400 and is_grpc(head):
        later = [each for each in fields if each[0] in (b"retry-after", b"ratelimit", b"ratelimit-policy")]
        fields, status = trailers_only(status, DETAILS.get(reply.flag) or reply.body[:256].decode("utf-8", "replace")), 200
        fields += later
        fields += [(b"grpc-retry-pushback-ms", b"%d" % (int(value) * 1000)) for name, value in later if name == b"retry-after"]
    elif reply.negotiate and not reply.body:
        body, content_type = _page(reply, head, host, request_id)
    else:
        body = reply.body
    if content_type is not None:
        fields.append((b"content-type", content_type))
    names = {name for name, _ in fields}
    server = b"server: voltgw" if host is None else host.server_line
    if server is not None and b"server" not in names:
        fields.append((b"server", server.partition(b": ")[2]))
    if b"date" not in names:
        fields.append((b"date", http_date(wall)))
    if reply.flag:
        fields.append((b"x-request-id", request_id))
        if host is not None and host.proxy_status:
            fields.append((b"proxy-status", proxy_status(reply, request_id).partition(b": ")[2]))
    if status in _BODILESS:
        return status, fields, b""
    fields.append((b"content-length", b"%d" % len(body)))
    return status, fields, b"" if head is not None and head.method == b"HEAD" else body


def marked(reply: Reply, exchange: Exchange) -> Reply:
    """An error, with what its route has to say even of errors (`Route.error_filters`): a page's script may then read it."""
    route = cast("Route | None", exchange.route)        # the records' view of it; the data plane sets routes of ours
    return edited(reply, exchange, route, route.error_filters) if route is not None and route.error_filters else reply


def edited(reply: Reply, exchange: Exchange, route: Route, filters: tuple[ResponseFilter, ...]) -> Reply:
    """`reply`, which `route` gave, after response filters of the route: to them it is an answer like an endpoint's.

    A Server that they set counts as the endpoint's own would: the virtual host decides what becomes of it.
    """
    before, changing = exchange.response, exchange.transform     # in the record `response` says that an endpoint has answered
    response = ResponseHead(
        reply.status, REASONS.get(reply.status, b""), 1, list(reply.fields), len(reply.body), not reply.close)
    exchange.response, exchange.transform = response, None
    try:
        transform = _transform_of(exchange, filters)
    finally:
        exchange.response, exchange.transform = before, changing
    body = reply.body
    if transform is not None and body and reply.status not in _BODILESS:
        body = transform.feed(body) + transform.finish()
    fields = response.fields
    host = route.host
    if response.server is not None and (host.server_line is None or host.keep_server):
        fields.append((b"server", response.server))
    return Reply(
        reply.status, fields, body, flag=reply.flag, detail=reply.detail, close=reply.close, negotiate=reply.negotiate)


def _transform_of(exchange: Exchange, filters: tuple[ResponseFilter, ...]) -> BodyTransform | None:
    """What response filters want done with the body."""
    for response_filter in filters:
        response_filter(exchange)
    return exchange.transform


def _page(
    reply: Reply, head: RequestHead | None, host: VirtualHost | None, request_id: bytes
) -> tuple[bytes, bytes | None]:
    """Body and content type of an error: the operator's own, else ours by Accept."""
    status = reply.status
    if status in _BODILESS:
        return b"", None
    if host is not None:
        own = host.custom_errors.get(status) or host.custom_errors.get(status // 100)
        if own is not None:
            return own, b"text/html; charset=utf-8"
        if not host.default_error_pages:
            return b"", None
    title = REASONS.get(status, b"").decode("ascii")
    detail = DETAILS.get(reply.flag, "")
    accept = head.get(b"accept") if head is not None else None
    if accept is not None and b"text/html" in accept.lower():
        page = _PAGE.format(status=status, title=title, detail=escape(detail), request_id=request_id.decode("ascii"))
        return page.encode("utf-8"), b"text/html; charset=utf-8"
    problem = {"title": title, "status": status, "detail": detail, "flag": reply.flag,
               "request_id": request_id.decode("ascii")}
    return json.dumps(problem).encode("utf-8") + b"\n", b"application/problem+json"


#: What a client may know of each response flag; endpoint addresses and names stay in the log.
DETAILS: Final[dict[str, str]] = {
    "AU": "This request needs a credential that is accepted here.",
    "CORS": "This origin may not ask like that.",
    "DF": "The name of the destination has no address.",
    "FP": "This proxy does not go there.",
    "PA": "This proxy asks who you are.",
    "CSRF": "A request that changes something must come from a page of this site.",
    "DPE": "The request is not valid HTTP, or more than this gateway takes.",
    "DT": "The request did not arrive in time.",
    "FI": "A fault was injected here, for a test.",
    "NC": "The route leads to a cluster that is not configured.",
    "NR": "No virtual host or route takes this request.",
    "OM": "The gateway has more to do than it has room for; come again later.",
    "RL": "Too many requests; come again later.",
    "SP": "A service policy refuses this request.",
    "UC": "The endpoint closed the connection before its answer was complete.",
    "UF": "The connection to the endpoint failed.",
    "UH": "No healthy endpoint is available.",
    "UO": "The limit of waiting requests is reached.",
    "UR": "The endpoint gave the request up.",
    "UPE": "The endpoint's answer is not valid HTTP.",
    "UT": "The endpoint did not answer in time.",
    "IE": "The gateway failed on this request; its log says why.",
}
