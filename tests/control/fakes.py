"""A loop and a network of one's own for the tests of this room: time stands until it is advanced."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.interfaces import Deadline


class FakeSweeper:
    """Deadlines that are looked at whenever the loop is advanced."""

    def __init__(self) -> None:
        self.things: list[Deadline] = []

    def schedule(self, thing: Deadline) -> None:
        """Remember it."""
        self.things.append(thing)

    def sweep(self, now: float) -> None:
        """Expire what is due."""
        for thing in list(self.things):
            if thing.deadline == 0.0:
                self.things.remove(thing)
            elif thing.deadline <= now:
                self.things.remove(thing)
                thing.deadline = 0.0
                thing.expired(now)


class FakeLoop:
    """`ControlLoop` on a `Clock`, which begins at 1,000 s so that 0.0 is no time of day."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1000.0
        self.deadlines = FakeSweeper()
        self.calls: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.clock.seconds()

    def soon(self, call: Callable[[], None]) -> None:
        """In the next turn."""
        self.calls.append(call)

    def turn(self) -> int:
        """Make the calls of one turn; how many there were."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)

    def advance(self, seconds: float, step_s: float = 0.0) -> None:
        """Let time pass, in steps if asked, with as many turns as it takes after each."""
        steps = max(round(seconds / step_s), 1) if step_s else 1
        for _ in range(steps):
            self.clock.advance(seconds / steps)
            self.deadlines.sweep(self.monotonic())
            while self.turn():
                pass


class FakeTransport(StringTransport):
    """Has a protocol that may be another one in mid-stream, as streams of ours have."""

    protocol: Any = None


class FakeDial:
    """One connection attempt: accept it, refuse it, or let it run into its timeout."""

    def __init__(self, address: str, port: int, protocol: Any, timeout_s: float, deadline: float,
                 failed: Callable[[ConnectFailed], None]) -> None:
        self.address = address
        self.port = port
        self.protocol = protocol
        self.timeout_s = timeout_s
        self.deadline = deadline
        self.deadline_slot = 0
        self.failed = failed
        self.cancelled = False
        self.transport = FakeTransport()

    def accept(self) -> FakeTransport:
        """The endpoint accepts; what the probe sends is in the result."""
        self.deadline = 0.0
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        return self.transport

    def refuse(self, number: int = errno.ECONNREFUSED) -> None:
        """Connecting fails with this errno."""
        self.deadline = 0.0
        error = ConnectFailed(f"{self.address}:{self.port}: {os.strerror(number)}")
        error.errno = number
        self.failed(error)

    def answer(self, data: bytes) -> None:
        """The endpoint accepts and sends `data`."""
        self.accept()
        self.protocol.dataReceived(data)

    def close(self, reason: BaseException) -> None:
        """The endpoint closes the connection that it has accepted."""
        self.protocol.connectionLost(Failure(reason))

    def expired(self, now: float) -> None:
        """Nobody answered."""
        self.failed(ConnectTimeout(f"{self.address}:{self.port} did not answer within {self.timeout_s:g} s"))

    def cancel(self) -> None:
        """Given up by the probe."""
        self.cancelled = True
        self.deadline = 0.0


class FakeNet:
    """Where probes dial to; `dials` are those that nobody has taken yet."""

    def __init__(self) -> None:
        self.dials: list[FakeDial] = []
        self.total = 0

    def dial(self, loop: Any, address: str, port: int, protocol: Any, timeout_s: float,
             failed: Callable[[ConnectFailed], None], **more: Any) -> FakeDial:
        """Take the attempt; `more` is what else was asked for."""
        self.total += 1
        made = FakeDial(address, port, protocol, timeout_s, loop.monotonic() + timeout_s, failed)
        loop.deadlines.schedule(made)
        self.dials.append(made)
        return made

    def take(self) -> list[FakeDial]:
        """The attempts since the last call."""
        dials, self.dials = self.dials, []
        return dials

    def one(self) -> FakeDial:
        """The only attempt since the last call."""
        (dial,) = self.take()
        return dial


@implementer(IHostResolution)
class FakeResolution:
    """A look-up under way, which may be one that cannot be cancelled."""

    def __init__(self, name: str, receiver: Any, cancellable: bool) -> None:
        self.name = name
        self.receiver = receiver
        self.cancelled = False
        self._cancellable = cancellable

    def cancel(self) -> None:
        """Note it."""
        if not self._cancellable:
            raise NotImplementedError
        self.cancelled = True

    def answer(self, addresses: Iterable[str]) -> None:
        """Give these addresses, complete."""
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            self.receiver.addressResolved(kind("TCP", address, 0))
        self.receiver.resolutionComplete()


@implementer(IHostnameResolver)
class FakeResolver:
    """Keeps every question until the test answers it."""

    def __init__(self, cancellable: bool = True) -> None:
        self.asked: list[FakeResolution] = []
        self._cancellable = cancellable

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, portNumber: int = 0,
                        addressTypes: Any = None, transportSemantics: str = "TCP") -> Any:
        """Keep it."""
        resolution = FakeResolution(hostName, resolutionReceiver, self._cancellable)
        self.asked.append(resolution)
        resolutionReceiver.resolutionBegan(resolution)
        return resolution

    def one(self) -> FakeResolution:
        """The only question since the last call."""
        (resolution,) = self.asked
        self.asked = []
        return resolution
