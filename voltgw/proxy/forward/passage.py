"""A tunnel between the answer to its CONNECT and the knowledge of what is spoken in it: the destination waits meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from zope.interface import classImplements

from voltgw.net.sniff import alert as alert_record
from voltgw.proxy.forward.gate import Way
from voltgw.proxy.forward.hearing import MAX_HEARD_BYTES, Hearing
from voltgw.proxy.tunnel import Tunnel
from voltgw.security.egress import FLAG, Speaks
from voltgw.values.defaults import TUNNEL_IDLE_TIMEOUT_S

if TYPE_CHECKING:
    import socket

    from twisted.python.failure import Failure

    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.forward.client import ForwardClient
    from voltgw.proxy.forward.factory import ForwardFactory
    from voltgw.proxy.forward.gate import Going
    from voltgw.proxy.forward.interception import Action
    from voltgw.values.exchange import Exchange


class _Far:
    """The destination's side while the client is listened to."""

    __slots__ = ("_passage",)

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def makeConnection(self, transport: Any) -> None:
        """It is connected already."""

    def connectionMade(self) -> None:
        """Likewise."""

    def dataReceived(self, data: bytes) -> None:
        """It speaks first."""
        self._passage.server_said(data)

    def readConnectionLost(self) -> None:
        """It has nothing to say any more."""
        self._passage.server_gone()

    def writeConnectionLost(self) -> None:
        """Nothing is closed half from our side here."""

    def connectionLost(self, reason: Failure) -> None:
        """It is gone."""
        self._passage.server_lost()

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self._passage.crashed()


classImplements(_Far, IProtocol, IHalfCloseableProtocol)


class Passage(Hearing):
    """Both sides of one CONNECT, whose record is written when it ends."""

    __slots__ = ("_connection", "_exchange", "_given", "_said", "_upstream")

    def __init__(
        self, factory: ForwardFactory, connection: ForwardClient, exchange: Exchange, going: Going,
        upstream: EndpointConnection,
    ) -> None:
        super().__init__(factory, going.flow.to(upstream.endpoint.address), going.flow.name)
        self.proof = exchange.proof
        self._connection = connection
        self._exchange = exchange
        self._upstream = upstream
        self._said = b""
        self._given = False                 # somebody else has the connection to the destination

    def begin(self, held: bytes) -> None:
        """Listen; `held` is what the client has said behind its CONNECT."""
        upstream = self._upstream
        upstream.hand_over()
        far: Any = upstream.transport
        far.protocol = _Far(self)
        self._exchange.bytes_in += len(held)
        egress = self._factory.egress
        self.hear(self._connection.transport, held, look=not egress.unparsed(self.flow.address, self.flow.port))

    # -- the destination's side ------------------------------------------------------------------------------------------------

    def server_said(self, data: bytes) -> None:
        """The destination speaks first."""
        self._said += data
        if len(self._said) > MAX_HEARD_BYTES:
            self._upstream.transport.pauseProducing()
        self.server_spoke()

    def server_gone(self) -> None:
        """The destination wants no more."""
        if not self._left:
            self.refuse(0, "upstream_closed")

    def server_lost(self) -> None:
        """The destination's connection has ended."""
        self._upstream.left()
        self.server_gone()

    # -- what follows ----------------------------------------------------------------------------------------------------------

    def relay(self) -> None:
        """Join both sides."""
        heard, said = self.done(), self._said
        exchange, connection, plane = self._exchange, self._connection, self._factory.plane
        exchange.bytes_out += len(said)
        self._note()
        far = self._upstream.transport
        tunnel = Tunnel(connection, self._upstream, exchange, self._factory, TUNNEL_IDLE_TIMEOUT_S)
        tunnel.begin(heard, said, plane.monotonic())
        far.resumeProducing()
        if self.half_closed:
            tunnel.client_has_finished()
        else:
            self.transport.resumeProducing()

    def take_requests(self) -> None:
        """Serve the client as one of HTTP that is bound for this destination; the connection to that is not needed."""
        heard = self.done()
        self.part()
        connection = self._connection
        flow = self.flow
        inner = type(connection)(
            self._factory, connection.peer_address, connection.peer_port,
            Way(False, self.name, flow.port, (flow.address,), proof=self.proof))
        transport = self.transport
        transport.protocol = inner
        inner.makeConnection(transport)
        self.finish("", "")
        transport.resumeProducing()
        if heard:
            inner.dataReceived(heard)

    def open_tls(self, action: Action) -> None:
        """See `voltgw.proxy.forward.opening`."""
        self._factory.open_tls(self, action)

    def refuse(self, alert: int, detail: str) -> None:
        """Say so in TLS, where the client speaks that, and close both sides."""
        self.done()
        self.part()
        transport = self.transport
        if alert and (self.speaks is Speaks.TLS or self.speaks is None):
            record = alert_record(alert)
            self._exchange.bytes_out += len(record)
            transport.write(record)
        transport.protocol = Over()
        transport.loseConnection()
        self.finish("UC" if detail == "upstream_closed" else FLAG, detail)

    def client_left(self) -> None:
        """Nobody is there any more."""
        self.part()
        if self.half_closed:
            self.transport.protocol = Over()
            self.transport.loseConnection()
        self.finish("DC", "downstream_remote_disconnect")

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the client."""
        return self._connection.peer_address, self._connection.peer_port

    def far_socket(self) -> socket.socket | None:
        """That of the tunnel, as long as nothing was said on it."""
        if self._given or self._said:
            return None
        self._given = True
        far: Any = self._upstream.transport
        sock: socket.socket = far.release()
        self._upstream.left()
        return sock

    def part(self) -> None:
        """The connection to the destination is not needed."""
        far: Any = self._upstream.transport
        if not self._given:
            far.abortConnection()           # `server_lost` follows

    def _note(self) -> None:
        verdict = self.verdict
        if verdict is not None:
            self._exchange.policy = verdict.label
        hello = self.hello
        if hello is not None:
            self._connection.sni = hello.sni

    def finish(self, flag: str, detail: str) -> None:
        """Write it down."""
        self._note()
        exchange = self._exchange
        exchange.flag, exchange.detail = flag, detail
        self._connection.tunnelled(exchange, self._factory.plane.monotonic())


class Over:
    """The protocol of a transport on which there is nothing left to do."""

    def makeConnection(self, transport: Any) -> None:
        """Never."""

    def connectionMade(self) -> None:
        """Never."""

    def dataReceived(self, data: bytes) -> None:
        """Nobody reads it."""

    def connectionLost(self, reason: Failure) -> None:
        """That was all."""


classImplements(Over, IProtocol)
