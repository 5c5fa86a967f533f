"""From a cluster's plan to its membership: feeds by discovery method, checks by kind of probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voltgw.control.membership import Membership
from voltgw.control.probes.target import Check
from voltgw.control.terms import Terms
from voltgw.errors import NOWHERE
from voltgw.registry import DISCOVERY, PROBES

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.plan import CheckPlan, ClusterPlan
    from voltgw.control.discovery.sources import Sources
    from voltgw.control.orders import Orders
    from voltgw.control.probes.prober import Prober
    from voltgw.registry import Registry


def build_membership(
    cluster: Cluster, plan: ClusterPlan, prober: Prober, sources: Sources, registry: Registry,
    refused: Callable[[str, int], str] = lambda address, port: "", orders: Orders | None = None,
) -> Membership:
    """The service that keeps `cluster` as `plan` says; nothing runs before it is started. Raises RegistryError."""
    feeds = [registry.find(DISCOVERY, member.kind).build(member, sources) for member in plan.members]
    checks = [build_check(check, registry) for check in plan.checks]
    terms = Terms(plan.panic_threshold, plan.weight_label, plan.home, plan.local_only)
    return Membership(cluster, feeds, checks, prober, sources.loop, refused, terms, orders)


def build_check(plan: CheckPlan, registry: Registry) -> Check:
    """One health check with its probe. Raises RegistryError, or ValueError for options that cannot be used."""
    factory = registry.find(PROBES, plan.kind)
    return Check(
        plan.name, factory.build(factory.options(plan.options, NOWHERE)), plan.interval_s, plan.timeout_s, plan.rise,
        plan.fall, plan.jitter_percent, plan.edge_interval_s, plan.unhealthy_interval_s, plan.keep,
    )
