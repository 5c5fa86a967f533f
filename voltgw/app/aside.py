"""Threads for the few things that take milliseconds by themselves and let others run meanwhile: hashes of passwords.

They are started when the first one comes, and few: what waits for them is bounded, and refused beyond that. One network of
clients gets a share of it, and what is the same is done once for all who ask at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from voltgw.security.shares import Shares, Source

#: Threads, and what may be under way or wait for one.
THREADS: Final = 2
MAX_WAITING: Final = 64
#: Requests that wait for one and the same result.
MAX_TOGETHER: Final = 1024


class Threads:
    """Satisfies `voltgw.security.basic.Aside`."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._shares = Shares()
        self._under_way: dict[Hashable, list[Deferred[Any]]] = {}      # who waits for what

    @property
    def waiting(self) -> int:
        """What is under way or waits."""
        return len(self._under_way)

    def __call__(self, work: Callable[[], Any], key: Hashable, source: Source, /) -> Deferred[Any] | None:
        """See `Aside`."""
        asking = self._under_way.get(key)
        if asking is None:
            waiting = len(self._under_way)
            if waiting >= MAX_WAITING or not self._shares.take(source, crowded=waiting >= MAX_WAITING // 2):
                return None
            asking = self._under_way[key] = []
            self.run(work).addBoth(self._over, key, source)
        elif len(asking) >= MAX_TOGETHER:
            return None
        told: Deferred[Any] = Deferred()    # whoever waits may leave; the work is done all the same, and counts until then
        asking.append(told)
        return told

    def run(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """The same for whoever bounds by itself what waits. The reactor's own threads look names up, which may take long."""
        if self._pool is None:
            self._pool = ThreadPool(0, THREADS, "voltgw-aside")
            self._pool.start()
        return deferToThreadPool(self._reactor, self._pool, call, *arguments)

    def _over(self, result: Any, key: Hashable, source: Source) -> None:
        self._shares.give_back(source)
        for told in self._under_way.pop(key):
            if not told.called:
                told.callback(result)       # a Failure makes it fail

    def stop(self) -> None:
        """Wait for what is under way, and end the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
