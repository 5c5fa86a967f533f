"""The process of one worker, as the control process sees it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
