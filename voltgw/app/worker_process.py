"""The process of one worker, as the control process sees it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

import voltgw
from voltgw.app import worker_messages as say
from voltgw.net.passing import Channel

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.workers import Workers
    from voltgw.control.workers.backoff import Backoff


#: A spare process that has ended, or could not be made, is followed by another one after this.
SPARE_AGAIN_S: Final = 5.0
#: Looks, one each second, for which a worker may say nothing: it tells its counts once a second, even while it builds.
MOST_QUIET: Final = 60


class Process(ProcessProtocol):
    """A process that can become any worker: it has everything loaded, and waits to be told what to serve.

    `owner` is the worker that has it; while there is none, `gone` is called if it ends. Raises OSError when it cannot be made.
    """

    def __init__(self, reactor: Any, gone: Callable[[], None]) -> None:
        self.owner: Worker | None = None
        self.gone = gone
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The package need not be installed; and nothing is imported from the folder in which we happen to be.
            paths = os.pathsep.join(filter(None, (str(Path(voltgw.__file__).parent.parent), os.environ.get("PYTHONPATH"))))
            self._transport = reactor.spawnProcess(
                self, sys.executable, [sys.executable, "-P", "-m", "voltgw.worker", "3"],
                env={**_environ(), "PYTHONPATH": paths}, childFDs={0: 0, 1: 1, 2: 2, 3: theirs.fileno()})
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.pid: int = self._transport.pid or 0
        self.channel = Channel(reactor, ours, self._received, self._silent)
        self.channel.start()

    def kill(self) -> None:
        """End it at once."""
        if self._transport.pid:
            os.kill(self._transport.pid, signal.SIGKILL)

    def _received(self, data: bytes, fds: list[int]) -> None:
        if self.owner is not None:
            self.owner.received(data)

    def _silent(self, why: str) -> None:
        """It has closed its end: it is ending, or will hear nothing more."""
        if self.owner is None or self.owner.state in ("starting", "ready"):
            self.kill()

    def processEnded(self, reason: Failure) -> None:
        """Called by Twisted."""
        self.channel.abort()
        if self.owner is None:
            self.gone()
        else:
            self.owner.over("it has ended" if reason.check(ProcessDone) else reason.getErrorMessage())


def _environ() -> dict[str, str]:
    """Ours, without what systemd says to the one process that it has started."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_"))}


class Spare:
    """One process that waits to take the place of a worker that dies: its clients wait only until it has built what serves."""

    _log = Logger()

    def __init__(self, reactor: Any, monotonic: Callable[[], float]) -> None:
        self._reactor = reactor
        self._monotonic = monotonic
        self._process: Process | None = None
        self._again = 0.0                   # when the next one may be made
        self._stopped = False

    def take(self) -> Process:
        """The one that waits, or else another one. Raises OSError when none can be made."""
        process, self._process = self._process, None
        return process or Process(self._reactor, self._gone)

    def keep(self) -> None:
        """Have one."""
        if self._process is not None or self._stopped or self._monotonic() < self._again:
            return
        try:
            self._process = Process(self._reactor, self._gone)
        except OSError as error:            # when a worker dies it is tried again, and a failure is said loudly
            self._log.warn("no process can be held ready for workers: {error}", error=error.strerror, event="worker.no_spare")
            self._again = self._monotonic() + SPARE_AGAIN_S

    def stop(self) -> None:
        """Have none any more."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _gone(self) -> None:
        self._process = None
        self._again = self._monotonic() + SPARE_AGAIN_S


class Worker:
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
        self.process: Process | None = None
        self.ended: Deferred[None] | None = None
        self.answer: Deferred[str] | None = None
        self.began = False                  # it has been told what to serve
        self.quiet = 0                      # looks since it has said anything
        self._workers = workers

    @property
    def name(self) -> str:
        """How people and metrics call it."""
        return str(self.number + 1)

    def take(self, process: Process, now: float) -> None:
        """This process is the worker from now on."""
        process.owner = self
        self.process, self.pid = process, process.pid
        self.state, self.since, self.began, self.generation, self.out = "starting", now, False, 0, {}
        self.quiet = 0
        self.ended = Deferred()

    @property
    def listens(self) -> bool:
        """Whether it can be told anything, and has been told what to serve."""
        return self.began and self.process is not None

    def tell(self, data: bytes, fds: Iterable[int] = ()) -> None:
        """Send it a message."""
        if self.process is not None:
            self.process.channel.send(data, tuple(fds))

    def look(self) -> None:
        """Called once a second: end one that hangs, so that another takes its place and what waits for it does not pile up."""
        if self.state != "ready":           # one that starts says nothing while it builds
            return
        self.quiet += 1
        if self.quiet > MOST_QUIET:
            self._log.error("worker {name} (process {pid}) has said nothing for {quiet} s: it hangs, and is ended",
                            name=self.name, pid=self.pid, quiet=MOST_QUIET, event="worker.hangs")
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()

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

    def received(self, data: bytes) -> None:
        """It says something."""
        self.quiet = 0
        try:
            self._workers.heard(self, say.answered(data))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._log.error("worker {name} says what cannot be read: {error}; it is ended", name=self.name, error=error,
                            event="worker.garbled")
            self.kill()

    def over(self, why: str) -> None:
        """Its process has ended."""
        self.process = None
        before, self.state = self.state, "ended"
        self.replied("")                    # what it was asked, its successor is told when it starts
        self._workers.died(self, before, why)
        if self.ended is not None:
            ended, self.ended = self.ended, None
            ended.callback(None)
