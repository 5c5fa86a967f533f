"""A program for `test_reactors`: a loop of ours in the reactor that is named on the command line.

It prints one word per thing that it has seen, and exits by itself.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import select
import sys
import time
from typing import Any

#: Bytes that go through the echo server and back.
BYTES = 3_000_000


def main(name: str) -> None:
    """Install the reactor, and see what our loop does in it."""
    importlib.import_module(f"twisted.internet.{name}").install()
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Factory, Protocol
    from twisted.protocols.wire import Echo

    from voltgw.net.connector import StreamClientEndpoint, dial
    from voltgw.net.listener import StreamServerEndpoint
    from voltgw.net.loop import Loop

    reactor: Any = installed
    loop = Loop(reactor, time.monotonic)

    class Client(Protocol):
        """Sends, and counts what comes back."""

        def connectionMade(self) -> None:
            self.left = BYTES
            self.done: Deferred[None] = Deferred()
            self.sum = hashlib.sha256()
            self.transport.write(b"x" * BYTES)                          # type: ignore[union-attr]

        def dataReceived(self, data: bytes) -> None:
            self.left -= len(data)
            self.sum.update(data)
            if not self.left:
                self.done.callback(None)

    class Resetter(Protocol):
        """A server that is reset while it reads nothing."""

        def connectionMade(self) -> None:
            self.transport.pauseProducing()                             # type: ignore[union-attr]

    async def see() -> None:
        say(reactor.__class__.__name__)
        loop.start()
        port: Any = await StreamServerEndpoint(loop, "127.0.0.1", 0).listen(Factory.forProtocol(Echo))
        number = port.getHost().port

        # ours to ours, larger than any kernel buffer: reading, writing, and waiting for both
        client: Any = await StreamClientEndpoint(loop, "127.0.0.1", number).connect(Factory.forProtocol(Client))
        await client.done
        say("echo" if client.sum.digest() == hashlib.sha256(b"x" * BYTES).digest() else "damaged")
        client.transport.loseConnection()
        while loop.open:
            await later(0.001)

        # a loop that has nothing to do sleeps: its descriptor is not ready, and it turns only for its ticks
        turns = loop.turns
        await later(0.1)
        say("quiet" if loop.turns - turns <= 3 else f"{loop.turns - turns} turns for nothing")

        # a hang-up of a stream that wants no events does not keep it awake
        paused: Any = await StreamServerEndpoint(loop, "127.0.0.1", 0).listen(Factory.forProtocol(Resetter))
        client = await StreamClientEndpoint(loop, "127.0.0.1", paused.getHost().port).connect(Factory.forProtocol(Echo))
        while loop.open < 2:
            await later(0.001)
        client.transport.abortConnection()
        await later(0.02)
        turns = loop.turns
        await later(0.1)
        say("parked" if loop.turns - turns <= 3 else f"{loop.turns - turns} turns for a dead stream")

        # a dial that is refused
        refused: Deferred[Any] = Deferred()
        paused.stopListening()
        dial(loop, "127.0.0.1", paused.getHost().port, None, 5.0, refused.callback)
        say(type(await refused).__name__)

        # our timers keep time although somebody sets the wall clock by an hour, forth and back
        real = time.time
        for hours in (1, -1):
            time.time = lambda hours=hours: real() + hours * 3600       # type: ignore[misc]
            reactor.seconds = time.time
            began = time.monotonic()
            await later(0.05)
            took = time.monotonic() - began
            say("on-time" if 0.05 <= took < 0.5 else f"late by {took:g} s")
        del reactor.seconds
        time.time = real

        # a stop closes what is open, and leaves the reactor as it was
        descriptor = loop.fileno()
        loop.stop()
        say("gone" if not loop.open and loop not in reactor.getReaders() else "still there")
        try:
            os.fstat(descriptor)
            say("still open")
        except OSError:
            say("closed")
        reactor.callLater(0, reactor.stop)

    def later(seconds: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        loop.clock.callLater(seconds, done.callback, None)
        return done

    def say(what: str) -> None:
        sys.stdout.write(what + "\n")

    def failed(failure: Any) -> None:
        failure.printTraceback(sys.stderr)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(see()).addErrback(failed))
    reactor.run()
    assert select.select([], [], [], 0)


if __name__ == "__main__":
    main(sys.argv[1])
