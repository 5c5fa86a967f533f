"""The heads of HTTP messages as every filter, route and codec sees them.

A head is version-neutral: HTTP/1.1 and HTTP/2 codecs fill the same shape. `fields` holds only end-to-end fields, as
``(lower-case name, value)`` pairs in the order received; Host, the framing fields and every hop-by-hop field
(RFC 9110 7.6.1) are set aside *before* any filter runs, so that no filter can be tricked by them and none can undo it.
"""

from __future__ import annotations

from typing import Final

from voltgw.values.compiling import mypyc_attr, resemble

Field = tuple[bytes, bytes]

CHUNKED: Final = -1         #: `length` of a body whose end its chunks tell (or HTTP/2's END_STREAM)
UNTIL_CLOSE: Final = -2     #: `length` of a response body that ends with the connection


#: Request fields by which proxies speak of the client. The codec sets them aside into `RequestHead.forwarding`: whether a
#: client may say such things is decided by the data plane, which then writes its own into `fields`.
FORWARDING: Final = frozenset((
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip", b"forwarded",
    b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain", b"x-request-id",
))


@mypyc_attr(acyclic=True)
class Shared:
    """Fields that head after head has, `count` of them, and the same as `text`: their lines, without the last line end.

    A head whose `shared` it is began with these `fields`, in a list of its own that edits may have changed since.
    """

    __slots__ = ("count", "fields", "text")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.count = len(fields)
        self.text = b"\r\n".join([name + b": " + value for name, value in fields])


@mypyc_attr(acyclic=True)
class RequestHead:
    """One request's head.

    `target` is as received; `path` is its normal form without the query (what routes match, policies judge and
    the upstream gets) and `query` the rest without the ``?`` (None = there was no ``?``); `forward` is both together, the
    target that the upstream gets unless a route rewrites it. `host` is lower-case, without
    port and trailing dot; `port` is the port the client wrote in Host/:authority, None if none. `authority` is what we
    forward as Host. `length` is the body's length in bytes, 0 for none, or `CHUNKED`.
    """

    __slots__ = (
        "authority", "connection", "expect_continue", "fields", "forward", "forwarding", "host", "keep_alive", "length",
        "method", "minor", "path", "port", "query", "shared", "target", "underscored", "upgrade",
    )

    def __init__(
        self, method: bytes, target: bytes, path: bytes, query: bytes | None, minor: int, authority: bytes,
        host: bytes, port: int | None, fields: list[Field], length: int, keep_alive: bool,
    ) -> None:
        self.method: bytes = method
        self.target = target
        self.forward = target               # the codec sets another where the normal form differs
        self.path: bytes = path
        self.query: bytes | None = query
        self.minor = minor                  # HTTP/1.minor; 2 stands for HTTP/2
        self.authority = authority
        self.host = host
        self.port = port
        self.fields = fields
        self.length = length
        self.keep_alive = keep_alive        # whether the client means to go on after this exchange
        self.expect_continue = False        # Expect: 100-continue was there (it is not in `fields`)
        self.forwarding: list[Field] | None = None  # see `FORWARDING`; None when there was none, the common case
        self.upgrade: bytes | None = None   # the Upgrade field's value (lower-case), only if Connection names it
        self.underscored = 0                # fields with "_" in their name, which were dropped
        self.connection: list[Field] = []   # the hop-by-hop fields that were set aside, for explain and the log
        self.shared: Shared | None = None   # what `fields` was in the connection's last request as well

    def __copy__(self) -> RequestHead:
        other = RequestHead(self.method, self.target, self.path, self.query, self.minor, self.authority, self.host, self.port,
                            self.fields, self.length, self.keep_alive)
        resemble(other, self)
        return other

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field, or None."""
        for key, value in self.fields:
            if key == name:
                return value
        return None


@mypyc_attr(acyclic=True)
class ResponseHead:
    """One response's head; `length` is the body's length, `CHUNKED` or `UNTIL_CLOSE`, after the rules of RFC 9112 6.3.

    `declared` is the Content-Length as the origin wrote it, -1 if it wrote none: what a HEAD or a 304 passes on although
    no body follows. `server` is the Server field's value, set aside because a virtual host chooses what becomes of it;
    `dated` says whether `fields` holds a Date (RFC 9110 6.6.1 has a gateway add a missing one).
    """

    __slots__ = ("connection", "dated", "declared", "fields", "keep_alive", "length", "minor", "reason", "server",
                 "shared", "status", "upgrade")

    def __init__(
        self, status: int, reason: bytes, minor: int, fields: list[Field], length: int, keep_alive: bool
    ) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.fields = fields
        self.length = length
        self.keep_alive = keep_alive        # whether the origin will take another request on this connection
        self.upgrade: bytes | None = None   # the Upgrade field's value, only if Connection names it (101, 426)
        self.connection: list[Field] = []   # the hop-by-hop fields that were set aside
        self.declared = -1
        self.server: bytes | None = None
        self.dated = False
        self.shared: Shared | None = None   # what `fields` was in the connection's last answer as well

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field, or None."""
        for key, value in self.fields:
            if key == name:
                return value
        return None
