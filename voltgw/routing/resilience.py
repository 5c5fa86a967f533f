"""What a route says about failing and waiting: retries, copies to another cluster, whole bodies, upgrades.

A route's own policy wins over its virtual host's as a whole: parts of two policies are never mixed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from voltgw.config.objects.policies import RetryPolicyType
from voltgw.config.objects.route import Denominator
from voltgw.routing.problems import at
from voltgw.values.defaults import RETRIES, RETRY_BASE_S, RETRY_MAX_FACTOR
from voltgw.values.retry import SAFE_CONDITIONS, MirrorPlan, RetryPlan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voltgw.config.objects.extensions import HostExtension, RouteExtension
    from voltgw.config.objects.policies import BufferConfigType
    from voltgw.config.objects.route import MirrorPolicyType, RouteDestinationList, WebsocketConfigType
    from voltgw.interfaces import UpstreamCluster

#: The largest body that a buffer policy without a size holds.
BUFFER_BYTES: Final = 1024 * 1024
_OF: Final = {Denominator.HUNDRED: 100, Denominator.TEN_THOUSAND: 10_000, Denominator.MILLION: 1_000_000}


def retry_plan(
    own: RetryPolicyType | None, of_host: RetryPolicyType | None,
    extensions: Iterable[RouteExtension | HostExtension | None] = (),
) -> RetryPlan | None:
    """The plan of a route; None when neither it nor its host has a policy, or names codes of gRPC.

    A policy without conditions keeps to the safe ones. `extensions` are those of the rule, its object and its host; what
    one of them permits is permitted, and the nearest one that names codes of gRPC says which.
    """
    policy = own if own is not None else of_host
    said = [extension for extension in extensions if extension is not None]
    grpc = next((frozenset(extension.retry_grpc) for extension in said if extension.retry_grpc), frozenset())
    if policy is None:
        if not grpc:
            return None
        policy = RetryPolicyType()
    conditions = frozenset((*policy.retry_condition, *((policy.retry_on,) if policy.retry_on else ())))
    base_s, max_s = RETRY_BASE_S, 0.0
    if policy.back_off is not None:
        base_s = policy.back_off.base_interval_s or RETRY_BASE_S
        max_s = policy.back_off.max_interval_s or 0.0
    return _shared(RetryPlan(
        conditions=(conditions or SAFE_CONDITIONS) | grpc,
        retries=RETRIES if policy.num_retries is None else policy.num_retries,
        per_try_timeout_s=policy.per_try_timeout_s or 0.0,
        statuses=frozenset(policy.retriable_status_codes),
        base_s=base_s,
        max_s=max_s or base_s * RETRY_MAX_FACTOR,
        non_idempotent=any(extension.retry_non_idempotent for extension in said),
        hedge=any(extension.hedge_on_per_try_timeout for extension in said),
        grpc=bool(grpc),
    ))


@lru_cache(maxsize=64)
def _shared(plan: RetryPlan) -> RetryPlan:
    """The same plan for all routes that have an equal one: a thousand copies would leave the processor's caches in between."""
    return plan


def mirror_plan(policy: MirrorPolicyType | None, cluster: UpstreamCluster | None) -> MirrorPlan | None:
    """Where copies go; None when none are ever sent. `cluster` is the policy's; raises ValueError when it does not exist."""
    if policy is None:
        return None
    if cluster is None:
        with at("cluster", 0):
            raise ValueError(f'cluster "{policy.cluster[0]}", which is to get copies of requests, does not exist')
    if policy.percent is None:
        return MirrorPlan(cluster, 1, 1)
    numerator = policy.percent.numerator or 0
    return MirrorPlan(cluster, numerator, _OF[policy.percent.denominator]) if numerator else None


def buffering(own: BufferConfigType | None, of_host: BufferConfigType | None) -> tuple[int, float]:
    """The largest body that is read whole (0 = it is passed on as it comes), and how long that may take (0.0 = any time)."""
    policy = own if own is not None else of_host
    if policy is None or policy.disabled:
        return 0, 0.0
    return policy.max_request_bytes or BUFFER_BYTES, policy.max_request_time_s or 0.0


def max_body(*levels: RouteExtension | HostExtension | None) -> int:
    """The largest request body, by the nearest of the levels (rule, route object, virtual host) that says one; 0 = any."""
    return next((level.max_request_body_bytes for level in levels if level is not None and level.max_request_body_bytes), 0)


def upgrade_plan(config: WebsocketConfigType | None, usual: RetryPlan | None) -> RetryPlan | None:
    """How requests that ask to switch protocols are tried again; None = as `usual`, the route's plan.

    A number of tries of their own is for connections that cannot be made, whatever else the plan tries again.
    """
    if config is None or not config.max_connect_attempts:
        return None
    plan = usual if usual is not None else RetryPlan()
    return _shared(replace(plan, retries=config.max_connect_attempts - 1, conditions=plan.conditions | SAFE_CONDITIONS))


def upgrades(spec: RouteDestinationList) -> frozenset[bytes]:
    """The protocols that a request may ask to switch to, as they stand in Upgrade."""
    found = []
    if spec.web_socket_config is not None and spec.web_socket_config.use_websocket:
        found.append(b"websocket")
    if spec.spdy_config is not None and spec.spdy_config.use_spdy:
        found.append(b"spdy/3.1")
    return frozenset(found)
