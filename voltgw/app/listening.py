"""The sockets of a gateway: which stand open, what they serve, and how one plan becomes the next without losing any."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.app.bound import BoundSocket
from voltgw.app.build import ListenerKey, ListenerPlan
from voltgw.app.tls_table import TlsTable
from voltgw.app.udp import UdpBound
from voltgw.net.datagrams import datagram_socket
from voltgw.net.listener import Listener
from voltgw.net.sockets import LOCAL_CLIENT, CannotListen, adopt, listening_socket, remove_socket
from voltgw.net.tuning import tune
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.sessions import SessionRoom
from voltgw.proxy.tcp import TcpFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane
    from voltgw.routing.hosts import HostTable

__all__ = ["Bound", "Listening"]

#: Addresses behind which every address of a family stands; None is both families.
_EVERY: Final = (None, "0.0.0.0", "::")
#: Connections of a listener that names no limit.
NO_LIMIT: Final = 1 << 30


class Bound(BoundSocket):
    """One listening socket and what it serves; an `interfaces.ListenerView`. It owns `sock`."""

    protocol = "TCP"

    def __init__(self, plan: ListenerPlan, sock: socket.socket, plane: Plane, loop: Loop) -> None:
        super().__init__(plan)
        path = plan.key.address if sock.family == socket.AF_UNIX else None
        address = LOCAL_CLIENT[0] if path else plan.key.address or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
        self.factory: HttpFactory | TcpFactory | TlsTable
        sniffer: TlsTable | None = None
        if plan.tls:
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
        found: dict[str, dict[str, Any]] = {}
        for host, door in self.plan.doors.items():
            for one in door.certificates:
                known = found.setdefault(one.fingerprint, {
                    "names": list(one.names), "ends": one.ends.timestamp(), "fingerprint": one.fingerprint,
                    "virtual_hosts": []})
                known["virtual_hosts"].append(f"{host.namespace}/{host.name}")
        return list(found.values())

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
        if self.serving:
            self.listener.room_again()
        factory = self.factory
        if isinstance(factory, TlsTable):
            factory.serve(plan)
            return
        factory.local_port = plan.port      # `gateway.port_map` may lead another port here now
        if isinstance(factory, HttpFactory):
            assert plan.table is not None       # the kind is the same
            serve_http(factory, plan, plan.table)
        else:
            host = plan.hosts[0]
            factory.route = host.routes[0]
            factory.set_idle_timeout(host.idle_timeout_s)

    def stop(self) -> None:
        """Accept no more; connections that are open finish what is under way."""
        self.listener.stopListening()
        self.factory.drain()


def same_shape(one: ListenerPlan, other: ListenerPlan) -> bool:
    """Whether what serves by one plan can go on by the other."""
    return one.tls and other.tls or one.kind is other.kind


def serve_http(factory: HttpFactory, plan: ListenerPlan, table: HostTable) -> None:
    """Have a factory serve by `plan`, with `table` for its virtual hosts."""
    factory.table = table
    factory.skip_xff_append = plan.skip_xff_append
    factory.max_head_bytes = plan.max_head_bytes
    factory.head_timeout_s = plan.head_timeout_s
    factory.keep_alive_timeout_s = plan.keep_alive_timeout_s
    factory.prior_knowledge = plan.prior_knowledge
    factory.only_2 = plan.only_2
    factory.tunnels = plan.tunnels
    factory.keeps_names = plan.keeps_names


#: A socket of the gateway.
AnyBound = Bound | UdpBound


class Listening:
    """All sockets of the gateway, and those that were given up but still have connections."""

    _log = Logger()

    def __init__(self, plane: Plane, loop: Loop) -> None:
        self._plane = plane
        self._loop = loop
        self._sessions = SessionRoom(loop)
        self.bound: dict[ListenerKey, AnyBound] = {}
        self.leaving: dict[AnyBound, IDelayedCall] = {}     # what was given up, with the timer that closes it

    def open_new(self, plans: Mapping[ListenerKey, ListenerPlan]) -> dict[ListenerKey, AnyBound]:
        """Bind what `plans` needs and is not there yet; nothing is accepted yet.

        A key that is there but served another kind of proxy gets a new factory on a socket that shares the port. Raises
        `CannotListen`, and then everything that was opened here is closed again.
        """
        opened: dict[ListenerKey, AnyBound] = {}
        try:
            for key, plan in plans.items():
                present = self.bound.get(key)
                if present is not None and same_shape(present.plan, plan):
                    continue
                sock = self._socket(key, plans) if present is None else _second(present)
                try:
                    opened[key] = (
                        UdpBound(plan, sock, self._plane, self._loop, self._sessions) if key.transport == "UDP"
                        else Bound(plan, sock, self._plane, self._loop))
                except BaseException:
                    sock.close()
                    raise
        except BaseException:
            self.close_unused(opened)
            raise
        return opened

    def close_unused(self, opened: Mapping[ListenerKey, AnyBound]) -> None:
        """Close what `open_new` opened: the swap will not come."""
        for bound in opened.values():
            bound.listener.stopListening()
            remove_file(bound)

    def _socket(self, key: ListenerKey, plans: Mapping[ListenerKey, ListenerPlan]) -> socket.socket:
        """A listening socket for `key`.

        One for every address of a port, and one for a single address, keep each other out. Where the one that stands open is
        on its way out, both are told to share (SO_REUSEPORT) while the new one is bound: so a port can move from an address to
        all of them without standing closed.
        """
        freebind = plans[key].terms.freebind
        if key.address is not None and key.address.startswith("/"):
            return listening_socket(key.address, 0, unix_mode=plans[key].terms.unix_mode)
        make = datagram_socket if key.transport == "UDP" else listening_socket
        if key.transport == "UDP":          # a former listener keeps its socket until its sessions have ended
            for left in list(self.leaving):
                if left.plan.key == key or _overlap(left.plan.key, key):
                    left.factory.close()
        try:
            return make(key.address, key.port, freebind=freebind, device=key.device)
        except CannotListen as error:
            outgoing = [bound.listener for other, bound in self.bound.items() if other not in plans and _overlap(other, key)]
            if error.errno != errno.EADDRINUSE or not outgoing:
                raise
        for listener in outgoing:
            _share(listener.fileno(), True)
        try:
            sock = make(key.address, key.port, freebind=freebind, device=key.device, reuse_port=True)
            _share(sock.fileno(), False)
            return sock
        finally:
            for listener in outgoing:
                _share(listener.fileno(), False)

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
                remove_file(bound)
        for key, plan in plans.items():
            new = opened.get(key)
            if new is None:
                if self.bound[key].plan.terms.unix_mode != plan.terms.unix_mode and key.address is not None and not key.port:
                    os.chmod(key.address, plan.terms.unix_mode)
                self.bound[key].serve(plan)
            else:
                self.bound[key] = new
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
            remove_file(bound)

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


def _relayed(plans: Iterable[ListenerPlan]) -> Iterator[Any]:
    """The clusters to which connections are relayed."""
    for plan in plans:
        for host in plan.hosts if plan.key.transport == "TCP" else ():
            for route in () if "HTTP" in host.proxy else host.routes:
                if route.cluster is not None:
                    yield route.cluster
                yield from (each.cluster for each in route.destinations if each.cluster is not None)


def remove_file(bound: AnyBound) -> None:
    """Remove the file of a Unix socket that accepts no more."""
    path = bound.plan.key.address
    if path is not None and path.startswith("/"):
        remove_socket(path)


def _second(present: AnyBound) -> socket.socket:
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
    return one.port == other.port and one.transport == other.transport and (
        one.address == other.address and one.device != other.device or one.address in _EVERY or other.address in _EVERY)


def _share(fd: int, on: bool) -> None:
    """Let others bind the address of a listening socket, or not any more."""
    with socket.socket(fileno=socket.dup(fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(on))
