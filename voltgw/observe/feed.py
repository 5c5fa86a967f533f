"""Finished exchanges on their way to the journal where no access log is written."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.values.exchange import Exchange

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.interfaces import Journal
    from voltgw.values.record import ConnectionRecord

#: How long an exchange waits at most, when nothing is behind.
INTERVAL_S: Final = 0.25
#: A turn's work ends after this time, looked at every so many exchanges.
SLICE_S: Final = 0.004
_CHECK: Final = 64
#: Exchanges that may wait; they hold the heads of their requests, some kilobytes each. The newest are dropped.
QUEUE_LIMIT: Final = 65_536


class JournalFeed:
    """Takes finished exchanges as an `interfaces.AccessSink` does and hands them to the journal, in batches.

    `http` is the bound `append` of a list: no frame of ours runs in the data plane. `clock` is the loop's.
    """

    _log = Logger()

    def __init__(self, journal: Journal, clock: IReactorTime) -> None:
        self._journal = journal
        self._clock = clock
        self._pending: list[Exchange | ConnectionRecord] = []
        self._call: IDelayedCall | None = None
        self.http: Callable[[Exchange], None] = self._pending.append

    def connection(self, record: ConnectionRecord, /) -> None:
        """A relayed connection has no id by which anybody could ask for it; but it may be part of a trace."""
        if getattr(self._journal, "relayed", None) is not None:
            self._pending.append(record)

    @property
    def pending(self) -> Sized:
        """What waits; the loop looks whether it is much."""
        return self._pending

    def relieve(self) -> None:
        """Take some of what waits, in a turn of the loop: with much traffic our timer may come late."""
        try:
            self._hand_over()
        except Exception:
            self._failed()

    def start(self) -> None:
        """Begin to hand over."""
        self._call = self._clock.callLater(INTERVAL_S, self._turn)

    def close(self) -> None:
        """Stop; what waits is forgotten."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
        self._pending.clear()

    def _turn(self) -> None:
        try:
            self._hand_over()
        except Exception:                   # this must go on whatever happens; a failure of it is no one's request
            self._failed()
        self._call = self._clock.callLater(0.0 if self._pending else INTERVAL_S, self._turn)

    def _failed(self) -> None:
        self._log.failure("exchanges could not be handed to the journal")
        self._pending.clear()

    def _hand_over(self) -> None:
        pending, seconds, note = self._pending, self._clock.seconds, self._journal.note
        del pending[QUEUE_LIMIT:]
        until = seconds() + SLICE_S
        done = 0
        for record in pending:
            if type(record) is Exchange:
                note(record)
            else:
                relayed: Callable[[Any], None] | None = getattr(self._journal, "relayed", None)
                if relayed is not None:     # else a reload has ended it meanwhile
                    relayed(record)
            done += 1
            if not done % _CHECK and seconds() > until:
                break
        del pending[:done]
