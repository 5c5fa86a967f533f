"""Requests as servers of a test get them, answers as its clients get them, and where each of them ends on a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

#: `_Framer` is given no more than this before a head ends: whoever sends that is wrong.
MOST_HEAD_BYTES: Final = 1 << 20
_BODILESS: Final = (204, 304)
_STATUSES: Final = {status.value: status.phrase for status in HTTPStatus}

#: How header fields may be given: a mapping, or pairs where a name stands twice.
GivenFields = Mapping[str, str] | Iterable[tuple[str, str]]


class Fields(list[tuple[str, str]]):
    """Header fields in their order, as they were sent; a name is found in any case."""

    def __init__(self, given: GivenFields = ()) -> None:
        super().__init__(given.items() if isinstance(given, Mapping) else given)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a field."""
        return next(self.of(name), default)

    def of(self, name: str) -> Iterator[str]:
        """All values of a field."""
        name = name.lower()
        return (value for key, value in self if key.lower() == name)

    def has(self, name: str) -> bool:
        """Whether there is a field of that name."""
        return next(self.of(name), None) is not None


@dataclass(slots=True)
class Request:
    """One request as a server got it."""

    method: str
    target: str                             # path and query
    headers: Fields
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def host(self) -> str:
        """The Host field's value; "" where there is none."""
        return self.headers.get("host") or ""


class Answer:
    """One answer: what a server gives, and what a client gets.

    A server's may take `after_s` seconds of the gateway's time. A client's says in `record` what the access log would say of
    the request: `route`, `endpoint`, `flag` and so on (`voltgw.values.exchange.Exchange`).
    """

    def __init__(
        self, status: int = 200, headers: GivenFields = (), body: bytes | str = b"", *, reason: str = "", after_s: float = 0.0,
    ) -> None:
        self.status = status
        self.reason = reason or _STATUSES.get(status, "")
        self.headers = Fields(headers)
        self.body = body.encode() if isinstance(body, str) else body
        self.after_s = after_s
        self.record: Any = None

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.reason}: {self.body[:40]!r}>"

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def virtual_host(self) -> str:
        """Whose request it was: ``namespace/name``, "" = nobody's."""
        route = getattr(self.record, "route", None)
        return "" if route is None else f"{route.host.namespace}/{route.host.name}"

    @property
    def route(self) -> str:
        """The route that took it, "" = none."""
        return "" if getattr(self.record, "route", None) is None else self.record.route.name

    @property
    def endpoint(self) -> str:
        """The endpoint that answered, as ``address:port``; "" = the gateway answered itself."""
        endpoint = getattr(self.record, "endpoint", None)
        return "" if endpoint is None else f"{endpoint.address}:{endpoint.port}"

    @property
    def flag(self) -> str:
        """What was unusual (docs/access-log.rst); "" = nothing."""
        return getattr(self.record, "flag", "")

    def wire(self, method: str) -> bytes:
        """As a server sends it for a request of `method`; its framing is made up where no field says it."""
        headers = Fields(self.headers)
        body = self.body
        if self.status >= 200 and self.status not in _BODILESS and not headers.has("content-length"):
            if headers.has("transfer-encoding"):
                body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            else:
                headers.append(("content-length", str(len(body))))
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" or self.status in _BODILESS else body)


class Framer:
    """Finds whole messages in the bytes of one connection; trailers of chunked bodies are passed over."""

    def __init__(self) -> None:
        self._held = b""
        self._start: list[str] | None = None        # the start line's words, once the head is complete
        self._fields = Fields()
        self._body = b""
        self._left = 0                      # bytes of the body to come; -1: chunks; -2: until the connection closes

    def requests(self, data: bytes) -> Iterator[Request]:
        """Requests that are complete with `data`."""
        self._held += data
        while self._start is not None or self._head():
            if self._start is None or not self._whole():
                return
            (method, target), fields, body = self._start[:2], self._fields, self._body
            self._start = None
            yield Request(method, target, fields, body)

    def answers(self, data: bytes, methods: list[str], *, closed: bool = False) -> Iterator[Answer]:
        """Answers that are complete with `data`, to requests of `methods`, which are taken off one by one; `closed`: it is all.

        Interim ones (1xx, but for 101) are given, too, and take no method off.
        """
        self._held += data
        while self._start is not None or self._head():
            if self._start is None:
                return
            status = int(self._start[1])
            interim = status < 200 and status != 101
            if interim or status == 101 or status in _BODILESS or (methods and methods[0] == "HEAD"):
                self._left = 0
            elif not self._left and not self._fields.has("content-length"):
                self._left = -2
            if not self._whole(closed):
                return
            answer = Answer(status, self._fields, self._body, reason=" ".join(self._start[2:]))
            self._start = None
            if not interim and methods:
                methods.pop(0)
            yield answer

    @property
    def held(self) -> bytes:
        """What came behind the last whole message."""
        return self._held

    def _head(self) -> bool:
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end:
            if len(self._held) > MOST_HEAD_BYTES:
                raise ValueError(f"a head of more than {MOST_HEAD_BYTES} bytes")
            return False
        start, *lines = head.decode("latin-1").split("\r\n")
        self._held, self._start, self._body = rest, start.split(" "), b""
        self._fields = Fields((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        coded = (self._fields.get("transfer-encoding") or "").lower()
        self._left = -1 if coded.endswith("chunked") else int(self._fields.get("content-length") or 0)
        return True

    def _whole(self, closed: bool = False) -> bool:
        """Whether the body is complete; as much of it as is there is taken."""
        if self._left == -2:
            self._body, self._held = self._body + self._held, b""
            return closed
        while self._left == -1:
            size, end, rest = self._held.partition(b"\r\n")
            if not end:
                return False
            length = int(size.partition(b";")[0], 16)
            if not length:
                trailers, end, after = self._held[len(size):].partition(b"\r\n\r\n")
                if not end:
                    return False
                self._held, self._left = after, 0
                return True
            if len(rest) < length + 2:
                return False
            self._body, self._held = self._body + rest[:length], rest[length + 2:]
        taken = self._held[:self._left]
        self._body, self._held, self._left = self._body + taken, self._held[len(taken):], self._left - len(taken)
        return not self._left
