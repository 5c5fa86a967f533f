"""What the admin page says of a cluster: plain JSON-ready values, and a sentence for every endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from voltgw.cluster.cluster import NO_LIMIT

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.outlier import Watch
    from voltgw.cluster.subset import Subset
    from voltgw.control.events import Event
    from voltgw.control.feed import Feed
    from voltgw.control.membership import Membership
    from voltgw.control.probes.target import Target


def why(endpoint: Endpoint, share: float | None = None) -> str:
    """One sentence: whether the endpoint receives traffic, and for what reason; `share` of the picks, None = unknown."""
    if endpoint.ready and endpoint.weight <= 0:
        return "receives no traffic: its weight is 0"
    if endpoint.ready and share is not None and share <= 0.0:
        if not endpoint.state.local:
            return "receives no traffic: local endpoints are preferred, and one is ready"
        if endpoint.state.priority:
            return f"receives no traffic: those of a higher priority than its {endpoint.state.priority} take everything"
        return "receives no traffic: its locality has no weight"
    slowly = f", {endpoint.pace:.0%} of its share, as it starts slowly" if endpoint.ready and endpoint.pace < 1.0 else ""
    return f"receives {'' if endpoint.ready else 'no '}traffic: {endpoint.reason}{slowly}"


def endpoint_view(
    endpoint: Endpoint, targets: Iterable[Target], now: float, share: float | None = None, order: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One endpoint with its counts and its checks; ages are seconds before `now`, `order` is what an operator has said."""
    latency = endpoint.latency
    return {
        "endpoint": str(endpoint.key),
        "address": endpoint.address,
        "port": endpoint.port,
        "protocol": endpoint.key.protocol,
        "site": endpoint.site,
        "network": endpoint.network.name,
        "hostname": endpoint.hostname,
        "weight": endpoint.weight,
        "slow_start_factor": round(endpoint.pace, 3),
        "share_percent": None if share is None else round(share * 100, 2),   # of picks without a key, by weights
        "priority": endpoint.state.priority,
        "zone": endpoint.state.zone,
        "local": endpoint.state.local,
        "order": order,
        "latency_ms": None if latency is None or not latency.samples else round(latency.latency_s(now) * 1000, 3),
        "labels": dict(endpoint.labels),
        "health": endpoint.health,
        "ejection": None if endpoint.watch is None else ejection_view(endpoint.watch, now),
        "ready": endpoint.ready,
        "why": why(endpoint, share),
        "active": endpoint.active,
        "connections": endpoint.connections,
        "idle_connections": len(endpoint.pool),
        "requests": endpoint.requests,
        "status": {f"{number}xx": count for number, count in enumerate(endpoint.status) if number},
        "connect_failures": endpoint.connect_failures,
        "checks": [target_view(target, now) for target in targets],
    }


def ejection_view(watch: Watch, now: float) -> dict[str, Any]:
    """What outlier detection knows of an endpoint."""
    return {
        "ejected": watch.ejected,
        "for_another_s": round(max(watch.until - now, 0.0), 3) if watch.ejected else None,
        "why": watch.why,                   # of the last ejection, "" = there was none
        "times": watch.ejections,
        "back_off": watch.backoff,          # the next ejection is longer by so many base times
        "failures_in_a_row": watch.in_a_row,
        "unanswered_in_a_row": watch.local_in_a_row,
        "last_failure": watch.last,
        "success_percent": None if watch.success_rate < 0 else round(watch.success_rate, 2),   # in the last interval
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
        "panic": bool(membership.panicking),
        "panicking_priorities": sorted(membership.panicking),
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
        "adaptive_concurrency": None if cluster.gradient is None else {
            "limit": cluster.max_requests, "long_run_ms": round(cluster.gradient.long_s * 1000, 3)},
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
        "outlier_detection": None if cluster.outliers is None else {
            "ejected": cluster.outliers.out,
            "found": {kind.value: count for kind, count in cluster.outliers.found_counts.items() if count},
            "ejections": {kind.value: count for kind, count in cluster.outliers.ejected_counts.items() if count},
            "overflow": cluster.outliers.overflow,
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
