"""The sockets of the DNS server: UDP on the loop, in batches where the system can, TCP on the reactor (RFC 7766, RFC 9210)."""

from __future__ import annotations

import socket
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from voltgw.dns.desk import Desk
from voltgw.dns.responder import Responder
from voltgw.net.batches import BatchPort, available
from voltgw.net.datagrams import DatagramPort, datagram_socket
from voltgw.net.inherited import TCP, UDP, SocketKey
from voltgw.net.sockets import CannotListen, listening_socket
from voltgw.security.shares import Source, source_of
from voltgw.values.address import where

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from voltgw.net.inherited import Inherited
    from voltgw.net.loop import Loop

#: A TCP connection without a complete query for so long is closed.
IDLE_S: Final = 30.0
#: TCP connections at once; beyond it the one that has been idle longest is closed.
MAX_CONNECTIONS: Final = 200
#: With port 0, so many ports are tried until one is free for both.
_TRIES: Final = 16
#: Of them, from one address, or from one /64.
MAX_FROM_ONE: Final = 50


class DnsBound:
    """One address of the DNS server: a UDP socket and a TCP one on the same port. Made before the privileges are dropped."""

    _log = Logger()

    def __init__(self, address: str, port: int, responder: Responder, inherited: Inherited | None = None) -> None:
        """Raises `CannotListen`; then nothing is open. With port 0 the kernel chooses one for UDP, and TCP takes that one."""
        self.responder = responder
        self.problem = ""
        self._spec = (address, port)
        udp, tcp = (None if inherited is None else inherited.take(key) for key in self._keys)
        tries = 1 if port or udp is not None or tcp is not None else _TRIES    # what is free for UDP may be taken for TCP
        if not port and tcp is not None:
            port = tcp.getsockname()[1]
        while True:
            tries -= 1
            self._udp = datagram_socket(address, port) if udp is None else udp
            try:
                self.address: tuple[str, int] = (address, self._udp.getsockname()[1])
                self._tcp = listening_socket(address, self.address[1]) if tcp is None else tcp
                break
            except BaseException as error:
                self._udp.close()
                if not tries or not isinstance(error, CannotListen):
                    raise
        self.factory = DnsFactory(responder)
        self._datagrams: DatagramPort | None = None
        self._port: IListeningPort | None = None

    def __repr__(self) -> str:
        return f"<DnsBound {self.name}>"

    @property
    def name(self) -> str:
        """``address:port``."""
        return where(*self.address)

    @property
    def connections(self) -> int:
        """Open TCP connections."""
        return len(self.factory.open)

    def start(self, loop: Loop, reactor: Any) -> None:
        """Answer. Raises OSError when the kernel has no room for it."""
        if available():
            self._datagrams = batches = BatchPort(loop, self._udp, self.responder.counters.dropped)
            batches.serve = Desk(self.responder, batches.slots, batches.post).serve
        else:
            self._datagrams = DatagramPort(loop, self._udp, self._received)
        self._datagrams.startListening()
        family = self._tcp.family
        self._port = reactor.adoptStreamPort(self._tcp.fileno(), family, self.factory)      # it has its own descriptor
        self._tcp.close()

    def _received(self, data: memoryview, client: Any, local: bytes) -> None:
        if client[1] == 0:
            return                          # nobody can be answered there
        answer = self.responder.respond(bytes(data), client[0], False, client[1])
        if answer is not None:
            assert self._datagrams is not None      # it is what has called
            try:
                self._datagrams.send(answer, client, local)
            except OSError:
                self.responder.counters.dropped["unreachable"] += 1

    @property
    def _keys(self) -> tuple[SocketKey, SocketKey]:
        return SocketKey("dns", UDP, *self._spec), SocketKey("dns", TCP, *self._spec)

    def handed(self) -> Iterator[tuple[SocketKey, int]]:
        """Both sockets, for a process that is to answer in our place."""
        udp, tcp = self._keys
        yield udp, self._udp.fileno()
        port: Any = self._tcp if self._port is None else self._port
        yield tcp, port.fileno()

    def give_way(self) -> None:
        """Another process answers; those who are connected may go on until `stop`.

        Our descriptor of the socket is closed: when the other process dies, the next one can bind its address.
        """
        if self._datagrams is not None:
            self._datagrams.stopListening()
        if self._port is not None:
            self._port.stopListening()
            self._port = None

    def send(self, data: bytes, address: str, port: int) -> bool:
        """Send one datagram from here; False when it cannot be sent now, or not to there."""
        if self._datagrams is None:
            return False
        client: Any = (address, port)
        if self._udp.family == socket.AF_INET6:
            client = (address if ":" in address else f"::ffff:{address}", port, 0, 0)
        try:
            return self._datagrams.send(data, client, b"")
        except OSError:
            return False

    def stop(self) -> None:
        """Close all of it; nothing is answered any more."""
        if self._datagrams is None:
            self._udp.close()
            self._tcp.close()
            return
        self._datagrams.stopListening()
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        self.factory.close()


class DnsFactory(Factory):
    """Makes a `DnsStream` for each TCP connection, as many as there is room for."""

    noisy = False

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.open: OrderedDict[DnsStream, Source] = OrderedDict()  # the one that has been idle longest comes first
        self._from: dict[Source, int] = {}
        self.refused = 0

    def buildProtocol(self, addr: Any) -> DnsStream | None:     # type: ignore[override]  # a protocol all the same
        """None, and the connection is closed, for an address that has many already."""
        host = addr.host
        source = source_of(host)            # whoever has one address of a /64 has them all
        if self._from.get(source, 0) >= MAX_FROM_ONE:
            self.refused += 1
            return None
        if len(self.open) >= MAX_CONNECTIONS:
            self.refused += 1
            next(iter(self.open)).abort()
        protocol = DnsStream(self, host)
        self.open[protocol] = source
        self._from[source] = self._from.get(source, 0) + 1
        return protocol

    def heard(self, protocol: DnsStream) -> None:
        """It has sent a query."""
        if protocol in self.open:
            self.open.move_to_end(protocol)

    def gone(self, protocol: DnsStream) -> None:
        """It has been closed."""
        if protocol not in self.open:
            return
        source = self.open.pop(protocol)
        left = self._from[source] - 1
        if left:
            self._from[source] = left
        else:
            del self._from[source]

    def close(self) -> None:
        """Close every connection."""
        for protocol in list(self.open):
            protocol.abort()


@implementer(IPushProducer)
class DnsStream(Int16StringReceiver, TimeoutMixin):
    """One client's connection: queries with their lengths before them, answered in the order in which they come.

    A client that does not take its answers is not read from, and a zone is handed over as fast as it is taken: what follows is
    made when what came before is gone. Half a query does not count as a sign of life.
    """

    def __init__(self, factory: DnsFactory, host: str) -> None:
        self.factory: DnsFactory = factory
        self._host = host
        self._waiting: deque[bytes] = deque()       # queries behind one whose answer is under way
        self._answer: Iterator[bytes] | None = None
        self._paused = False

    def connectionMade(self) -> None:
        """Begin to wait."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self.setTimeout(IDLE_S)

    def stringReceived(self, string: bytes) -> None:
        """One query."""
        self.resetTimeout()
        self.factory.heard(self)
        self._waiting.append(string)
        if self._answer is None:
            self._go_on()

    def _go_on(self) -> None:
        """Send what there is to send, until the client has to take it first."""
        while not self._paused:
            if self._answer is None:
                if not self._waiting:
                    return
                self._answer = self.factory.responder.respond_all(self._waiting.popleft(), self._host)
            message = next(self._answer, None)
            if message is None:
                self._answer = None
            else:
                self.resetTimeout()
                self.sendString(message)

    def timeoutConnection(self) -> None:
        """Nothing has come for too long."""
        self.abort()

    def abort(self) -> None:
        """Close at once, and make room at once."""
        self.factory.gone(self)
        self.setTimeout(None)
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is closed."""
        self.setTimeout(None)
        self._waiting.clear()
        self._answer = None                 # a transfer that was under way ends
        self.factory.gone(self)

    def pauseProducing(self) -> None:
        """Answers pile up: read no more queries, and make no more of an answer."""
        self._paused = True
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        """They are on their way."""
        self._paused = False
        self._go_on()
        if not self._paused:
            transport: Any = self.transport
            transport.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone."""
