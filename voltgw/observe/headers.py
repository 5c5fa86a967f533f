"""Header fields in JSON lines of the access log: those that are asked for, secrets hidden, some only as a hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Final

from voltgw.observe.lines import text_of
from voltgw.observe.redact import HIDDEN, redact_text, secret_name

if TYPE_CHECKING:
    from voltgw.observe.lines import Lines
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field
    from voltgw.values.record import ConnectionRecord

#: Characters of one field's value that are written.
MAX_VALUE: Final = 512
#: Bytes of a hash: 64 bits tell the values of a log apart.
_HASH_BYTES: Final = 8


def request_fields(exchange: Exchange) -> Sequence[Field]:
    """All fields of a request that were not for its first hop alone."""
    request = exchange.request
    return request.fields if request.forwarding is None else [*request.fields, *request.forwarding]


class Headers:
    """Which fields of requests and answers are written. `hashed` are those of which only a hash is, by `key` (16 to 64 bytes).

    A field whose name looks like a secret's (``x-api-key``) is written ``***`` unless it is hashed.
    """

    __slots__ = ("_hashed", "_key", "request", "response")

    def __init__(self, request: Iterable[str], response: Iterable[str], hashed: Iterable[str], key: bytes) -> None:
        self.request = tuple(name.lower().encode("ascii") for name in request)
        self.response = tuple(name.lower().encode("ascii") for name in response)
        self._hashed = frozenset(name.lower().encode("ascii") for name in hashed)
        self._key = key

    def value(self, name: bytes, fields: Sequence[Field]) -> str:
        """What is written of a field; "" when it is not there. Several of one name are joined by commas."""
        found = [value for each, value in fields if each == name]
        if not found:
            return ""
        whole = b", ".join(found) if len(found) > 1 else found[0]
        if name in self._hashed:
            return blake2b(whole, digest_size=_HASH_BYTES, key=self._key).hexdigest()
        if _secret(name):
            return HIDDEN
        text = redact_text(text_of(whole))
        return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}..."


@lru_cache(1024)
def _secret(name: bytes) -> bool:
    return secret_name(name.decode("ascii"))


class HeaderLines:
    """`lines`, which are JSON, with the keys ``req_headers`` and ``rsp_headers`` behind the others."""

    __slots__ = ("_headers", "_lines", "_named_request", "_named_response", "connection", "forget")

    def __init__(self, lines: Lines, headers: Headers) -> None:
        self._lines = lines
        self._headers = headers
        self._named_request = tuple((name, quoted(name.decode("ascii"))) for name in headers.request)
        self._named_response = tuple((name, quoted(name.decode("ascii"))) for name in headers.response)
        self.connection: Callable[[ConnectionRecord, float], str] = lines.connection
        self.forget: Callable[[], None] = lines.forget

    def http(self, exchange: Exchange, offset: float, /) -> str:
        """The line of one finished exchange."""
        line = self._lines.http(exchange, offset)
        said = ""
        if self._named_request:
            said = f',"req_headers":{{{self._object(self._named_request, request_fields(exchange))}}}'
        if self._named_response:
            fields = () if exchange.response is None else exchange.response.fields
            said += f',"rsp_headers":{{{self._object(self._named_response, fields)}}}'
        return f"{line[:-2]}{said}}}\n"

    def _object(self, named: tuple[tuple[bytes, str], ...], fields: Sequence[Field]) -> str:
        value = self._headers.value
        return ",".join(f"{key}:{quoted(found)}" for name, key in named if (found := value(name, fields)))
