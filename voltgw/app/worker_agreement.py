"""A reload of all workers or of none: all make what the control process has made, and serve it when all have said so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from voltgw.app import worker_messages as say
from voltgw.app.settings import StartError

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, Runtime
    from voltgw.app.listening import AnyBound
    from voltgw.app.service import GatewayService
    from voltgw.app.worker_process import Worker
    from voltgw.app.workers import Workers

#: How long the workers may take to build a configuration that this process has built.
PREPARE_S: Final = 120.0


class Agreement:
    """One reload after another. `under_way` tells that one is agreed on just now, `token` which of all it is."""

    def __init__(self, gateway: GatewayService, workers: Workers) -> None:
        self.under_way = False
        self.token = 0
        self._gateway = gateway
        self._workers = workers

    async def reach(self, runtime: Runtime, opened: Mapping[ListenerKey, AnyBound], fresh: Mapping[str, Any],
                    stay_s: float | None) -> None:
        """Have all of them make what this process has made, then serve it, in the turn in which this returns.

        Raises StartError in a sentence when one cannot; then all of them go on as before. `opened` are new sockets, `fresh`
        the memberships of new clusters.
        """
        gateway, workers = self._gateway, self._workers
        self.token += 1
        self.under_way = True
        try:
            try:
                asked = self._ask(runtime, opened, stay_s)
            except OSError as error:        # no descriptor is left to hand sockets over with
                workers.tell(say.Abort(self.token))
                raise StartError(f"workers cannot be asked: {error.strerror}") from error
            problem = await self._answers(asked)
            if gateway.draining:
                problem = problem or "the gateway drains"
            if problem:
                workers.tell(say.Abort(self.token))
                raise StartError(problem)
            workers.ledger.former = workers.ledger.books.former()
            workers.tell(say.Commit(self.token, gateway.generation + 1, workers.sets(fresh), workers.rollouts()))
        finally:
            self.under_way = False
            gateway.loop.soon(workers.begin_all)

    def _ask(self, runtime: Runtime, opened: Mapping[ListenerKey, AnyBound], stay_s: float | None) -> list[Worker]:
        """Have them prepare; those that were asked."""
        listening: Any = self._gateway.listening
        asked = [worker for worker in self._workers.all if worker.listens]
        data = b""
        for worker in asked:
            handed = listening.of_worker(worker.number, opened)
            if not data:                    # it is the same for all, but for the descriptors
                keys = tuple(key for key, _ in handed)
                data = say.packed(say.Prepare(self.token, runtime.config, self._workers.shared(runtime), keys, stay_s))
            worker.answer = Deferred()
            worker.tell(data, [sock.fileno() for _, sock in handed])
        return asked

    async def _answers(self, asked: list[Worker]) -> str:
        """What the first one that refuses says, "" = all are ready. One that has died meanwhile is not waited for."""
        late = self._gateway.loop.clock.callLater(PREPARE_S, self._late, asked)
        try:
            for worker in asked:
                answer = worker.answer
                problem = await answer if answer is not None else ""
                if problem:
                    return f"worker {worker.name} refuses: {problem}"
        finally:
            if late.active():
                late.cancel()
        return ""

    def _late(self, asked: list[Worker]) -> None:
        for worker in asked:
            worker.replied(f"it has not built the configuration within {PREPARE_S:g} s")
