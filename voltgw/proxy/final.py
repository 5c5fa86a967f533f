"""Requests that say how far they may go (Max-Forwards, RFC 9110 7.6.2): we may be the one for whom they are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.errors import BadRequest
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead

#: The methods to which Max-Forwards applies; for others it is ignored.
BOUNDED: Final = frozenset((b"TRACE", b"OPTIONS"))
#: What a TRACE must not bring back (RFC 9110 9.3.8): a script of another origin could read it.
_SECRET: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization"))
_MOST_DIGITS: Final = 9


def final(head: RequestHead) -> Reply | None:
    """The answer to a TRACE or OPTIONS that goes no further; else its Max-Forwards is one less. Raises `BadRequest`."""
    if head.method == b"TRACE" and head.length:
        raise BadRequest("a TRACE with a body (RFC 9110 9.3.8)")
    for number, (name, value) in enumerate(head.fields):
        if name != b"max-forwards":
            continue
        if not value.isdigit() or len(value) > _MOST_DIGITS:
            raise BadRequest("Max-Forwards is not a plain number (RFC 9110 7.6.2)")
        left = int(value)
        if left:
            head.fields[number] = (name, b"%d" % (left - 1))
        else:
            return _reflect(head) if head.method == b"TRACE" else Reply(204, detail="max_forwards")
    return None


def _reflect(head: RequestHead) -> Reply:
    version = b"HTTP/2" if head.minor == 2 else b"HTTP/1.%d" % head.minor
    lines = [b"TRACE %b %b" % (head.target, version), b"host: " + head.authority]
    lines += [b"%b: %b" % field for field in head.fields if field[0] not in _SECRET]
    body = b"\r\n".join([*lines, b"", b""])
    fields = [(b"content-type", b"message/http"), (b"x-content-type-options", b"nosniff")]
    return Reply(200, fields, body, detail="max_forwards")
