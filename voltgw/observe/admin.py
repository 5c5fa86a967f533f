"""The admin interface and the monitor: the running gateway, for programs and for people.

`gateway.admin` is on an address or on a unix socket that only our user may open (0600), unless other users are named. Over TCP
every user of the machine can connect, so who shows nothing only gets answers to questions, and not even that at an address that
is not loopback; a token or a certificate says who may change something. `gateway.monitor` serves /ready, /live and /metrics,
and may be public.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from voltgw.net.inherited import TCP, Inherited, SocketKey
from voltgw.observe.callers import Callers
from voltgw.observe.contents import Page, Pages
from voltgw.observe.metrics import GatewayCollector
from voltgw.observe.places import Served
from voltgw.observe.site import AdminSite, BoundedFactory, Root
from voltgw.values.address import is_loopback

if TYPE_CHECKING:
    from voltgw.interfaces import GatewayView
    from voltgw.observe.access import AccessLog
    from voltgw.values.counters import RouteCounters

#: Longest name of a unix socket on Linux, without the NUL (unix(7)).
_MAX_UNIX_PATH: Final = 107
#: How long answers may take to end when the service stops.
_STOP_S: Final = 1.0


class ListensAt(Protocol):
    """Where the configuration wants a site: `unix` is a socket's path and goes before `address` and `port`."""

    @property
    def address(self) -> str:
        """An IP literal or ``localhost``."""

    @property
    def port(self) -> int:
        """0 = any that is free."""

    @property
    def unix(self) -> str | None:
        """An absolute path; None or "" = TCP."""


class GuardedAt(ListensAt, Protocol):
    """Where the admin interface is wanted, and for whom."""

    @property
    def names(self) -> Collection[str]:
        """Names that it is asked by, in lower case."""

    @property
    def tls(self) -> AdminTls | None:
        """Its certificate; None = plain HTTP."""

    def callers(self, now: Callable[[], float]) -> Callers:
        """Who may do what. Raises KeyError for a user that nobody is."""


class AdminTls(NamedTuple):
    """What it shows of itself, in PEM, and the CA of its clients; None = it asks for no certificate."""

    cert: bytes
    key: bytes
    client_ca: bytes | None


class GatewayConfig(Protocol):
    """The part of the `gateway` section that is read here; None = there is no such site."""

    @property
    def admin(self) -> GuardedAt | None:
        """The whole interface."""

    @property
    def monitor(self) -> ListensAt | None:
        """The part that may be public."""


class AdminAddressError(Exception):
    """The admin interface or the monitor cannot be where the configuration wants it; the message is for the operator."""


class AdminService(Service):
    """Serves `view`. `bind` opens what the configuration names, or nothing; `startService` does it if that was not done.

    `addresses` are the addresses that are bound, ``127.0.0.1:9901`` or a path.
    """

    name = "admin"
    _log = Logger()

    def __init__(
        self, view: GatewayView, config: GatewayConfig, reactor: Any, monotonic: Callable[[], float], *,
        access: AccessLog | None = None, unrouted: RouteCounters | None = None, wall: Callable[[], float] = lambda: 0.0,
        spare: Callable[[], AbstractContextManager[None]] = nullcontext, inherited: Inherited | None = None,
    ) -> None:
        """Connections are accepted inside `spare`, which lends descriptors that nobody else may take."""
        self._config = config
        self._reactor = reactor             # IReactorTCP, IReactorUNIX and IReactorTime
        self._monotonic = monotonic
        self._spare = spare
        self._inherited = Inherited() if inherited is None else inherited
        self._handed: list[tuple[SocketKey, IListeningPort]] = []
        self._collector = GatewayCollector(view, access, unrouted)
        self._pages = Pages(view, self._collector, wall)
        self._open: list[tuple[IListeningPort, BoundedFactory]] = []
        self._socket_path: str | None = None
        self.addresses: list[str] = []

    @property
    def access(self) -> AccessLog | None:
        """The access log whose numbers are shown; to be set when a reload has begun another one."""
        return self._collector.access

    @access.setter
    def access(self, access: AccessLog | None) -> None:
        self._collector.access = access

    def bind(self) -> None:
        """Open the ports. Raises AdminAddressError, and then nothing is open."""
        config = self._config
        try:
            if config.admin is not None:
                self._bind_admin(config.admin)
            if config.monitor is not None:
                self._listen_tcp("gateway.monitor", config.monitor, self._root(self._pages.monitor, guarded=False))
        except AdminAddressError:
            self._close()
            raise

    def startService(self) -> None:
        """Called by Twisted. Raises AdminAddressError."""
        if not self._open:
            self.bind()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Called by Twisted; the result comes when everything is closed."""
        super().stopService()
        return self._close()

    def handed(self) -> Iterator[tuple[SocketKey, int]]:
        """The TCP sockets, for a process that is to serve in our place; it opens a Unix socket anew."""
        for key, port in self._handed:
            yield key, port.fileno()        # type: ignore[attr-defined]  # a real port

    # -- inside ----------------------------------------------------------------------------------------------------

    def _bind_admin(self, at: GuardedAt) -> None:
        try:
            self._collector.callers = callers = at.callers(self._monotonic)
        except KeyError as error:
            raise AdminAddressError(f"gateway.admin.users: there is no user {error}") from None
        if at.unix:
            self._listen_unix(at.unix, self._root(self._pages.all, callers=callers), 0o600 if not callers.has_users else 0o666)
            return
        if not is_loopback(at.address) and (at.tls is None or not callers.has_credentials):
            raise AdminAddressError(
                f"gateway.admin: {at.address} is not a loopback address, and needs `tls`, and `tokens` or `clients`; "
                "or use 127.0.0.1, ::1 or {unix: PATH}, and gateway.monitor for /metrics on another address")
        scheme = b"http" if at.tls is None else b"https"
        root = self._root(self._pages.all, at.address.lower(), *at.names, callers=callers, scheme=scheme)
        self._listen_tcp("gateway.admin", at, root, at.tls)

    def _root(self, pages: Mapping[bytes, Page], *names: str, guarded: bool = True, callers: Callers | None = None,
              scheme: bytes = b"http") -> Root:
        return Root(pages, self._reactor, self._monotonic, names=names, guarded=guarded, scheme=scheme,
                    **({} if callers is None else {"callers": callers}))

    def _listen_tcp(self, key: str, at: ListensAt, root: Root, tls: AdminTls | None = None) -> None:
        factory = BoundedFactory(AdminSite(root, self._reactor))
        shown = f"[{at.address}]" if ":" in at.address else at.address
        try:
            name = SocketKey(key.rpartition(".")[2], TCP, at.address, at.port)
            known = self._inherited.take(name)
            if known is not None:
                with known:                 # the reactor has a descriptor of its own
                    port = self._reactor.adoptStreamPort(
                        known.fileno(), known.family,
                        factory if tls is None else TLSMemoryBIOFactory(_context(tls), False, factory))
            elif tls is None:
                port = self._reactor.listenTCP(at.port, factory, interface=at.address)
            else:
                port = self._reactor.listenSSL(at.port, factory, _context(tls), interface=at.address)
        except (CannotListenError, OSError) as error:
            why = getattr(error, "socketError", error)
            raise AdminAddressError(f"{key}: {shown}:{at.port} cannot be used: {_words(why)}") from error
        self._handed.append((name, port))
        host = port.getHost()               # of a name, the address that it has now: endpoints are compared with that
        self._pages.served.append(Served(key.rpartition(".")[2], "http" if tls is None else "https", host.host, host.port))
        self._opened(key, port, factory, f"[{host.host}]:{host.port}" if ":" in host.host else f"{host.host}:{host.port}")

    def _listen_unix(self, path: str, root: Root, mode: int) -> None:
        if len(os.fsencode(path)) > _MAX_UNIX_PATH:
            raise AdminAddressError(f"gateway.admin: {path} is longer than the {_MAX_UNIX_PATH} bytes that a socket's "
                                    "name may have")
        try:
            _clear(path)
            # Twisted sets the mode after bind(2); the mask makes it so from the first moment. It is put back at once.
            mask = os.umask(0o777 & ~mode)
            try:
                factory = BoundedFactory(AdminSite(root, self._reactor))
                port = self._reactor.listenUNIX(path, factory, mode=mode)
            finally:
                os.umask(mask)
        except (CannotListenError, OSError) as error:
            why = getattr(error, "socketError", error)
            raise AdminAddressError(f"gateway.admin: {path} cannot be used: {_words(why)}") from error
        self._socket_path = path
        self._pages.served.append(Served("admin", "http", "", 0, path))
        self._opened("gateway.admin", port, factory, path)

    def _opened(self, key: str, port: IListeningPort, factory: BoundedFactory, address: str) -> None:
        accept = getattr(port, "doRead", None)
        if accept is not None:              # a real port: what the reactor calls when somebody connects
            port.doRead = partial(self._accept, accept)     # type: ignore[attr-defined]
            # Closing it shall not shut the socket down, in which another process may listen: as for those that it adopts.
            port._shouldShutdown = False    # type: ignore[attr-defined]
        self._open.append((port, factory))
        self.addresses.append(address)
        self._log.info("{key} is at {address}", key=key, address=address)

    def _accept(self, accept: Callable[[], None]) -> None:
        with self._spare():
            accept()

    def _close(self) -> Deferred[Any]:
        ports, self._open = self._open, []
        self._handed.clear()
        self.addresses.clear()
        self._pages.served.clear()
        path, self._socket_path = self._socket_path, None
        if path is not None and not os.path.lexists(path):
            open(path, "wb").close()        # Twisted removes it, and would not go on without it
        waiting: list[Deferred[Any]] = []
        for port, factory in ports:
            stopped = port.stopListening()
            if stopped is not None:
                waiting.append(stopped)
            closed = factory.close()
            if not closed.called:
                late = self._reactor.callLater(_STOP_S, factory.abort)
                closed.addBoth(_cancel, late)
            waiting.append(closed)
        return DeferredList(waiting)


def _context(tls: AdminTls) -> CertificateOptions:
    """What Twisted's TLS takes. Raises AdminAddressError for a certificate that cannot be used."""
    try:
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, tls.key)
        leaf, *chain = (crypto.X509.from_cryptography(each) for each in x509.load_pem_x509_certificates(tls.cert))
        believed = [] if tls.client_ca is None else [
            crypto.X509.from_cryptography(each) for each in x509.load_pem_x509_certificates(tls.client_ca)]
        return CertificateOptions(
            privateKey=key, certificate=leaf, extraCertChain=chain, raiseMinimumTo=TLSVersion.TLSv1_2,
            verify=bool(believed), caCerts=believed or None, requireCertificate=False)
    except (crypto.Error, ValueError, SSL.Error) as error:
        raise AdminAddressError(f"gateway.admin.tls cannot be used: {error}") from error


def _cancel(result: None, call: IDelayedCall) -> None:
    if call.active():
        call.cancel()


def _clear(path: str) -> None:
    """Remove a socket that a process left behind when it died. Raises OSError if somebody still listens, or it is none."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "it is there already and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass                            # its backlog is full: somebody listens, if slowly
    raise OSError(errno.EADDRINUSE, "another process listens there")


def _words(error: object) -> str:
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            words = f"{words}; is another gateway running?"
        return words
    return str(error)
