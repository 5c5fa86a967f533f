"""All that judges the requests of a virtual host before anything is done for them, in its order.

Policies that only refuse come first, then rate limits, so that nothing else is paid for what is too much. Authentication
stands before the service policies, which may ask who was proven; limits that tell users apart by claims come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from voltgw.app.authenticating import gate_of
from voltgw.app.guards import blocking_of, chain_of, guarding
from voltgw.app.limiters import HostLimits, limit_objects
from voltgw.app.lists import Lists
from voltgw.security.limiting import Limits
from voltgw.security.policies import Chain

if TYPE_CHECKING:
    from voltgw.app.authenticating import FindCluster, Surroundings
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.routing.problems import Placer
    from voltgw.routing.route import Guard, VirtualHost


def gate_objects(config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]]) -> list[Object[Any]]:
    """Every object beside the host and its routes that its gates are made of. Raises `ConfigErrors`."""
    return [*guarding(config, host), *limit_objects(config, host, routes)]


def gates_of(
    config: Config, host: Object[VirtualHostSpec], routes: Sequence[Object[RouteSpec]],
    place_of: Callable[[Object[Any]], Placer], before: VirtualHost | None, wall: Callable[[], float], find: FindCluster,
    around: Surroundings, lists: Lists,
) -> tuple[Guard | None, tuple[Guard, ...]]:
    """The service policies of a host, and all of its gates; those of `before` say where counting stopped.

    Raises `BuildErrors` with all that is wrong with one of them.
    """
    standing = before.gates if before is not None else ()
    hits = {gate.only_refuses: gate.hits for gate in standing if isinstance(gate, Chain)}
    blocking = blocking_of(config, host, place_of, hits.get(True, {}), wall, lists)
    guard = chain_of(config, host, place_of, hits.get(False, {}), wall, lists)
    limits = HostLimits(config, host, routes, place_of, [gate for gate in standing if isinstance(gate, Limits)], lists)
    gates: tuple[Guard | None, ...] = (
        blocking, limits.early, gate_of(host, routes, place_of, find, around, before, wall), guard, limits.late)
    return guard, tuple(gate for gate in gates if gate is not None)
