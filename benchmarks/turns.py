"""Runs twistd with a reactor that notes how long its turns are: everything between two waits for events.

The file that VOLTGW_TURNS names holds three doubles: the longest turn since somebody wrote 0 there, the number of turns, and
the seconds in turns altogether. Only the epoll reactor can be measured so.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

FIELDS: Final = struct.Struct("ddd")


class Poller:
    """Stands for the reactor's epoll object."""

    def __init__(self, inner: Any, record: mmap.mmap) -> None:
        self._inner = inner
        self._record = record
        self._began = perf_counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, *arguments: Any) -> Any:
        """Wait for events; that is the end of one turn and the beginning of the next."""
        took = perf_counter() - self._began
        longest, turns, busy = FIELDS.unpack_from(self._record, 0)
        FIELDS.pack_into(self._record, 0, max(longest, took), turns + 1, busy + took)
        found = self._inner.poll(*arguments)
        self._began = perf_counter()
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
