"""What this room needs from the loop and from dialing, so that tests can hand in a clock and a network of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from voltgw.interfaces import Deadline

if TYPE_CHECKING:
    from voltgw.cluster.snapshot import EndpointKey, EndpointState


class Timer(Protocol):
    """The part of `IDelayedCall` that we use."""

    def active(self) -> Any:
        """Whether it still waits."""

    def cancel(self) -> None:
        """Do not call."""

    def getTime(self) -> float:
        """When it calls, in the clock's seconds."""


class Clock(Protocol):
    """The part of `IReactorTime` that we use; its seconds are monotonic."""

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: object) -> Any:
        """Call with `args` in `delay` seconds; the result is a `Timer`."""


class Sweeper(Protocol):
    """`voltgw.net.deadlines.Deadlines`, as its users see it."""

    def schedule(self, thing: Deadline, /) -> None:
        """Look at the thing's deadline in time."""


class ControlLoop(Protocol):
    """The part of `voltgw.net.loop.Loop` that we use."""

    @property
    def clock(self) -> Clock:
        """Timers on the monotonic clock."""

    @property
    def deadlines(self) -> Sweeper:
        """Deadlines kept by a sweep."""

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds; `now` everywhere."""

    def soon(self, call: Callable[[], None], /) -> None:
        """Call at the end of this turn or in the next one, never from inside."""


class Told(Protocol):
    """Somebody who hears what a cluster is told of its members."""

    def installed(self, states: tuple[EndpointState, ...], /) -> None:
        """These are its members."""

    def marked(self, key: EndpointKey, reason: str, /) -> None:
        """One of them gets nothing more, ahead of the set that says so."""


class Dialing(Protocol):
    """A connection attempt that can be given up."""

    def cancel(self) -> None:
        """End it; nobody is called."""


#: ``dial(loop, address, port, protocol, timeout_s, failed)``, see `voltgw.net.connector.dial`; for TLS also
#: ``tls=(context, server name)``.
Dialer = Callable[..., Dialing]
