"""Newer databases of where addresses are: taken by themselves, and nothing else is reloaded for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from voltgw.security.geo import Database, Geo, changed

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

#: Between two looks at the files.
PERIOD_S: Final = 10.0


class GeoWatch:
    """Looks after the databases that `current` gives. A file that cannot be used is named once, and the one before serves on.

    Copying a file into memory takes some milliseconds for each ten megabytes, so a thread does it.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, reactor: Any, current: Callable[[], Geo | None]) -> None:
        self._clock = clock
        self._reactor = reactor
        self._current = current
        self._timer: IDelayedCall | None = None
        self._opening = False
        self.taken = 0

    def start(self) -> None:
        """Look from now on."""
        self._timer = self._clock.callLater(PERIOD_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _look(self) -> None:
        self._timer = self._clock.callLater(PERIOD_S, self._look)
        geo = self._current()
        if geo is None or self._opening or not changed(geo.databases):
            return
        self._opening = True
        paths = [each.path for each in geo.databases]
        opened = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), lambda: tuple(Database(path) for path in paths))
        opened.addCallbacks(self._take, self._keep, (geo,), {}, (geo,), {})

    def _take(self, databases: tuple[Database, ...], geo: Geo) -> None:
        self._opening = False
        if self._timer is None:
            return                          # the gateway has stopped
        self.taken += 1
        geo.swap(databases)
        self._log.info("newer databases of addresses are in use: {kinds}", kinds=", ".join(each.kind for each in databases),
                       event="geo.changed")

    def _keep(self, failure: Failure, geo: Geo) -> None:
        self._opening = False
        failure.trap(ValueError)
        problem = failure.getErrorMessage()
        if problem != geo.problem:
            geo.problem = problem
            self._log.warn("{problem}; the database that was read before serves on", event="geo.failed", problem=problem)
