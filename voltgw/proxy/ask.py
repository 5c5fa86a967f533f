"""A request as endpoints get it, in no version's form: for clusters whose endpoints speak HTTP/2, or may.

Where every endpoint of a cluster speaks HTTP/1.1 there is none: `Sender._forward` writes the bytes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.proxy.casing import recased
from voltgw.proxy.fields import SAY_EMPTY, line
from voltgw.values.head import CHUNKED

if TYPE_CHECKING:
    from voltgw.proxy.casing import Case
    from voltgw.values.head import Field, RequestHead

_TRAILERS: Final = (b"te", b"trailers")
#: What a request's own framing says in HTTP/1.1, and HTTP/2 says otherwise.
_FRAMING: Final = frozenset((b"host", b"connection", b"upgrade", b"transfer-encoding"))


class Ask:
    """One request: its head, and what came of its body with it.

    `authority` is what Host or ``:authority`` gets. `fields` are all others, end to end, but for Content-Length, which
    `length` says (`CHUNKED`: nobody knows). With `framed` the body's pieces come in the chunks of HTTP/1.1. `upgrade` is the
    protocol to switch to, and `trailers` tells that the client takes them.
    """

    __slots__ = ("authority", "body", "expect", "fields", "framed", "length", "method", "target", "trailers", "upgrade")

    def __init__(self, method: bytes, target: bytes, authority: bytes, fields: list[Field], length: int, body: bytes) -> None:
        self.method = method
        self.target = target
        self.authority = authority
        self.fields = fields
        self.length = length
        self.body = body
        self.framed = False
        self.expect = False
        self.trailers = False
        self.upgrade: bytes | None = None

    def saying(self, fields: list[Field]) -> Ask:
        """Another one, with other fields."""
        other = Ask(self.method, self.target, self.authority, fields, self.length, self.body)
        other.framed, other.expect, other.trailers, other.upgrade = self.framed, self.expect, self.trailers, self.upgrade
        return other

    @classmethod
    def of_wire(cls, wire: bytes) -> Ask:
        """What `Sender._forward` has written for HTTP/1.1, of which we know every line."""
        head, _, body = wire.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        ask = cls(method, target, b"", [], 0, body)
        for each in lines:
            name, _, value = each.partition(b": ")
            name = name.lower()
            if name == b"host":
                ask.authority = value
            elif name == b"content-length":
                ask.length = int(value)
            elif name == b"transfer-encoding":
                ask.length, ask.framed = CHUNKED, True
            elif name == b"expect":
                ask.expect = True
            elif name not in _FRAMING:
                ask.fields.append((name, value))
        return ask

    def wire(self, authority: bytes, case: Case | None) -> bytes:
        """The same for HTTP/1.1, with what came of the body."""
        pieces = [b"%b %b HTTP/1.1\r\nhost: %b" % (self.method, self.target, authority), *map(line, self.fields)]
        if self.upgrade is not None:
            pieces.append(b"connection: upgrade\r\nupgrade: " + self.upgrade)
        if self.length:
            pieces.append(b"content-length: %d" % self.length if self.length > 0 else b"transfer-encoding: chunked")
            if self.expect:
                pieces.append(b"expect: 100-continue")
        elif self.method in SAY_EMPTY:
            pieces.append(b"content-length: 0")
        if case is not None:
            pieces = recased(pieces, case)
        pieces += [b"", self.body]
        return b"\r\n".join(pieces)

    def version_2(self) -> list[Field]:
        """The fields as HTTP/2 has them, Content-Length among them."""
        fields = self.fields
        if self.length > 0:
            fields = [*fields, (b"content-length", b"%d" % self.length)]
        elif not self.length and self.method in SAY_EMPTY:
            fields = [*fields, (b"content-length", b"0")]
        if self.expect and self.length:
            fields = [*fields, (b"expect", b"100-continue")]
        return [*fields, _TRAILERS] if self.trailers else fields


def takes_trailers(head: RequestHead) -> bool:
    """Whether the client says that it takes trailers (RFC 9110 10.1.4)."""
    return any(name == b"te" and b"trailers" in value.lower() for name, value in head.connection)


def as_fields(lines: bytes) -> list[Field]:
    """Lines that we have written ourselves (``name: value``, lower case, joined), as fields."""
    fields = []
    for each in lines.split(b"\r\n"):
        name, _, value = each.partition(b": ")
        fields.append((name, value))
    return fields
