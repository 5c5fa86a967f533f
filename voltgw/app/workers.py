"""Workers, as the control process sees them: started, told, counted together, started again when they die.

This process opens all sockets and accepts on none (`voltgw.app.held`). It finds endpoints, probes them, answers DNS, has the
admin interface; what it decides goes to every worker as it would go into its own objects (`Telling`), and what workers have
counted comes back into those (`Ledger`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel

import voltgw
from voltgw.app import worker_messages as say
from voltgw.app.challenges import Challenges
from voltgw.app.ledger import Ledger
from voltgw.app.orphans import Orphans
from voltgw.app.settings import StartError
from voltgw.control.workers.backoff import Backoff
from voltgw.net.passing import Channel

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.build import ListenerKey, Runtime
    from voltgw.app.listening import AnyBound
    from voltgw.app.service import GatewayService
    from voltgw.cluster.snapshot import EndpointKey, EndpointState
    from voltgw.values.tls import KeyPair

#: How often it is looked for what is pushed when it changes.
_LOOK_S: Final = 1.0
#: How long the workers may take to build a configuration that this process has built.
_PREPARE_S: Final = 120.0
#: Beyond its drain timeout a worker may take so long to end.
_END_MARGIN_S: Final = 2.0
#: Lines of workers' logs in a second, of all workers together.
_MOST_LINES: Final = 1_000


class Telling:
    """Tells workers of the members of one cluster; a membership's `told`."""

    def __init__(self, workers: Workers, cluster: str) -> None:
        self.states: tuple[EndpointState, ...] = ()
        self._workers = workers
        self._cluster = cluster

    def installed(self, states: tuple[EndpointState, ...]) -> None:
        """These are the members now."""
        before, self.states = self.states, states
        if not self._workers.serves(self):
            return                          # its cluster does not serve yet: that comes with `Commit`
        same = len(before) == len(states) and all(old.key == new.key for old, new in zip(before, states, strict=True))
        changed = {place: new for place, (old, new) in enumerate(zip(before, states, strict=False)) if old is not new}
        self._workers.tell(say.Installed(self._cluster, None, changed) if same else say.Installed(self._cluster, states))

    def marked(self, key: EndpointKey, reason: str) -> None:
        """One gets nothing more."""
        if self._workers.serves(self):
            self._workers.tell(say.Marked(self._cluster, key, reason))


class ToldChallenges(Challenges):
    """Has workers answer while a CA looks."""

    def __init__(self, workers: Workers, *args: Any) -> None:
        super().__init__(*args)
        self._workers = workers

    def answer_http(self, name: str, token: str, body: bytes | None) -> None:
        """See `Responder`."""
        super().answer_http(name, token, body)
        self._workers.challenge(say.Challenged("http", name, token, body))

    def answer_tls(self, name: str, pair: KeyPair | None) -> None:
        """See `Responder`."""
        super().answer_tls(name, pair)
        self._workers.challenge(say.Challenged("tls", name, pair=pair))


class Worker(ProcessProtocol):
    """One place for a worker and the process that has it now; `number` counts from 0."""

    _log = Logger()

    def __init__(self, workers: Workers, number: int, backoff: Backoff) -> None:
        self.number = number
        self.state = "ended"                # "starting", "ready", "draining"
        self.pid = 0
        self.respawns = 0
        self.generation = 0
        self.accepted = 0
        self.longest_turn_s = 0.0
        self.problem = ""
        self.since = 0.0
        self.out: dict[str, dict[str, str]] = {}
        self.backoff = backoff
        self.channel: Channel | None = None
        self.ended: Deferred[None] | None = None
        self.answer: Deferred[str] | None = None
        self.began = False                  # it has been told what to serve
        self._workers = workers
        self._process: Any = None

    @property
    def name(self) -> str:
        """How people and metrics call it."""
        return str(self.number + 1)

    def spawn(self, reactor: Any, now: float) -> None:
        """Start a process. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The package need not be installed; and nothing is imported from the folder in which we happen to be.
            paths = os.pathsep.join(filter(None, (str(Path(voltgw.__file__).parent.parent), os.environ.get("PYTHONPATH"))))
            self._process = reactor.spawnProcess(
                self, sys.executable, [sys.executable, "-P", "-m", "voltgw.worker", "3"],
                env={**os.environ, "PYTHONPATH": paths}, childFDs={0: 0, 1: 1, 2: 2, 3: theirs.fileno()})
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid or 0
        self.state, self.since, self.began, self.generation, self.out = "starting", now, False, 0, {}
        self.ended = Deferred()
        self.channel = Channel(reactor, ours, self._received, self._silent)
        self.channel.start()

    def tell(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Send it a message."""
        if self.channel is not None:
            self.channel.send(data, tuple(fds))

    def kill(self) -> None:
        """End it at once."""
        if self.state != "ended" and self._process is not None and self._process.pid:
            os.kill(self._process.pid, signal.SIGKILL)

    def replied(self, problem: str) -> None:
        """It has answered what it was asked: "" = yes."""
        if self.answer is not None:
            answer, self.answer = self.answer, None
            answer.callback(problem)

    def view(self, now: float) -> dict[str, Any]:
        """JSON-ready."""
        return {"worker": self.number + 1, "state": self.state, "pid": self.pid if self.state != "ended" else None,
                "generation": self.generation or None, "respawns": self.respawns, "connections_accepted": self.accepted,
                "connections_open": self._workers.ledger.open_of(self.number), "for_s": round(now - self.since, 3),
                "longest_turn_s": round(self.longest_turn_s, 6), "problem": self.problem,
                "keeps_out": [{"cluster": cluster, "endpoint": endpoint, "reason": why}
                              for cluster, each in self.out.items() for endpoint, why in each.items()]}

    def _received(self, data: bytes, fds: list[int]) -> None:
        try:
            message = say.answered(data)
            self._workers.heard(self, message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._log.error("worker {name} says what cannot be read: {error}; it is ended", name=self.name, error=error,
                            event="worker.garbled")
            self.kill()

    def _silent(self, why: str) -> None:
        """It has closed its end: it is ending, or will hear nothing more."""
        if self.state in ("starting", "ready"):
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        """Called by Twisted."""
        if self.channel is not None:
            self.channel.abort()
            self.channel = None
        why = "it has ended" if reason.check(ProcessDone) else reason.getErrorMessage()
        before, self.state = self.state, "ended"
        self.replied("")                    # what it was asked, its successor is told when it starts
        self._workers.died(self, before, why)
        if self.ended is not None:
            ended, self.ended = self.ended, None
            ended.callback(None)


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
        self._preparing = False
        self._token = 0
        self._challenges: dict[tuple[str, str, str], say.Challenged] = {}
        self._pushed: dict[str, Any] = {}
        self._timers: dict[int, Any] = {}
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
            self.orphans = Orphans()
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

    def _spawn(self, worker: Worker) -> None:
        self._timers.pop(worker.number, None)
        if self.stopping:
            return
        try:
            worker.spawn(self._reactor, self._monotonic())
        except OSError as error:
            worker.problem = f"it cannot be started: {error.strerror}"
            self._log.error("worker {name} cannot be started: {error}", name=worker.name, error=error.strerror,
                            event="worker.not_started")
            self._again(worker)
            return
        self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        """Tell one what to serve, if it is time for that."""
        if not self.serving or self._preparing or worker.began or worker.state != "starting":
            return
        worker.began = True
        gateway = self._gateway
        handed = gateway.listening.handed(worker.number, gateway.listening.bound)      # type: ignore[attr-defined]
        start = say.Start(
            worker.number, self.count, gateway.generation, gateway.runtime.config, self._shared(gateway.runtime),
            tuple(key for key, _ in handed), gateway.affinity_key, gateway.tickets.export(), self._sets(gateway.memberships),
            self._rollouts(), self._level(), gateway.access_log_to_stdout, tuple(gateway.admin.addresses),
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

    def drain(self, timeout_s: float) -> None:
        """All of them finish what is under way, and end."""
        self.stopping = True
        self._cancel()
        for worker in self.all:
            if worker.state != "ended":
                worker.state = "draining"
                worker.tell(say.packed(say.Drain(timeout_s)))

    def kill(self) -> None:
        """End those that are left."""
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
        told = [worker for worker in self.all if worker.began and worker.channel is not None]
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

    def _rolled(self) -> None:
        self.tell(say.Rolled(self._rollouts()))

    def _look(self) -> None:
        """Push what has changed since."""
        gateway = self._gateway
        if self.stopping:
            return
        gateway.loop.clock.callLater(_LOOK_S, self._look)
        self._lines = 0
        gateway.tickets.rotate_if_due()
        for name, value, made in (("tickets", gateway.tickets.export(), say.Tickets), ("level", self._level(), say.Level)):
            if self._pushed.setdefault(name, value) != value:
                self._pushed[name] = value
                self.tell(made(value))
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
        process = self._gateway.logs.process
        return "info" if process is None else process.level

    def _rollouts(self) -> dict[str, Any]:
        return {live.name: live.plain() for live in self._gateway.rollouts.all()}

    def _shared(self, runtime: Runtime) -> say.Shared:
        acme, folder = self._gateway.acme, runtime.config.gateway.data_dir or ""
        names = runtime.fetched()
        pairs = {each: pair for each in names if (pair := acme.pair(folder, each)) is not None}
        reasons = {each: acme.reason(each) for each in names if each not in pairs}
        return say.Shared(self._gateway.addresses_in_use, pairs, reasons)

    @staticmethod
    def _sets(memberships: Mapping[str, Any]) -> dict[str, tuple[EndpointState, ...]]:
        return {name: each.told.states for name, each in memberships.items() if each.told is not None}

    # -- reloads -------------------------------------------------------------------------------------------------------

    async def agree(self, runtime: Runtime, opened: Mapping[ListenerKey, AnyBound], fresh: Mapping[str, Any],
                    stay_s: float | None) -> None:
        """Have all of them make what this process has made, then serve it, in the turn in which this returns.

        Raises StartError in a sentence when one cannot; then all of them go on as before.
        """
        gateway = self._gateway
        self._token = token = self._token + 1
        self._preparing = True
        asked: list[Worker] = []
        try:
            shared = self._shared(runtime)
            for worker in self.all:
                if not worker.began or worker.channel is None:
                    continue
                handed = gateway.listening.handed(worker.number, opened)       # type: ignore[attr-defined]
                message = say.Prepare(token, runtime.config, shared, tuple(key for key, _ in handed), stay_s)
                worker.answer = Deferred()
                asked.append(worker)
                worker.tell(say.packed(message), [sock.fileno() for _, sock in handed])
            problem = await self._answers(asked)
            if gateway.draining:
                problem = problem or "the gateway drains"
            if problem:
                self.tell(say.Abort(token))
                raise StartError(problem)
            self.tell(say.Commit(token, gateway.generation + 1, self._sets(fresh), self._rollouts()))
        finally:
            self._preparing = False
            gateway.loop.soon(self._begin_all)      # those that were started meanwhile serve what serves then

    def _begin_all(self) -> None:
        for worker in self.all:
            self._begin(worker)

    async def _answers(self, asked: list[Worker]) -> str:
        """What the first one that refuses says, "" = all are ready."""
        late = self._gateway.loop.clock.callLater(_PREPARE_S, self._late, asked)
        try:
            for worker in asked:
                answer = worker.answer
                if answer is not None:
                    problem = await answer
                    if problem:
                        return f"worker {worker.name} refuses: {problem}"
        finally:
            if late.active():
                late.cancel()
        return ""

    def _late(self, asked: list[Worker]) -> None:
        for worker in asked:
            worker.replied(f"it has not built the configuration within {_PREPARE_S:g} s")

    # -- from them -----------------------------------------------------------------------------------------------------

    def heard(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """One says something. Raises ValueError and the like for what makes no sense."""
        kind = message["kind"]
        if kind == "counts":
            worker.accepted += self.ledger.enter(worker.number, message["counts"])
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
            if message["token"] == self._token:
                worker.replied("")
        elif kind == "committed":
            worker.generation = int(message["generation"])
        elif kind == "refused":
            problems = "; ".join(map(str, message["problems"][:3])) or "it does not say why"
            if worker.answer is None and worker.state == "ready" and worker.generation < self._gateway.generation:
                self._log.error("worker {name} could not do what it had agreed to: {problems}; it is started anew",
                                name=worker.name, problems=problems, event="worker.behind")
                worker.kill()
            if message["token"] == self._token:
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


#: What makes the `told` of a membership.
NewTelling = Callable[[str], Telling]
