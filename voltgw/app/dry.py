"""A runtime that serves nobody: built from a configuration to be looked at, without asking the network or this machine."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from voltgw.app.build import Makings, Runtime, build
from voltgw.cluster.snapshot import UNKNOWN, EndpointKey, EndpointSet, EndpointState
from voltgw.config.collector import without_collector
from voltgw.config.show import arranged
from voltgw.errors import ConfigError, ConfigErrors
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry, RegistryError
from voltgw.values.network import HOST

if TYPE_CHECKING:
    from voltgw.cluster.plan import ClusterPlan
    from voltgw.config.model import Config
    from voltgw.config.objects.where import VirtualNetworkType
    from voltgw.values.network import Network

#: What stands as the reason of an endpoint that was not asked.
NOT_ASKED = "its health is unknown, nobody was asked"


def dry_makings() -> Makings:
    """Pools that stay empty, chance that always falls the same way, and no look at this machine's interfaces."""
    return Makings(lambda key: Pool(), random.Random(0), Registry(), _interface_address, wall=_today)


def dry_build(config: Config) -> Runtime:
    """What would serve `config`; its clusters have no endpoints. Raises `ConfigErrors` for what only building finds."""
    try:
        with without_collector():
            return build(config, None, dry_makings())
    except ConfigErrors as errors:
        found = errors.problems
    except RegistryError as error:
        found = (ConfigError("VG0302", config.gateway_place, str(error)),)
    raise ConfigErrors(arranged((*found, *config.warnings), list(config.files), config.line))


def dry_runtime(config: Config) -> Runtime:
    """`dry_build`, with every configured endpoint in its cluster, taken for ready. Raises `ConfigErrors`."""
    runtime = dry_build(config)
    for name, plan in runtime.plans.items():
        runtime.clusters[name].install(EndpointSet(1, assumed(plan)))
    return runtime


def assumed(plan: ClusterPlan) -> tuple[EndpointState, ...]:
    """The members of a cluster as they are known before anybody was asked; a name stands where its address would."""
    return tuple(
        EndpointState(
            EndpointKey(plan.name, member.protocol, "", member.address, member.port, member.network), member.weight,
            member.labels, "" if member.kind == "static" else member.address, member.health_port, True, UNKNOWN, NOT_ASKED)
        for member in plan.members)


def _today() -> float:
    """Now, in seconds since the epoch: what is asked is what happens today, by rules that may have expired."""
    return datetime.now(UTC).timestamp()


def _interface_address(kind: VirtualNetworkType, network: Network) -> str:
    """Stands for the address of an interface."""
    return f"<{kind.value if network is HOST else network}>"
