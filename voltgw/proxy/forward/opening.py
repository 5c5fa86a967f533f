"""TLS inspection of one connection: its origin is verified first, then the client is shown a certificate of ours.

What follows is HTTP like any other: the client's requests come out of its TLS as those of a listener of ours do, are judged by
URL, and go to the origin through TLS of our own. An origin whose certificate is refused is not asked anything.
"""

from __future__ import annotations

from select import EPOLLOUT
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from zope.interface import classImplements

from voltgw.errors import TlsFailed
from voltgw.net.connector import dial
from voltgw.net.tls.handshakes import Shaking
from voltgw.net.tls.stream import TlsStream
from voltgw.proxy.forward.bridge import Bridge
from voltgw.proxy.forward.client import ForwardClient
from voltgw.proxy.forward.gate import Way
from voltgw.proxy.forward.interception import Action
from voltgw.proxy.forward.origins import Asked
from voltgw.proxy.forward.prepared import Prepared
from voltgw.values.defaults import TLS_HANDSHAKE_TIMEOUT_S

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.net.connector import Dial
    from voltgw.net.tls.engine import ServerContext, TlsConnection
    from voltgw.proxy.forward.factory import ForwardFactory
    from voltgw.proxy.forward.hearing import Hearing
    from voltgw.values.tls import Handshake

#: Alert for a client whose origin was refused (RFC 8446 6.2).
HANDSHAKE_FAILURE: Final = 40


class Opening:
    """From the hello to the first request. As a protocol it is that of the connection by which the origin is looked at."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, factory: ForwardFactory, hearing: Hearing, action: Action) -> None:
        hello, flow = hearing.hello, hearing.flow
        interception = factory.egress.interception
        assert hello is not None and interception is not None      # only TLS is opened, and only where that is asked for
        self._factory = factory
        self._hearing = hearing
        self._action = action
        self._interception = interception
        self._origins: Any = interception.origins       # a ClientContext of `net`
        self._hello = hello
        self._name = (flow.name or hearing.name).decode("ascii") or flow.address
        self._dial: Dial | None = None
        self._shaking: Shaking | None = None
        self._transport: Any = None
        self._fault = ""

    def __repr__(self) -> str:
        return f"<Opening {self._name}>"

    def begin(self) -> None:
        """Look at the origin, unless that was done a moment ago."""
        factory, flow = self._factory, self._hearing.flow
        now = factory.plane.monotonic()
        if self._action is Action.OPEN:
            context = self._interception.ready(self._name, now)
            if context is not None:
                self._show(context)
                return
        self._hearing.waits_for(self)
        # What is only looked at goes to the origin untouched, so that is another connection.
        sock = self._hearing.far_socket() if self._action is Action.OPEN else None
        egress, loop = factory.egress, factory.plane.loop
        if sock is None:
            self._dial = dial(
                loop, flow.address, flow.port, self, egress.connect_timeout_s, self._not_reached,
                tls=(self._origins, self._name), network=egress.network)
            return
        try:
            connection = self._origins.connect(sock, self._name, (flow.address, flow.port))
        except OSError as error:
            loop.bury(sock)
            self._refused(error)
            return
        self._shaking = Shaking(loop, connection, now + TLS_HANDSHAKE_TIMEOUT_S, self._looked, self._refused)
        try:
            self._shaking.start(EPOLLOUT)
        except OSError as error:            # the kernel has no room in the epoll set
            connection.free()
            loop.bury(sock)
            self._refused(error)

    def cancel(self) -> None:
        """The client has left, or has taken too long."""
        dialling, self._dial = self._dial, None
        if dialling is not None:
            dialling.cancel()
        shaking, self._shaking = self._shaking, None
        if shaking is not None and not shaking.over:
            shaking.cancel()

    # -- the origin ------------------------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """The origin's certificate is good."""
        self._dial = None
        self._verified(transport, transport.handshake)

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """The origin was asked nothing."""

    def connectionLost(self, reason: Failure) -> None:
        """We have closed it."""

    def _looked(self, connection: TlsConnection, handshake: Handshake) -> None:
        """The same on the connection of the tunnel."""
        flow = self._hearing.flow
        self._shaking = None
        stream = TlsStream(self._factory.plane.loop, connection, handshake, (flow.address, flow.port)).inherit()
        try:
            stream.open(self)
        except OSError as error:            # the kernel has no room in the epoll set
            self._refused(error)

    def _verified(self, transport: Any, handshake: Handshake) -> None:
        counters = self._factory.outside.counters
        self._hearing.waits_for(None)
        if self._action is Action.PEEK:
            transport.loseConnection()
            counters.peeked += 1
            self._hearing.relay()
            return
        context, anew = self._interception.verified(self._name, handshake.peer[0], self._factory.plane.monotonic())
        counters.minted += anew
        prepared = Prepared(self._factory.plane, self._endpoint())
        transport.protocol = prepared
        prepared.makeConnection(transport)
        self._show(context)

    def _endpoint(self) -> Endpoint:
        """The endpoint that the gate will find for the client's requests."""
        outside, egress, flow = self._factory.outside, self._factory.egress, self._hearing.flow
        cluster = outside.origins.cluster(outside.origins.number(Asked(
            egress.name, "https", self._name.encode("ascii"), flow.port, (flow.address,), egress.rounds,
            egress.connect_timeout_s, egress.network, self._interception.origins)))
        assert cluster is not None          # it was made right now
        return cluster.endpoints[0]

    def _not_reached(self, error: ConnectFailed) -> None:
        self._dial = None
        self._origin_failed(error)

    def _refused(self, error: OSError) -> None:
        self._shaking = None
        self._origin_failed(TlsFailed(f"{self._hearing.flow.address}: {error.strerror or error}"))

    def _origin_failed(self, error: ConnectFailed) -> None:
        self._hearing.waits_for(None)
        more = self._factory.outside.told()
        if more is not None:
            self._log.info("TLS to {name} is not {what}: {error}{more}", name=self._name, error=str(error), more=more,
                           what="passed on" if self._action is Action.PEEK else "opened")
        if self._action is Action.OPEN and self._interception.error_page:
            self._fault = error.detail
            self._show(self._interception.for_fault(self._name))
        else:
            self._hearing.refuse(HANDSHAKE_FAILURE, f"tls_origin: {error.detail}")

    # -- the client ------------------------------------------------------------------------------------------------------------

    def _show(self, context: ServerContext) -> None:
        """End the client's TLS here."""
        hearing, loop = self._hearing, self._factory.plane.loop
        heard = hearing.done()
        hearing.part()
        transport = self._transport = hearing.transport
        try:
            # A client that speaks TLS with us already has no bare socket to give.
            sock = transport.release() if transport.handshake is None else Bridge(self._factory.plane, transport).build()
        except OSError as error:
            transport.abortConnection()
            self._failed(error)
            return
        try:
            connection = context.accept(sock, self._hello, heard)
        except OSError as error:
            loop.bury(sock)
            self._failed(error)
            return
        self._factory.under_way.add(self)
        self._shaking = Shaking(
            loop, connection, loop.monotonic() + TLS_HANDSHAKE_TIMEOUT_S, self._shaken, self._failed)
        try:
            self._shaking.start(EPOLLOUT)       # the hello is here: the first step needs nothing of the client
        except OSError as error:                # the kernel has no room in the epoll set
            self._factory.under_way.discard(self)
            connection.free()
            loop.bury(sock)
            self._failed(error)

    def _shaken(self, connection: TlsConnection, handshake: Handshake) -> None:
        factory, hearing, old = self._factory, self._hearing, self._transport
        factory.under_way.discard(self)
        factory.outside.counters.opened += 1
        flow = hearing.flow
        stream = TlsStream(factory.plane.loop, connection, handshake, old.peer, old.local).inherit()
        stream.hello = self._hello
        if old.handshake is None:
            stream.on_lost, old.on_lost = old.on_lost, None
        hearing.finish("", "tls_opened")
        way = Way(False, self._name.encode("ascii"), flow.port, (flow.address,), True, self._interception.origins, self._fault,
                  hearing.proof)
        stream.open(ForwardClient(factory, hearing.peer[0], hearing.peer[1], way))

    def _failed(self, error: OSError) -> None:
        factory, hearing, old = self._factory, self._hearing, self._transport
        factory.under_way.discard(self)
        factory.outside.counters.handshakes_failed += 1
        if old.handshake is None:
            on_lost, old.on_lost = old.on_lost, None
            if on_lost is not None:
                on_lost(old)
        reason = error.strerror or str(error)
        spliced = self._interception.refused_by(hearing.flow.source, hearing.flow.name)
        more = factory.outside.told()
        if more is not None:
            self._log.warn(
                "{client} does not take our certificate for {name}: {reason}{what}{more}", client=hearing.flow.source,
                name=self._name, reason=reason, what="; it is left alone with that name for now" if spliced else "", more=more)
        hearing.finish("TLS", f"tls_handshake_failed: {reason}")

    def drain(self) -> None:
        """A handshake is short."""

    def close(self) -> None:
        """The drain's time is up."""
        shaking, self._shaking = self._shaking, None
        if shaking is not None and not shaking.over:
            shaking.cancel()
            self._failed(OSError("the gateway stops"))


classImplements(Opening, IProtocol)
