"""Test cases with a loop of ours, and the far sides that they talk to.

- `SteppedLoopCase`: the test turns the loop by hand (`turn`, `spin`), and may move its clock (`advance`). Far sides are
  plain blocking sockets. For everything whose order matters.
- `LoopCase`: the loop stands in trial's reactor. Far sides are `Origin` and `Peer` on stock Twisted transports. Tests are
  `async def` or return Deferreds.

Both end a test by checking that it left nothing behind: no stream, dial, listener, timer, deadline or descriptor.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final
from unittest import skipIf

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

import voltgw
from voltgw.net.connector import Dial, dial
from voltgw.net.listener import Listener
from voltgw.net.loop import Loop
from voltgw.net.sockets import listening_socket

#: Nothing that a test waits for takes longer than this (seconds), unless something is wrong.
TIMEOUT_S: Final = 5.0
#: How often a fact that nobody announces is looked at (seconds).
_GLANCE_S: Final = 0.002


@cache
def compiled() -> bool:
    """Whether some modules of voltgw are compiled: a profile function sees no calls within them, and nobody can patch those."""
    return any(Path(voltgw.__file__).parent.rglob("*.cpython*.so"))


#: Of a test that puts something in the place of what hot modules call, or of an object that they are handed, or derives from it.
interpreted_only = skipIf(compiled(), "compiled modules know each other directly: nothing can be put in a place")


def open_descriptors() -> dict[int, str]:
    """What this process has open: descriptor -> what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass                            # the descriptor of this very listing
    return found


# -- protocols on our streams ------------------------------------------------------------------------------------------


@implementer(IProtocol)
class Recorder:
    """A protocol that writes down what happens to it. `reaction(recorder, data)` acts while data is delivered."""

    transport: Any = None

    def __init__(self, reaction: Callable[[Any, bytes], object] | None = None) -> None:
        self.events: list[str] = []         # "made", "data", "eof", "write closed", "lost"; equal neighbours once
        self.data = bytearray()
        self.reason: Failure | None = None
        self.reaction = reaction

    def note(self, event: str) -> None:
        """Something happened."""
        if not self.events or self.events[-1] != event:
            self.events.append(event)

    def makeConnection(self, transport: Any) -> None:
        """Connected."""
        self.transport = transport
        self.note("made")

    def dataReceived(self, data: bytes) -> None:
        """The far side said something."""
        self.note("data")
        self.data += data
        if self.reaction is not None:
            self.reaction(self, data)

    def connectionLost(self, reason: Failure) -> None:
        """Over; it must not happen twice."""
        if self.reason is not None:
            raise AssertionError("connectionLost was called twice")
        self.note("lost")
        self.reason = reason

    # IProtocol has it; our streams do not call it
    def connectionMade(self) -> None:
        """Part of `IProtocol`."""


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """A `Recorder` that lives on when the far side has said its last."""

    def readConnectionLost(self) -> None:
        """The far side's FIN."""
        self.note("eof")

    def writeConnectionLost(self) -> None:
        """Our FIN was sent."""
        self.note("write closed")


class Recorders(Factory):
    """Builds recorders, and keeps them in `built`."""

    noisy = False

    def __init__(self, kind: Callable[[], Any] = Recorder) -> None:
        self.kind = kind
        self.built: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        """One more."""
        protocol = self.kind()
        self.built.append(protocol)
        return protocol


# -- far sides on stock Twisted ----------------------------------------------------------------------------------------


class Peer(Protocol):
    """The far side of a connection, on a stock Twisted transport: says what it is told to and keeps what it hears."""

    def __init__(self, answer: Callable[[Peer, bytes], object] | None = None) -> None:
        self.received = b""
        self.lost: Failure | None = None
        self._answer = answer

    def send(self, data: bytes) -> None:
        """Say something."""
        assert self.transport is not None
        self.transport.write(data)

    def finish(self) -> None:
        """Say no more (FIN), but listen on."""
        self.transport.loseWriteConnection()        # type: ignore[union-attr]

    def close(self) -> None:
        """End it."""
        assert self.transport is not None
        self.transport.loseConnection()

    def reset(self) -> None:
        """End it with RST."""
        self.transport.abortConnection()            # type: ignore[union-attr]

    def pause(self) -> None:
        """Take nothing from the kernel for now."""
        self.transport.pauseProducing()             # type: ignore[union-attr]

    def resume(self) -> None:
        """Take it again."""
        self.transport.resumeProducing()            # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Heard something."""
        self.received += data
        if self._answer is not None:
            self._answer(self, data)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:   # noqa: B008  # as Protocol has it
        """Over."""
        self.lost = reason

    async def heard(self, wanted: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
        """Wait until `wanted` is part of what was heard; gives, and forgets, everything up to its end."""
        await until(lambda: wanted in self.received or self.lost is not None, timeout_s, lambda: repr(self.received[-400:]))
        at = self.received.find(wanted)
        if at < 0:
            raise AssertionError(f"ended without {wanted!r}: {self.received!r}")
        head, self.received = self.received[:at + len(wanted)], self.received[at + len(wanted):]
        return head

    async def ended(self, timeout_s: float = TIMEOUT_S) -> Failure:
        """Wait for the end of the connection; gives how."""
        await until(lambda: self.lost is not None, timeout_s, lambda: f"still open, heard {self.received[-400:]!r}")
        assert self.lost is not None
        return self.lost


class Origin(Factory):
    """A server on a stock Twisted port. `answer(peer, data)` is called for all that it hears; `peers` are its connections.

    An `answer` of bytes is said to each connection whenever it has heard an empty line (the end of an HTTP head).
    """

    noisy = False
    port = 0

    def __init__(self, answer: bytes | Callable[[Peer, bytes], object] | None = None) -> None:
        self.peers: list[Peer] = []
        self.answer = answer

    def buildProtocol(self, addr: Any) -> Peer:
        """One more connection."""
        peer = Peer(self._say if isinstance(self.answer, bytes) else self.answer)
        peer.factory = self
        self.peers.append(peer)
        return peer

    def _say(self, peer: Peer, data: bytes) -> None:
        assert isinstance(self.answer, bytes)
        while b"\r\n\r\n" in peer.received:
            peer.received = peer.received.partition(b"\r\n\r\n")[2]
            peer.send(self.answer)


async def until(
    fact: Callable[[], object], timeout_s: float = TIMEOUT_S, instead: Callable[[], str] = lambda: "it did not happen",
) -> None:
    """Let the reactor run until `fact()` is true; a failure says `instead()`."""
    end = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s:g} s: {instead()}")
        await deferLater(reactor, _GLANCE_S)


# -- test cases --------------------------------------------------------------------------------------------------------


class _Bench:
    """What both cases share: a loop, what the test has opened on it, and what must be gone in the end."""

    loop: Loop
    #: How long what the test has closed may take to be gone (seconds).
    grace_s = 1.0

    def _set_up(self, reactor: Any) -> None:
        self._descriptors = open_descriptors()
        self._listeners: list[Listener] = []
        self._sockets: list[socket.socket] = []
        self._ahead_s = 0.0
        self.loop = Loop(reactor, lambda: time.monotonic() + self._ahead_s)
        self.loop.start()

    def listen(self, factory: Any, address: str | None = "127.0.0.1", **options: Any) -> Listener:
        """A listener on a free port, stopped when the test ends; `options` are those of `Listener`."""
        listener = Listener(self.loop, listening_socket(address, 0), factory, **options)
        self._listeners.append(listener)
        listener.startListening()
        return listener

    def port_of(self, listener: Listener) -> int:
        """The port it listens on."""
        return listener.getHost().port      # type: ignore[union-attr]  # it is no Unix socket

    def dial(self, port: int, protocol: Any, failed: Callable[[Any], object], timeout_s: float = TIMEOUT_S) -> Dial:
        """Connect `protocol` to a port of 127.0.0.1."""
        return dial(self.loop, "127.0.0.1", port, protocol, timeout_s, failed)      # type: ignore[arg-type]

    def socket(self, listener: Listener, address: str = "127.0.0.1") -> socket.socket:
        """A plain blocking socket, connected to `listener`; the kernel connects it, the loop need not run."""
        sock = socket.create_connection((address, self.port_of(listener)), TIMEOUT_S)
        self._sockets.append(sock)
        return sock

    def _close_ours(self) -> None:
        for listener in self._listeners:
            listener.stopListening()
        for sock in self._sockets:
            sock.close()

    def _left(self) -> list[str]:
        """What stands in the loop that should not, in words."""
        loop = self.loop
        left = [f"{loop.open} streams are counted as open"] if loop.open else []
        left += [f"open: {owner!r}" for owner in loop._owners()]
        left += [f"a timer: {call}" for call in loop.clock.getDelayedCalls() if call.func != loop._tick]
        left += [f"to be called soon: {call!r}" for call in loop._soon]
        left += [f"a deadline: {thing!r}" for slot in loop.deadlines._slots.values() for thing in slot if thing.deadline]
        return left

    def _left_open(self) -> list[str]:
        """Descriptors that the test has opened and not closed."""
        return [f"{fd}: {what}" for fd, what in open_descriptors().items() if self._descriptors.get(fd) != what]


class SteppedLoopCase(_Bench, SynchronousTestCase):
    """A loop that runs only when the test says so. `advance` moves its clock; nothing else waits for real time."""

    def setUp(self) -> None:
        """Make the loop."""
        self.reactor = HandReactor()
        self._set_up(self.reactor)
        self.addCleanup(self._end)

    def turn(self) -> None:
        """One turn of the loop: what the reactor does when the loop's descriptor is readable."""
        self.loop.doRead()

    def spin(self, fact: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Turn the loop, whenever it has something to do, until `fact()` is true."""
        end = time.monotonic() + timeout_s
        while not fact():
            self.assertLess(time.monotonic(), end, f"waited {timeout_s:g} s in vain")
            if self.wait(0.05):
                self.turn()

    def wait(self, timeout_s: float) -> bool:
        """Whether the loop has something to do, at most `timeout_s` from now: what the reactor's own poll would see."""
        return bool(select.select([self.loop.fileno()], [], [], timeout_s)[0])

    def assert_quiet(self, turns: int = 6) -> None:
        """After a few turns there is nothing to do: a loop that is always ready burns a core."""
        for _ in range(turns):
            if not self.wait(0.0):
                return
            self.turn()
        self.fail(f"the loop is still ready after {turns} turns")

    def advance(self, seconds: float) -> None:
        """Move the loop's clock, let its timers see it, and run what they have brought about."""
        end = self._ahead_s + seconds
        while self._ahead_s < end:
            self._ahead_s = min(end, self._ahead_s + 0.25)
            self.loop.clock.run()
            self.turn()

    def pair(self, protocol: Any = None, **options: Any) -> tuple[Any, socket.socket]:
        """A protocol on a stream of ours, and the plain socket at the other end."""
        factory = Recorders(lambda: Recorder() if protocol is None else protocol)
        listener = self.listen(factory, **options)
        sock = self.socket(listener)
        self.spin(lambda: factory.built)
        listener.stopListening()
        return factory.built[0], sock

    def _end(self) -> None:
        self._close_ours()
        try:
            self.spin(lambda: self.loop.stopped or not self._left(), self.grace_s)
            self.assertEqual(self._left(), [])
        except AssertionError:
            self.fail("; ".join(self._left()))
        finally:
            self.loop.stop()
        self.assertEqual(self._left_open(), [])
        self.assertEqual(self.reactor.readers, [])


class HandReactor:
    """The part of a reactor that the loop needs; the test turns the loop itself."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """The loop joins."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """The loop leaves."""
        self.readers.remove(reader)


class LoopCase(_Bench, TestCase):
    """A loop in trial's own reactor."""

    timeout = 2 * TIMEOUT_S

    def setUp(self) -> None:
        """Make the loop, and put it into the reactor."""
        self._ports: list[Any] = []
        self._peers: list[Peer] = []
        self._set_up(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self._end()))

    async def until(self, fact: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Let the reactor run until `fact()` is true."""
        await until(fact, timeout_s)

    def origin(self, answer: bytes | Callable[[Peer, bytes], object] | None = None) -> Origin:
        """A scripted server on a free port of 127.0.0.1 (`Origin.port`), closed when the test ends."""
        origin = Origin(answer)
        port: Any = reactor.listenTCP(0, origin, interface="127.0.0.1")     # type: ignore[arg-type]  # any factory will do
        origin.port = port.getHost().port
        self._ports.append(port)
        self._peers_of(origin)
        return origin

    async def client(self, port: int, answer: Callable[[Peer, bytes], object] | None = None) -> Peer:
        """A client connected to a port of 127.0.0.1, closed when the test ends."""
        peer = Peer(answer)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), peer)
        self._peers.append(peer)
        return peer

    def closed_port(self) -> int:
        """A port of 127.0.0.1 on which nobody listens."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        return port

    def _peers_of(self, origin: Origin) -> None:
        self.addCleanup(lambda: self._peers.extend(origin.peers))

    async def _end(self) -> None:
        self._close_ours()
        for port in self._ports:
            await port.stopListening()
        for peer in self._peers:
            if peer.lost is None and peer.transport is not None:
                peer.reset()
        try:
            await until(lambda: all(peer.lost is not None for peer in self._peers))
            await until(lambda: not self._left(), self.grace_s, lambda: "; ".join(self._left()))
        finally:
            self.loop.stop()
        await until(lambda: not self._left_sockets(), self.grace_s, lambda: "; ".join(self._left_sockets()))

    def _left_sockets(self) -> list[str]:
        """Only those: a reactor that runs has pipes and a spare descriptor of its own."""
        return [what for what in self._left_open() if "socket:" in what or "anon_inode:" in what]
