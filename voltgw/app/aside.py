"""Threads for the few things that take milliseconds by themselves and let others run meanwhile: hashes of passwords.

They are started when the first one comes, and few: what waits for them is bounded, and refused beyond that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

#: Threads, and what may be under way or wait for one.
THREADS: Final = 2
MAX_WAITING: Final = 64


class Threads:
    """Satisfies `voltgw.security.basic.Aside`."""

    def __init__(self, reactor: Any) -> None:
        self.waiting = 0
        self._reactor = reactor
        self._pool: ThreadPool | None = None

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any] | None:
        """Have `work` done; None when too much waits already."""
        if self.waiting >= MAX_WAITING:
            return None
        if self._pool is None:
            self._pool = ThreadPool(0, THREADS, "voltgw-aside")
            self._pool.start()
        self.waiting += 1
        told: Deferred[Any] = Deferred()    # whoever waits may leave; the work is done all the same, and counts until then
        deferToThreadPool(self._reactor, self._pool, work).addBoth(self._over, told)
        return told

    def _over(self, result: Any, told: Deferred[Any]) -> None:
        self.waiting -= 1
        if not told.called:
            told.callback(result)           # a Failure makes it fail

    def stop(self) -> None:
        """Wait for what is under way, and end the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
