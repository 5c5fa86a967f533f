"""CORS (objects.md 3.8; the Fetch standard's protocol): who else's pages may read answers.

A preflight (OPTIONS with Origin and Access-Control-Request-Method) is answered here, with 204 for an origin that is allowed
and with 403 for any other; the endpoint sees none. On other requests the answer gets the fields of the policy if the origin is
allowed. So do errors of our own behind such a route, as Envoy's do: without the fields a page's script would only be told that
the network failed. Whatever the endpoint itself says in these fields is taken out: two policies would be no policy. Answers
vary by Origin, and say so, except where everybody is allowed without credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from voltgw.routing.filters.fields import add_vary, field_value, kept_field
from voltgw.routing.problems import at
from voltgw.routing.regex.pattern import FIELD, Pattern
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.policies import CorsPolicy
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field, RequestHead

#: The flag of a preflight that is refused, and its detail.
FLAG: Final = "CORS"
_OURS: Final = frozenset((
    b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers"))
_VARY: Final = (b"vary", b"origin")


def cors(own: CorsPolicy | None, of_host: CorsPolicy | None, dropped: frozenset[bytes] = frozenset()) -> Cors | None:
    """The filters of a route; its own policy wins over its host's, and a disabled one is none. Raises ValueError.

    `dropped` names the request fields that edits take away before the answer is there.
    """
    policy = own if own is not None else of_host
    if policy is None or policy.disabled:
        return None
    return Cors(policy, dropped)


class Cors:
    """One policy; its methods are the filters."""

    __slots__ = ("_actual", "_allowed", "_client_origin", "_everybody", "_preflight")

    name: ClassVar[str] = "cors"

    def __init__(self, policy: CorsPolicy, dropped: frozenset[bytes]) -> None:
        credentials = "true" if policy.allow_credentials else None
        self._allowed = _allowed(policy)
        self._everybody = "*" in policy.allow_origin and not policy.allow_credentials
        self._actual = _written(("allow_credentials", credentials), ("expose_headers", policy.expose_headers))
        self._preflight = _written(
            ("allow_credentials", credentials), ("allow_methods", policy.allow_methods),
            ("allow_headers", policy.allow_headers), _max_age(policy))
        self._client_origin = kept_field(b"origin", dropped)

    def request(self, exchange: Exchange) -> Reply | None:
        """Answers preflights."""
        head = exchange.request
        if head.method != b"OPTIONS" or not is_preflight(head):
            return None
        origin = head.get(b"origin")
        assert origin is not None               # it is a preflight
        if not self._allowed(origin):
            return Reply(403, [(b"vary", b"origin")], flag=FLAG, detail="cors_origin_not_allowed", negotiate=True)
        fields = [(b"access-control-allow-origin", b"*" if self._everybody else origin), *self._preflight]
        if not self._everybody:
            fields.append(_VARY)
        return Reply(204, fields, detail="cors_preflight")

    def response(self, exchange: Exchange) -> None:
        """Says who may read it."""
        response = exchange.response
        assert response is not None             # response filters run on responses
        fields = response.fields
        names = dict(fields)
        if not _OURS.isdisjoint(names):
            fields[:] = [field for field in fields if field[0] not in _OURS]
        everybody = self._everybody
        origin = self._client_origin(exchange.request)
        if origin is not None and self._allowed(origin):
            fields.append((b"access-control-allow-origin", b"*" if everybody else origin))
            fields += self._actual
        if not everybody:
            if b"vary" in names:
                add_vary(fields, b"origin")
            else:
                fields.append(_VARY)


def is_preflight(request: RequestHead) -> bool:
    """Whether a browser asks what a page may do. It sends no credentials with that (Fetch, CORS-preflight fetch)."""
    return (request.method == b"OPTIONS" and request.get(b"origin") is not None
            and request.get(b"access-control-request-method") is not None)


def _allowed(policy: CorsPolicy) -> Callable[[bytes], object]:
    """Whether an origin may; browsers write it in lower case and without a slash behind it (RFC 6454 6.2)."""
    if "*" in policy.allow_origin:
        return _everybody
    exact = frozenset(text.lower().removesuffix("/").encode("utf-8") for text in policy.allow_origin)
    patterns: list[Callable[[bytes], object]] = []
    for number, text in enumerate(policy.allow_origin_regex):
        with at("allow_origin_regex", number):
            patterns.append(Pattern(text, FIELD).matches)
    if not patterns:
        return exact.__contains__
    return _Some(exact, patterns).has


def _everybody(origin: bytes) -> bool:
    return True


class _Some:
    """Origins by name and by pattern."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, exact: frozenset[bytes], patterns: Sequence[Callable[[bytes], object]]) -> None:
        self._exact = exact
        self._patterns = tuple(patterns)

    def has(self, origin: bytes) -> bool:
        """Whether one is among them."""
        return origin in self._exact or any(matches(origin) for matches in self._patterns)


def _max_age(policy: CorsPolicy) -> tuple[str, str | None]:
    return "max_age", policy.max_age if policy.maximum_age_s is None else f"{policy.maximum_age_s:.0f}"


def _written(*texts: tuple[str, str | None]) -> tuple[Field, ...]:
    """Fields of answers; they are named like those of the policy. Raises ValueError for a text that may not be sent."""
    fields: list[Field] = []
    for name, text in texts:
        if text:
            with at(name):
                fields.append((b"access-control-" + name.replace("_", "-").encode("ascii"), field_value(text)))
    return tuple(fields)
