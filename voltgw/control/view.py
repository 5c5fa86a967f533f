"""What the admin page says of a cluster: plain JSON-ready values, and a sentence for every endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from voltgw.cluster.cluster import NO_LIMIT

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.subset import Subset
    from voltgw.control.events import Event
    from voltgw.control.feed import Feed
    from voltgw.control.membership import Membership
    from voltgw.control.probes.target import Target


def why(endpoint: Endpoint) -> str:
    """One sentence: whether the endpoint receives traffic, and for what reason."""
    if endpoint.ready and endpoint.weight <= 0:
        return "receives no traffic: its weight is 0"
    return f"receives {'' if endpoint.ready else 'no '}traffic: {endpoint.reason}"


def endpoint_view(endpoint: Endpoint, targets: Iterable[Target], now: float) -> dict[str, Any]:
    """One endpoint with its counts and its checks; ages are seconds before `now`."""
    return {
        "endpoint": str(endpoint.key),
        "address": endpoint.address,
        "port": endpoint.port,
        "protocol": endpoint.key.protocol,
        "site": endpoint.site,
        "hostname": endpoint.hostname,
        "weight": endpoint.weight,
        "labels": dict(endpoint.labels),
        "health": endpoint.health,
        "ready": endpoint.ready,
        "why": why(endpoint),
        "active": endpoint.active,
        "connections": endpoint.connections,
        "idle_connections": len(endpoint.pool),
        "requests": endpoint.requests,
        "status": {f"{number}xx": count for number, count in enumerate(endpoint.status) if number},
        "connect_failures": endpoint.connect_failures,
        "checks": [target_view(target, now) for target in targets],
    }


def target_view(target: Target, now: float) -> dict[str, Any]:
    """One check of one endpoint: its state and its last results, newest first."""
    state = target.state
    return {
        "check": target.check.name,
        "port": target.port,
        "healthy": state.healthy,
        "against": state.streak,            # results in a row that disagree with `healthy`…
        "needed": target.check.fall if state.healthy else target.check.rise,    # …of the so many that it takes
        "results": [
            {"ago_s": round(now - result.at, 3), "took_ms": round(result.took_s * 1000, 3), "ok": result.ok,
             "reason": result.reason}
            for result in reversed(target.results)
        ],
    }


def feed_view(feed: Feed, now: float) -> dict[str, Any]:
    """One feed and how it fares."""
    return {
        "feed": feed.name,
        "state": feed.state.value,
        "last_error": feed.last_error,
        "last_success_ago_s": round(now - feed.last_success, 3) if feed.last_success else None,
    }


def event_view(event: Event, now: float) -> dict[str, Any]:
    """One change."""
    return {"ago_s": round(now - event.at, 3), "endpoint": event.endpoint, "state": event.state, "reason": event.reason}


def cluster_view(membership: Membership, now: float) -> dict[str, Any]:
    """The whole cluster: limits, use, feeds, endpoints, and its last events, newest first."""
    cluster = membership.cluster
    counters = cluster.counters
    endpoints = membership.view()
    return {
        "cluster": cluster.name,
        "version": cluster.version,
        "warm": membership.warm,
        "missing": membership.missing(),
        "any_ready": cluster.any_ready,
        "panic": membership.panic,
        "scheduler": getattr(cluster.factory, "name", ""),
        "building_table": cluster.building,
        "subsets": sorted((subset_view(subset) for subset in cluster.subsets_in_use), key=itemgetter("subset")),
        "ready": sum(endpoint["ready"] for endpoint in endpoints),
        "healthy": sum(endpoint["health"] == "healthy" for endpoint in endpoints),
        "unhealthy": sum(endpoint["health"] == "unhealthy" for endpoint in endpoints),
        "unknown": sum(endpoint["health"] == "unknown" for endpoint in endpoints),
        "active": cluster.active,
        "pending": cluster.pending,
        "connections": cluster.connections,
        "retries_under_way": cluster.retries,
        "limits": _limits(cluster),
        "high_priority": None if cluster.high is None else {
            "active": cluster.high.active,
            "pending": cluster.high.pending,
            "connections": cluster.high.connections,
            "retries_under_way": cluster.high.retries,
            "limits": _limits(cluster.high),
            "requests": cluster.high.counters.requests,
            "overflow": cluster.high.counters.overflow,
        },
        "counters": {
            "requests": counters.requests,
            "retries": counters.retries,
            "connects": counters.connects,
            "connect_failures": counters.connect_failures,
            "resets": counters.resets,
            "timeouts": counters.timeouts,
            "overflow": counters.overflow,
            "no_endpoint": counters.no_endpoint,
        },
        "checks": [check.name for check in membership.checks],
        "feeds": [feed_view(feed, now) for feed in membership.feeds],
        "endpoints": endpoints,
        "events": [event_view(event, now) for event in reversed(membership.events.ring)],
    }


def subset_view(subset: Subset) -> dict[str, Any]:
    """Which endpoints serve those who ask for some labels, and why these."""
    return {
        "subset": str(subset.wanted),
        "how": subset.how,
        "ready": sum(endpoint.ready for endpoint in subset.endpoints),
        "endpoints": [str(endpoint.key) for endpoint in subset.endpoints],
    }


def _limits(cluster: Cluster) -> dict[str, Any]:
    return {
        "connections": _limit(cluster.max_connections),
        "pending": _limit(cluster.max_pending),
        "requests": _limit(cluster.max_requests),
        "retries": cluster.max_retries if cluster.max_retries is not None else "budget",
    }


def _limit(limit: int) -> int | None:
    return None if limit >= NO_LIMIT else limit
