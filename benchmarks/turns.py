"""Runs twistd with a reactor that notes how long its turns are (everything between two waits for events), and collections.

The file that VOLTGW_TURNS names holds the doubles of `Record`. The first ones are of the time since somebody wrote 0 there.
Only the epoll reactor can be measured so.
"""

from __future__ import annotations

import gc
import mmap
import os
import struct
import sys
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Any, Final, NamedTuple

FIELDS: Final = struct.Struct("8d")
#: So many bytes from the beginning are set to 0 by who wants to know the longest of a time.
LONGEST: Final = 32


class Record(NamedTuple):
    """What is noted, in seconds; on a busy machine a turn may also wait for the processor."""

    turn: float                             # the longest
    work: float                             # the most CPU time of one turn
    pause: float                            # the longest collection of cyclic garbage
    pause_work: float                       # the most CPU time of one
    turns: float                            # how many there were…
    busy: float                             # …and how long altogether
    collections: float                      # of any generation
    full: float                             # of the oldest one


class Collections:
    """Notes what the cycle collector does; its `note` is one of `gc.callbacks`."""

    def __init__(self, record: mmap.mmap) -> None:
        self._record = record
        self._began = self._worked = 0.0

    def note(self, phase: str, info: dict[str, int]) -> None:
        """A collection begins or is over."""
        if phase == "start":
            self._began, self._worked = perf_counter(), thread_time()
            return
        took, work = perf_counter() - self._began, thread_time() - self._worked
        one = Record._make(FIELDS.unpack_from(self._record, 0))
        FIELDS.pack_into(self._record, 0, *one._replace(
            pause=max(one.pause, took), pause_work=max(one.pause_work, work), collections=one.collections + 1,
            full=one.full + (info["generation"] == 2)))


class Poller:
    """Stands for the reactor's epoll object."""

    def __init__(self, inner: Any, record: mmap.mmap) -> None:
        self._inner = inner
        self._record = record
        self._began, self._worked = perf_counter(), thread_time()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, *arguments: Any) -> Any:
        """Wait for events; that is the end of one turn and the beginning of the next."""
        took, work = perf_counter() - self._began, thread_time() - self._worked
        turn, most, pause, pause_work, turns, busy, collections, full = FIELDS.unpack_from(self._record, 0)
        FIELDS.pack_into(self._record, 0, max(turn, took), max(most, work), pause, pause_work, turns + 1, busy + took,
                         collections, full)
        found = self._inner.poll(*arguments)
        self._began, self._worked = perf_counter(), thread_time()
        return found


def main(run: Callable[[], None]) -> None:
    """Install the poller and run twistd."""
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor

    with open(os.environ["VOLTGW_TURNS"], "r+b") as file:
        record = mmap.mmap(file.fileno(), FIELDS.size)
    reactor._poller = Poller(reactor._poller, record)  # type: ignore[attr-defined]
    gc.callbacks.append(Collections(record).note)
    run()


if __name__ == "__main__":
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    main(run)
