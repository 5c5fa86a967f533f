"""Limits of which a request exceeds one (request_constraints, objects.md 13.3).

Headers are the end-to-end fields: Host, the framing and what belongs to one connection are not counted. Sizes are octets as
they were sent, of parameters and cookies without their separators. A whole request is its head and the body that it announces;
one that does not say how long its body will be (chunked, or HTTP/2 without a Content-Length) is longer than any limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from voltgw.values.head import CHUNKED

if TYPE_CHECKING:
    from voltgw.config.objects.constraints import RequestConstraintType
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

_Measure: TypeAlias = "Callable[[RequestHead], int]"

#: What stands around method and target in a request line: two spaces and the version.
_AROUND: Final = len(b"  HTTP/1.1")
_AROUND_FIELD: Final = len(b": \r\n")
_AROUND_HOST: Final = len(b"Host: \r\n\r\n\r\n")
_ENDLESS: Final = 1 << 62


def _cookies(head: RequestHead) -> Iterator[tuple[bytes, bytes]]:
    for name, line in head.fields:
        if name == b"cookie":
            for part in line.split(b";"):
                key, sign, value = part.strip(b" \t").partition(b"=")
                if sign or key:             # a cookie without "=" is one to browsers, and its text a name or a value to others
                    yield key, value if sign else key


def _parameters(head: RequestHead) -> Iterator[tuple[bytes, bytes]]:
    for pair in (head.query or b"").split(b"&"):
        if pair:
            key, _, value = pair.partition(b"=")
            yield key, value


def _whole(head: RequestHead) -> int:
    if head.length == CHUNKED:
        return _ENDLESS
    fields = sum(len(name) + len(value) + _AROUND_FIELD for name, value in head.fields)
    return len(head.method) + len(head.target) + _AROUND + len(head.authority) + _AROUND_HOST + fields + head.length


_MEASURES: Final[dict[str, _Measure]] = {
    "max_cookie_count": lambda head: sum(1 for _ in _cookies(head)),
    "max_cookie_key_size": lambda head: max((len(key) for key, _ in _cookies(head)), default=0),
    "max_cookie_value_size": lambda head: max((len(value) for _, value in _cookies(head)), default=0),
    "max_header_count": lambda head: len(head.fields),
    "max_header_key_size": lambda head: max((len(name) for name, _ in head.fields), default=0),
    "max_header_value_size": lambda head: max((len(value) for _, value in head.fields), default=0),
    "max_parameter_count": lambda head: sum(1 for _ in _parameters(head)),
    "max_parameter_name_size": lambda head: max((len(key) for key, _ in _parameters(head)), default=0),
    "max_parameter_value_size": lambda head: max((len(value) for _, value in _parameters(head)), default=0),
    "max_query_size": lambda head: len(head.query or b""),
    "max_request_line_size": lambda head: len(head.method) + len(head.target) + _AROUND,
    "max_request_size": _whole,
    "max_url_size": lambda head: len(head.target),
}


def exceeding(spec: RequestConstraintType) -> tuple[str, Callable[[Exchange], bool]] | None:
    """What has to be exceeded, in words, and whether a request does; None where nothing that is known is limited."""
    limits = tuple((name, measure, limit) for name, measure in _MEASURES.items()
                   if (limit := getattr(spec, f"{name}_exceeds")) is not None)
    if not limits:
        return None

    def test(exchange: Exchange) -> bool:
        head = exchange.request
        return any(measure(head) > limit for _, measure, limit in limits)

    words = " or ".join(f"{name.removeprefix('max_').replace('_', ' ')} is above {limit}" for name, _, limit in limits)
    return words, test
