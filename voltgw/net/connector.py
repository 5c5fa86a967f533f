"""Connecting: `dial` for the data plane (no Deferred), `StreamClientEndpoint` for Twisted code."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, ConnectingCancelledError, NoProtocol, TimeoutError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from voltgw.errors import ConnectFailed, ConnectTimeout, Exhausted, TlsFailed
from voltgw.net.deadlines import NO_SLOT
from voltgw.net.sockets import NO_ROOM, address_of, connecting_socket, plain_address, where
from voltgw.net.stream import Stream
from voltgw.net.tls.handshakes import Shaking
from voltgw.net.tls.stream import TlsStream
from voltgw.values.defaults import TLS_HANDSHAKE_TIMEOUT_S
from voltgw.values.network import HOST, Network

if TYPE_CHECKING:
    from voltgw.net.loop import Loop
    from voltgw.net.tls.engine import ClientContext, TlsConnection
    from voltgw.net.tuning import SocketOption
    from voltgw.values.tls import Handshake

Failed = Callable[[ConnectFailed], None]
#: What comes with EPOLLOUT when a connection could not be made.
_BAD: Final = EPOLLERR | EPOLLHUP


def dial(
    loop: Loop, address: str, port: int, protocol: Any, timeout_s: float, failed: Failed,
    source: tuple[str, int] | None = None, tls: tuple[ClientContext, str] | None = None,
    options: Iterable[SocketOption] = (), first: bytes = b"", network: Network = HOST,
) -> Dial:
    """Connect `protocol` to an IP address; `protocol.makeConnection` or `failed(error)` is called later, exactly once.

    `source` is a local (address, port) to bind first; port 0 leaves the choice to the kernel. `Dial.cancel()` ends it
    without either call. `Exhausted` is a want of descriptors or memory. `timeout_s` is kept to the next edge of the loop's
    sweep (`voltgw.net.deadlines.TICK_S`).

    The connection is made in `network`, and from its source address where `source` is not given.

    `address` may also be the path of a Unix socket. `options` are set before the SYN, see `connecting_socket`.

    `first` (at most a few KiB) is sent when the endpoint has accepted, before TLS begins: a PROXY header.

    With `tls`, a context and the server's name ("" = none), the protocol is connected when the handshake is done, on a
    `TlsStream`; for it there are `TLS_HANDSHAKE_TIMEOUT_S` more. `failed` hears of a handshake that failed by `TlsFailed`.
    """
    started = Dial(loop, address, port, protocol, timeout_s, failed, tls, first)
    started.start(source, options, network)
    return started


class Dial:
    """One connection attempt under way."""

    __slots__ = ("_address", "_error", "_failed", "_first", "_local", "_loop", "_port", "_protocol", "_said",
                 "_shaking", "_sock",
                 "_timeout_s", "_tls", "deadline", "deadline_slot")

    def __init__(
        self, loop: Loop, address: str, port: int, protocol: Any, timeout_s: float, failed: Failed,
        tls: tuple[ClientContext, str] | None = None, first: bytes = b"",
    ) -> None:
        self._first = first
        self._loop = loop
        self._address = address
        self._port = port
        self._protocol = protocol
        self._timeout_s = timeout_s
        self._failed: Failed | None = failed
        self._sock: socket.SocketType | None = None
        self._tls = tls
        self._local: tuple[str, int] | None = None
        self._shaking: Shaking | None = None
        self._said = ""                     # what is said of it, "" = what is said of any
        self._error = 0                     # why it could not even be begun (errno)
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT

    def __repr__(self) -> str:
        return f"<Dial {where(self._address, self._port)}>"

    def start(
        self, source: tuple[str, int] | None, options: Iterable[SocketOption] = (), network: Network = HOST,
    ) -> None:
        """Send the SYN."""
        loop = self._loop
        if loop.stopped:
            self._fail_soon(errno.ECANCELED)
            return
        try:
            sock, status = connecting_socket(self._address, self._port, source, options, network)
        except ValueError:
            self._fail_soon(errno.EINVAL)
            return
        except OSError as error:
            if network.apart:
                self._said = f"{where(self._address, self._port)}: network {network}: {error.strerror}"
            self._fail_soon(error.errno or errno.EIO)
            return
        if status not in (0, errno.EINPROGRESS):
            sock.close()
            self._fail_soon(status)
            return
        try:
            loop.watch(sock.fileno(), EPOLLOUT, self._ready)
        except OSError as error:            # the kernel has no room in the epoll set
            sock.close()
            self._fail_soon(error.errno or errno.EIO)
            return
        self._sock = sock
        self.deadline = loop.monotonic() + self._timeout_s
        loop.deadlines.schedule(self)

    def cancel(self) -> None:
        """Give up without telling anybody."""
        self._failed = None
        self.deadline = 0.0
        self._loop.deadlines.forget(self)
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.forget(sock.fileno())
            self._loop.bury(sock)
        shaking, self._shaking = self._shaking, None
        if shaking is not None:
            shaking.cancel()

    def shut(self) -> None:
        """The loop stops."""
        self._fail(_refused(self._address, self._port, errno.ECANCELED))

    def expired(self, now: float) -> None:
        """No answer in time."""
        self._fail(ConnectTimeout(f"{where(self._address, self._port)} did not answer within {self._timeout_s:g} s"))

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None or not events & (EPOLLOUT | _BAD):
            return                          # it was meant for another one that had our number (`Loop.leave`)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & _BAD else 0
        if error:
            self._fail(_refused(self._address, self._port, error))
            return
        peer = (self._address, self._port)
        local = plain_address(sock.getsockname())
        if local == peer:
            # Nobody listens, and the kernel happened to choose the target itself as our own port: TCP then connects to
            # itself (RFC 9293 3.5, simultaneous open), and an echo of ourselves would pass for an endpoint.
            self._fail(_refused(self._address, self._port, errno.ECONNREFUSED))
            return
        if self._first:
            try:
                sent = sock.send(self._first)
            except OSError as failed_to_send:
                self._fail(_refused(self._address, self._port, failed_to_send.errno or errno.EIO))
                return
            if sent != len(self._first):    # an empty send buffer takes more than any header
                self._fail(_refused(self._address, self._port, errno.ENOBUFS))
                return
        self._sock = None
        self.deadline = 0.0
        self._loop.deadlines.forget(self)
        if self._tls is not None:
            self._loop.forget(sock.fileno())
            self._shake(sock, local, self._tls)
            return
        self._failed = None
        self._loop.change(sock.fileno(), EPOLLIN)       # the stream stays where we were: one word to the kernel instead of two
        Stream(self._loop, sock, peer, local).inherit().open(self._protocol)

    # -- TLS -------------------------------------------------------------------------------------------------------

    def _shake(self, sock: socket.SocketType, local: tuple[str, int], tls: tuple[ClientContext, str]) -> None:
        self._local = local
        context, server_name = tls
        try:
            connection = context.connect(sock, server_name, (self._address, self._port))
        except OSError as error:
            sock.close()
            self._no_handshake(error)
            return
        deadline = self._loop.monotonic() + TLS_HANDSHAKE_TIMEOUT_S
        self._shaking = shaking = Shaking(self._loop, connection, deadline, self._shaken, self._no_handshake)
        try:
            shaking.start(EPOLLOUT)         # the hello goes out in the turn that has room for it
        except OSError as error:            # the kernel has no room in the epoll set
            self._no_handshake(error)

    def _shaken(self, connection: TlsConnection, handshake: Handshake) -> None:
        shaking, self._shaking = self._shaking, None
        self._failed = None
        stream = TlsStream(self._loop, connection, handshake, (self._address, self._port), self._local)
        if shaking is not None:
            stream.handshake_s = self._loop.monotonic() - shaking.began
        stream.inherit().open(self._protocol)

    def _no_handshake(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if error.errno == errno.ECONNRESET:
            reason = "the endpoint closed during the handshake"
        self._fail(TlsFailed(f"{where(self._address, self._port)}: {reason}"))

    def _fail_soon(self, error: int) -> None:
        self._error = error
        self._loop.soon(self._fail_now)

    def _fail_now(self) -> None:
        error = _refused(self._address, self._port, self._error)
        if self._said:
            error.args = (self._said,)
        self._fail(error)

    def _fail(self, error: ConnectFailed) -> None:
        failed = self._failed
        self.cancel()
        if failed is not None:
            failed(error)


def _refused(address: str, port: int, status: int) -> ConnectFailed:
    kind = Exhausted if status in NO_ROOM or status == errno.ENOSPC else ConnectFailed   # ENOSPC: epoll_ctl(2)
    error = kind(f"{where(address, port)}: {os.strerror(status)}")
    error.errno = status
    return error


@implementer(IStreamClientEndpoint)
class StreamClientEndpoint:
    """`IStreamClientEndpoint` over our loop, for any Twisted protocol factory. `host` is an IP address."""

    def __init__(self, loop: Loop, host: str, port: int, timeout_s: float = 30.0) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect; the Deferred gives the protocol once `makeConnection` was called, or a `ConnectError`."""
        if self._loop.stopped:
            return fail(ConnectError(string="the loop has stopped"))
        attempt = _Attempt(protocolFactory, self._host, self._port)
        attempt.dial = dial(self._loop, self._host, self._port, attempt, self._timeout_s, attempt.failed)
        return attempt.done


class _Attempt:
    """Stands in for the protocol until there is a connection to build it for."""

    dial: Dial

    def __init__(self, factory: IProtocolFactory, host: str, port: int) -> None:
        self.done: Deferred[Any] = Deferred(self._cancel)
        self._factory = factory
        self._peer = (host, port)
        factory.doStart()

    def makeConnection(self, transport: Stream) -> None:
        """Hand over to the real protocol."""
        transport.on_lost = self._ended
        try:
            protocol = self._factory.buildProtocol(transport.getPeer())
            if protocol is None:
                raise NoProtocol()
            transport.protocol = protocol
            protocol.makeConnection(transport)
        except BaseException:
            transport.abortConnection()
            self.done.errback()
        else:
            self.done.callback(protocol)

    def dataReceived(self, data: bytes) -> None:
        """Nothing comes before `makeConnection`, and afterwards the stream has another protocol."""
        raise AssertionError("data before makeConnection")

    def connectionLost(self, reason: Any) -> None:
        """There was a connection, but no protocol for it."""

    def failed(self, error: ConnectFailed) -> None:
        """There is no connection."""
        self._factory.doStop()
        kind = TimeoutError if isinstance(error, ConnectTimeout) else ConnectError
        self.done.errback(kind(string=str(error)))

    def _cancel(self, done: Deferred[Any]) -> None:
        self.dial.cancel()
        self._factory.doStop()
        done.errback(ConnectingCancelledError(address_of(self._peer)))

    def _ended(self, stream: Stream) -> None:
        self._factory.doStop()
