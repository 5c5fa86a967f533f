"""Looking at what a client says first, and deciding by it who will read it.

The bytes stay in the kernel (MSG_PEEK), so whoever is chosen finds the stream untouched. SO_RCVLOWAT keeps the socket quiet
until more has come than we have seen: a partial hello would make a level-triggered set spin.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final, Protocol

from voltgw.net.deadlines import NO_SLOT
from voltgw.net.stream import Stream
from voltgw.net.tls.engine import ServerContext
from voltgw.net.tls.handshakes import Shaking
from voltgw.net.tls.stream import TlsStream
from voltgw.values.defaults import TLS_HANDSHAKE_TIMEOUT_S, TLS_HELLO_TIMEOUT_S
from voltgw.wire.clienthello import ClientHello, HelloRefused, NotHello, read_hello

if TYPE_CHECKING:
    from voltgw.net.listener import Listener
    from voltgw.net.loop import Loop
    from voltgw.net.tls.engine import TlsConnection
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake

#: One look sees a hello of the usual limit in records of the usual size.
_LOOK_BYTES: Final = 4096
#: A stranger's TLS stack that sends a record per byte of its hello needs six bytes for each.
_RECORDS: Final = 6
_RESET: Final = struct.pack("ii", 1, 0)
#: What a browser is told that speaks HTTP where TLS is spoken (as nginx does with its 497).
PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 62\r\nconnection: close\r\n\r\n"
    b"This port speaks HTTPS: the request came without encryption.\r\n"
)


@dataclass(frozen=True, slots=True)
class Terminate:
    """End TLS here, with this context. `by_alpn` may have a factory of its own for what the two sides agree on."""

    context: ServerContext
    factory: Any                            # an IProtocolFactory
    by_alpn: Mapping[bytes, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave the bytes as they are to a protocol of `factory`; `hello` stands on its stream as `Stream.hello`."""

    factory: Any
    hello: ClientHello | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nobody here: answer with a fatal alert (RFC 8446 6.2; 112 is unrecognized_name) and close.

    Where somebody is here who does not want this client, `flag`, `detail` and `policy` say who has said so, for the log.
    """

    alert: int
    reason: str
    flag: str = ""
    detail: str = "tls_hello_refused"
    policy: str = ""


class Sniffer(Protocol):
    """Decides for one listener; asked once per connection."""

    def choose(self, hello: ClientHello | None, peer: tuple[str, int], /) -> Terminate | Pass | Refuse:
        """Who takes a client with this hello; None: it does not speak TLS."""


@dataclass(frozen=True, slots=True)
class Turned:
    """A connection that came to nothing before there was a protocol for it: what the access log is told."""

    peer: tuple[str, int]
    local: tuple[str, int]
    sni: str
    reason: str                             # words
    detail: str                             # "tls_hello_refused", "tls_handshake_failed", "tls_timeout", "tls_crowded"
    began: float                            # monotonic seconds
    ended: float
    bytes_in: int = 0                       # on the wire
    bytes_out: int = 0
    announced: ProxyHeader | None = None    # the header with which it began
    flag: str = ""                          # of a client that is not wanted, as the next
    policy: str = ""


class Greeting:
    """An accepted connection until there is a protocol for it: first its hello, then its handshake.

    It stands in its listener's line of those under way, and leaves it exactly once: with a protocol, or by `_end`.
    """

    __slots__ = ("_announced", "_began", "_fd", "_listener", "_loop", "_peer", "_quiet", "_seen", "_shaking", "_sock",
                 "_terminate", "_unwanted", "deadline", "deadline_slot", "hello")

    def __init__(
        self, loop: Loop, listener: Listener, sock: socket.SocketType, peer: tuple[str, int],
        announced: ProxyHeader | None = None,
    ) -> None:
        self._announced = announced
        self._loop = loop
        self._listener = listener
        self._sock = sock
        self._fd = sock.fileno()
        self._peer = peer
        self._seen = 0
        self._quiet = False                 # SO_RCVLOWAT is set
        self._shaking: Shaking | None = None
        self._terminate: Terminate | None = None
        self._unwanted: Refuse | None = None
        self._began = loop.monotonic()
        self.hello: ClientHello | None = None
        self.deadline = self._began + TLS_HELLO_TIMEOUT_S
        self.deadline_slot = NO_SLOT

    def __repr__(self) -> str:
        return f"<Greeting {self._peer[0]}:{self._peer[1]}>"

    def start(self) -> None:
        """Wait for the hello. Raises OSError if the kernel has no room in the epoll set."""
        self._loop.watch(self._fd, EPOLLIN, self._ready)
        self._loop.deadlines.schedule(self)

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the client who keeps us waiting."""
        return self._shaking is None or self._shaking.waits_for_peer

    def crowded_out(self) -> None:
        """Too many are under way, and this one has kept us waiting longest."""
        self._listener.counters.tls_crowded += 1
        self._drop("too many handshakes at a time", "tls_crowded", reset=True)

    def shut(self) -> None:
        """The loop stops."""
        self._drop("the gateway stops", "tls_handshake_failed", reset=True)

    def crashed(self) -> None:
        """A guard caught an exception of ours."""
        self._listener.counters.tls_failures += 1
        self._drop("internal error", "tls_handshake_failed", reset=True)

    def expired(self, now: float) -> None:
        """The hello took too long, or the handshake that came after it."""
        if self._shaking is not None:
            self._shaking.expired(now)
            return
        self._listener.counters.tls_timeouts += 1
        self._drop("no hello in time", "tls_timeout")

    # -- the hello ---------------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        limit = self._listener.max_hello_bytes
        try:
            data = self._sock.recv(_LOOK_BYTES if self._seen == 0 else limit * _RECORDS, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            self._refuse(error.strerror or str(error))
            return
        if len(data) <= self._seen:         # we asked to be woken for more, so there will be no more: it has sent its FIN
            self._refuse("closed before its hello was complete" if data else "closed without a word")
            return
        self._seen = len(data)
        try:
            hello = read_hello(data, limit)
        except HelloRefused as refusal:
            self._not_tls(refusal)
            return
        if isinstance(hello, int):
            self._wait_for(len(data) + hello)
        else:
            self.hello = hello
            self._decide(self._listener.sniffer.choose(hello, self._peer))

    def _wait_for(self, size: int) -> None:
        self._quiet = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _not_tls(self, refusal: HelloRefused) -> None:
        if refusal.kind in (NotHello.HTTP, NotHello.GARBAGE):
            chosen = self._listener.sniffer.choose(None, self._peer)
            if not isinstance(chosen, Refuse):
                self._decide(chosen)
                return
        if refusal.kind is NotHello.HTTP:
            self._refuse(str(refusal), PLAIN_HTTP_ANSWER)
        elif refusal.kind in (NotHello.MALFORMED, NotHello.TOO_LARGE, NotHello.SSLV2):
            self._refuse(str(refusal), alert(refusal.alert))
        else:
            self._refuse(str(refusal))

    # -- the decision ------------------------------------------------------------------------------------------------------

    def _decide(self, chosen: Terminate | Pass | Refuse) -> None:
        if isinstance(chosen, Refuse):
            self._unwanted = chosen
            self._refuse(chosen.reason, alert(chosen.alert))
            return
        if self._quiet:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        # the descriptor stays in the epoll set: whoever comes next takes it over
        if isinstance(chosen, Pass):
            self._forget()
            stream = Stream(self._loop, self._sock, self._peer, self._listener.local).inherit()
            stream.hello = chosen.hello
            stream.announced = self._announced
            self._listener.hand_over(self, stream, chosen.factory)
            return
        self._terminate = chosen
        try:
            connection = chosen.context.accept(self._sock, self.hello)
        except OSError as error:
            self._listener.counters.tls_failures += 1
            self._leave()
            self._loop.bury(self._sock)
            self._end(error.strerror or str(error), "tls_handshake_failed")
            return
        self.deadline = self._began + TLS_HANDSHAKE_TIMEOUT_S       # later than it was: the sweep puts us back
        self._shaking = Shaking(self._loop, connection, self.deadline, self._shaken, self._failed)
        self._shaking.take_over()

    def _shaken(self, connection: TlsConnection, handshake: Handshake) -> None:
        chosen = self._terminate
        assert chosen is not None
        self._forget()
        counters = self._listener.counters
        counters.tls_handshakes += 1
        counters.tls_resumed += handshake.resumed
        counters.tls_versions[handshake.version] = counters.tls_versions.get(handshake.version, 0) + 1
        stream = TlsStream(self._loop, connection, handshake, self._peer, self._listener.local).inherit()
        stream.hello = self.hello
        stream.announced = self._announced
        if self._shaking is not None:
            stream.handshake_s = self._loop.monotonic() - self._shaking.began
        self._listener.hand_over(self, stream, chosen.by_alpn.get(handshake.alpn, chosen.factory))

    def _failed(self, error: OSError) -> None:
        self._forget()
        counters = self._listener.counters
        if error.errno == errno.ETIMEDOUT:
            counters.tls_timeouts += 1
            self._end("the handshake took too long", "tls_timeout")
            return
        counters.tls_failures += 1
        reason = error.strerror or str(error)
        if error.errno == errno.ECONNRESET:
            reason = "the client closed during the handshake"
        self._end(reason, "tls_handshake_failed")

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _refuse(self, reason: str, answer: bytes = b"") -> None:
        self._listener.counters.tls_refused += 1
        unwanted = self._unwanted
        self._drop(reason, "tls_hello_refused" if unwanted is None else unwanted.detail, answer)

    def _drop(self, reason: str, detail: str, answer: bytes = b"", reset: bool = False) -> None:
        """Close, after a last word if there is one."""
        shaking = self._shaking
        if shaking is not None:
            self._forget()
            shaking.cancel()
            self._end(reason, detail)
            return
        self._leave()
        sock = self._sock
        try:
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif answer:
                sock.send(answer)
                # what it has said is taken from the kernel: closing with bytes unread sends RST, and our word would be lost
                sock.recv(self._listener.max_hello_bytes * _RECORDS)
        except OSError:
            pass                            # it is gone already
        self._loop.bury(sock)
        self._end(reason, detail, len(answer))

    def _leave(self) -> None:
        self._forget()
        self._loop.forget(self._fd)

    def _forget(self) -> None:
        self.deadline = 0.0
        self._loop.deadlines.forget(self)

    def _end(self, reason: str, detail: str, bytes_out: int = 0) -> None:
        self._listener.turned(self, Turned(
            self._peer, self._listener.local or ("", 0), self.hello.sni if self.hello is not None else "", reason, detail,
            self._began, self._loop.monotonic(), self._seen, bytes_out, self._announced,
            *(("", "") if self._unwanted is None else (self._unwanted.flag, self._unwanted.policy))))


def alert(description: int) -> bytes:
    """A fatal alert in a record of its own, as the first thing that a server says."""
    return bytes((21, 3, 3, 0, 2, 2, description))
