"""What a route or a filter returns instead of letting a request go on: an answer of our own, or a pause."""

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


class Delay:
    """A pause that a request filter asks for: `seconds` (positive) later the request goes on behind that filter.

    The client does not see it, and it ends with the client. Bytes that come meanwhile wait.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
