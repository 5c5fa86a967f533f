"""An answer of our own: what a route or a filter returns instead of forwarding."""

from __future__ import annotations

from voltgw.values.head import Field


class Reply:
    """A complete local answer.

    `fields` are lower-case ``(name, value)`` pairs without Content-Length, which the codec adds. `flag` and `detail` go
    to the access record. `close` asks that the client's connection end after it. `negotiate` lets the data plane choose
    the body by Accept (problem+json or HTML) when `body` is empty.
    """

    __slots__ = ("body", "close", "detail", "fields", "flag", "negotiate", "status")

    def __init__(
        self, status: int, fields: list[Field] | None = None, body: bytes = b"", *, flag: str = "",
        detail: str = "direct_response", close: bool = False, negotiate: bool = False,
    ) -> None:
        self.status = status
        self.fields = fields if fields is not None else []
        self.body = body
        self.flag = flag
        self.detail = detail
        self.close = close
        self.negotiate = negotiate
