"""All that judges the requests of a virtual host before anything is done for them, in its order.

Whose trace a request is in is said before all, so that refusals are in it as well. How many a client has under way is next.
Policies that only refuse come first,
then rate limits, so that nothing else is paid for what is too much. Where routes ask for different things, a path that some
origins would read as another route's is refused next (`OneReading`). Authentication stands before the service policies, which
may ask who was proven; limits that tell users apart by claims come last.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from voltgw.app.authenticating import gate_of
from voltgw.app.guards import blocking_of, chain_of, guarding
from voltgw.app.limiters import HostLimits, limit_objects
from voltgw.app.lists import Known
from voltgw.app.tracing import tracing_of
from voltgw.security.at_once import AtOnce, InFlight
from voltgw.security.limiting import Limits
from voltgw.security.one_reading import OneReading
from voltgw.security.policies import Chain

if TYPE_CHECKING:
    from voltgw.app.authenticating import FindCluster, Surroundings
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.routing.problems import Placer
    from voltgw.routing.route import Guard, VirtualHost
    from voltgw.routing.tracing import Bits


def gate_objects(config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]]) -> list[Object[Any]]:
    """Every object beside the host and its routes that its gates are made of. Raises `ConfigErrors`."""
    guards = guarding(config, host)
    return [*guards, *limit_objects(config, host, routes, [one for one in guards if one.kind == "rate_limiter"])]


def gates_of(
    config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]],
    place_of: Callable[[Object[Any]], Placer], before: VirtualHost | None, wall: Callable[[], float], find: FindCluster,
    around: Surroundings, known: Known, bits: Bits, in_flight: InFlight | None = None,
) -> tuple[Guard | None, tuple[Guard, ...]]:
    """The service policies of a host, and all of its gates; those of `before` say where counting stopped.

    `bits` makes the ids of traces. `in_flight` knows which requests are under way, None = that is not asked.

    Raises `BuildErrors` with all that is wrong with one of them.
    """
    standing = before.gates if before is not None else ()
    hits = {gate.only_refuses: gate.hits for gate in standing if isinstance(gate, Chain)}
    limits = HostLimits(config, host, routes, place_of, [gate for gate in standing if isinstance(gate, Limits)], known)
    blocking = blocking_of(config, host, place_of, hits.get(True, {}), wall, known, limits)
    guard = chain_of(config, host, place_of, hits.get(False, {}), wall, known, limits)
    early, late = limits.gates()
    ways = OneReading() if host.spec.proxy.http and _differ(host, routes) else None
    if ways is not None:
        ways.refused = sum(gate.refused for gate in standing if isinstance(gate, OneReading))
    traces = tracing_of(config, host, bits)
    at_once = AtOnce(in_flight) if host.spec.proxy.http and in_flight is not None else None
    if at_once is not None:
        at_once.refused = sum(gate.refused for gate in standing if isinstance(gate, AtOnce))
    gates: tuple[Guard | None, ...] = (
        traces, at_once, blocking, early, ways, gate_of(host, routes, place_of, find, around, before, wall), guard, late)
    return guard, tuple(gate for gate in gates if gate is not None)


def _differ(host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]]) -> bool:
    """Whether not all rules ask for the same."""
    spec = host.spec
    own: object = spec.jwt_validation or (spec.voltgw.authentication if spec.voltgw is not None else None)
    asked: set[tuple[Hashable, ...]] = set()
    for route in routes:
        for rule in route.spec.routes:
            extensions = [each for each in (rule.voltgw, route.spec.voltgw) if each is not None]
            authentication = next((each.authentication for each in extensions if each.authentication is not None), None)
            who: object = own if authentication is None else None if authentication.disabled else authentication
            asked.add((
                id(who), rule.service_policy is not None and rule.service_policy.disable,
                any(each.no_rate_limit for each in extensions),
                next((each.rate_limiter for each in extensions if each.rate_limiter), ())))
    return len(asked) > 1
