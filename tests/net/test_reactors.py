"""Our loop inside Twisted's reactors: each of them, unmodified, must see the loop as one readable descriptor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase

from tests.support import LoopCase, Recorder, Recorders
from voltgw.net import loop as loop_module
from voltgw.net.deadlines import NO_SLOT


class EveryReactorTests(SynchronousTestCase):
    def see(self, *modules: str) -> dict[str, list[str]]:
        """Run `tests.net.under_reactor` for each of them, side by side."""
        running = {
            module: subprocess.Popen(
                [sys.executable, "-m", "tests.net.under_reactor", module], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            ) for module in modules
        }
        seen = {}
        for module, process in running.items():
            out, errors = process.communicate(timeout=30)
            self.assertEqual((errors, process.returncode), ("", 0))
            seen[module] = out.split("\n")[:-1]
        return seen

    def test_each_of_them(self) -> None:
        """Under epoll, poll, select and asyncio: data flows both ways, an idle loop and a dead paused stream cost no turns,
        a refused dial is told, timers keep time while the wall clock jumps an hour each way, and a stop leaves nothing.
        """
        said = ["echo", "quiet", "parked", "ConnectFailed", "on-time", "on-time", "gone", "closed"]
        self.assertEqual(self.see("epollreactor", "pollreactor", "selectreactor", "asyncioreactor"), {
            "epollreactor": ["EPollReactor", *said],
            "pollreactor": ["PollReactor", *said],
            "selectreactor": ["SelectReactor", *said],
            "asyncioreactor": ["AsyncioSelectorReactor", *said],
        })


class FairnessTests(LoopCase):
    async def test_twisted_has_its_turns(self) -> None:
        """While our streams are always ready, Twisted's own timers and sockets go on: a batch is one turn of the reactor."""
        self.patch(loop_module, "BATCH", 8)
        factory = Recorders(lambda: Recorder(lambda protocol, data: protocol.transport.write(data)))
        listener = self.listen(factory)
        greedy = [await self.client(self.port_of(listener), lambda peer, data: peer.send(data)) for _ in range(20)]
        for peer in greedy:
            peer.send(b"x" * 50_000)                # goes round and round between us and them without end
        beats: list[int] = []
        beat = LoopingCall(lambda: beats.append(self.loop.turns))
        beat.clock = reactor
        beat.start(0.005)
        origin = self.origin(lambda peer, data: peer.send(data))
        other = await self.client(origin.port)
        for number in range(20):
            other.send(b"%d." % number)
            await other.heard(b"%d." % number)
        beat.stop()
        self.assertGreater(len(beats), 3)
        self.assertGreater(beats[-1], beats[0])
        for peer in greedy:
            peer.reset()

    async def test_one_client_that_never_stops(self) -> None:
        """A client that sends without end does not keep others waiting: their answers come, each within a few turns."""
        heard: list[int] = []

        def answer(protocol: Recorder, data: bytes) -> None:
            if data.endswith(b"."):
                heard.append(self.loop.turns)
                protocol.transport.write(data)

        factory = Recorders(lambda: Recorder(answer))
        listener = self.listen(factory)
        flood = await self.client(self.port_of(listener))

        class Tap:
            """A push producer that fills the kernel as fast as it can."""

            def resumeProducing(self) -> None:
                """More."""
                flood.send(b"f" * 1_000_000)

            def pauseProducing(self) -> None:
                """It waits for us by itself."""

            def stopProducing(self) -> None:
                """The end."""

        assert flood.transport is not None
        flood.transport.registerProducer(Tap(), False)      # type: ignore[attr-defined]
        other = await self.client(self.port_of(listener))
        await self.until(lambda: len(factory.built) == 2)
        most = 0
        for number in range(20):
            turns = self.loop.turns
            other.send(b"%d." % number)
            await other.heard(b"%d." % number)
            most = max(most, heard[-1] - turns)
        self.assertGreater(len(factory.built[0].data), 1_000_000)
        self.assertLess(most, 10)
        flood.transport.unregisterProducer()                # type: ignore[attr-defined]
        flood.reset()


class Expiring:
    """Something with a deadline; `done` fires when it has passed."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.deadline_slot = NO_SLOT
        self.done: Deferred[float] = Deferred()

    def expired(self, now: float) -> None:
        """It has passed."""
        self.done.callback(now)


class WallClockTests(LoopCase):
    async def test_an_hour_each_way(self) -> None:
        """Timers and deadlines of ours come in time when the wall clock is set forth or back by an hour."""
        real: Any = time.time
        for hours in (1, -1):
            self.patch(time, "time", lambda hours=hours: real() + hours * 3600)
            began = time.monotonic()
            thing = Expiring(self.loop.monotonic() + 0.01)
            self.loop.deadlines.schedule(thing)
            called: Deferred[None] = Deferred()
            self.loop.clock.callLater(0.01, called.callback, None)
            await called
            await thing.done
            self.assertLess(time.monotonic() - began, 0.6)
        self.patch(time, "time", real)
