"""What a TLS listener makes of a client's hello, and the groups of hosts that connections may ask for.

Connections are admitted to a group: the hosts that ask the same of their clients (`voltgw.app.tls.Admission`). Each group has a
factory of its own, so that what has let a client in is known wherever its connection goes, without a look at any request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.net.sniff import Pass, Refuse, Terminate
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.judged import ACCESS_DENIED, Seen, arrival, refusal, verdict_of
from voltgw.proxy.relay import Relay
from voltgw.proxy.tcp import TcpFactory
from voltgw.routing.admitted import AdmittedTable
from voltgw.routing.hosts import HostTable
from voltgw.values.record import ConnectionRecord
from voltgw.values.tls import ClientAuth

if TYPE_CHECKING:
    from voltgw.app.build import Door, ListenerPlan
    from voltgw.app.tls import Group
    from voltgw.net.sniff import Turned
    from voltgw.net.tls.engine import ServerContext
    from voltgw.proxy.plane import Plane
    from voltgw.routing.route import VirtualHost
    from voltgw.values.counters import ListenerCounters
    from voltgw.values.tls import Handshake
    from voltgw.wire.clienthello import ClientHello

#: Alert for a name that nobody here has (RFC 6066 3).
UNRECOGNIZED_NAME: Final = 112
#: Flag of connections that ended before there was TLS.
TURNED_FLAG: Final = "TLS"
#: Alert for what is no hello (RFC 8446 6.2); whoever speaks no TLS will not understand it.
UNEXPECTED_MESSAGE: Final = 10
#: Alert for a host that has no certificate yet (RFC 8446 6.2): it is ours to have one, and another try may find it.
INTERNAL_ERROR: Final = 80
#: What a CA offers, and nothing else, when it looks at a challenge (RFC 8737 4).
CHALLENGED: Final = (b"acme-tls/1",)
Factory = HttpFactory | TcpFactory


class _Turned:
    """The `ClientSide` of a connection that had none yet."""

    scheme = b"https"
    tls_version = tls_cipher = ""
    handshake: Handshake | None = None
    certified = b""

    def __init__(self, turned: Turned, listener: str, plane: Plane) -> None:
        self.announced = turned.announced
        self.came_to = turned.local
        self.peer_address, self.peer_port = turned.peer
        self.local_address, self.local_port = turned.local
        self.sni = turned.sni
        self.connected_wall = plane.wall() - (turned.ended - turned.began)
        self.listener = listener


def record_of(turned: Turned, listener: str, plane: Plane) -> ConnectionRecord:
    """What the access log says of a connection that came to nothing before it had a protocol."""
    record = ConnectionRecord(_Turned(turned, listener, plane), None, turned.began)
    record.bytes_in, record.bytes_out, record.t_end = turned.bytes_in, turned.bytes_out, turned.ended
    record.flag, record.detail = TURNED_FLAG, f"{turned.detail}: {turned.reason}"
    if turned.flag:                         # a gate does not want this client, see `TlsTable._passing`
        record.flag, record.detail, record.policy = turned.flag, turned.detail, turned.policy
    return record


@implementer(IProtocolFactory)
class TlsTable:
    """The sniffer of one listener. `serve` has it decide by another plan from the next hello on."""

    _log = Logger()

    def __init__(
        self, plane: Plane, name: str, address: str, counters: ListenerCounters,
        configure: Callable[[HttpFactory, ListenerPlan, HostTable], None],
    ) -> None:
        self.factories: dict[Group, Factory] = {}
        self.leaving: list[Factory] = []    # of groups that are no more; their connections end after what is under way
        self._plane = plane
        self._name = name
        self._address = address
        self._counters = counters
        self._configure = configure
        self.challenges: Mapping[str, Terminate] = {}       # by server name, while a CA looks whether it is ours (RFC 8737)
        self.revoked = 0                    # connections that ended because a new list names their client
        self._lists: dict[Group, tuple[bytes, ...]] = {}
        self._plan: ListenerPlan | None = None
        self._ways: dict[VirtualHost, tuple[Door, Factory]] = {}

    # -- as the one factory of its listener ----------------------------------------------------------------------------

    def buildProtocol(self, addr: object) -> None:
        """Nobody is served who was not sniffed."""

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop: connections go on after their listener."""

    @property
    def connections(self) -> set[Any]:
        """The connections of all groups."""
        return {connection for factory in self.all_factories for connection in factory.connections}

    def leave(self) -> None:
        """As `HttpFactory.leave`, for all groups."""
        for factory in self.all_factories:
            if isinstance(factory, HttpFactory):
                factory.leave()

    def drain(self) -> None:
        """As `HttpFactory.drain`, for all groups."""
        for factory in self.all_factories:
            factory.drain()

    def close(self) -> None:
        """Cut what is still open."""
        for factory in self.all_factories:
            factory.close()

    @property
    def all_factories(self) -> Iterator[Factory]:
        """Those that serve, and those that are leaving."""
        yield from self.factories.values()
        yield from self.leaving

    # -- choosing ------------------------------------------------------------------------------------------------------

    def choose(self, hello: ClientHello | None, peer: tuple[str, int]) -> Terminate | Pass | Refuse:
        """Who serves a client that begins with `hello`."""
        if hello is None:
            return Refuse(UNEXPECTED_MESSAGE, "the client does not speak TLS")
        if self.challenges and hello.alpn == CHALLENGED:
            answer = self.challenges.get(hello.sni)
            if answer is not None:
                return answer
        host = self.host_for(hello)
        if host is None:
            return Refuse(UNRECOGNIZED_NAME, f"nobody here is called {hello.sni}" if hello.sni
                          else "the client names nobody, and no virtual host takes that")
        door, factory = self._ways[host]
        if door.context is None:
            if door.pending is not None:
                return Refuse(INTERNAL_ERROR, door.pending())
            return self._passing(host, hello, peer) or Pass(factory, hello)
        if door.others:
            name = hello.sni
            return Terminate(
                door.others.get(name) or door.others.get(f"*.{name.partition('.')[2]}") or door.context, factory)
        return Terminate(door.context, factory)

    def _passing(self, host: VirtualHost, hello: ClientHello, peer: tuple[str, int]) -> Refuse | None:
        """Whether a client may not come to a host that its TLS passes through to."""
        route = host.routes[0]
        if not route.gates:
            return None
        assert self._plan is not None       # it has led to the host
        exchange = arrival(Seen(peer, self._plan.port, hello.sni, hello), self._plane.monotonic())
        reply = refusal(route, exchange)
        if reply is None:
            return None
        counters = route.counters
        counters.local_replies[reply.flag] = counters.local_replies.get(reply.flag, 0) + 1
        return Refuse(ACCESS_DENIED, "it may not connect", reply.flag, reply.detail, verdict_of(exchange, reply))

    def host_for(self, hello: ClientHello) -> VirtualHost | None:
        """The virtual host that a hello leads to (objects.md 22.1 and 22.2): by name, or the one that takes what has none."""
        plan = self._plan
        if plan is None:
            return None
        if plan.table is None:
            return plan.hosts[0]            # it does not share the port, and takes every hello
        # without a name only a lone "*" can match
        found = plan.table.choose(hello.sni.encode("ascii", "replace"), None, plan.port)
        return found if found is not None else plan.default

    def turned(self, turned: Turned) -> None:
        """Write down a connection that came to nothing before it had a protocol."""
        self._plane.access.connection(record_of(turned, self._name, self._plane))

    # -- following a plan ----------------------------------------------------------------------------------------------

    def serve(self, plan: ListenerPlan) -> None:
        """Decide by `plan`. Groups that it has no more are drained: what let their clients in counts no longer."""
        self._plan = plan
        before, self.factories = self.factories, {}
        for group, hosts in plan.groups.items():
            factory = before.pop(group, None) or self._new(plan, group, hosts)
            self.factories[group] = factory
            self._point(factory, plan, hosts)
            self._revoke(group, factory, plan.doors[hosts[0]].context)
        self._ways = {host: (door, self.factories[door.group]) for host, door in plan.doors.items()}
        for group, factory in before.items():
            if isinstance(factory, HttpFactory):
                factory.serve_by(AdmittedTable(HostTable(()) if plan.table is None else plan.table, ()))
            factory.drain()
            if group.admission.auth is not ClientAuth.NONE:
                for connection in list(factory.connections):
                    _end(connection)
            self.leaving.append(factory)
        self.leaving = [factory for factory in self.leaving if factory.connections]
        self._lists = {group: lists for group, lists in self._lists.items() if group in plan.groups}

    def _revoke(self, group: Group, factory: Factory, context: ServerContext | None) -> None:
        """On a new revocation list, connections of those that it names end after what is under way."""
        lists = () if context is None else context.config.peer.crls
        before = self._lists.get(group)
        self._lists[group] = lists
        if before is None or before == lists or not lists:
            return
        # imported here since `cryptography`, which it brings along, takes a while to load, and most gateways have no list
        revoked = import_module("voltgw.config.certificates").Revoked(lists)
        for connection in list(factory.connections):
            handshake: Handshake | None = getattr(connection, "handshake", None)
            if handshake is not None and handshake.peer and revoked.names(handshake.peer):
                self.revoked += 1
                self._log.info("{listener}: the certificate of {peer} was revoked, its connection ends", listener=self._name,
                               peer=getattr(connection, "peer_address", ""), event="certificate.revoked")
                _end(connection)

    def _new(self, plan: ListenerPlan, group: Group, hosts: list[VirtualHost]) -> Factory:
        if group.relayed:
            return TcpFactory(self._plane, self._name, self._address, plan.port, hosts[0].routes[0], self._counters)
        factory = HttpFactory(self._plane, self._name, self._address, plan.port, HostTable(()), self._counters)
        factory.tells = group.admission.tells
        return factory

    def _point(self, factory: Factory, plan: ListenerPlan, hosts: list[VirtualHost]) -> None:
        factory.local_port = plan.port
        if isinstance(factory, TcpFactory):
            factory.route = hosts[0].routes[0]
            factory.set_idle_timeout(hosts[0].idle_timeout_s)
            factory.upload, factory.download = plan.rates_of(hosts[0])
            return
        assert plan.table is not None       # HTTP hosts have one
        alone = len(hosts) == len(plan.hosts) and plan.default is None
        self._configure(factory, plan, plan.table if alone else AdmittedTable(plan.table, hosts, plan.default))


def _end(connection: Any) -> None:
    """End a connection after the request that is under way; what is relayed knows no such border and ends now."""
    if isinstance(connection, Relay):
        connection.close()
    else:
        connection.drain()
