"""Workers, as the control process sees them: started, told, counted together, started again when they die.

This process opens all sockets and accepts on none (`voltgw.app.held`). It finds endpoints, probes them, answers DNS, has the
admin interface; what it decides goes to every worker as it would go into its own objects (`Telling`), and what workers have
counted comes back into those (`Ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from voltgw.app import worker_messages as say
from voltgw.app.ledger import Ledger
from voltgw.app.orphans import Orphans
from voltgw.app.settings import StartError
from voltgw.app.worker_agreement import Agreement
from voltgw.app.worker_process import Spare, Worker
from voltgw.app.worker_telling import Telling, ToldChallenges
from voltgw.control.workers.backoff import Backoff

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, Runtime
    from voltgw.app.service import GatewayService
    from voltgw.cluster.snapshot import EndpointState

#: How often it is looked for what is pushed when it changes.
_LOOK_S: Final = 1.0
#: A worker's drain ends so long before that of the whole: it has counts to tell.
_END_MARGIN_S: Final = 1.0
#: How often it is looked, and how long at most, whether all of them serve while another gateway waits to be replaced.
_READY_LOOK_S: Final = 0.05
_READY_S: Final = 120.0
#: Lines of workers' logs in a second, of all workers together.
_MOST_LINES: Final = 1_000


class Workers:
    """All workers of one gateway."""

    _log = Logger()

    def __init__(self, gateway: GatewayService, count: int) -> None:
        self.count = count
        self.ledger = Ledger(gateway)
        self.lines_dropped = 0
        self.records_refused = 0
        self.serving = False                # they are told what to serve
        self.stopping = False
        self._gateway = gateway
        self._reactor = gateway.deps.reactor
        self._monotonic = gateway.deps.monotonic
        self._backoffs = [Backoff() for _ in range(count)]
        self.all = [Worker(self, number, backoff) for number, backoff in enumerate(self._backoffs)]
        self.orphans: Orphans | None = None     # workers whose control process is gone, until ours serve
        self.agreement = Agreement(gateway, self)
        self._challenges: dict[tuple[str, str, str], say.Challenged] = {}
        self._pushed: dict[str, Any] = {}
        self._timers: dict[int, Any] = {}
        self._spare = Spare(self._reactor, self._monotonic)
        self._lines = 0

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start their processes: they warm up while clusters do."""
        clock = self._gateway.loop.clock
        for worker in self.all:
            self._spawn(worker)
        clock.callLater(_LOOK_S, self._look)
        self._gateway.logs.reopened = self.reopen
        self._gateway.rollouts.on_moved = self._rolled

    def adopt(self) -> None:
        """Look for workers that a control process of before has left behind: we listen on their sockets."""
        if self._gateway.rendezvous:
            self.orphans = Orphans((self._gateway.user,))
            self.orphans.look(self._gateway.rendezvous)

    def adopted(self) -> None:
        """What is needed of them is taken."""
        if self.orphans is not None:
            self.orphans.rest()

    def let_go(self) -> None:
        """This process will not serve: workers of before shall go on."""
        if self.orphans is not None:
            self.orphans.let_go()
            self.orphans = None

    def serve(self) -> None:
        """Every cluster has its first members: workers may accept."""
        self.serving = True
        for worker in self.all:
            self._begin(worker)

    def begin_all(self) -> None:
        """Those that were started while a reload was agreed on serve what serves now."""
        for worker in self.all:
            self._begin(worker)
        if self._gateway.rollouts.all():
            self._rolled()                  # those that have begun with this configuration

    def _spawn(self, worker: Worker) -> None:
        self._timers.pop(worker.number, None)
        if self.stopping:
            return
        try:
            worker.take(self._spare.take(), self._monotonic())
        except OSError as error:
            worker.problem = f"it cannot be started: {error.strerror}"
            self._log.error("worker {name} cannot be started: {error}", name=worker.name, error=error.strerror,
                            event="worker.not_started")
            self._again(worker)
            return
        self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        """Tell one what to serve, if it is time for that."""
        if not self.serving or self.agreement.under_way or worker.began or worker.state != "starting":
            return
        worker.began = True
        try:
            self._tell_start(worker)
        except OSError as error:            # no descriptor is left to hand sockets over with
            self._log.error("worker {name} cannot be started: {error}", name=worker.name, error=error.strerror,
                            event="worker.not_started")
            worker.kill()                   # and is tried again

    def _tell_start(self, worker: Worker) -> None:
        gateway = self._gateway
        handed = gateway.listening.of_worker(worker.number, gateway.listening.bound)      # type: ignore[attr-defined]
        start = say.Start(
            worker.number, self.count, gateway.generation, gateway.runtime.config, self.shared(gateway.runtime),
            tuple(key for key, _ in handed), gateway.affinity_key, gateway.tickets.export(), self.sets(gateway.memberships),
            self.rollouts(), self._level(), gateway.access_log_to_stdout, tuple(gateway.admin.addresses),
            gateway.rendezvous)
        worker.tell(say.packed(start), [sock.fileno() for _, sock in handed])
        for challenge in self._challenges.values():
            worker.tell(say.packed(challenge))

    def died(self, worker: Worker, state: str, why: str) -> None:
        """A process has ended."""
        self.ledger.take_back(worker.number)
        worker.out = {}
        if self.stopping or state == "ended":
            return
        worker.respawns += 1
        worker.problem = why
        log = self._log.warn if state == "draining" else self._log.error
        log("worker {name} (process {pid}) has ended: {why}; its connections are lost, its sockets are not", name=worker.name,
            pid=worker.pid, why=why, event="worker.died")
        self._again(worker)

    def _again(self, worker: Worker) -> None:
        wait_s = worker.backoff.next(self._monotonic(), worker.since)
        if wait_s:
            self._log.warn("worker {name} is started again in {wait_s:.3g} s", name=worker.name, wait_s=wait_s,
                           event="worker.waits")
        self._timers[worker.number] = self._gateway.loop.clock.callLater(wait_s, self._spawn, worker)

    def give_way(self) -> None:
        """Another gateway accepts on our sockets: none of ours takes anything from them, now or later."""
        self.stopping = True
        self._spare.stop()
        self._cancel()
        self.tell(say.GiveWay())

    def drain(self, timeout_s: float) -> None:
        """All of them finish what is under way, and end."""
        self.stopping = True
        self._cancel()
        timeout_s = max(timeout_s - _END_MARGIN_S, timeout_s / 2)
        self._spare.stop()
        for worker in self.all:
            if worker.state != "ended":
                worker.state = "draining"
                worker.tell(say.packed(say.Drain(timeout_s)))

    def kill(self) -> None:
        """End those that are left."""
        self._spare.stop()
        for worker in self.all:
            worker.kill()

    def stop(self) -> Deferred[Any]:
        """Fires when none is left; those that do not end in time are killed."""
        self.stopping = True
        if self.orphans is not None:
            self.orphans.drain()
            self.orphans = None
        self._cancel()
        waiting = [worker.ended for worker in self.all if worker.ended is not None and worker.state != "ended"]
        if waiting:
            self._reactor.callLater(0, self.kill)
        return DeferredList(list(waiting))

    def _cancel(self) -> None:
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        self._timers.clear()

    @property
    def alive(self) -> int:
        """Processes that there are."""
        return sum(worker.state != "ended" for worker in self.all)

    # -- to them -------------------------------------------------------------------------------------------------------

    def tell(self, message: Any) -> None:
        """Tell all of them that know what to serve."""
        told = [worker for worker in self.all if worker.listens]
        if told:
            data = say.packed(message)
            for worker in told:
                worker.tell(data)

    def challenges(self, *args: Any) -> ToldChallenges:
        """What has them answer while a CA looks."""
        return ToldChallenges(self, *args)

    def telling(self, cluster: str) -> Telling:
        """What tells them of a cluster's members."""
        return Telling(self, cluster)

    def serves(self, telling: Telling) -> bool:
        """Whether the cluster is one of those that serve now."""
        membership = self._gateway.memberships.get(telling._cluster)
        return membership is not None and membership.told is telling

    def challenge(self, message: say.Challenged) -> None:
        """A CA looks at a name, or no longer."""
        key = (message.kind, message.name, message.token)
        if message.body is None and message.pair is None:
            self._challenges.pop(key, None)
        else:
            self._challenges[key] = message
        self.tell(message)

    def reopen(self) -> None:
        """Logs were rotated."""
        self.tell(say.Reopen())

    def back(self, keys: Sequence[ListenerKey]) -> None:
        """These listeners have sockets again."""
        bound = self._gateway.listening.bound
        for worker in self.all:
            if worker.listens:
                handed = self._gateway.listening.of_worker(     # type: ignore[attr-defined]
                    worker.number, {key: bound[key] for key in keys})
                worker.tell(say.packed(say.Back(tuple(key for key, _ in handed))), [sock.fileno() for _, sock in handed])

    def _rolled(self) -> None:
        self.tell(say.Rolled(self.rollouts()))

    def _look(self) -> None:
        """Push what has changed since."""
        gateway = self._gateway
        if self.stopping:
            return
        gateway.loop.clock.callLater(_LOOK_S, self._look)
        self._lines = 0
        for worker in self.all:
            worker.look()
        if not self.missing():
            self._spare.keep()
            if all(worker.generation >= gateway.generation for worker in self.all):
                self.ledger.former = None   # they have had a moment to tell the last of it
        gateway.tickets.rotate_if_due()
        for name, value in (("tickets", gateway.tickets.export()), ("level", self._level())):
            if self._pushed.setdefault(name, value) != value:
                self._pushed[name] = value
                self.tell(say.Level(value) if isinstance(value, str) else say.Tickets(value))
        for cluster in {name for worker in self.all for name in worker.out}:
            self._tell_of_passes(cluster)

    def _tell_of_passes(self, cluster: str) -> None:
        """Those that workers keep out may come back when health checks find them well, if their cluster says so."""
        membership = self._gateway.memberships.get(cluster)
        if membership is None or membership.cluster.outliers is None or not membership.checks:
            return
        out = {endpoint for worker in self.all for endpoint in worker.out.get(cluster, ())}
        for key, member in membership.members.items():
            if str(key) in out and member.health == "healthy":
                self.tell(say.Passed(cluster, key))

    def _level(self) -> str:
        """The lowest that anything is shown from; the control process leaves out the rest."""
        process = self._gateway.logs.process
        if process is None:
            return "info"
        return min((process.level, *process.levels.values()), key=LogLevel.lookupByName)

    def rollouts(self) -> dict[str, Any]:
        """How far each rollout is."""
        return {live.name: live.plain() for live in self._gateway.rollouts.all()}

    def shared(self, runtime: Runtime) -> say.Shared:
        """What building takes besides the configuration."""
        acme, folder = self._gateway.acme, runtime.config.gateway.data_dir or ""
        names = runtime.fetched()
        pairs = {each: pair for each in names if (pair := acme.pair(folder, each)) is not None}
        reasons = {each: acme.reason(each) for each in names if each not in pairs}
        return say.Shared(self._gateway.addresses_in_use, pairs, reasons)

    @staticmethod
    def sets(memberships: Mapping[str, Any]) -> dict[str, tuple[EndpointState, ...]]:
        """The members of these clusters."""
        return {name: each.told.states for name, each in memberships.items() if each.told is not None}

    # -- from them -----------------------------------------------------------------------------------------------------

    def heard(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """One says something. Raises ValueError and the like for what makes no sense."""
        kind = message["kind"]
        if kind == "counts":
            behind = int(message["generation"]) < self._gateway.generation
            worker.accepted += self.ledger.enter(worker.number, message["counts"], behind=behind)
            worker.longest_turn_s = float(message.get("longest_turn_s", worker.longest_turn_s))
            if "out" in message:
                worker.out = _texts(message["out"])
        elif kind == "journal":
            for name, fields in message["records"]:
                try:
                    self._gateway.journal.take(name, fields)
                except ValueError:
                    self.records_refused += 1
        elif kind == "log":
            self._logged(worker, message)
        elif kind == "ready":
            worker.state, worker.generation, worker.problem = "ready", int(message["generation"]), ""
            self._log.info("worker {name} (process {pid}) serves", name=worker.name, pid=worker.pid, event="worker.ready")
            if self.orphans is not None and not self.missing():
                self.orphans.drain()
                self.orphans = None
        elif kind == "prepared":
            if message["token"] == self.agreement.token:
                worker.replied("")
        elif kind == "committed":
            worker.generation = int(message["generation"])
        elif kind == "refused":
            problems = "; ".join(map(str, message["problems"][:3])) or "it does not say why"
            if worker.answer is None and worker.state == "ready" and worker.generation < self._gateway.generation:
                self._log.error("worker {name} could not do what it had agreed to: {problems}; it is started anew",
                                name=worker.name, problems=problems, event="worker.behind")
                worker.kill()
            if message["token"] == self.agreement.token:
                worker.replied(problems)
        elif kind == "failed":
            worker.problem = "; ".join(map(str, message["problems"][:3]))
            self._log.error("worker {name} cannot serve: {problem}", name=worker.name, problem=worker.problem,
                            event="worker.failed")
        elif kind == "drained":
            worker.state = "draining"

    def _logged(self, worker: Worker, message: Mapping[str, Any]) -> None:
        self._lines += 1
        if self._lines > _MOST_LINES:
            self.lines_dropped += 1
            return
        level = LogLevel.lookupByName(str(message["level"]))
        logger = Logger(namespace=str(message["namespace"])[:200] or "voltgw.worker")
        more = {"event": str(message["event"])[:100]} if message.get("event") else {}
        trace = f"\n{message['trace']}" if message.get("trace") else ""
        logger.emit(level, "worker {worker}: {text}{trace}", worker=worker.name, text=str(message["text"]), trace=trace, **more)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def all_ready(self) -> None:
        """Wait until every worker serves. Raises StartError when that takes too long."""
        clock = self._gateway.loop.clock
        until = self._monotonic() + _READY_S
        while self.missing() and not self.stopping:
            if self._monotonic() > until:
                raise StartError("; ".join(self.missing()))
            await deferLater(clock, _READY_LOOK_S)

    def missing(self) -> list[str]:
        """Why not all of them serve."""
        return [f"worker {worker.name} is {worker.state}{worker.problem and f': {worker.problem}'}" for worker in self.all
                if worker.state != "ready"]

    def view(self) -> list[dict[str, Any]]:
        """Each of them, JSON-ready."""
        now = self._monotonic()
        return [worker.view(now) for worker in self.all]


def _texts(said: Any) -> dict[str, dict[str, str]]:
    return {str(cluster): {str(endpoint): str(why)[:1000] for endpoint, why in each.items()} for cluster, each in said.items()}
