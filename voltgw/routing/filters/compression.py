"""Compresses answers on their way to the client (objects.md 4.5).

An answer is compressed when its status may have a body and is not 206, its media type is listed, it is long enough or of
unknown length, it is not encoded already, neither side says ``no-transform``, and the client takes the coding: Accept-Encoding
names it or ``*`` with a weight above 0 (what is named counts for more than ``*``) and does not ask for ``identity``. Then a
strong ETag goes (a weak one stays), and with it what else describes the bytes: Content-Length, digests, Accept-Ranges. Whatever
could have been compressed says ``Vary: accept-encoding``, so that caches keep the forms apart.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.routing.filters.encoders import encoder
from voltgw.routing.filters.fields import add_vary
from voltgw.routing.problems import at
from voltgw.values.head import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from voltgw.config.objects.virtual_host import CompressionType
    from voltgw.interfaces import RequestFilter, ResponseFilter
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

#: The smallest answer that is compressed, and the media types, where nothing else is said (objects.md 4.5).
LEAST_BYTES: Final = 30
MEDIA_TYPES: Final = (
    "application/javascript", "application/json", "application/xhtml+xml", "image/svg+xml", "text/css", "text/html",
    "text/plain", "text/xml",
)
#: Fields that describe the bytes as they were, so that they would lie (RFC 9110 8.8.3.3, RFC 9530, RFC 9110 14.3).
_UNTRUE: Final = frozenset((
    b"etag", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"))
#: Fields that have a say in it.
_TELLING: Final = _UNTRUE | {b"content-type", b"content-encoding", b"content-range", b"cache-control", b"vary"}
_VARY: Final = (b"vary", b"accept-encoding")
#: Statuses whose body is none, or a part of one.
_NOT_WHOLE: Final = frozenset((204, 206, 304))
#: Longer values of Accept-Encoding are looked at each time rather than remembered.
_MEMO_BYTES: Final = 256
_WEIGHT: Final = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
#: Other names of codings (RFC 9110 8.4.1.3).
_ALIASES: Final = {b"x-gzip": b"gzip"}


class Compression(NamedTuple):
    """The halves of it; `request` takes Accept-Encoding away, where that is asked for."""

    request: RequestFilter | None
    response: ResponseFilter


def compression(spec: CompressionType | None, dropped: frozenset[bytes] = frozenset()) -> Compression | None:
    """The filters of a virtual host, None without. Raises ValueError.

    `dropped` names the request fields that edits take away before the answer is there.
    """
    if spec is None:
        return None
    names = spec.voltgw.encodings if spec.voltgw is not None else ()
    encoders = {}
    for number, name in enumerate(names or ("gzip",)):
        with at(*(("voltgw", "encodings", number) if names else ())):
            encoders[name.encode("ascii")] = encoder(name)
    codings = tuple(encoders)
    # Clients have few different ones.
    prefer = lru_cache(maxsize=256)(partial(choose, codings=codings))
    least = max(spec.content_length_bytes or LEAST_BYTES, 1)
    types = frozenset(text.lower().encode("utf-8") for text in spec.content_type or MEDIA_TYPES)
    skip_etag = spec.disable_on_etag_header
    aside = spec.remove_accept_encoding_header or b"accept-encoding" in dropped

    def compress(exchange: Exchange) -> None:
        response = exchange.response
        assert response is not None             # response filters run on responses
        length = response.length
        if 0 <= length < least or length == UNTIL_CLOSE or exchange.transform is not None or response.status in _NOT_WHOLE:
            return
        fields = response.fields
        fits = untrue = False
        vary: bytes | None = None
        for name, value in fields:
            if name not in _TELLING:
                continue
            if name == b"content-type":
                if value.partition(b";")[0].rstrip().lower() not in types:
                    return
                fits = True
            elif name == b"vary":
                vary = value
            elif name == b"cache-control":
                if b"no-transform" in value.lower():
                    return
            elif name not in _UNTRUE:           # it is encoded, or a part
                return
            elif name != b"etag":
                untrue = True
            elif skip_etag:
                return
            elif not value.startswith(b"W/"):
                untrue = True
        if not fits:
            return
        if vary is None:
            fields.append(_VARY)
        else:
            add_vary(fields, b"accept-encoding")
        request = exchange.request
        accepted = forbidden = None
        for name, value in request.fields:
            if name == b"accept-encoding":
                accepted = value if accepted is None else b"%b,%b" % (accepted, value)
            elif name == b"cache-control":
                forbidden = forbidden or b"no-transform" in value.lower()
        if aside:
            accepted = _set_aside(request)
        if accepted is None or forbidden:
            return
        coding = prefer(accepted) if len(accepted) <= _MEMO_BYTES else choose(accepted, codings)
        if coding is None:
            return
        if untrue:
            fields[:] = [field for field in fields if field[0] not in _UNTRUE
                         or field[0] == b"etag" and field[1].startswith(b"W/")]
        fields.append((b"content-encoding", coding))
        exchange.transform = encoders[coding](length == CHUNKED)

    return Compression(_take_away if spec.remove_accept_encoding_header else None, compress)


def _take_away(exchange: Exchange) -> None:
    """Do not forward Accept-Encoding; it stays known."""
    head = exchange.request
    fields = head.fields
    for name, _ in fields:
        if name == b"accept-encoding":
            head.connection += [field for field in fields if field[0] == b"accept-encoding"]
            fields[:] = [field for field in fields if field[0] != b"accept-encoding"]
            return


def _set_aside(head: RequestHead) -> bytes | None:
    """Accept-Encoding where it is not forwarded, as one list; None when the client did not send it."""
    found = [value for name, value in head.connection if name == b"accept-encoding"]
    return b",".join(found) if found else None


def choose(value: bytes, codings: tuple[bytes, ...]) -> bytes | None:
    """The coding that an Accept-Encoding (RFC 9110 12.5.3) likes best among `codings`; of equals the first.

    None when it takes none, or asks for ``identity``.
    """
    weights: dict[bytes, float] = {}
    for item in value.lower().split(b","):
        name, *parameters = [part.strip(b" \t") for part in item.split(b";")]
        weight = 1.0
        for parameter in parameters:
            match = _WEIGHT.fullmatch(parameter)
            weight = float(match[1]) if match is not None else 0.0      # what cannot be read promises nothing
        name = _ALIASES.get(name, name)
        weights[name] = max(weights.get(name, 0.0), weight)
    if weights.get(b"identity", 0.0) > 0:
        return None
    others = weights.get(b"*", 0.0)
    best = max(codings, key=lambda coding: weights.get(coding, others))
    return best if weights.get(best, others) > 0 else None
