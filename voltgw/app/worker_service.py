"""One worker: the data plane of a gateway in a process of its own, which does as the control process says."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel

from voltgw.app import worker_messages as say
from voltgw.app.overload import Overload
from voltgw.app.service import GatewayService
from voltgw.app.settings import StartError
from voltgw.app.worker_members import Followed
from voltgw.app.worker_parts import (
    Handed,
    HandedListening,
    NoAdmin,
    NoNames,
    SaidAddresses,
    SaidCertificates,
    SaidRollouts,
)
from voltgw.app.worker_report import Reports
from voltgw.net.sockets import CannotListen, adopt

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.deps import Deps
    from voltgw.cluster.snapshot import EndpointState
    from voltgw.config.model import Config
    from voltgw.net.passing import Channel


class WorkerGateway(GatewayService):
    """A gateway without admin interface, names, discovery and probes. `sockets` are those of ``start.listeners``.

    It says over `channel` when it serves (`ready`), and answers what it is asked there. `end` is called when it shall end.
    """

    _log = Logger()

    def __init__(
        self, deps: Deps, start: say.Start, sockets: list[socket.socket], channel: Channel, end: Callable[[], None],
    ) -> None:
        """Raises `ConfigErrors` or RegistryError where building fails, as it has not in the control process."""
        self._start = start
        self._sets = dict(start.sets)
        self._sockets = dict(zip(start.listeners, sockets, strict=True))
        self._channel = channel
        self._end = end
        self._certificates = SaidCertificates()
        self._certificates.shared = start.shared
        self._decision: Deferred[say.Commit] | None = None
        self._preparing = self._aborted = 0         # tokens
        self._waits: list[tuple[say.Prepare, list[socket.socket]]] = []
        super().__init__(deps, self._own(start.config), Handed())       # type: ignore[arg-type]
        self.number = start.number
        self.generation = self.journal.generation = start.generation
        self.touch_addresses = False
        self.access_log_to_stdout = start.access_log_to_stdout
        self.tickets.lifetime_s = float("inf")      # others rotate them
        self.tickets.install(start.tickets)
        self.reports = Reports(self, channel)
        self.journal.send_to(self.reports.boxes)
        self.on_warm = self._warm_now

    def _own(self, config: Config) -> Config:
        """What is this worker's part of a configuration."""
        gateway = config.gateway
        most = gateway.max_connections
        own = replace(gateway, workers=None, dns=(), monitor=None, watch=False,
                      max_connections=None if most is None else max(-(-most // self._start.workers), 1))
        return replace(config, gateway=own)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _affinity_key(self) -> bytes:
        return self._start.affinity_key

    def _new_addresses(self) -> Any:
        said = SaidAddresses()
        said.in_use = self._start.shared.addresses
        return said

    def _new_acme(self) -> Any:
        return self._certificates

    def _new_listening(self) -> Any:
        listening = HandedListening(self.plane, self.loop)
        for key, sock in self._sockets.items():
            listening.hand(key, sock)
        self._sockets.clear()
        return listening

    def _new_rollouts(self) -> Any:
        rollouts = SaidRollouts(self.loop.clock, self.deps.monotonic, self.deps.wall)
        rollouts.hear(self._start.rollouts)
        return rollouts

    def _new_overload(self) -> Overload:
        return Overload(self.loop, self.plane, processes=self._start.workers + 1)

    def _new_dns(self) -> Any:
        return NoNames()

    def _new_admin(self, config: Config) -> Any:
        return NoAdmin(self._start.admin)

    def _membership(self, name: str, runtime: Runtime) -> Any:
        followed = Followed(runtime.clusters[name], runtime.plans[name], self.loop)
        followed.install(self._sets.pop(name, ()))
        return followed

    def _wanted_rules(self, runtime: Runtime) -> dict[str, Any]:
        return {}                           # the control process installs them

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def slices(self) -> Any:
        """What runs long work."""
        return self._slices

    def _open_doors(self) -> None:
        """The control process has them."""

    def startService(self) -> None:
        """Serve."""
        super().startService()
        self.reports.start()

    def _warm_now(self) -> None:
        self.on_level(self._start.log_level)
        self._channel.send(say.answer("ready", pid=os.getpid(), generation=self.generation))

    def _stop_all(self) -> Deferred[Any]:
        self.reports.now()
        stopped = super()._stop_all()
        self.listening.let_go()             # type: ignore[attr-defined]
        self._channel.send(say.answer("drained"))
        return stopped

    # -- what the control process says ---------------------------------------------------------------------------------

    def told(self, message: Any, fds: list[int]) -> None:
        """Do as one message says; descriptors that are used leave the list."""
        getattr(self, f"_on_{type(message).__name__.lower()}")(message, fds)

    def _on_prepare(self, message: say.Prepare, fds: list[int]) -> None:
        self._waits.append((message, taken(fds)))
        if not self._preparing:
            self._next()

    def _next(self) -> None:
        """Prepare what was asked for first and is not done yet."""
        if not self._waits:
            return
        message, sockets = self._waits.pop(0)
        for key, sock in zip(message.listeners, sockets, strict=True):
            self.listening.hand(key, sock)  # type: ignore[attr-defined]
        self._certificates.shared = message.shared
        said = self._addresses.in_use
        self._addresses.put_back(message.shared.addresses)
        self._preparing = message.token
        done = Deferred.fromCoroutine(self._serve_by(self._own(message.config), message.stay_s))
        done.addErrback(self._reload_crashed)
        done.addCallback(self._prepared, message.token, said)

    def _prepared(self, result: dict[str, Any], token: int, said: Any) -> None:
        """It serves, or will not."""
        self._preparing = 0
        self.listening.let_go()             # type: ignore[attr-defined]
        if result["ok"]:
            self._channel.send(say.answer("committed", token=token, generation=self.generation))
        else:
            self._addresses.put_back(said)
            self._channel.send(say.answer("refused", token=token, problems=result["problems"][:20]))
        self._next()

    async def _agree(self, runtime: Runtime, ahead: Any, stay_s: float | None) -> None:
        if self._preparing <= self._aborted:
            raise StartError("the control process has given the reload up")
        self._decision = Deferred()
        self._channel.send(say.answer("prepared", token=self._preparing))
        commit = await self._decision
        for name, membership in ahead.fresh.items():
            membership.install(commit.sets.get(name, ()))
        self.rollouts.hear(commit.rollouts)     # type: ignore[attr-defined]
        self.reports.now()                  # objects of before may be forgotten
        self.generation = commit.generation - 1

    def _on_commit(self, message: say.Commit, fds: list[int]) -> None:
        if self._decision is not None and message.token == self._preparing:
            decision, self._decision = self._decision, None
            decision.callback(message)

    def _on_abort(self, message: say.Abort, fds: list[int]) -> None:
        self._aborted = message.token
        if self._decision is not None and message.token == self._preparing:
            decision, self._decision = self._decision, None
            decision.errback(StartError("the control process has given the reload up"))

    def alone(self) -> None:
        """The control process is gone: nobody will say whether what is prepared shall serve, and new sockets of it, on which
        nobody accepts, would keep clients that the kernel gives to them.
        """
        last = max(self._preparing, *(message.token for message, _ in self._waits), 0)
        self._aborted = max(self._aborted, last)
        if self._decision is not None:
            decision, self._decision = self._decision, None
            decision.errback(StartError("the control process is gone"))

    def _rejected(self, problems: list[str]) -> dict[str, Any]:
        """The control process says so to people."""
        return {"ok": False, "generation": self.generation, "problems": problems}

    def _on_installed(self, message: say.Installed, fds: list[int]) -> None:
        followed: Any = self.memberships.get(message.cluster)
        if followed is None:
            return
        if message.states is not None:
            followed.install(message.states)
            return
        states: list[EndpointState] = list(followed.told)
        for place, state in message.changed.items():
            states[place] = state
        followed.install(tuple(states))

    def _on_marked(self, message: say.Marked, fds: list[int]) -> None:
        followed: Any = self.memberships.get(message.cluster)
        if followed is not None:
            followed.mark(message.key, message.reason)

    def _on_passed(self, message: say.Passed, fds: list[int]) -> None:
        followed: Any = self.memberships.get(message.cluster)
        if followed is not None:
            followed.passed(message.key)

    def _on_tickets(self, message: say.Tickets, fds: list[int]) -> None:
        self.tickets.install(message.keys)

    def _on_challenged(self, message: say.Challenged, fds: list[int]) -> None:
        challenges = self.listening.challenges
        if challenges is None:
            return
        if message.kind == "http":
            challenges.answer_http(message.name, message.token, message.body)
        else:
            challenges.answer_tls(message.name, message.pair)

    def _on_rolled(self, message: say.Rolled, fds: list[int]) -> None:
        self.rollouts.hear(message.rollouts)    # type: ignore[attr-defined]
        self.rollouts.said()                # type: ignore[attr-defined]

    def _on_level(self, message: say.Level, fds: list[int]) -> None:
        self.on_level(message.level)

    #: Who is told of another level of the log.
    on_level: Callable[[str], None] = staticmethod(lambda level: None)

    def _on_reopen(self, message: say.Reopen, fds: list[int]) -> None:
        if self.access_log is not None:
            self.access_log.reopen()

    def _on_back(self, message: say.Back, fds: list[int]) -> None:
        for key, sock in zip(message.listeners, taken(fds), strict=True):
            self.listening.hand(key, sock)  # type: ignore[attr-defined]
        for network in {self.runtime.listeners[key].network for key in message.listeners if key in self.runtime.listeners}:
            self.listening.regain(network)
        self.listening.let_go()             # type: ignore[attr-defined]

    def _on_giveway(self, message: say.GiveWay, fds: list[int]) -> None:
        self.listening.give_way()

    def _on_drain(self, message: say.Drain, fds: list[int]) -> None:
        self.drain_timeout_s = message.timeout_s
        if self.running:
            self._end()
        elif not message.timeout_s:
            self.abandon()


def taken(fds: list[int]) -> list[socket.socket]:
    """The sockets of descriptors that have come, which leave the list. Raises `CannotListen` for what is none."""
    found: list[socket.socket] = []
    try:
        while fds:
            fd = fds[0]
            sock = socket.socket(fileno=fd)
            if sock.type == socket.SOCK_STREAM:
                sock.detach()
                sock = adopt(fd)
            else:
                sock.setblocking(False)
            del fds[0]
            found.append(sock)
    except (OSError, CannotListen):
        for sock in found:
            sock.close()
        raise
    return found


def level_of(name: str) -> Any:
    """The level that is called so."""
    return LogLevel.lookupByName(name)
