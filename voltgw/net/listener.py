"""Accepting connections: bounded per turn, stopped at the connection limit and when descriptors run out."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from select import EPOLLIN
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.net.sockets import CannotListen, address_of, listening_socket, plain_address, where
from voltgw.net.stream import Stream
from voltgw.values.counters import ListenerCounters

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address

    from voltgw.net.loop import Loop

#: Connections accepted in one turn; the rest wait in the backlog while others get their turn.
ACCEPTS_PER_TURN: Final = 64
#: How long accepting stops when the process or the host has no descriptor or memory left for a connection.
FD_PAUSE_S: Final = 0.5
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
#: accept(2): errors of the *new* connection, which is gone already; the next one may be fine.
_ITS_OWN_FAULT: Final = frozenset((
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EINTR,
))
_EVERYWHERE: Final = frozenset(("0.0.0.0", "::"))


@implementer(IListeningPort)
class Listener:
    """A listening socket on the loop; every accepted stream gets a protocol from `factory`.

    It owns `sock` (of `listening_socket` or `adopt`). `limit` bounds the streams of this listener, the loop's own limit
    those of all; at either, accepting pauses and clients wait in the backlog (they are not refused), until a stream
    ends. Call `room_again` after raising a limit. `counters.bytes_in` and `bytes_out` grow when a stream *ends*, by all
    that it carried: a count per read would cost every request what a scrape can do without.
    """

    _log = Logger()

    def __init__(
        self, loop: Loop, sock: socket.socket, factory: IProtocolFactory, *,
        counters: ListenerCounters | None = None, limit: int = 1 << 30,
    ) -> None:
        self.counters = counters if counters is not None else ListenerCounters()
        self.factory = factory
        self.limit = limit
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._accept: Callable[[], tuple[int, Any]] = sock._accept   # type: ignore[attr-defined]
        # socket.accept() would wrap and re-examine every socket (three system calls); the raw call is accept4(2)
        self._family = sock.family
        self._address = plain_address(sock.getsockname())
        self._local = None if self._address[0] in _EVERYWHERE else self._address    # what each stream's own address is
        self._watched = False
        self._stopped = False
        self._starved = False               # no descriptor was left, and none was accepted since
        self._retry: Any = None             # the timer of a pause for want of descriptors

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

    def getHost(self) -> IPv4Address | IPv6Address:
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
        for _ in range(ACCEPTS_PER_TURN):
            if counters.open >= self.limit or loop.accepted >= loop.open_limit:
                self._unwatch()
                loop.waiting_listeners.add(self)
                counters.paused_limit += 1
                return
            try:
                fd, sockaddr = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _ITS_OWN_FAULT:
                    continue
                self._pause(error)
                return
            sock = socket.socket(self._family, socket.SOCK_STREAM, 0, fileno=fd)
            sock.setblocking(False)
            self._starved = False
            self._open(sock, sockaddr)
            if self._stopped:
                return

    def _open(self, sock: socket.socket, sockaddr: Any) -> None:
        counters = self.counters
        counters.accepted += 1
        loop = self._loop
        peer = plain_address(sockaddr)
        sources = loop.sources
        if not sources.enter(peer[0]):
            counters.refused_source += 1
            sock.close()
            return
        stream = Stream(loop, sock, peer, self._local)
        try:
            protocol = self.factory.buildProtocol(stream.getPeer())
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

    def _lost(self, stream: Stream) -> None:
        counters = self.counters
        counters.open -= 1
        counters.bytes_in += stream.bytes_in
        counters.bytes_out += stream.bytes_out
        loop = self._loop
        loop.accepted -= 1
        loop.sources.leave(stream.peer[0])
        if loop.waiting_listeners:
            loop.room_again()

    def _pause(self, error: OSError) -> None:
        """Accepting failed, and would again: the event stays, and without a pause we would spin on it."""
        if error.errno in _NO_ROOM:
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
