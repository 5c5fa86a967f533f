"""How long a request may take, and what follows when an endpoint fails: what explain says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltgw.cluster.attempts import IDEMPOTENT
from voltgw.config.units import show_seconds
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, CONNECT_RETRIES, RESPONSE_HEAD_TIMEOUT_S, TUNNEL_IDLE_TIMEOUT_S
from voltgw.values.reason import Reason
from voltgw.values.retry import GRPC_CONDITIONS

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.routing.route import Route
    from voltgw.values.head import RequestHead
    from voltgw.values.retry import RetryPlan


def of_forwarding(route: Route, head: RequestHead) -> list[Reason]:
    """What is said of forwarding that is no bound: copies, upgrades, bodies that are read first, the pool."""
    said: list[Reason] = []
    mirror = route.mirror
    if mirror is not None:
        share = "100.0%" if mirror.numerator >= mirror.denominator else f"{mirror.numerator / mirror.denominator:.4%}"
        said.append(Reason("copies", share, f"go to cluster {mirror.cluster.name}; what it answers is forgotten", route.place))
    if head.upgrade is not None:
        wanted = head.upgrade.decode("latin-1")
        allowed = head.upgrade in route.upgrades
        said.append(Reason("upgrade", "allowed" if allowed else "not passed on",
                           f"the client asks for {wanted}, and the route {'lets it pass' if allowed else 'does not allow it'}"))
        if allowed:
            said.append(Reason("silence", show_seconds(route.idle_timeout_s or TUNNEL_IDLE_TIMEOUT_S),
                               "closes a connection that has switched"))
            if route.upgrade_retry is not None:
                said.append(Reason("tries", f"{route.upgrade_retry.retries + 1}", "max_connect_attempts of web_socket_config"))
    if route.buffer_bytes:
        said.append(Reason("body", "read whole first", f"at most {route.buffer_bytes} bytes, else 413", route.place))
    if route.max_body_bytes:
        said.append(Reason("body", "bounded", f"at most {route.max_body_bytes} bytes, else 413", route.place))
    if route.priority_high:
        said.append(Reason("priority", "HIGH", "its circuit breaker and connections are those of that priority", route.place))
    return said


def timeouts(route: Route, cluster: Cluster | None) -> Reason:
    """Every bound on the time of a request, or of a relayed connection."""
    host = route.host
    steps: list[Reason] = []
    if cluster is not None:
        steps.append(Reason("connect", show_seconds(cluster.connect_timeout_s), "the endpoint must have accepted"))
    idle = host.idle_timeout_s
    if not host.proxy.startswith("HTTP"):
        steps.append(Reason("silence", show_seconds(idle or TUNNEL_IDLE_TIMEOUT_S), "neither side says anything"))
        return Reason("timeouts", "", "", None, tuple(steps))
    if route.buffer_bytes:
        steps.append(Reason("whole body", show_seconds(route.buffer_time_s) if route.buffer_time_s else "none",
                            "the request is read whole first"))
    steps.append(Reason("answer begins", show_seconds(idle or RESPONSE_HEAD_TIMEOUT_S),
                        "idle_timeout of the virtual host" if idle else "the default"))
    steps.append(Reason("between body bytes", show_seconds(idle or BODY_IDLE_TIMEOUT_S),
                        "idle_timeout of the virtual host" if idle else "the default"))
    if route.retry is not None and route.retry.per_try_timeout_s:
        steps.append(Reason("each try", show_seconds(route.retry.per_try_timeout_s), "per_try_timeout of the retry policy"))
    steps.append(Reason("whole answer", show_seconds(route.timeout_s) if route.timeout_s else "none",
                        "timeout of the route, all tries together" if route.timeout_s else "the route sets none", route.place))
    return Reason("timeouts", "", "", None, tuple(steps))


def retries(route: Route, cluster: Cluster | None, head: RequestHead | None) -> Reason:
    """What follows a failed try."""
    others = 0 if cluster is None else sum(each.ready and each.weight > 0 for each in cluster.endpoints) - 1
    method = b"" if head is None else head.method
    idempotent = method in IDEMPOTENT
    elsewhere = "on another endpoint" if others > 0 else "but there is no other endpoint"
    plan = route.retry if head is not None else None
    steps: list[Reason] = []
    if plan is None:
        steps.append(Reason("connection fails", f"{CONNECT_RETRIES} more try", elsewhere))
    else:
        steps += _by_plan(plan, method.decode("latin-1"), idempotent, elsewhere)
    if head is not None:
        steps.append(Reason(
            "reused connection closes", "once more" if idempotent else "no",
            "on a fresh connection, if no byte of the answer came" if idempotent
            else f"{method.decode('latin-1')} is not idempotent: it may have been acted on"))
        steps.append(Reason("answer has begun", "no", "the client has part of it already"))
    if cluster is not None:
        budget = "a fifth of what is under way, at least 3" if cluster.max_retries is None else str(cluster.max_retries)
        steps.append(Reason("at once in the cluster", budget, "more retries than that are not begun"))
    said = "the route's policy" if plan is not None else "no policy: the defaults"
    return Reason("retries", "none" if plan is not None and not plan.retries else said, "", route.place, tuple(steps))


def _by_plan(plan: RetryPlan, method: str, idempotent: bool, elsewhere: str) -> list[Reason]:
    times = f"{plan.retries} more tr{'y' if plan.retries == 1 else 'ies'}"
    steps: list[Reason] = []
    for condition in sorted(plan.conditions):
        if condition in ("5xx", "gateway-error", "reset") and not idempotent and not plan.non_idempotent:
            steps.append(Reason(condition, "no", f"{method} is not idempotent, and retry_non_idempotent is not set"))
            continue
        said = elsewhere
        if condition == "retriable-status-codes":
            said = f"{', '.join(map(str, sorted(plan.statuses))) or 'no status is named'}; {elsewhere}"
        elif condition in GRPC_CONDITIONS.values():
            said = f"an answer of gRPC that is nothing but this code; {elsewhere}"
        steps.append(Reason(condition, times, said))
    steps.append(Reason("pause", f"up to {show_seconds(plan.base_s)}",
                        f"doubled for each try, at most {show_seconds(plan.max_s)}"))
    if plan.hedge:
        steps.append(Reason("hedge", "yes", "a try that reaches its time goes on beside the next"))
    return steps
