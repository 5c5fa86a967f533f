"""Says why a request goes where it goes: the virtual host, every rule that was tried, the shares of the destinations.

It asks the same tables and conditions as the data plane, one rule after the other, and changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.routing.hosts import Rank
from voltgw.routing.split import shares
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from voltgw.routing.hosts import HostTable
    from voltgw.routing.match import Clause
    from voltgw.routing.table import Route, Rule, VirtualHost
    from voltgw.values.head import RequestHead


def explain(table: HostTable, head: RequestHead, port: int) -> Reason:
    """The decision for `head` coming in on `port`; its steps are the choice of the host and, if there is one, of the route.

    `outcome` is the name of the route, or "no virtual host" or "no route" (both are answered 404).
    """
    about = f"{_text(head.method)} {_text(head.authority)}{_text(head.target)}"
    entry = table.find(head.host, head.port, port)
    if entry is None:
        step = Reason("virtual host", "none", f"no domain of the {len(table.entries)} on this listener takes "
                      f"{_text(head.host)!r}")
        return Reason(about, "no virtual host", step.why, steps=(step,))
    host = entry.host
    why = f"{_text(head.host)!r} {entry.domain.rank.value}: domain {entry.text!r}"
    if entry.domain.rank is Rank.ANY:
        why = f"domain {entry.text!r} takes any name, and no other domain takes {_text(head.host)!r}"
    if entry.domain.port is not None:
        why += ", for this port"
    of_host = Reason("virtual host", f"{host.namespace}/{host.name}", why, host.place)
    of_route, route = explain_route(host, head, port)
    if route is None:
        return Reason(about, "no route", of_route.why, host.place, (of_host, of_route))
    return Reason(about, route.name, of_route.why, route.place, (of_host, of_route))


def explain_route(host: VirtualHost, head: RequestHead, port: int) -> tuple[Reason, Route | None]:
    """Which route of `host` takes the request, with a step for every rule up to it."""
    if host.raw_path:
        host.choose(head, port)                 # it puts the path as written into the head, which the rules then see
    steps: list[Reason] = []
    for rule in host.rules:
        reason, route = _rule(rule, head, port)
        steps.append(reason)
        if route is not None:
            left = len(host.rules) - len(steps)
            why = f"the first rule that matches; {left} behind it {'was' if left == 1 else 'were'} not tried"
            return Reason("route", route.name, why, route.place, (*steps, _action(route))), route
    return Reason("route", "none", f"none of the {len(steps)} rules matches", host.place, tuple(steps)), None


def _rule(rule: Rule, head: RequestHead, port: int) -> tuple[Reason, Route | None]:
    about = f"rule {rule.route.name}"
    steps: list[Reason] = []
    for number, (clause, route) in enumerate(rule.clauses):
        failed = _first_failure(clause, head, port)
        if failed is None:
            why = " and ".join(part.text for part in clause.parts) or "it takes every request"
            return Reason(about, "matches", why, rule.route.place, tuple(steps)), route
        steps.append(Reason(f"match {number}", "does not hold", f"it is not so that {failed}"))
    if len(steps) == 1:
        return Reason(about, "does not match", steps[0].why, rule.route.place), None
    return Reason(about, "does not match", "none of its alternatives holds", rule.route.place, tuple(steps)), None


def _first_failure(clause: Clause, head: RequestHead, port: int) -> str | None:
    for part in clause.parts:
        if not part.test.holds(head, port):
            return part.text
    return None


def _action(route: Route) -> Reason:
    if route.answer is not None:
        return Reason("action", "an answer of our own", "a redirect or a direct response", route.place)
    if not route.destinations:
        return Reason("action", "forward", "to where the request itself leads: its name is looked up", route.place)
    steps = []
    for destination, share in shares(route.destinations, route.retract):
        if destination.cluster is None:
            why = "the cluster does not exist: requests are answered 503"
        elif not destination.ready:
            why = "it has no endpoint that may be used"
        elif not destination.weight and len(route.destinations) > 1:
            why = "its weight is 0"
        elif not share:
            why = f"it stands by (priority {destination.priority})"
        else:
            why = "" if len(route.destinations) == 1 else f"weight {destination.weight}"
        steps.append(Reason(f"cluster {destination.cluster_name}", f"{share:.1%}", why, destination.place))
    return Reason("action", "forward", "", route.place, tuple(steps))


def _text(data: bytes) -> str:
    return data.decode("latin-1")
