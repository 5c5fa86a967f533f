"""Keys of tokens that stand at a URL: fetched, and fetched again; the last good ones serve whatever becomes of that.

A key set that is slow, too large, empty, not JSON or gone changes nothing but `KeySource.problem`. For a token whose key is not
known the keys are fetched at once, at most once in `pause_s` seconds whoever asks; the requests that wait for that are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from voltgw.security.keys import KeySet

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from voltgw.security.jwt import KeySource, KeyTerms

#: (URL, PEM of the authorities or None for the system's) -> the bytes there; fails with whatever has gone wrong.
Fetch: TypeAlias = "Callable[[str, bytes | None], Deferred[bytes]]"

#: Requests that wait for one fetch.
MAX_WAITING: Final = 1024
#: The first pause behind a fetch that failed, in seconds; each next one is twice as long.
RETRY_S: Final = 1.0
#: A part of the interval by which fetches of many gateways are spread.
_SPREAD: Final = 0.1


class _Following:
    """One source, its timer and its fetch."""

    _log = Logger()

    def __init__(
        self, source: KeySource, terms: KeyTerms, fetch: Fetch, clock: IReactorTime, monotonic: Callable[[], float],
        random: Callable[[], float], wall: Callable[[], float],
    ) -> None:
        self.source = source
        self.terms = terms
        self.fetches = 0
        self.failures = 0
        self.fetched_wall = 0.0             # when good keys last came, 0.0 = never
        self._fetch = fetch
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._wall = wall
        self._data = b""                    # of the keys that serve
        self._failed = 0                    # fetches in a row
        self._begun = float("-inf")
        self._fetching: Deferred[Any] | None = None
        self._late: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Fetch, and go on doing so."""
        self.source.refresh = self.refresh
        self._begin()

    def stop(self) -> None:
        """No more of it; whoever waits goes on with the keys that there are."""
        self.source.rest()
        for call in (self._timer, self._late):
            if call is not None and call.active():
                call.cancel()
        self._timer = self._late = None
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
        self._release()

    def refresh(self) -> Deferred[None] | None:
        """See `KeySource.refresh`."""
        if self._fetching is None:
            if self._monotonic() - self._begun < self.terms.pause_s:
                return None
            self._begin()
        if self._fetching is None or len(self._waiting) >= MAX_WAITING:
            return None                     # it was over at once, or too many wait
        waiting: Deferred[None] = Deferred(lambda gone: self._waiting.remove(gone) if gone in self._waiting else None)
        self._waiting.append(waiting)
        return waiting

    def _begin(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._begun = self._monotonic()
        self.fetches += 1
        fetching: Deferred[Any] = maybeDeferred(self._fetch, self.terms.url, self.terms.trusted_ca)  # whatever it raises
        self._fetching = fetching
        self._late = self._clock.callLater(self.terms.timeout_s, self._too_late)
        fetching.addCallback(self._come).addErrback(self._failed_with).addBoth(self._over, fetching)

    def _too_late(self) -> None:
        self._late = None
        if self._fetching is not None:
            self._fetching.cancel()

    def _come(self, data: bytes) -> None:
        if data != self._data or self.source.keys is None:
            keys = KeySet.parse(data, secrets=False)
            self._data = data
            self.source.install(keys)
            self._log.info("{count} keys of {url} verify tokens from now on{skipped}", count=len(keys.keys), url=self.terms.url,
                           event="keys.changed",
                           skipped=f"; {len(keys.skipped)} are not used: {'; '.join(keys.skipped[:3])}" if keys.skipped else "")
        self.source.problem = ""
        self._failed = 0
        self.fetched_wall = self._wall()

    def _failed_with(self, failure: Failure) -> None:
        if self._timer is None and self._fetching is None:
            return                          # it was stopped
        self.failures += 1
        self._failed += 1
        problem = (f"they were not here in {self.terms.timeout_s:g} s" if failure.check(CancelledError)
                   else failure.getErrorMessage() or type(failure.value).__name__)
        if problem != self.source.problem:
            self._log.warn("the keys of {url} cannot be had: {problem}; {serving}", url=self.terms.url, problem=problem,
                           event="keys.failed",
                           serving="no token can be verified" if self.source.keys is None else "the last good ones serve")
        self.source.problem = problem

    def _over(self, result: object, fetching: Deferred[Any]) -> None:
        if self._fetching is not fetching:
            return                          # it was stopped
        self._fetching = None
        if self._late is not None:
            self._late.cancel()
            self._late = None
        pause_s = self.terms.refresh_s * (1.0 - _SPREAD * self._random())
        if self._failed:
            pause_s = min(pause_s, RETRY_S * 2.0 ** min(self._failed - 1, 16))
        self._timer = self._clock.callLater(pause_s, self._begin)
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


class Keys:
    """All sources that are fetched. `fetch` is `voltgw.control.fetching.Fetcher`'s, or a test's."""

    def __init__(
        self, fetch: Fetch, clock: IReactorTime, monotonic: Callable[[], float], random: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._make = (fetch, clock, monotonic, random, wall)
        self._following: dict[KeySource, _Following] = {}

    def follow(self, sources: Iterable[KeySource]) -> None:
        """Fetch the keys of these from now on, and of no others."""
        wanted = {source: source.fetched for source in sources if source.fetched is not None}
        for source in [source for source in self._following if source not in wanted]:
            self._following.pop(source).stop()
        for source, terms in wanted.items():
            if source not in self._following:
                self._following[source] = following = _Following(source, terms, *self._make)
                following.start()

    def stop(self) -> None:
        """No more of it."""
        self.follow(())

    def facts(self) -> list[dict[str, Any]]:
        """What is known of each, JSON-ready."""
        return [{
            "url": each.terms.url, "keys": 0 if source.keys is None else len(source.keys.keys), "problem": source.problem,
            "fetches": each.fetches, "failures": each.failures, "fetched_wall": each.fetched_wall,
        } for source, each in self._following.items()]
