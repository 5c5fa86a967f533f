"""Runs twistd with a reactor that notes how long its turns are: everything between two waits for events.

The file that VOLTGW_TURNS names holds four doubles: the longest turn since somebody wrote 0 there, the one that took most CPU
time likewise (on a busy machine a turn may also wait for the processor), the number of turns, and the seconds in turns
altogether. Only the epoll reactor can be measured so.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Any, Final

FIELDS: Final = struct.Struct("dddd")


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
        longest, most, turns, busy = FIELDS.unpack_from(self._record, 0)
        FIELDS.pack_into(self._record, 0, max(longest, took), max(most, work), turns + 1, busy + took)
        found = self._inner.poll(*arguments)
        self._began, self._worked = perf_counter(), thread_time()
        return found


def main(run: Callable[[], None]) -> None:
    """Install the poller and run twistd."""
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor

    with open(os.environ["VOLTGW_TURNS"], "r+b") as file:
        poller = Poller(reactor._poller, mmap.mmap(file.fileno(), FIELDS.size))  # type: ignore[attr-defined]
    reactor._poller = poller  # type: ignore[attr-defined]
    run()


if __name__ == "__main__":
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    main(run)
