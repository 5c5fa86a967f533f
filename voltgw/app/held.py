"""Listeners of a gateway whose traffic workers take: this process opens their sockets, keeps them, and accepts on none.

Each listener has as many sockets as there are workers, of one port (SO_REUSEPORT), and each worker one of them: the kernel
spreads connections and flows over them. While a worker is away its clients wait in its socket's queue. A Unix socket has no
such groups: all workers accept on the same one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.bound import BoundSocket, shown_certificates
from voltgw.app.listening import Listening, share, socket_key
from voltgw.net.datagrams import datagram_socket
from voltgw.net.sockets import listening_socket

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, ListenerPlan
    from voltgw.app.listening import AnyBound
    from voltgw.app.workers import Workers
    from voltgw.net.inherited import SocketKey
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.network import Network


class _Clients:
    """Stands where the factory of a listener stands: its connections are those of workers."""

    connections: Final = ()

    def drain(self) -> None:
        """Workers do."""

    def close(self) -> None:
        """Likewise."""


class _Sockets:
    """Stands where the port of a listener stands."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets

    def stopListening(self) -> None:
        """Our descriptors of them close; workers have their own."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def fileno(self) -> int:
        """One of them stands for all."""
        return self.sockets[0].fileno() if self.sockets else -1


class Held(BoundSocket):
    """An `interfaces.ListenerView` of which workers serve the sockets. It owns `sockets`, one for each worker."""

    def __init__(self, plan: ListenerPlan, sockets: list[socket.socket], counters: ListenerCounters | None = None) -> None:
        super().__init__(plan, counters)
        self.protocol = plan.key.transport
        self.listener = _Sockets(sockets)
        self.factory = _Clients()

    @property
    def certificates(self) -> list[dict[str, Any]]:
        """Those that it shows, each once."""
        return shown_certificates(self.plan)

    def socket_of(self, worker: int) -> socket.socket | None:
        """That of a worker (from 0), None = there is none."""
        sockets = self.listener.sockets
        return sockets[worker % len(sockets)] if sockets else None

    def serve(self, plan: ListenerPlan) -> None:
        """It is served by `plan` from now on."""
        self.plan = plan
        self.kind = plan.kind.value

    def give_way(self) -> None:
        """Give up its sockets."""
        self.listener.stopListening()

    def stop(self) -> None:
        """Give up its sockets."""
        self.listener.stopListening()

    def _listen(self) -> None:
        """Workers do."""


class HeldListening(Listening):
    """As `Listening`, for `workers` processes beside this one."""

    def __init__(self, plane: Plane, loop: Loop, workers: Workers) -> None:
        super().__init__(plane, loop)
        self._workers = workers
        self.workers = workers.count

    @property
    def connections(self) -> int:
        """As long as a worker is there, something is under way."""
        return self._workers.alive

    def close(self) -> None:
        """What workers still have open ends with them."""
        self._workers.kill()
        super().close()

    def open_new(self, plans: Mapping[ListenerKey, ListenerPlan]) -> dict[ListenerKey, AnyBound]:
        """See `Listening.open_new`. What is served in another way keeps its sockets: workers see to the rest."""
        return super().open_new({key: plan for key, plan in plans.items() if not isinstance(self.bound.get(key), Held)})

    def regain(self, network: Network) -> list[str]:
        """See `Listening.regain`; workers have the new sockets, too."""
        before = {key for key, each in self.bound.items() if isinstance(each, Held)}
        back = super().regain(network)
        keys = [key for key, each in self.bound.items() if isinstance(each, Held) and key not in before]
        if keys:
            self._workers.back(keys)
        return back

    def handed(self) -> Iterator[tuple[SocketKey, int]]:
        """Every worker's socket of every listener."""
        for key, each in self.bound.items():
            if isinstance(each, Held):
                for index, sock in enumerate(each.listener.sockets):
                    yield socket_key(key, index), sock.fileno()

    def give_way(self) -> None:
        """See `Listening.give_way`: workers take nothing more, and none is started any more."""
        self._workers.give_way()
        super().give_way()

    def of_worker(self, worker: int, bound: Mapping[ListenerKey, AnyBound]) -> list[tuple[ListenerKey, socket.socket]]:
        """The sockets of a worker (from 0) among those of `bound`."""
        found: list[tuple[ListenerKey, socket.socket]] = []
        for key, each in bound.items():
            sock = each.socket_of(worker) if isinstance(each, Held) else None
            if sock is not None:
                found.append((key, sock))
        return found

    def _socket(self, key: ListenerKey, plans: Mapping[ListenerKey, ListenerPlan]) -> socket.socket:
        """The first worker's socket for `key`.

        Sockets that share a port do not tell when somebody else of our user has it, too, so that is asked with one that does
        not share. Where a listener of ours that is on its way out is in the way, it cannot be asked.
        """
        plan = plans[key]
        known = self._known(key, 0)
        if known is not None:
            return known
        orphans = self._workers.orphans
        if not (_is_file(key) or orphans is not None and orphans.has(key) or any(
                isinstance(each, Held) and _in_the_way(other, key) for other, each in self.bound.items())):
            super()._socket(key, plans).close()
        return self._open(plan)

    def _bind(self, plan: ListenerPlan, sock: socket.socket, counters: ListenerCounters | None = None) -> Any:
        """All sockets of a listener, of which the first is there."""
        sockets = [sock]
        try:
            while len(sockets) < self.workers and not _is_file(plan.key):
                sockets.append(self._known(plan.key, len(sockets)) or self._open(plan))
        except BaseException:
            for each in sockets:
                each.close()
            raise
        return Held(plan, sockets, counters)

    def _open(self, plan: ListenerPlan) -> socket.socket:
        """One more socket for a listener. Raises `CannotListen`."""
        key, terms = plan.key, plan.terms
        if _is_file(key):
            return listening_socket(key.address, 0, unix_mode=terms.unix_mode)
        capture = plan.capture
        make = (datagram_socket if key.transport == "UDP" else listening_socket if capture is None
                else partial(listening_socket, transparent=capture.mode))
        if self.binder is not None and capture is None:
            make = self.binder.able(make, key.transport)
        return make(key.address, key.port, freebind=terms.freebind or plan.vip, device=key.device, network=plan.network,
                    reuse_port=True)

    def _known(self, key: ListenerKey, worker: int) -> socket.socket | None:
        """A socket that a worker of before has, or that was handed over to us."""
        orphans = self._workers.orphans
        known = None if orphans is None else orphans.take(key, worker)
        if known is None:
            known = self.inherited.take(socket_key(key, worker))
            if known is not None and not _is_file(key):
                share(known.fileno(), True)     # of a process without workers it was alone
        return known


def _is_file(key: ListenerKey) -> bool:
    """Whether it is a Unix socket."""
    return key.address is not None and key.address.startswith("/")


def _in_the_way(one: ListenerKey, other: ListenerKey) -> bool:
    return (one.port, one.transport, one.netns) == (other.port, other.transport, other.netns)
