"""Accepting connections: bounded per turn, stopped at the connection limit and when descriptors run out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import classImplements, implementer

from voltgw.net.announced import Announced, Trusted, trusts
from voltgw.net.portions import Portion
from voltgw.net.sniff import Greeting
from voltgw.net.sockets import LOCAL_CLIENT, NO_ROOM, CannotListen, address_of, listening_socket, plain_address, where
from voltgw.net.stream import Stream
from voltgw.values.counters import ListenerCounters
from voltgw.values.defaults import MAX_TLS_HANDSHAKES, MAX_TLS_HELLO_BYTES

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

    from voltgw.net.loop import Loop
    from voltgw.net.pacing import Pace
    from voltgw.net.sniff import Sniffer, Turned
    from voltgw.values.proxyheader import ProxyHeader

#: Connections accepted in one turn; the rest wait in the backlog while others get their turn.
ACCEPTS_PER_TURN: Final = 64
#: Handshakes of one loop that may wait for their turn; with more, clients wait in the backlog until the line is shorter.
MAX_HANDSHAKES_IN_LINE: Final = 64
#: How long accepting stops when the process or the host has no descriptor or memory left for a connection.
FD_PAUSE_S: Final = 0.5
#: accept(2): errors of the *new* connection, which is gone already; the next one may be fine.
_ITS_OWN_FAULT: Final = frozenset((
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EINTR,
))
_EVERYWHERE: Final = frozenset(("0.0.0.0", "::"))


class Listener:
    """A listening socket on the loop; every accepted stream gets a protocol from `factory`.

    It owns `sock` (of `listening_socket` or `adopt`). `limit` bounds the streams of this listener, the loop's own limit
    those of all; at either, accepting pauses and clients wait in the backlog (they are not refused), until a stream
    ends. Call `room_again` after raising a limit. With a `pace`, connections that come faster wait in the backlog, too.

    With a `sniffer`, a connection first says its TLS hello (of at most `max_hello_bytes`), and the sniffer says who takes it;
    `factory` is not asked. At most `max_handshakes` are on that way at a time: for one more, the one that has kept us waiting
    longest is given up. `on_turned` hears of each that came to nothing.

    `counters.bytes_in` and `bytes_out` grow when a stream *ends*, by all
    that it carried: a count per read would cost every request what a scrape can do without.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self, loop: Loop, sock: socket.SocketType, factory: IProtocolFactory, *,
        counters: ListenerCounters | None = None, limit: int = 1 << 30, sniffer: Sniffer | None = None,
        on_turned: Callable[[Turned], None] | None = None,
    ) -> None:
        self.counters = counters if counters is not None else ListenerCounters()
        self.factory = factory
        self.limit = limit
        self.sniffer: Any = sniffer         # a Sniffer or None; may be replaced while it listens
        self.on_turned = on_turned
        self.announced_by: Trusted | None = None        # proxies whose PROXY header must come first; None = there is none
        self.pace: Pace | None = None       # how fast to accept; may be replaced while it listens
        self.max_hello_bytes = MAX_TLS_HELLO_BYTES
        self.max_handshakes = MAX_TLS_HANDSHAKES
        self.under_way: dict[Greeting, None] = {}       # the oldest first
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._accept: Callable[[], tuple[int, Any]] = sock._accept   # type: ignore[attr-defined]
        # socket.accept() would wrap and re-examine every socket (three system calls); the raw call is accept4(2)
        self._family = int(sock.family)
        self._address = plain_address(sock.getsockname())
        self._local = (LOCAL_CLIENT if self._family == socket.AF_UNIX
                       else None if self._address[0] in _EVERYWHERE else self._address)    # what each stream's own address is
        self._watched = False
        self._stopped = False
        self._starved = False               # no descriptor was left, and none was accepted since
        self._portion = Portion(loop, ACCEPTS_PER_TURN)
        self._retry: Any = None             # the timer of a pause, for want of descriptors or for its pace

    def __repr__(self) -> str:
        return f"<Listener {where(*self._address)}{' closed' if self._stopped else ''}>"

    def startListening(self) -> None:
        """Begin to accept."""
        self.factory.doStart()
        self._loop.parked.add(self)
        self._watch()

    def stopListening(self) -> Deferred[None]:
        """Close the listening socket; streams that were accepted go on. The Deferred has already fired."""
        if not self._stopped:
            self._stopped = True
            self._unwatch()
            self._loop.parked.discard(self)
            self._loop.waiting_listeners.discard(self)
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            self._loop.bury(self._sock)
            self.factory.doStop()
        return succeed(None)

    @property
    def local(self) -> tuple[str, int] | None:
        """The address that every stream of it has on our side; None when it listens on all."""
        return self._local

    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """The address it listens on, or did."""
        return address_of(self._address)

    def fileno(self) -> int:
        """The listening descriptor, for handing it over; -1 once closed."""
        return self._sock.fileno()

    def shut(self) -> None:
        """The loop stops."""
        self.stopListening()

    def crashed(self) -> None:
        """The factory failed for one connection; the guard has logged it, the next one gets its chance."""

    def room_again(self) -> None:
        """A stream ended, or a limit was raised: accept again if there is room."""
        if self._stopped or self._retry is not None:
            return
        if self.counters.open < self.limit and self._loop.accepted < self._loop.open_limit:
            self._loop.waiting_listeners.discard(self)
            self._watch()

    def keep_pace(self, pace: Pace | None) -> None:
        """Accept by another pace from now on, or by none."""
        self.pace = pace
        if self._retry is not None and not self._starved:
            self._retry.cancel()
            self._try_again()

    def _watch(self) -> None:
        if not self._watched and not self._stopped:
            self._watched = True
            self._loop.watch(self._fd, EPOLLIN, self._ready)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.forget(self._fd)

    def _ready(self, events: int) -> None:
        counters = self.counters
        loop = self._loop
        for number in range(self._portion.take()):
            if self.sniffer is not None and len(loop.handshakes) > MAX_HANDSHAKES_IN_LINE:
                self._wait_in_line()
                return
            if counters.open >= self.limit or loop.accepted >= loop.open_limit:
                self._unwatch()
                loop.waiting_listeners.add(self)
                if loop.paused:
                    counters.paused_overload += 1
                else:
                    counters.paused_limit += 1
                return
            pace = self.pace
            if pace is not None:
                wait = pace.wait(loop.monotonic())
                if wait > 0.0:
                    counters.paused_rate += 1
                    self._unwatch()
                    self._retry = loop.clock.callLater(wait, self._try_again)
                    return
            try:
                fd, sockaddr = self._accept()
            except BlockingIOError:
                self._portion.ended(number)
                return
            except OSError as error:
                if error.errno in _ITS_OWN_FAULT:
                    continue
                self._pause(error)
                return
            sock = socket.SocketType(self._family, socket.SOCK_STREAM, 0, fd)
            sock.setblocking(False)
            self._starved = False
            if pace is not None:
                pace.take(1, loop.monotonic())
            self._open(sock, sockaddr)
            if self._stopped:
                return

    def _open(self, sock: socket.SocketType, sockaddr: Any) -> None:
        counters = self.counters
        counters.accepted += 1
        loop = self._loop
        peer = plain_address(sockaddr)
        sources = loop.sources
        if not sources.enter(peer[0]):
            counters.refused_source += 1
            sock.close()
            return
        trusted = self.announced_by
        if trusted is None:
            self._begin(sock, peer)
        elif self._family == socket.AF_UNIX or trusts(trusted, peer[0]):    # whoever may connect to the file is trusted
            self._hear(sock, peer)
        else:
            counters.proxy_refused += 1
            sources.leave(peer[0])
            sock.close()

    def _hear(self, sock: socket.SocketType, peer: tuple[str, int]) -> None:
        """Wait for what the proxy at `peer` says of the connection; it counts as open meanwhile."""
        counters, loop = self.counters, self._loop
        counters.open += 1
        loop.accepted += 1

        announced = Announced(loop, sock, partial(self._told, sock, peer))
        try:
            announced.start()
        except OSError:                                         # the kernel has no room in the epoll set
            counters.open -= 1
            loop.accepted -= 1
            loop.sources.leave(peer[0])
            sock.close()
            raise

    def _told(
        self, sock: socket.SocketType, peer: tuple[str, int], announced: Announced, header: ProxyHeader | None,
    ) -> None:
        """The proxy at `peer` has said what there is to say; None: it has not."""
        counters, loop = self.counters, self._loop
        counters.open -= 1
        loop.accepted -= 1
        loop.sources.leave(peer[0])
        client = peer
        if header is not None:
            client = header.source or peer
            if self._stopped or not loop.sources.enter(client[0]):
                counters.refused_source += 1
                loop.bury(sock)
            else:
                self._begin(sock, client, header)
        else:
            counters.proxy_refused += 1
        if loop.waiting_listeners:
            loop.room_again()

    def _begin(self, sock: socket.SocketType, peer: tuple[str, int], announced: ProxyHeader | None = None) -> None:
        """Serve a connection of `peer`, who is counted."""
        if self.sniffer is not None:
            self._greet(sock, peer, announced)
            return
        counters, loop = self.counters, self._loop
        sources = loop.sources
        stream = Stream(loop, sock, peer, self._local)
        if announced is not None:
            stream.announced = announced
        try:
            protocol = _protocol(self.factory, stream)
        except BaseException:
            sources.leave(peer[0])
            sock.close()
            raise
        if protocol is None:                                    # the factory wants no more connections
            sources.leave(peer[0])
            sock.close()
            return
        counters.open += 1
        loop.accepted += 1
        stream.on_lost = self._lost
        try:
            stream.open(protocol)
        except OSError:                                         # the kernel has no room in the epoll set
            counters.open -= 1
            loop.accepted -= 1
            sources.leave(peer[0])
            raise

    def _greet(self, sock: socket.SocketType, peer: tuple[str, int], announced: ProxyHeader | None) -> None:
        """Hear what a client says before anybody is chosen for it."""
        loop = self._loop
        self.counters.open += 1
        loop.accepted += 1
        under_way = self.under_way
        if len(under_way) >= self.max_handshakes:
            slowest = next((greeting for greeting in under_way if greeting.waits_for_peer), None)
            if slowest is not None:
                slowest.crowded_out()
        greeting = Greeting(loop, self, sock, peer, announced)
        try:
            greeting.start()
        except OSError:                                         # the kernel has no room in the epoll set
            sock.close()
            self._left(peer[0], 0, 0)
            raise
        under_way[greeting] = None

    def hand_over(self, greeting: Greeting, stream: Stream, factory: Any) -> None:
        """A greeting is over: a protocol of `factory` takes its stream."""
        self.under_way.pop(greeting, None)
        stream.on_lost = self._lost
        try:
            protocol = _protocol(factory, stream)
        except BaseException:
            stream.discard()
            self._left(stream.peer[0], 0, 0)
            raise
        if protocol is None:                                    # the factory wants no more connections
            stream.discard()
            self._left(stream.peer[0], 0, 0)
            return
        try:
            stream.open(protocol)
        except OSError:                                         # the kernel has no room in the epoll set
            self._left(stream.peer[0], 0, 0)
            raise

    def turned(self, greeting: Greeting, turned: Turned) -> None:
        """A greeting is over, and nothing came of it."""
        self.under_way.pop(greeting, None)
        self._left(turned.peer[0], turned.bytes_in, turned.bytes_out)
        if self.on_turned is not None:
            self.on_turned(turned)

    def _lost(self, stream: Stream) -> None:
        self._left(stream.peer[0], *stream.carried())

    def _left(self, source: str, bytes_in: int, bytes_out: int) -> None:
        counters = self.counters
        counters.open -= 1
        counters.bytes_in += bytes_in
        counters.bytes_out += bytes_out
        loop = self._loop
        loop.accepted -= 1
        loop.sources.leave(source)
        if loop.waiting_listeners:
            loop.room_again()

    def _wait_in_line(self) -> None:
        """The loop has handshakes enough to do: look again in a turn."""
        self._unwatch()
        self._loop.soon(self._go_on)

    def _go_on(self) -> None:
        if self._stopped or self._retry is not None or self in self._loop.waiting_listeners:
            return
        if len(self._loop.handshakes) > MAX_HANDSHAKES_IN_LINE:
            self._loop.soon(self._go_on)
        else:
            self._watch()

    def _pause(self, error: OSError) -> None:
        """Accepting failed, and would again: the event stays, and without a pause we would spin on it."""
        if error.errno in NO_ROOM:
            self.counters.paused_fds += 1
        if not self._starved:
            self._starved = True
            self._log.error(
                "{listener!r} stops accepting, and tries again every {pause} s: {error}",
                listener=self, pause=FD_PAUSE_S, error=error,
            )
        self._unwatch()
        self._retry = self._loop.clock.callLater(FD_PAUSE_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._watch()


classImplements(Listener, IListeningPort)


def _protocol(factory: Any, stream: Stream) -> Any:
    """Built by `factory` for a stream; one that has `serve` is spared Twisted's address object, whose parts are validated."""
    serve = getattr(factory, "serve", None)
    return factory.buildProtocol(stream.getPeer()) if serve is None else serve(stream.peer)


@implementer(IStreamServerEndpoint)
class StreamServerEndpoint:
    """`IStreamServerEndpoint` over our loop, for any Twisted protocol factory; arguments as for `listening_socket`."""

    def __init__(
        self, loop: Loop, address: str | None, port: int, *, freebind: bool = False, reuse_port: bool = False,
    ) -> None:
        self._loop = loop
        self._address = address
        self._port = port
        self._freebind = freebind
        self._reuse_port = reuse_port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind and listen; the Deferred has already fired, with the port or with a `CannotListenError`."""
        try:
            sock = listening_socket(self._address, self._port, freebind=self._freebind, reuse_port=self._reuse_port)
        except CannotListen as error:
            return fail(CannotListenError(self._address, self._port, error))
        listener = Listener(self._loop, sock, protocolFactory)
        listener.startListening()
        return succeed(listener)
