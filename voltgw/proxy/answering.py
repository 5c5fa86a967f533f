"""The head of an answer, edited and complete, in the form that the client's version of HTTP has for it.

`voltgw.proxy.upstream` has the usual case, from HTTP/1.1 to HTTP/1.1, in line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.proxy.casing import recased
from voltgw.proxy.fields import VIA, line
from voltgw.proxy.replies import REASONS
from voltgw.values.preserve_case import preserve_case
from voltgw.wire.chunks import LAST_CHUNK, chunk
from voltgw.wire.h2heads import STATUS_FIELDS
from voltgw.wire.http1 import http_date

if TYPE_CHECKING:
    from voltgw.proxy.exchanging import Exchanging
    from voltgw.values.head import Field, ResponseHead

#: Behind our name, as in `voltgw.proxy.fields`.
_VIA: Final = tuple((b"via", each.partition(b": ")[2]) for each in VIA)
_SERVER: Final = len(b"server: ")


def answer_fields(sender: Exchanging, response: ResponseHead, length: int) -> list[Field]:
    """The whole field list of an answer for a client of HTTP/2, ``:status`` first. `length` < 0: nobody knows it."""
    exchange, host = sender.exchange, sender.host
    assert exchange is not None and host is not None       # an answer is to a request that was routed
    status = response.status
    fields = [STATUS_FIELDS[status], *response.fields]
    server_line = host.server_line
    if server_line is None or (response.server is not None and host.keep_server):
        if response.server:
            fields.append((b"server", response.server))
    else:
        fields.append((b"server", server_line[_SERVER:]))
    if not response.dated:
        fields.append((b"date", http_date(sender.wall())))
    if exchange.cookies_to_set is not None:
        for cookie in exchange.cookies_to_set:
            fields.append((b"set-cookie", cookie))
    if length >= 0 and status != 204:
        if exchange.request.method == b"HEAD" or status == 304:
            length = response.declared
        if length >= 0:
            fields.append((b"content-length", b"%d" % length))
    if host.via:
        fields.append(_VIA[response.minor])
    return fields


def begin_answer(sender: Exchanging, response: ResponseHead, length: int, body: bytes, ended: bool) -> bool:
    """`Sender.answer_head` for a client of HTTP/1.1 or 1.0 and an answer that came by HTTP/2."""
    exchange, host = sender.exchange, sender.host
    assert exchange is not None and host is not None
    request = exchange.request
    encode = length < 0 and bool(request.minor)
    if length < 0 and not encode:
        sender.must_close = True
    (_, status), *fields = answer_fields(sender, response, length)
    lines = [b"HTTP/1.1 %b %b" % (status, response.reason or REASONS.get(response.status, b"")), *map(line, fields)]
    if encode:
        lines.append(b"transfer-encoding: chunked")
    if sender.must_close:
        lines.append(b"connection: close")
    elif not request.minor:
        lines.append(b"connection: keep-alive")
    case = host.header_case
    if case is not None and case is not preserve_case:      # HTTP/2 has no other spelling to preserve
        lines = recased(lines, case)
    lines.append(b"")
    if encode and body:
        body = chunk(body)
    if encode and ended:
        body += LAST_CHUNK
    lines.append(body)
    wire = b"\r\n".join(lines)
    exchange.bytes_out += len(wire)
    sender.transport.write(wire)
    return encode


def last_chunk(trailers: list[Field] | None) -> bytes:
    """The end of a chunked body, with what comes behind it (RFC 9112 7.1.2)."""
    if not trailers:
        return LAST_CHUNK
    return b"\r\n".join([b"0", *map(line, trailers), b"", b""])
