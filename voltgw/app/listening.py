"""The sockets of a gateway: which stand open, what they serve, and how one plan becomes the next without losing any."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.app.absent import Absent
from voltgw.app.bound import BoundSocket, shown_certificates
from voltgw.app.build import ListenerKey, ListenerPlan
from voltgw.app.forward_door import OneDoor, forward_factory, serve_forward
from voltgw.app.tls_table import TlsTable
from voltgw.app.udp import UdpBound
from voltgw.net.datagrams import datagram_socket
from voltgw.net.inherited import TCP, UDP, UNIX, Inherited, SocketKey
from voltgw.net.listener import Listener
from voltgw.net.namespaces import Identity, identity
from voltgw.net.pacing import paced
from voltgw.net.sockets import LOCAL_CLIENT, CannotListen, adopt, listening_socket, remove_socket
from voltgw.net.tuning import tune
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.sessions import SessionRoom
from voltgw.proxy.tcp import TcpFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.app.binding import Binder
    from voltgw.app.challenges import Challenges
    from voltgw.app.vips import Vip
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane
    from voltgw.routing.hosts import HostTable
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.network import Network

__all__ = ["Bound", "Listening"]

#: Addresses behind which every address of a family stands; None is both families.
_EVERY: Final = (None, "0.0.0.0", "::")
#: Connections of a listener that names no limit.
NO_LIMIT: Final = 1 << 30


class Bound(BoundSocket):
    """One listening socket and what it serves; an `interfaces.ListenerView`. It owns `sock`."""

    protocol = "TCP"

    def __init__(
        self, plan: ListenerPlan, sock: socket.socket, plane: Plane, loop: Loop, counters: ListenerCounters | None = None,
    ) -> None:
        super().__init__(plan, counters)
        path = plan.key.address if sock.family == socket.AF_UNIX else None
        address = LOCAL_CLIENT[0] if path else plan.key.address or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
        self.factory: HttpFactory | TcpFactory | TlsTable
        sniffer: TlsTable | OneDoor | None = None
        if plan.forward is not None:
            self.factory, sniffer = forward_factory(plan, plane, self.name, address, self.counters)
        elif plan.tls:
            self.factory = sniffer = TlsTable(plane, self.name, address, self.counters, serve_http)
        elif plan.table is not None:
            self.factory = HttpFactory(plane, self.name, address, plan.port, plan.table, self.counters)
        else:
            host = plan.hosts[0]
            self.factory = TcpFactory(plane, self.name, address, plan.port, host.routes[0], self.counters)
        self.listener = Listener(loop, sock, self.factory, counters=self.counters, sniffer=sniffer,
                                 on_turned=sniffer.turned if sniffer is not None else None)
        self.serve(plan)

    @property
    def certificates(self) -> list[dict[str, Any]]:
        """Those that it shows, each once."""
        return shown_certificates(self.plan)

    def _listen(self) -> None:
        """Accept; until then clients wait in the backlog."""
        self.listener.startListening()

    def serve(self, plan: ListenerPlan) -> None:
        """Serve by `plan` (of the same key and kind) from the next request or connection on."""
        self.plan = plan
        terms = plan.terms
        self.listener.announced_by = None if terms.proxies is None else tuple(map(ip_network, terms.proxies))
        for refused in tune(self.listener.fileno(), terms.options) if plan.key.port else ():
            self._log.warn("{name}: the host does not take a TCP {refused}", name=self.name, refused=refused)
        self.listener.limit = terms.max_connections or NO_LIMIT
        pace = paced(self.listener.pace, terms.pace)
        if pace is not self.listener.pace:
            self.listener.keep_pace(pace)
        if self.serving:
            self.listener.room_again()
        factory = self.factory
        if isinstance(factory, TlsTable):
            factory.serve(plan)
            return
        if plan.forward is not None:
            serve_forward(factory, self.listener.sniffer, plan)
        factory.local_port = plan.port      # `gateway.port_map` may lead another port here now
        if isinstance(factory, HttpFactory):
            assert plan.table is not None       # the kind is the same
            serve_http(factory, plan, plan.table)
        else:
            host = plan.hosts[0]
            factory.route = host.routes[0]
            factory.set_idle_timeout(host.idle_timeout_s)
            factory.upload, factory.download = plan.rates_of(host)

    def stop(self) -> None:
        """Accept no more; connections that are open finish what is under way."""
        self.listener.stopListening()
        self.factory.drain()

    def give_way(self) -> None:
        """Another process accepts; those who ask on a connection of ours are told to come anew."""
        self.listener.stopListening()
        if isinstance(self.factory, (HttpFactory, TlsTable)):
            self.factory.leave()


def same_shape(one: ListenerPlan, other: ListenerPlan) -> bool:
    """Whether what serves by one plan can go on by the other."""
    if one.forward is not None or other.forward is not None:
        return (one.forward is not None and other.forward is not None and one.forward.name == other.forward.name
                and (one.forward_tls is None) is (other.forward_tls is None))
    return one.tls and other.tls or one.kind is other.kind


def serve_http(factory: HttpFactory, plan: ListenerPlan, table: HostTable) -> None:
    """Have a factory serve by `plan`, with `table` for its virtual hosts."""
    factory.serve_by(table)
    factory.skip_xff_append = plan.skip_xff_append
    factory.max_head_bytes = plan.max_head_bytes
    factory.head_timeout_s = plan.head_timeout_s
    factory.keep_alive_timeout_s = plan.keep_alive_timeout_s
    factory.prior_knowledge = plan.prior_knowledge
    factory.only_2 = plan.only_2
    factory.tunnels = plan.tunnels
    factory.keeps_names = plan.keeps_names


#: A socket of the gateway.
AnyBound = Bound | UdpBound | Absent


class Listening:
    """All sockets of the gateway, and those that were given up but still have connections."""

    _log = Logger()

    def __init__(self, plane: Plane, loop: Loop) -> None:
        self._plane = plane
        self._loop = loop
        self._sessions = SessionRoom(loop)
        self.challenges: Challenges | None = None       # where certificates are fetched
        self.bound: dict[ListenerKey, AnyBound] = {}
        self.leaving: dict[AnyBound, IDelayedCall] = {}     # what was given up, with the timer that closes it
        self.binder: Binder | None = None   # opens ports for which this process has no right
        self.inherited = Inherited()        # looked into before a socket is opened

    def open_new(self, plans: Mapping[ListenerKey, ListenerPlan]) -> dict[ListenerKey, AnyBound]:
        """Bind what `plans` needs and is not there yet; nothing is accepted yet.

        A key that is there but served another kind of proxy gets a new factory on a socket that shares the port. One whose
        network is not there is `Absent` until that is back. Raises `CannotListen`, and then everything that was opened here
        is closed again.
        """
        opened: dict[ListenerKey, AnyBound] = {}
        try:
            for key, plan in plans.items():
                present = self.bound.get(key)
                if present is not None and same_shape(present.plan, plan):
                    continue
                try:
                    sock = self._socket(key, plans) if present is None or isinstance(present, Absent) else _second(present)
                except CannotListen:
                    found = identity(plan.network) if plan.network.apart else Identity()
                    if not found.problem or found.unknown:
                        raise
                    problem = found.problem
                    opened[key] = Absent(plan, problem)
                    continue
                opened[key] = self._bind(plan, sock)
        except BaseException:
            self.close_unused(opened)
            raise
        return opened

    def _bind(self, plan: ListenerPlan, sock: socket.socket, counters: ListenerCounters | None = None) -> Bound | UdpBound:
        """What serves `plan` on `sock`, which it owns from now on."""
        try:
            if plan.key.transport == "UDP":
                return UdpBound(plan, sock, self._plane, self._loop, self._sessions, counters)
            return Bound(plan, sock, self._plane, self._loop, counters)
        except BaseException:
            sock.close()
            raise

    def lose(self, network: Network, problem: str, drain_timeout_s: float) -> list[str]:
        """`network` is gone, or another one by now: close what listens in it; the names of that.

        Connections may stay for `drain_timeout_s`. The listeners are there still, `Absent`, and say `problem`.
        """
        lost: list[str] = []
        for key, bound in list(self.bound.items()):
            if _is_in(bound, network):
                if isinstance(bound, Absent):
                    bound.problem = problem
                    continue
                absent = self.bound[key] = Absent(bound.plan, problem, bound.counters)
                absent.serving = bound.serving
                bound.stop()
                lost.append(bound.name)
                if bound.factory.connections:
                    self.leaving[bound] = self._loop.clock.callLater(
                        drain_timeout_s, self._time_is_up, bound, drain_timeout_s)
        return lost

    def regain(self, network: Network) -> list[str]:
        """`network` is there: listen in it again; the names of what does. What cannot says why and stays `Absent`."""
        back: list[str] = []
        plans = {key: bound.plan for key, bound in self.bound.items()}
        for key, absent in list(self.bound.items()):
            if isinstance(absent, Absent) and _is_in(absent, network):
                try:
                    bound = self._bind(absent.plan, self._socket(key, plans), absent.counters)
                except CannotListen as error:
                    absent.problem = str(error)
                    continue
                self.bound[key] = bound
                back.append(bound.name)
                if absent.serving:
                    bound.start()
        if back and self.challenges is not None:
            self.challenges.show()
        return back

    def try_again(self) -> list[str]:
        """`regain` for what is absent although its network is there: its address may have come later than its interface."""
        networks = {bound.plan.network for bound in self.bound.values() if isinstance(bound, Absent)}
        return [name for network in networks if not identity(network).problem for name in self.regain(network)]

    def holds(self, vip: Vip) -> bool:
        """Whether there are still connections of a former listener on `vip`."""
        return any((bound.plan.key.address, bound.plan.network) == vip for bound in self.leaving)

    def close_unused(self, opened: Mapping[ListenerKey, AnyBound]) -> None:
        """Close what `open_new` opened: the swap will not come."""
        for bound in opened.values():
            bound.listener.stopListening()
            self.remove_file(bound)

    def _socket(self, key: ListenerKey, plans: Mapping[ListenerKey, ListenerPlan]) -> socket.socket:
        """A listening socket for `key`.

        One for every address of a port, and one for a single address, keep each other out. Where the one that stands open is
        on its way out, both are told to share (SO_REUSEPORT) while the new one is bound: so a port can move from an address to
        all of them without standing closed.
        """
        known = self.inherited.take(socket_key(key))
        if known is not None:
            return known
        freebind, network = plans[key].terms.freebind or plans[key].vip, plans[key].network
        if key.address is not None and key.address.startswith("/"):
            return listening_socket(key.address, 0, unix_mode=plans[key].terms.unix_mode)
        capture = plans[key].capture
        make = (datagram_socket if key.transport == "UDP" else listening_socket if capture is None
                else partial(listening_socket, transparent=capture.mode))
        if self.binder is not None and capture is None:
            make = self.binder.able(make, key.transport)
        if key.transport == "UDP":          # a former listener keeps its socket until its sessions have ended
            for left in list(self.leaving):
                if left.plan.key == key or _overlap(left.plan.key, key):
                    left.factory.close()
        try:
            return make(key.address, key.port, freebind=freebind, device=key.device, network=network)
        except CannotListen as error:
            outgoing = [bound.listener for other, bound in self.bound.items()
                        if other not in plans and not isinstance(bound, Absent) and _overlap(other, key)]
            if error.errno != errno.EADDRINUSE or not outgoing:
                raise
        for listener in outgoing:
            share(listener.fileno(), True)
        try:
            sock = make(
                key.address, key.port, freebind=freebind, device=key.device, reuse_port=True, network=network)
            share(sock.fileno(), False)
            return sock
        finally:
            for listener in outgoing:
                share(listener.fileno(), False)

    def install(
        self, plans: Mapping[ListenerKey, ListenerPlan], opened: Mapping[ListenerKey, AnyBound], drain_timeout_s: float,
    ) -> None:
        """The swap: serve by `plans`. What they do not name stops accepting, drains, and is closed after `drain_timeout_s`."""
        gone: list[AnyBound] = []
        for key in [key for key in self.bound if key not in plans or key in opened]:
            bound = self.bound.pop(key)
            bound.stop()
            if key.transport == "UDP" and any(_overlap(key, other) for other in opened):
                bound.factory.close()       # its socket would take what is meant for the new one
            gone.append(bound)
            if key not in plans:
                self.remove_file(bound)
        for key, plan in plans.items():
            new = opened.get(key)
            if new is None:
                if self.bound[key].plan.terms.unix_mode != plan.terms.unix_mode and key.address is not None and not key.port:
                    os.chmod(key.address, plan.terms.unix_mode)
                self.bound[key].serve(plan)
            else:
                self.bound[key] = new
        if self.challenges is not None:
            self.challenges.show()
        self._plane.waiting.serve(_relayed(plans.values()))
        self._let_go()
        for bound in gone:
            if bound.factory.connections:
                self.leaving[bound] = self._loop.clock.callLater(drain_timeout_s, self._time_is_up, bound, drain_timeout_s)

    def _time_is_up(self, bound: AnyBound, drain_timeout_s: float) -> None:
        left = len(bound.factory.connections)
        if left:
            self._log.warn("{left} connections of the former listener {name} were still open after {timeout} s and are closed",
                           left=left, name=bound.name, timeout=drain_timeout_s)
            bound.factory.close()
        self.leaving.pop(bound, None)
        self._let_go()

    def _let_go(self) -> None:
        """Forget former listeners whose last connection has ended."""
        for bound in [bound for bound in self.leaving if not bound.factory.connections]:
            self._forget(bound)

    def _forget(self, bound: AnyBound) -> None:
        timer = self.leaving.pop(bound)
        if timer.active():
            timer.cancel()

    def start(self) -> None:
        """Accept on all of them."""
        for bound in self.bound.values():
            bound.start()

    def drain(self) -> None:
        """Accept no more anywhere; finish what is under way."""
        self._plane.waiting.serve(())
        for bound in self.bound.values():
            bound.stop()
            self.remove_file(bound)

    def handed(self) -> Iterator[tuple[SocketKey, int]]:
        """Every socket, for a process that is to serve in our place."""
        for key, bound in self.bound.items():
            if bound.bound and bound.listener.fileno() >= 0:
                yield socket_key(key), bound.listener.fileno()

    def give_way(self) -> None:
        """Another process accepts on the same sockets: take nothing more from them, and have clients go there.

        Answers say ``Connection: close`` from now on, HTTP/2 connections GOAWAY. What is idle stays for who is about to ask;
        `drain` closes it.
        """
        self._plane.waiting.serve(())
        for bound in self.bound.values():
            bound.give_way()

    def remove_file(self, bound: AnyBound) -> None:
        """Remove the file of a Unix socket that accepts no more."""
        path = bound.plan.key.address
        if path is not None and path.startswith("/"):
            remove_socket(path)

    @property
    def connections(self) -> int:
        """Client connections that are open."""
        return sum(len(bound.factory.connections) for bound in (*self.bound.values(), *self.leaving))

    def close(self) -> None:
        """Close what is still open."""
        for bound in (*self.bound.values(), *self.leaving):
            bound.factory.close()
        for bound in list(self.leaving):
            self._forget(bound)


def socket_key(key: ListenerKey, index: int = 0) -> SocketKey:
    """What a listener's socket is called between processes; `index` tells those apart that share its port."""
    path = key.address is not None and key.address.startswith("/")
    protocol = UNIX if path else UDP if key.transport == "UDP" else TCP
    return SocketKey("listener", protocol, key.address or "", key.port, key.place, index)


def _relayed(plans: Iterable[ListenerPlan]) -> Iterator[Any]:
    """The clusters to which connections are relayed."""
    for plan in plans:
        for host in plan.hosts if plan.key.transport == "TCP" else ():
            for route in () if "HTTP" in host.proxy else host.routes:
                if route.cluster is not None:
                    yield route.cluster
                yield from (each.cluster for each in route.destinations if each.cluster is not None)


def _is_in(bound: AnyBound, network: Network) -> bool:
    own = bound.plan.network
    return (own.netns, own.device) == (network.netns, network.device)


def _second(present: Bound | UdpBound) -> socket.socket:
    """Another descriptor of a socket that listens: the port is never given up while its kind of proxy changes.

    Raises `CannotListen` when there is no descriptor left.
    """
    try:
        return adopt(socket.dup(present.listener.fileno()))
    except CannotListen:
        raise
    except OSError as error:
        raise CannotListen(error.errno or errno.EMFILE, present.name) from error


def _overlap(one: ListenerKey, other: ListenerKey) -> bool:
    """Whether two listeners of one port are in each other's way because one of them takes every address."""
    return one.port == other.port and one.transport == other.transport and one.netns == other.netns and (
        one.address == other.address and one.device != other.device or one.address in _EVERY or other.address in _EVERY)


def share(fd: int, on: bool) -> None:
    """Let others bind the address of a listening socket, or not any more."""
    sock = socket.socket(fileno=fd)         # no copy: there may be no descriptor left, and it must be taken back in any case
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(on))
    finally:
        sock.detach()
