"""Waiting in the stead of Twisted's reactor, which is woken only for what is its own.

The loop's epoll set can stand in the reactor's as one more descriptor; but then each turn passes through two sets and all of
the reactor's housekeeping. The other way round the reactor calls the loop, and the loop waits in its own set, in which the
reactor's epoll descriptor is one of many; it returns when that one is ready or a timed call is due.

This takes three attributes of `EPollReactor` that it does not promise to keep (which release has them: the tests know). A
reactor without them is no worse off: there the loop is a reader among others.
"""

from __future__ import annotations

import select
from typing import Any, Final
from weakref import WeakSet

#: No timed call waits: only a descriptor can end the wait.
FOREVER: Final = -1.0

#: Reactors for which somebody waits.
_waited_for: Final[WeakSet[Any]] = WeakSet()


class Stead:
    """What must be known of a running epoll reactor to wait for it; `fd` is readable when a descriptor of its own is ready."""

    def __init__(self, reactor: Any) -> None:
        self.fd: int = reactor._poller.fileno()
        self._reactor = reactor
        _waited_for.add(reactor)

    def leave(self) -> None:
        """Wait for it no longer."""
        _waited_for.discard(self._reactor)

    def patience_s(self) -> float:
        """How long it can do without its turn (seconds): 0.0 = it needs it now, `FOREVER` = it waits for descriptors alone."""
        reactor = self._reactor
        if not reactor.running or reactor._justStopped:
            return 0.0                      # it is about to end, by no word to any descriptor
        if len(reactor.threadCallQueue) > 1:
            return 0.0                      # calls from threads stand beside ours, and the word of them was heard already
        left: float | None = reactor.timeout()
        return FOREVER if left is None else left


def stead_of(reactor: Any) -> Stead | None:
    """How to wait for `reactor`, None where that cannot be done, or another one does: a second loop is a reader of it."""
    epoll = isinstance(getattr(reactor, "_poller", None), select.epoll)
    if not epoll or not hasattr(reactor, "_justStopped") or not hasattr(reactor, "threadCallQueue") or reactor in _waited_for:
        return None
    return Stead(reactor)
