"""Connections that packet rules have brought here: the client knows of no proxy, and means the server that it has connected to.

The server's address stays what it is: whatever name the client says must lead there, and there is where we connect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltgw.net.here import HERE
from voltgw.net.sniff import alert as alert_record
from voltgw.proxy.forward.client import ForwardClient
from voltgw.proxy.forward.gate import Way
from voltgw.proxy.forward.hearing import Hearing
from voltgw.proxy.forward.origins import Asked
from voltgw.proxy.forward.passage import Over
from voltgw.proxy.tcp import RelayTerms, TcpRelay
from voltgw.security.egress import FLAG, Flow, Speaks
from voltgw.values.record import ConnectionRecord

if TYPE_CHECKING:
    import socket

    from voltgw.proxy.forward.capturing import CaptureFactory
    from voltgw.proxy.forward.interception import Action
    from voltgw.routing.table import Route
    from voltgw.values.tls import Handshake


def _terms(factory: CaptureFactory, route: Route) -> RelayTerms:
    """What a relay of one captured connection asks for."""
    terms = RelayTerms(factory.plane, factory.name, factory.local_address, factory.local_port, route, factory.counters)
    terms.connections = factory.connections
    return terms


class Captured(Hearing):
    """One captured connection until it is known what it is. It is its own `ClientSide`."""

    __slots__ = ("_capture", "_from", "_meant", "_record", "certified", "connected_wall", "handshake", "listener",
                 "local_address",
                 "local_port", "peer_address", "peer_port", "scheme", "sni", "tls_cipher", "tls_version")

    def __init__(self, factory: CaptureFactory, transport: Any, peer: tuple[str, int]) -> None:
        self._meant: tuple[str, int] | None = transport.meant
        address, port = self._meant or ("", 0)
        super().__init__(factory, Flow(peer[0], b"", port, address=address), b"")
        self.transport = transport
        self._capture = factory
        self._from = peer
        self.peer_address, self.peer_port = peer
        meant = self._meant or (factory.local_address, factory.local_port)
        self.local_address: str = meant[0]
        self.local_port: int = meant[1]
        self.listener = factory.name
        self.scheme = b""
        self.sni = self.tls_version = self.tls_cipher = ""
        self.handshake: Handshake | None = None
        self.certified = b""
        plane = factory.plane
        self.connected_wall = plane.wall()
        self._record = ConnectionRecord(self, self._route, plane.monotonic())

    @property
    def _route(self) -> Route:
        host = self._capture.table.choose(b"", None, 0)
        assert host is not None             # it takes any name
        return host.routes[0]

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the client."""
        return self._from

    @property
    def announced(self) -> None:
        """No proxy is before us."""
        return None

    @property
    def came_to(self) -> tuple[str, int]:
        """Where the client connected to."""
        return self.local_address, self.local_port

    def begin(self) -> None:
        """Judge the address; then listen."""
        factory, flow = self._capture, self.flow
        egress, outside = factory.egress, factory.outside
        if self._meant is None:
            self.refuse(0, "forward_destination: the host does not say where the connection was meant to go")
            return
        transport = self.transport
        usable, verdict, why = egress.select(flow, (flow.address,), HERE, outside.refuses)
        if why or not usable:
            outside.counters.guarded += bool(why)
            self.verdict = None if why else verdict.counted()
            self.refuse(0, f"forward_destination: {why}" if why else f"forward_proxy_policy: {verdict.label}")
            return
        unparsed = egress.unparsed(flow.address, flow.port)
        self.hear(transport, b"", look=not unparsed)

    # -- what follows ----------------------------------------------------------------------------------------------------------

    def relay(self) -> None:
        """Connect to where the client meant to go, and join."""
        heard = self.done()
        factory, flow, transport = self._capture, self.flow, self.transport
        relay = TcpRelay(_terms(factory, self._relayed()), *self.peer)
        relay.local_address, relay.local_port = self.local_address, self.local_port
        relay.connected_wall = self.connected_wall
        if self.hello is not None:
            relay.sni = self.hello.sni
        relay.note_policy("" if self.verdict is None else self.verdict.label)
        client = relay.protocol
        transport.protocol = client
        client.makeConnection(transport)
        if heard:
            relay.hold(heard)
        if self.half_closed:
            client.readConnectionLost()
        elif not flow.opened:
            transport.resumeProducing()

    def _relayed(self) -> Route:
        """A route to that one server."""
        factory, flow = self._capture, self.flow
        egress, outside = factory.egress, factory.outside
        number = outside.origins.number(Asked(
            egress.name, "tunnel", flow.name, flow.port, (flow.address,), egress.rounds, egress.connect_timeout_s,
            egress.network))
        route = self._route.variant()
        route.request_filters = ()
        route.gates = ()
        route.share = route.split = None
        route.cluster = outside.origins.cluster(number)
        return route

    def take_requests(self) -> None:
        """Serve the client as one of HTTP that is bound for that server."""
        heard = self.done()
        flow, transport = self.flow, self.transport
        inner = ForwardClient(self._capture, *self.peer, Way(False, b"", flow.port, (flow.address,)))
        inner.local_address, inner.local_port = self.local_address, self.local_port
        transport.protocol = inner
        inner.makeConnection(transport)
        transport.resumeProducing()
        if heard:
            inner.dataReceived(heard)

    def open_tls(self, action: Action) -> None:
        """See `voltgw.proxy.forward.opening`."""
        self._capture.open_tls(self, action)

    def far_socket(self) -> socket.socket | None:
        """There is no connection to the server yet."""
        return None

    def part(self) -> None:
        """There is no connection to the server yet."""

    def refuse(self, alert: int, detail: str) -> None:
        """Say so in TLS, where the client speaks that, and close."""
        self.done()
        transport = self.transport
        if alert and (self.speaks is Speaks.TLS or self.speaks is None):
            record = alert_record(alert)
            self._record.bytes_out += len(record)
            transport.write(record)
        transport.protocol = Over()
        if alert:
            transport.loseConnection()
        else:
            transport.abortConnection()     # an answer without a byte would look like an empty one
        self.finish(FLAG, detail)

    def client_left(self) -> None:
        """Nobody is there any more."""
        if self.half_closed:
            self.transport.protocol = Over()
            self.transport.loseConnection()
        self.finish("DC", "downstream_remote_disconnect")

    def finish(self, flag: str, detail: str) -> None:
        """Write it down."""
        record, plane = self._record, self._capture.plane
        if self.hello is not None:
            self.sni = self.hello.sni
        record.bytes_in = getattr(self.transport, "bytes_in", 0)
        record.flag, record.detail, record.t_end = flag, detail, plane.monotonic()
        record.policy = "" if self.verdict is None else self.verdict.label
        counters = self._route.counters
        counters.status[0] += 1
        counters.bytes_in += record.bytes_in
        counters.bytes_out += record.bytes_out
        counters.latency.observe(record.t_end - record.t_start)
        if flag:
            counters.local_replies[flag] = counters.local_replies.get(flag, 0) + 1
        plane.access.connection(record)
