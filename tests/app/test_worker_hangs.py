"""Workers that do not do as they should: one that hangs, and a control process without descriptors to start one with, or that
is gone in the middle of a reload.
"""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from voltgw.app.settings import StartError
from voltgw.app.worker_agreement import Agreement
from voltgw.app.worker_process import MOST_QUIET, Worker
from voltgw.app.worker_service import WorkerGateway
from voltgw.app.workers import Workers
from voltgw.control.workers.backoff import Backoff


class FakeProcess:
    """A process that can be ended, and whose channel has no descriptor left to send others with, if `starved`."""

    pid = 7

    def __init__(self, starved: bool = False) -> None:
        self.killed = 0
        self.owner: Any = None
        self.starved = starved
        self.sent: list[bytes] = []
        self.channel = self

    def kill(self) -> None:
        """Ended."""
        self.killed += 1

    def send(self, data: bytes, fds: Any) -> None:
        """As `Channel.send`."""
        if fds and self.starved:
            raise OSError(errno.EMFILE, "Too many open files")
        self.sent.append(data)


class HangingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A worker that serves."""
        heard: Any = SimpleNamespace(heard=lambda worker, message: None)
        self.worker = Worker(heard, 0, Backoff())
        process: Any = FakeProcess()
        self.process = process
        self.worker.take(process, 0.0)
        self.worker.began, self.worker.state = True, "ready"

    def look(self, times: int) -> None:
        for _ in range(times):
            self.worker.look()

    def test_one_that_says_nothing(self) -> None:
        """It is ended when it has said nothing for a minute of looks."""
        self.look(MOST_QUIET)
        self.assertEqual(self.process.killed, 0)
        self.look(1)
        self.assertEqual(self.process.killed, 1)

    def test_one_that_speaks(self) -> None:
        """Whatever it says shows that it lives; one that drains, or builds what it is to serve, may say nothing."""
        for _ in range(3):
            self.look(MOST_QUIET)
            self.worker.received(b'{"kind":"counts"}')
        self.worker.state = "draining"
        self.look(2 * MOST_QUIET)
        self.worker.state = "starting"
        self.look(2 * MOST_QUIET)
        self.assertEqual(self.process.killed, 0)


class StarvedTests(SynchronousTestCase):
    def test_a_start(self) -> None:
        """A worker that cannot be handed its sockets is ended, so that it is tried again; others are begun all the same."""
        begun: list[int] = []

        def tell_start(worker: Any) -> None:
            if worker.number == 0:
                raise OSError(errno.EMFILE, "Too many open files")
            begun.append(worker.number)

        processes: list[Any] = [FakeProcess(), FakeProcess()]
        workers: Any = Workers.__new__(Workers)
        workers.serving, workers.agreement = True, SimpleNamespace(under_way=False)
        workers._tell_start = tell_start
        workers.all = [Worker(workers, number, Backoff()) for number in (0, 1)]
        for worker, process in zip(workers.all, processes, strict=True):
            worker.take(process, 0.0)
        for worker in workers.all:
            workers._begin(worker)
        self.assertEqual(([each.killed for each in processes], begun), ([1, 0], [1]))

    def test_a_reload(self) -> None:
        """A reload whose sockets cannot be handed over is refused in a sentence, and those that were asked hear that."""
        told: list[Any] = []
        process: Any = FakeProcess(starved=True)
        worker = Worker(SimpleNamespace(), 0, Backoff())        # type: ignore[arg-type]
        worker.take(process, 0.0)
        worker.began, worker.state = True, "ready"
        listening = SimpleNamespace(of_worker=lambda number, opened: [("key", SimpleNamespace(fileno=lambda: 5))])
        gateway: Any = SimpleNamespace(listening=listening, draining=False, loop=SimpleNamespace(soon=lambda call: None))
        workers: Any = SimpleNamespace(all=[worker], tell=told.append, shared=lambda runtime: None, begin_all=None)
        agreement = Agreement(gateway, workers)
        runtime: Any = SimpleNamespace(config=None)
        reached = Deferred.fromCoroutine(agreement.reach(runtime, {}, {}, None))
        failure = self.failureResultOf(reached, StartError)
        self.assertEqual(str(failure.value), "workers cannot be asked: Too many open files")
        self.assertEqual([(type(each).__name__, each.token) for each in told], [("Abort", 1)])
        self.assertFalse(agreement.under_way)


class AloneTests(SynchronousTestCase):
    def prepared(self, token: int, *waiting: int) -> WorkerGateway:
        """A worker that prepares what it was told by `token`, and was told more meanwhile."""
        worker = WorkerGateway.__new__(WorkerGateway)
        worker._preparing, worker._aborted, worker._decision = token, 0, None
        worker._waits = [(SimpleNamespace(token=each), []) for each in waiting]     # type: ignore[misc]
        worker._channel = FakeProcess()     # type: ignore[assignment]
        worker._channel.send = lambda data, fds=(): None        # type: ignore[method-assign,assignment]
        return worker

    def agree(self, worker: WorkerGateway) -> Deferred[None]:
        ahead: Any = SimpleNamespace(fresh={})
        runtime: Any = None
        return Deferred.fromCoroutine(worker._agree(runtime, ahead, None))

    def test_one_that_waits_for_the_word(self) -> None:
        """It gives up what it has prepared, with its sockets, and what it was asked for after that."""
        worker = self.prepared(3, 4)
        agreed = self.agree(worker)
        self.assertNoResult(agreed)
        worker.alone()
        self.failureResultOf(agreed, StartError)
        worker._preparing = 4
        self.failureResultOf(self.agree(worker), StartError)

    def test_one_that_builds(self) -> None:
        """It gives it up as soon as it is built."""
        worker = self.prepared(3)
        worker.alone()
        self.failureResultOf(self.agree(worker), StartError)

    def test_one_that_does_nothing(self) -> None:
        """Nothing happens."""
        self.prepared(0).alone()
