"""By which rules a finished exchange went: seen again in the tables, before its configuration is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from voltgw.app.find import of_host
from voltgw.routing.explain import explain_route
from voltgw.security.authentication import Authentication
from voltgw.security.egress import FLAG as REFUSED_WAY
from voltgw.security.egress import LOGIN_FLAG
from voltgw.security.limiting import FLAG as LIMITED
from voltgw.security.limiting import Limits
from voltgw.security.policies import FLAG, Chain
from voltgw.security.proofs import FLAG as UNPROVEN
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.routing.route import Route, VirtualHost
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead
    from voltgw.values.identity import Proof

#: With more rules than this in the host, they are not gone through one by one.
MOST_RULES: Final = 64


class Past:
    """Explains finished exchanges; `plans` gives what listens now."""

    def __init__(self, plans: Callable[[], Iterable[ListenerPlan]]) -> None:
        self._plans = plans

    def __call__(self, exchange: Exchange) -> list[Reason]:
        """The choice of virtual host and route; nothing for what was no request at all."""
        head = exchange.request
        if not head.method:
            return []
        port = exchange.client.local_port
        if exchange.route is not None:
            route = cast("Route", exchange.route)       # the data plane's; records know it as labels
            host = route.host
            name = f"{host.namespace}/{host.name}"
            said = [Reason("virtual host", name, "", host.place), _of_route(host, route, head, port)]
            if exchange.proof is not None:
                said.append(_of_authentication(route, exchange.proof, exchange))
            if exchange.limit:
                said.append(_of_limits(route, exchange))
            if exchange.policy:
                said.append(_of_policies(route, exchange) if host.egress is None else _of_egress(host.egress, exchange))
            return said
        listener = exchange.client.listener
        table = next((plan.table for plan in self._plans() if str(plan.key) == listener), None)
        if table is None:
            return []
        found, reason = of_host(table, head, port)
        if found is None:
            return [reason]
        return [reason, _of_route(found, None, head, port)]


def _of_authentication(route: Route, proof: Proof, exchange: Exchange) -> Reason:
    """What a credential has proven, or why it has not; it is gone by now, so nothing is asked again."""
    gate = next((gate for gate in route.gates if isinstance(gate, Authentication)), None)
    refused = proof.user is None and exchange.flag in (UNPROVEN, LOGIN_FLAG)
    why = proof.said if proof.user is None else f"{proof.said} proves {proof.user.name!r}"
    text = "" if gate is None else f": the gate {gate.text}"
    return Reason("authentication", "refused" if refused else "let pass", why + (text if refused else ""),
                  None if gate is None else gate.place)


def _of_limits(route: Route, exchange: Exchange) -> Reason:
    """Which rate limit has spoken, and where it stands; what it would say now is another matter."""
    limiter = next((limiter for gate in route.host.gates if isinstance(gate, Limits) for limiter in gate.all
                    if exchange.limit.partition(" ")[0] == limiter.name), None)
    outcome = "refused" if exchange.flag == LIMITED else "let pass"
    why = exchange.limit if limiter is None else f"rate_limiter {exchange.limit}: {limiter.text}"
    return Reason("rate limits", outcome, why, None if limiter is None else limiter.find_place())


def _of_policies(route: Route, exchange: Exchange) -> Reason:
    """What the service policies said; asked again only where no filter has changed the request since."""
    chains = [gate for gate in route.gates if isinstance(gate, Chain)]
    if exchange.flag == FLAG:
        for chain in chains:
            if chain.has(exchange.policy):
                return chain.rehearse(exchange)[1]
    return Reason("service policies", "let pass", exchange.policy)


def _of_egress(ways: Any, exchange: Exchange) -> Reason:
    """What the policies of a forward proxy said, or of a virtual host that resolves its endpoint from the request."""
    policies: Any = ways if not hasattr(ways, "egress") else ways.egress and ways.egress.policies
    place = None if policies is None else policies.place_of(exchange.policy)
    return Reason("forward proxy policies", "refused" if exchange.flag == REFUSED_WAY else "let through",
                  f"rule {exchange.policy}", place)


def _of_route(host: VirtualHost, route: Route | None, head: RequestHead, port: int) -> Reason:
    place = host.place if route is None else route.place
    name = "none" if route is None else route.name
    count = len(host.rules)
    if not count and route is not None:
        return Reason("route", name, "its configuration serves no more", place)
    if count > MOST_RULES:
        return Reason("route", name, f"the host has {count} rules, too many to go through them again", place)
    reason, again = explain_route(host, head, port)
    if again is route or again is not None and route is not None and again.index == route.index and again.name == route.name:
        steps = tuple(step for step in reason.steps if step.about != "action")      # the clusters as they are now are not it
        return Reason(reason.about, reason.outcome, reason.why, reason.place, steps)
    return Reason("route", name, "it took the request; after the edits of its filters, the rules look different", place)
