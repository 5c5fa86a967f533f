"""What follows a failed try: another endpoint, the same one on a fresh connection, or giving up, and why.

Made only after a first try has failed, so that a request that succeeds pays nothing for it. Decisions alone, no clock: the
owner waits and sends. Without a retry policy:

- nothing was sent (the connection could not be made): once more, on another endpoint. This takes nothing from the
  default retry budget (an operator's own limit holds for it too), which is there to keep an overloaded cluster from
  being sent its work twice: a refused connection is no work, and when one of three endpoints dies, a third of all
  requests meet one until health checks have noticed;
- the connection closed before a byte of the answer: an idempotent request whose body can be sent again goes to another
  endpoint, once, within the budget (RFC 9110 9.2.2). That is how an endpoint that dies looks to those who just got it;
- anything else: no.

A policy (`RetryPlan`) takes the place of that, with its own conditions, number and pauses; methods that are not idempotent
are sent again only if nothing was sent, or if the policy says so. Whatever the policy, a *reused* connection may be closed
before the first byte of the answer: the endpoint may have closed it for being idle in the moment in which we used it, so an
idempotent request whose body can be sent again goes out once more on a fresh connection (RFC 9110 9.2.2, RFC 9112 9.3.1).
And a request for which an endpoint's GOAWAY says that nothing was done goes out once more to it (RFC 9113 6.8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import BadResponse, ConnectFailed, Retry, Source, StreamRefused, UpstreamClosed, UpstreamTimeout
from voltgw.values.defaults import CONNECT_RETRIES, MAX_RETRY_AFTER_S
from voltgw.values.retry import SAFE_CONDITIONS

if TYPE_CHECKING:
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ProxyError
    from voltgw.values.retry import RetryPlan

#: Methods that may be sent twice (RFC 9110 9.2.2), QUERY among them.
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"))
#: How often a request is sent again because a reused connection was closed under it.
REUSED_RETRIES: Final = 1

#: Clusters of so many endpoints or fewer are looked through for another one; in larger ones the scheduler is asked.
FEW_ENDPOINTS: Final = 64

#: The conditions that no answer at all meets: closed, reset, garbled or too late. As in Envoy, 502 and 504 are what the client
#: would be told, so that gateway-error takes it in.
_NO_ANSWER: Final = frozenset(("5xx", "gateway-error", "reset"))
_CONNECT_FAILURE: Final = _NO_ANSWER | {"connect-failure"}
_REFUSED: Final = _NO_ANSWER | {"refused-stream"}
_NONE: Final[frozenset[str]] = frozenset()


def conditions_of(error: ProxyError) -> frozenset[str]:
    """The retry conditions that a failure meets, by Envoy's names; none for one that is not the endpoint's."""
    if isinstance(error, ConnectFailed):
        return _NONE if error.source is Source.GATEWAY else _CONNECT_FAILURE
    if error.retry is Retry.ALWAYS:
        return _REFUSED
    return _NO_ANSWER if isinstance(error, (UpstreamClosed, UpstreamTimeout, BadResponse)) else frozenset()


def conditions_of_status(status: int, statuses: frozenset[int]) -> frozenset[str]:
    """The retry conditions that an answer meets; `statuses` are those of ``retriable-status-codes``."""
    met = set()
    if 500 <= status <= 599:
        met.add("5xx")
        if 502 <= status <= 504:
            met.add("gateway-error")
    elif status == 409:
        met.add("retriable-4xx")
    if status in statuses:
        met.add("retriable-status-codes")
    return frozenset(met)


def is_bad(status: int, plan: RetryPlan) -> bool:
    """Whether an answer with this status is one that `plan` would rather not pass on."""
    return not plan.conditions.isdisjoint(conditions_of_status(status, plan.statuses))


class Attempts:
    """The tries of one exchange (or of one relayed connection, whose `method` is b"") after the first.

    `after` and `after_answer` say whether and after what pause there is another one, `next` where it goes. The owner calls
    `close` exactly once when the exchange is over: a retry counts in the cluster's budget from its decision until then.
    `why` says in a few words why it gave up. With `afresh` the next try goes out on a new connection, not on a pooled one,
    which might be as stale. `random` gives numbers in [0, 1).
    """

    __slots__ = ("_again", "_cluster", "_counted", "_hash_key", "_idempotent", "_plan", "_random", "_retries", "_reused_left",
                 "afresh", "tried", "why")

    def __init__(
        self, cluster: Any, method: bytes, hash_key: int | None, plan: RetryPlan | None = None,
        random: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._cluster = cluster             # a `Cluster`, or a `Subset` of one, which is no subclass of it
        self._hash_key = hash_key
        self._plan = plan
        self._random = random
        self._idempotent = method in IDEMPOTENT
        self._retries = 0                   # decided on, not counting the one for a stale connection
        self._reused_left = REUSED_RETRIES
        self._again: Endpoint | None = None # the endpoint of a stale connection, which is asked again
        self._counted = False
        self.afresh = True
        self.tried: list[Endpoint] = []
        self.why = ""

    def after(self, error: ProxyError, endpoint: Endpoint, reused: bool, replayable: bool) -> float | None:
        """Seconds to wait before the try that follows `error` of `endpoint` (0.0 = none), or None: then `why` says why not.

        `reused` tells that the connection had served before and was closed before the first byte of the answer,
        `replayable` that every byte that was sent can be sent again.
        """
        self._note(endpoint)
        untouched = error.retry is Retry.ALWAYS
        if error.retry is Retry.REUSED and reused and replayable and self._idempotent and self._reused_left:
            return self._on_a_fresh_connection(endpoint)
        if isinstance(error, StreamRefused) and error.again and self._reused_left:
            return self._on_a_fresh_connection(endpoint)
        if self._plan is None and not untouched:
            if isinstance(error, UpstreamClosed) and error.silent and self._idempotent and replayable and not self._retries:
                return self._elsewhere()
            return self._give_up(self._why_not(error, reused, replayable))
        return self._another(conditions_of(error), untouched, replayable, 0.0)

    def after_answer(
        self, status: int, endpoint: Endpoint, replayable: bool, hint_s: float = 0.0, grpc: frozenset[str] = _NONE,
    ) -> float | None:
        """The same for an answer of `endpoint`; `hint_s` is what its Retry-After asks for (0.0 = nothing).

        `grpc` is the condition that its code of gRPC meets.
        """
        self._note(endpoint)
        plan = self._plan
        if plan is None:
            return self._give_up("there is no retry policy")
        asked = not plan.conditions.isdisjoint(grpc)
        return self._another(conditions_of_status(status, plan.statuses) | grpc, False, replayable, hint_s, asked)

    def next(self) -> Endpoint | None:
        """Where the try goes that was decided on: an endpoint that was not tried yet, if there is one."""
        cluster = self._cluster
        again, self._again = self._again, None
        if again is not None and again.ready:
            return again
        if self._hash_key is None and len(cluster.endpoints) <= FEW_ENDPOINTS:
            other = self._drawn()
        else:
            other = cluster.pick_other(self.tried, self._hash_key)
        return cluster.pick(self._hash_key) if other is None and self._plan is not None else other

    def _drawn(self) -> Endpoint | None:
        """An endpoint that was not tried, by weight and chance.

        Not by the scheduler, whose turn it would take: of two endpoints in a round, the next request would begin at the same
        one again, and if that is the bad one, so would every request.
        """
        others: list[Endpoint] = []
        for among in (self._cluster.in_use, self._cluster.endpoints):   # of a lower priority only if nobody else is left
            others = [each for each in among if each.ready and each.weight > 0 and each not in self.tried]
            if others:
                break
        left = self._random() * sum(endpoint.weight for endpoint in others)
        for endpoint in others:
            left -= endpoint.weight
            if left < 0.0:
                return endpoint
        return others[-1] if others else None

    def close(self) -> None:
        """The exchange is over."""
        if self._counted:
            self._counted = False
            self._cluster.retries -= 1

    # -- inside --------------------------------------------------------------------------------------------------------

    def _note(self, endpoint: Endpoint) -> None:
        if endpoint not in self.tried:
            self.tried.append(endpoint)

    def _on_a_fresh_connection(self, endpoint: Endpoint) -> float | None:
        if not endpoint.ready and not self._other_ready:
            return self._give_up("the endpoint is no longer ready and there is no other")
        if not self._may_retry():
            return self._give_up("too many retries are under way in the cluster")
        self._reused_left -= 1
        self._again = endpoint
        self.afresh = True
        self._count()
        return 0.0

    def _elsewhere(self) -> float | None:
        """Not a byte of an answer came from this one: ask another."""
        if not self._other_ready:
            return self._give_up("there is no other endpoint")
        if not self._may_retry():
            return self._give_up("too many retries are under way in the cluster")
        self._retries += 1
        self.afresh = True
        self._count()
        return 0.0

    def _another(
        self, met: frozenset[str], untouched: bool, replayable: bool, hint_s: float, asked: bool = False,
    ) -> float | None:
        """`asked`: the policy names what has happened as something after which any method may be sent twice."""
        plan = self._plan
        retries = self._retries
        if (SAFE_CONDITIONS if plan is None else plan.conditions).isdisjoint(met):
            return self._give_up("no condition of the retry policy is met")
        if not untouched and not asked and not self._idempotent and not (plan is not None and plan.non_idempotent):
            return self._give_up("the method is not idempotent")
        if not untouched and not replayable:
            return self._give_up("the body cannot be sent again")
        if retries >= (CONNECT_RETRIES if plan is None else plan.retries):
            return self._give_up(f"it was tried again {retries} times already" if plan is not None
                                 else f"{retries} other endpoint was tried already")
        others = self._other_ready
        if not others and (plan is None or not self._cluster.any_ready):
            return self._give_up("there is no other endpoint")
        if hint_s > MAX_RETRY_AFTER_S:
            return self._give_up("the endpoint asks for too long a pause")
        # A connection that could not be made is no work for anybody; more than one for one request may be a storm.
        free = untouched and not retries and self._cluster.max_retries is None
        if not free:
            if not self._may_retry():
                return self._give_up("too many retries are under way in the cluster")
            self._count()
        self._retries = retries + 1
        self.afresh = untouched or not self._idempotent
        if hint_s > 0.0:
            return hint_s * (1.0 + 0.5 * self._random())        # so that those who were told the same do not come at once
        if plan is None or (untouched and others and not retries):
            return 0.0
        return self._random() * min(plan.base_s * (1 << retries), plan.max_s)       # full jitter

    @property
    def _other_ready(self) -> bool:
        """Whether an endpoint is ready that was not tried."""
        tried = self.tried
        return any(endpoint.ready and endpoint.weight > 0 and endpoint not in tried for endpoint in self._cluster.endpoints)

    def _may_retry(self) -> bool:
        return self._counted or self._cluster.may_retry()

    def _count(self) -> None:
        if not self._counted:
            self._counted = True
            self._cluster.retries += 1

    def _why_not(self, error: ProxyError, reused: bool, replayable: bool) -> str:
        if error.retry is not Retry.REUSED:
            return "this failure allows no other try"
        if not reused:
            return "the connection was not a reused one, or the answer had begun"
        if not self._idempotent:
            return "the method is not idempotent"
        return "it was sent again already" if replayable else "the body cannot be sent again"

    def _give_up(self, why: str) -> float | None:
        self.why = why
        return None
