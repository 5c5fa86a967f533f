"""What follows a failed try: another endpoint, the same one on a fresh connection, or giving up, and why.

Made only after a first try has failed, so that a request that succeeds pays nothing for it. Without a retry policy:

- nothing was sent (the connection could not be made): once more, on another endpoint. This takes nothing from the
  default retry budget (an operator's own limit holds for it too), which is there to keep an overloaded cluster from
  being sent its work twice: a refused connection is no work, and when one of three endpoints dies, a third of all
  requests meet one until health checks have noticed;
- a *reused* connection was closed before the first byte of the answer: the endpoint may have closed it for being idle
  in the moment in which we used it, so an idempotent request whose body can be sent again goes out once more on a
  fresh connection (RFC 9110 9.2.2, RFC 9112 9.3.1);
- anything else: no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voltgw.errors import Retry
from voltgw.values.defaults import CONNECT_RETRIES

if TYPE_CHECKING:
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ProxyError

#: Methods that may be sent twice (RFC 9110 9.2.2), QUERY among them.
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"))
#: How often a request is sent again because a reused connection was closed under it.
REUSED_RETRIES: Final = 1


class Attempts:
    """The tries of one exchange (or of one relayed connection, whose `method` is b"") after the first.

    The owner calls `close` exactly once when the exchange is over: a retry under way counts in the cluster's budget
    until then. `why` says in a few words why it gave up.
    """

    __slots__ = ("_cluster", "_connects_left", "_counted", "_hash_key", "_idempotent", "_reused_left", "tried", "why")

    def __init__(self, cluster: Cluster, method: bytes, hash_key: int | None) -> None:
        self._cluster = cluster
        self._hash_key = hash_key
        self._idempotent = method in IDEMPOTENT
        self._connects_left = CONNECT_RETRIES
        self._reused_left = REUSED_RETRIES
        self._counted = False
        self.tried: list[Endpoint] = []
        self.why = ""

    def after(self, error: ProxyError, endpoint: Endpoint, reused: bool, replayable: bool) -> Endpoint | None:
        """Where the try that follows `error` of `endpoint` goes, or None: then `why` says why not.

        It goes out on a new connection, never on a pooled one, which might be as stale. `reused` tells that the
        connection had served before and was closed before the first byte of the answer, `replayable` that every byte
        of the body that was sent can be sent again.
        """
        self.tried.append(endpoint)
        if error.retry is Retry.ALWAYS:
            return self._elsewhere()
        if error.retry is Retry.REUSED:
            return self._afresh(endpoint, reused, replayable)
        return self._give_up("this failure allows no other try")

    def close(self) -> None:
        """The exchange is over."""
        if self._counted:
            self._counted = False
            self._cluster.retries -= 1

    def _elsewhere(self) -> Endpoint | None:
        if not self._connects_left:
            return self._give_up(f"{CONNECT_RETRIES} other endpoint was tried already")
        limited = self._cluster.max_retries is not None
        if limited and not self._may_retry():
            return self._give_up("too many retries are under way in the cluster")
        other = self._cluster.pick_other(self.tried, self._hash_key)
        if other is None:
            return self._give_up("there is no other endpoint")
        self._connects_left -= 1
        return self._go(other) if limited else other

    def _afresh(self, endpoint: Endpoint, reused: bool, replayable: bool) -> Endpoint | None:
        if not reused:
            return self._give_up("the connection was not a reused one, or the answer had begun")
        if not self._idempotent:
            return self._give_up("the method is not idempotent")
        if not replayable:
            return self._give_up("the body cannot be sent again")
        if not self._reused_left:
            return self._give_up("it was sent again already")
        if not self._may_retry():
            return self._give_up("too many retries are under way in the cluster")
        if not endpoint.ready:
            other = self._cluster.pick_other(self.tried, self._hash_key)
            if other is None:
                return self._give_up("the endpoint is no longer ready and there is no other")
            endpoint = other
        self._reused_left -= 1
        return self._go(endpoint)

    def _may_retry(self) -> bool:
        return self._counted or self._cluster.may_retry()

    def _go(self, endpoint: Endpoint) -> Endpoint:
        if not self._counted:
            self._counted = True
            self._cluster.retries += 1
        return endpoint

    def _give_up(self, why: str) -> Endpoint | None:
        self.why = why
        return None
