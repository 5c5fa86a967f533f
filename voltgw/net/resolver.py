"""Names looked up in a network, by the DNS servers of that network, on sockets that are made there.

An `IHostnameResolver` like the host's own, so that whoever looks names up need not know whose servers answer. Both kinds of
addresses are asked for at a time, by UDP; by TCP where an answer does not fit. A server that fails or is silent gives way to
the next one.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final, Literal

from twisted.internet import address as addresses
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from zope.interface import implementer

from voltgw.net.connector import dial
from voltgw.net.datagrams import connected_datagram_socket
from voltgw.values.defaults import DNS_SERVER_TIMEOUT_S
from voltgw.values.network import Network
from voltgw.wire.dnsanswer import UDP_BYTES, Answer, BadAnswer, read_answer, write_question
from voltgw.wire.dnsmsg import AAAA, NOERROR, NXDOMAIN, A, name_of

if TYPE_CHECKING:
    from voltgw.net.loop import Loop

#: The port of DNS servers.
DNS_PORT: Final = 53
#: Times that all servers are asked, as long as none answers.
ROUNDS: Final = 2
#: Datagrams that are not the answer (forged ones, late ones) before a question is given up.
MAX_STRAYS: Final = 32
_RESPONSES: Final = frozenset((NOERROR, NXDOMAIN))


@implementer(IHostnameResolver)
class NetworkResolver:
    """Asks the DNS servers of `network`, which has some. `port` is theirs.

    A receiver with a method ``lives_for(seconds)`` is told, before `resolutionComplete`, how long the addresses are good for.
    """

    def __init__(self, loop: Loop, network: Network, port: int = DNS_PORT) -> None:
        self.network = network
        self.questions = 0                  # names looked up
        self.failures = 0                   # of these, without an answer of any server
        self._loop = loop
        self._port = port

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None, transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Tell `resolutionReceiver` the addresses of a name, as `IHostnameResolver` has it; none when no server knows any."""
        lookup = _Lookup(self, resolutionReceiver, hostName, portNumber, transportSemantics)
        kinds = (A, AAAA) if addressTypes is None else tuple(
            kind for kind, type_ in ((A, addresses.IPv4Address), (AAAA, addresses.IPv6Address)) if type_ in addressTypes)
        lookup.begin(self._loop, self.network, self._port, kinds)
        return lookup


@implementer(IHostResolution)
class _Lookup:
    """One name under way."""

    def __init__(self, resolver: NetworkResolver, receiver: Any, name: str, port: int, transport: str) -> None:
        self.name = name
        self._resolver = resolver
        self._receiver = receiver
        self._port = port
        self._transport = transport
        self._asked: dict[_Question, None] = {}
        self._answered = False
        self._ttls: list[int] = []

    def begin(self, loop: Loop, network: Network, port: int, kinds: tuple[int, ...]) -> None:
        """Ask; what is an address already needs no asking."""
        self._receiver.resolutionBegan(self)
        try:
            found: tuple[IPv4Address | IPv6Address, ...] = (ip_address(self.name),)
        except ValueError:
            found = ()
        if found:
            self._tell(found)
            self._receiver.resolutionComplete()
            return
        self._resolver.questions += 1
        try:
            wire = name_of(self.name)
        except ValueError:                  # no server could know it
            wire = b""
        if not wire or not kinds:
            self._receiver.resolutionComplete()
            return
        self._asked = {_Question(loop, network, port, wire, kind, self._over): None for kind in kinds}
        for question in list(self._asked):
            question.ask()

    def cancel(self) -> None:
        """Nobody waits any more."""
        asked, self._asked = self._asked, {}
        for question in asked:
            question.give_up()

    def _over(self, question: _Question, answer: Answer | None) -> None:
        if self._asked.pop(question, self) is self:
            return                          # it was cancelled
        if answer is not None:
            self._answered = True
            self._tell(answer.addresses)
            if answer.addresses:
                self._ttls.append(answer.ttl_s)
        if not self._asked:
            self._resolver.failures += not self._answered
            if self._ttls and hasattr(self._receiver, "lives_for"):
                self._receiver.lives_for(min(self._ttls))
            self._receiver.resolutionComplete()

    def _tell(self, found: tuple[IPv4Address | IPv6Address, ...]) -> None:
        for one in found:
            kind = addresses.IPv4Address if one.version == 4 else addresses.IPv6Address
            transport: Literal["TCP", "UDP"] = "UDP" if self._transport == "UDP" else "TCP"
            self._receiver.addressResolved(kind(transport, str(one), self._port))


class _Question:
    """One question to one server after another; `over(question, answer)` is called once, later, with None if none answers."""

    def __init__(
        self, loop: Loop, network: Network, port: int, name: bytes, kind: int, over: Callable[[_Question, Answer | None], None],
    ) -> None:
        self._loop = loop
        self._network = network
        self._port = port
        self._name = name
        self._kind = kind
        self._over: Callable[[_Question, Answer | None], None] | None = over
        self._left = list(network.dns_servers) * ROUNDS
        self._server = ""
        self._identity = 0
        self._sock: socket.socket | None = None
        self._strays = 0
        self._timer: Any = None
        self._stream: _ByTcp | None = None

    def ask(self) -> None:
        """Ask the next server."""
        self._close()
        if self._over is None:
            return
        if not self._left or self._loop.stopped:
            self._loop.soon(lambda: self._end(None))
            return
        self._server = self._left.pop(0)
        self._identity = secrets.randbits(16)
        self._strays = 0
        self._timer = self._loop.clock.callLater(DNS_SERVER_TIMEOUT_S, self.ask)
        try:
            sock = connected_datagram_socket(self._server, self._port, self._network)
        except (OSError, ValueError):       # the network is not there, or has no way to it
            self._loop.soon(self.ask)
            return
        try:
            self._loop.watch(sock.fileno(), EPOLLIN, self._ready)
        except OSError:                     # the kernel has no room in the epoll set
            sock.close()
            return
        self._sock = sock
        try:
            sock.send(write_question(self._identity, self._name, self._kind))
        except OSError:
            self._loop.soon(self.ask)

    def give_up(self) -> None:
        """Nobody waits any more."""
        self._over = None
        self._close()

    def shut(self) -> None:
        """The loop stops."""
        self._left.clear()
        self._end(None)

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self._end(None)

    def heard(self, data: bytes, by_tcp: bool) -> None:
        """A message of the server."""
        try:
            answer = read_answer(data, self._identity, self._name, self._kind)
        except BadAnswer:
            self._strays += 1
            if by_tcp or self._strays > MAX_STRAYS:
                self.ask()
            return
        if answer.truncated and not by_tcp:
            self._close()
            self._timer = self._loop.clock.callLater(DNS_SERVER_TIMEOUT_S, self.ask)
            self._stream = _ByTcp(self, write_question(self._identity, self._name, self._kind))
            self._stream.dialing = dial(
                self._loop, self._server, self._port, self._stream, DNS_SERVER_TIMEOUT_S, self._stream.failed,
                network=self._network)
        elif answer.rcode in _RESPONSES:
            self._end(answer)
        else:
            self.ask()                      # SERVFAIL, REFUSED: another one may know

    def _ready(self, events: int) -> None:
        sock = self._sock
        for _ in range(MAX_STRAYS):
            if sock is None or sock is not self._sock:
                return
            try:
                data = sock.recv(UDP_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:                 # nobody listens there
                self.ask()
                return
            self.heard(data, False)

    def _end(self, answer: Answer | None) -> None:
        over, self._over = self._over, None
        self._close()
        if over is not None:
            over(self, answer)

    def _close(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.forget(sock.fileno())
            self._loop.bury(sock)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _ByTcp:
    """The same question on a connection, with its length before it (RFC 1035 4.2.2)."""

    def __init__(self, question: _Question, message: bytes) -> None:
        self.dialing: Any = None
        self._question: _Question | None = question
        self._message = message
        self._transport: Any = None
        self._received = bytearray()

    def close(self) -> None:
        """It is over."""
        self._question = None
        dialing, self.dialing = self.dialing, None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abortConnection()
        elif dialing is not None:
            dialing.cancel()

    def failed(self, error: Any) -> None:
        """The server does not take connections."""
        self.dialing = None
        question, self._question = self._question, None
        if question is not None:
            question.ask()

    def makeConnection(self, transport: Any) -> None:
        """Connected: ask."""
        self.dialing = None
        self._transport = transport
        transport.write(len(self._message).to_bytes(2, "big") + self._message)

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer, whose size its first two bytes say."""
        self._received += data
        if len(self._received) < 2:
            return
        size = int.from_bytes(self._received[:2], "big")
        question = self._question
        if question is not None and len(self._received) >= size + 2:
            question.heard(bytes(self._received[2:size + 2]), True)

    def connectionLost(self, reason: Any) -> None:
        """The server has closed."""
        self._transport = None
        question, self._question = self._question, None
        if question is not None:
            question.ask()
