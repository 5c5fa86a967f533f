"""For hosts whose routes ask for different things: a path that somebody may read as one of a stricter route is refused.

Routes are chosen by the path's normal form, which keeps ``//``, ``%2F`` and ``;`` as they are. An origin that merges slashes
takes ``//api`` for ``/api``; if only the route of ``/api`` asks for a token, whoever writes the former would not be asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from copy import copy
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from voltgw.errors import Place
from voltgw.security.authentication import Authentication
from voltgw.security.limiting import Limits
from voltgw.security.policies import Chain
from voltgw.security.readings import MAX_READ_BYTES, folded
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply
from voltgw.wire.path import BadTarget, normal_path

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.routing.route import Guard, Route, VirtualHost
    from voltgw.values.exchange import Exchange

#: What stands in a path as it is (RFC 3986 3.3).
_SAFE: Final = "/!$&'()*+,;=:@-._~"


class OneReading:
    """A gate: see `voltgw.routing.route.Guard`."""

    name: Final = "paths"
    text: Final = "refuses paths that may be read as those of a route that asks for more"
    answer_filter = None
    place: Place | None = None

    def __init__(self) -> None:
        self.refused = 0
        self._host: VirtualHost | None = None

    def follow(self, host: VirtualHost) -> None:
        """These are the routes among which it looks, whoever has them rehearsed."""
        self._host = host

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> OneReading:
        """Of every route."""
        return self

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """How many were refused."""
        if self.refused:
            yield self.name, "refused", self.refused

    def judge(self, exchange: Exchange) -> Reply | None:
        """The request filter."""
        path = exchange.request.path
        if b"//" not in path and b"%" not in path and b";" not in path and b"/." not in path:
            return None
        if _stricter(self._host, exchange, path) is None:
            return None
        self.refused += 1
        return _refusal()

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """The verdict and why."""
        other = _stricter(self._host, exchange, exchange.request.path)
        if other is None:
            return None, Reason(self.name, "let pass", "whoever reads the path finds a route that asks for no more")
        return _refusal(), Reason(
            self.name, "refused with 400", f"an origin may read the path as one of route {other.name}, which asks for more")


def _refusal() -> Reply:
    return Reply(400, flag="DPE", detail="ambiguous_path: it may be read as one of a route that asks for more", negotiate=True)


def _stricter(host: VirtualHost | None, exchange: Exchange, path: bytes) -> Route | None:
    """The route of another reading of a path, if it has gates that the request's own has not."""
    if host is None or exchange.route is None or not path.startswith(b"/"):
        return None
    own: Route = exchange.route             # type: ignore[assignment]  # the records' view of it
    asked = _asked(own.gates)
    decoded = unquote_to_bytes(path) if b"%" in path else path
    if len(path) > MAX_READ_BYTES and (b";" in path or b"\\" in decoded or b"/." in decoded or b"//" in decoded):
        return next((route for route in host.routes if not _asked(route.gates) <= asked), None)      # nobody reads them all
    for reading in dict.fromkeys((decoded, *folded(path))):
        if reading == path:
            continue
        head = copy(exchange.request)
        try:                                # a host that takes paths as they come chooses by the target
            head.path = head.target = normal_path(quote_from_bytes(reading, _SAFE).encode("ascii"))
        except BadTarget:
            continue                        # nobody can be asked for that
        other = host.only or host.choose(head, exchange.client.local_port)
        if other is not None and other is not own and not _asked(other.gates) <= asked:
            return other
    return None


def _asked(gates: Iterable[Guard]) -> set[Hashable]:
    """What gates refuse by, comparable: each route may have gates of its own that ask for the same. Dry runs refuse nobody."""
    found: set[Hashable] = set()
    for gate in gates:
        if isinstance(gate, Authentication):
            terms = gate.terms
            if (terms.methods or terms.after is not None) and not terms.report_only:
                found.add((terms.methods, terms.after, terms.any_of))
        elif isinstance(gate, Limits):
            found.update(limiter.name for limiter in gate.limiters if not limiter.report_only)
        elif not isinstance(gate, Chain) or gate.enforced or gate.only_refuses or not gate.policies:
            found.add(id(gate))
    return found
