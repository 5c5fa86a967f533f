"""What a worker has in the place of parts that only the control process has: what is known there is handed in."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed

from voltgw.app.listening import Listening
from voltgw.app.rollouts import Rollouts
from voltgw.net.sockets import CannotListen

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, ListenerPlan, Runtime
    from voltgw.app.fetched import Names
    from voltgw.app.worker_messages import Shared
    from voltgw.config.model import Config
    from voltgw.values.tls import KeyPair


class Handed:
    """The loader of a configuration that came from elsewhere: no file of it is ours to read or to watch."""

    def referred(self) -> Mapping[str, str]:
        """No files."""
        return {}

    own = referred

    def named(self) -> Iterator[str | None]:
        """Likewise."""
        return iter(())

    def files(self) -> list[Any]:
        """Likewise."""
        return []

    def steps(self) -> Any:
        """Nobody asks a worker to read."""
        raise NotImplementedError


class SaidAddresses:
    """Addresses of interfaces, in the place of `voltgw.app.sites.Addresses`."""

    def __init__(self) -> None:
        self.in_use: Mapping[Any, str] = {}

    def __call__(self, kind: Any, network: Any) -> str:
        """What the control process has found; where it found nothing, nothing can be bound."""
        return self.in_use.get((kind, network), "0.0.0.0")      # keys of sockets that are handed in

    def put_back(self, said: Mapping[Any, str]) -> None:
        """What was said since has not come into use."""
        self.in_use = said

    def changes(self) -> list[str]:
        """The control process looks."""
        return []


class SaidCertificates:
    """Fetched certificates, in the place of `voltgw.app.acme.Acme`."""

    def __init__(self) -> None:
        self.shared: Shared | None = None

    def pair(self, folder: str, names: Names) -> KeyPair | None:
        """See `voltgw.app.fetched.Fetched`."""
        return None if self.shared is None else self.shared.fetched.get(names)

    def reason(self, names: Names) -> str:
        """Likewise."""
        return "certificate pending" if self.shared is None else self.shared.reasons.get(names, "certificate pending")

    def follow(self, runtime: Runtime) -> None:
        """Nothing is fetched here."""

    def start(self, loop: Any, respond: Any) -> None:
        """Likewise."""

    def stop(self) -> Deferred[Any]:
        """Likewise."""
        return succeed(None)

    def hurry(self) -> None:
        """Likewise."""

    def view(self) -> tuple[Any, ...]:
        """Likewise."""
        return ()

    def numbers(self) -> Mapping[str, float]:
        """Likewise."""
        return {}


class NoNames:
    """In the place of `voltgw.app.dns.DnsSide`: a worker answers no questions and publishes nothing."""

    publishing = None
    bound: Mapping[Any, Any] = {}

    def open_new(self, config: Config) -> dict[Any, Any]:
        """No sockets."""
        return {}

    def close_unused(self, opened: Mapping[Any, Any]) -> None:
        """There are none."""

    def install(self, *args: Any) -> None:
        """Nothing follows."""

    def start(self, loop: Any) -> None:
        """Nothing begins."""

    def withdraw(self, at_once: bool = False) -> Deferred[Any]:
        """Nothing was published."""
        return succeed(None)

    def abandon(self) -> None:
        """Nobody is waited for."""

    def stop(self) -> None:
        """Nothing runs."""


class NoAdmin:
    """In the place of the admin interface; `addresses` are those of the control process, which no endpoint may have."""

    access: Any = None

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses

    def bind(self) -> None:
        """There is no socket."""

    def startService(self) -> None:
        """Nothing begins."""

    def stopService(self) -> Deferred[Any]:
        """Nothing ends."""
        return succeed(None)


class SaidRollouts(Rollouts):
    """Rollouts that count here and are decided on elsewhere."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._heard: Mapping[str, Mapping[str, Any]] = {}

    def _states(self, folder: str | None) -> tuple[dict[str, Any], str]:
        return {}, ""

    def start(self) -> None:
        """Nothing is looked at here."""

    def install(self, runtime: Runtime) -> None:
        """See `Rollouts`."""
        super().install(runtime)
        self.said()

    def hear(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """So far they have come."""
        self._heard = states

    def said(self) -> None:
        """Share requests out as was heard; what was counted here goes on."""
        for live in self.all():
            state = self._heard.get(live.name)
            if state is not None:
                counted = live.ramp.candidate, live.ramp.baseline
                live.ramp.restore(state)
                live.ramp.candidate, live.ramp.baseline = counted
                live.share_out()


class HandedListening(Listening):
    """Listeners of sockets that were handed in, by `hand`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._handed: dict[ListenerKey, socket.socket] = {}

    def hand(self, key: ListenerKey, sock: socket.socket) -> None:
        """The next listener of this key has it; one that nobody has taken by then is closed."""
        before = self._handed.pop(key, None)
        if before is not None:
            before.close()
        self._handed[key] = sock

    def let_go(self) -> None:
        """Close those that nobody has taken."""
        for sock in self._handed.values():
            sock.close()
        self._handed.clear()

    def remove_file(self, bound: Any) -> None:
        """The file of a Unix socket is the control process's."""

    def _socket(self, key: ListenerKey, plans: Mapping[ListenerKey, ListenerPlan]) -> socket.socket:
        try:
            return self._handed.pop(key)
        except KeyError:
            raise CannotListen(19, str(key), "the control process has no socket for it") from None
