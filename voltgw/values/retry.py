"""How a failed request is tried again, and to whom copies of requests go: what a route says, worked out at build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voltgw.values.defaults import RETRIES, RETRY_BASE_S, RETRY_MAX_FACTOR

if TYPE_CHECKING:
    from voltgw.interfaces import UpstreamCluster

#: What is tried again where a policy names no condition, and where there is no policy: nothing of the request was acted on.
SAFE_CONDITIONS: Final = frozenset(("connect-failure", "refused-stream"))
#: Codes of gRPC after which a call may be tried again, by Envoy's names of these conditions.
GRPC_CONDITIONS: Final = {1: "cancelled", 4: "deadline-exceeded", 8: "resource-exhausted", 13: "internal", 14: "unavailable"}


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """When and how often a request is tried again. A route without one has None, and the gateway's own default holds.

    `conditions` are Envoy's names: ``5xx``, ``gateway-error``, ``connect-failure``, ``refused-stream``, ``retriable-4xx``,
    ``retriable-status-codes`` (those in `statuses`) and ``reset``, and those of `GRPC_CONDITIONS`, of which `grpc` tells that
    there are some. `retries` are further tries, 0 = none at all.
    `per_try_timeout_s` 0.0 = none. The pauses between tries grow from `base_s` to `max_s`. With `non_idempotent`, requests
    whose method is not idempotent are tried again after ``5xx`` and ``reset``, too; with `hedge` a try that reaches its
    time goes on beside the next one.
    """

    conditions: frozenset[str] = SAFE_CONDITIONS
    retries: int = RETRIES
    per_try_timeout_s: float = 0.0
    statuses: frozenset[int] = frozenset()
    base_s: float = RETRY_BASE_S
    max_s: float = RETRY_BASE_S * RETRY_MAX_FACTOR
    non_idempotent: bool = False
    hedge: bool = False
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """Of `denominator` requests, `numerator` are also sent to `cluster`; a numerator that is no smaller means all."""

    cluster: UpstreamCluster
    numerator: int
    denominator: int
