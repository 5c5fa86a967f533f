"""Python's own ssl module as a TLS engine, for systems without libssl.so.3: what it lacks, `Capability` names."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import TlsRefused
from voltgw.net.tls.engine import Capability, TlsBroken, Want
from voltgw.net.tls.peers import refusal
from voltgw.values.tls import ClientAuth, ClientTls, Handshake, KeyPair, PeerRules, ServerTls, SniSource, Version
from voltgw.wire.fingerprints import fingerprints

if TYPE_CHECKING:
    from voltgw.net.tls.tickets import TicketKeys
    from voltgw.wire.clienthello import ClientHello

_VERSIONS: Final = {
    Version.TLS_1_0: ssl.TLSVersion.TLSv1, Version.TLS_1_1: ssl.TLSVersion.TLSv1_1,
    Version.TLS_1_2: ssl.TLSVersion.TLSv1_2, Version.TLS_1_3: ssl.TLSVersion.TLSv1_3,
}
#: Its name is ssl.OP_IGNORE_UNEXPECTED_EOF, where the module was built with OpenSSL 3.
_IGNORE_UNEXPECTED_EOF: Final = 1 << 7
_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class _Socket(ssl.SSLSocket):
    """An SSLSocket that stays one when our half of the connection is shut down; the module's own forgets TLS then."""

    def shutdown(self, how: int) -> None:
        """Send FIN."""
        socket.socket.shutdown(self, how)


class Stdlib:
    """The engine; see `Engine`."""

    def __init__(self) -> None:
        self.name = f"Python's ssl module ({ssl.OPENSSL_VERSION})"
        self.capabilities: frozenset[Capability] = frozenset()

    def server(self, config: ServerTls, keys: TicketKeys | None) -> StdlibServer:
        """A server's context; its tickets are encrypted under keys of its own whatever is asked for."""
        return StdlibServer(config)

    def client(self, config: ClientTls) -> StdlibClient:
        """A client's context."""
        return StdlibClient(config)


class StdlibServer:
    """A `ServerContext`. Each has ticket keys of its own, so that no session is resumed at another."""

    def __init__(self, config: ServerTls) -> None:
        self.config = config
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if not config.certificates:
            raise TlsRefused("a TLS server needs a certificate")
        _versions(context, config)
        for pair in config.certificates:
            _certificate(context, pair)
        if config.alpn:
            context.set_alpn_protocols([name.decode("ascii") for name in config.alpn])
        context.num_tickets = 1
        if config.client_auth is not ClientAuth.NONE:
            if config.peer.ca is None:
                raise TlsRefused("client certificates need a trusted CA to be judged by")
            _trust(context, config.peer)
            required = config.client_auth is ClientAuth.REQUIRED
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL

    def accept(self, sock: socket.SocketType, hello: ClientHello | None = None, first: bytes = b"") -> StdlibConnection:
        """TLS on an accepted socket; what was read from it already cannot be put back."""
        if first:
            raise TlsBroken("this TLS library cannot take a connection over that somebody has read from")
        bound = self.context.wrap_socket(           # it asks nothing of it that C's class has not
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False)      # type: ignore[arg-type]
        return StdlibConnection(bound, self.config.peer, hello, None, bool(self.config.client_auth is not ClientAuth.NONE))


class StdlibClient:
    """A `ClientContext`; it keeps no sessions."""

    def __init__(self, config: ClientTls) -> None:
        self.config = config
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _versions(context, config)
        context.check_hostname = False      # ours is by service-identity, after the handshake
        if config.certificate is not None:
            _certificate(context, config.certificate)
        if config.alpn:
            context.set_alpn_protocols([name.decode("ascii") for name in config.alpn])
        if config.verify:
            _trust(context, config.peer)
        else:
            context.verify_mode = ssl.CERT_NONE

    def connect(self, sock: socket.SocketType, server_name: str, endpoint: tuple[str, int]) -> StdlibConnection:
        """TLS on a connected socket."""
        name = "" if self.config.sni is SniSource.NONE else server_name.rstrip(".")
        plain = not name or ":" in name or name.replace(".", "").isdigit()
        bound = self.context.wrap_socket(
            sock, do_handshake_on_connect=False, suppress_ragged_eofs=False,    # type: ignore[arg-type]  # as above
            server_hostname=None if plain else name)
        return StdlibConnection(bound, self.config.peer, None, server_name, True, self.config.verify)


class StdlibConnection:
    """A `TlsConnection` on an SSLSocket, which takes the place of the socket."""

    __slots__ = ("_asks", "_hello", "_rules", "_server_name", "_verify", "sock")

    def __init__(
        self, sock: ssl.SSLSocket, rules: PeerRules, hello: ClientHello | None, server_name: str | None, asks: bool,
        verify: bool = True,
    ) -> None:
        self.sock: Any = sock               # an SSLSocket; its `pending` and `version` are no methods of a socket
        self._rules = rules
        self._hello = hello
        self._server_name = server_name     # None: the peer is a client
        self._asks = asks
        self._verify = verify

    def handshake(self) -> Want:
        """Go on with the handshake."""
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return Want.READ
        except ssl.SSLWantWriteError:
            return Want.WRITE
        except OSError as error:
            raise _broken(error) from error
        return Want.NOTHING

    def described(self) -> Handshake:
        """What the finished handshake says."""
        sock, hello = self.sock, self._hello
        leaf = sock.getpeercert(True) if self._asks else None
        if leaf is not None:
            why = refusal(leaf, self._rules, self._server_name if self._verify else None)
            if why:
                raise TlsBroken(why)
        suite = (sock.cipher() or ("",))[0]
        return Handshake(
            sock.version() or "", _standard_name(suite), (sock.selected_alpn_protocol() or "").encode("ascii"),
            self._server_name or "" if hello is None else hello.sni, () if leaf is None else (leaf,), bool(sock.session_reused),
            *(("", "") if hello is None else fingerprints(hello)),
        )

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        try:
            data: bytes = self.sock.recv(size)
            while len(data) < size and self.sock.pending():
                data += self.sock.recv(size - len(data))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError(errno.EAGAIN, "no TLS data yet") from None
        except ssl.SSLZeroReturnError:
            return b""
        except OSError as error:
            raise _broken(error) from error
        return data

    def write(self, data: bytes | memoryview) -> int:
        """How many bytes were taken."""
        try:
            return int(self.sock.send(data)) if data else 0
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError(errno.EAGAIN, "the kernel has no room") from None
        except OSError as error:
            raise _broken(error) from error

    def pending(self) -> bool:
        """Whether bytes wait inside."""
        return bool(self.sock.pending())

    def close_notify(self) -> bool:
        """Send our close_notify; the module then waits for the peer's, which we do not."""
        try:
            self.sock._sslobj.shutdown()    # SSLSocket.unwrap would, once it has both, take TLS away
        except ssl.SSLWantWriteError:
            return False
        except (ssl.SSLError, OSError):
            pass                            # "want read", and the peer's own ways to be gone: ours has been sent
        return True

    def carried(self) -> tuple[int, int]:
        """It does not say."""
        return 0, 0

    def free(self) -> None:
        """The SSL object goes with the socket."""


def _versions(context: ssl.SSLContext, config: ServerTls | ClientTls) -> None:
    context.sslsocket_class = _Socket
    context.minimum_version = _VERSIONS[config.minimum]
    context.maximum_version = _VERSIONS[config.maximum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options &= ~_IGNORE_UNEXPECTED_EOF      # which the module sets: a connection cut short would pass for a clean end
    if config.minimum in (Version.TLS_1_2, Version.TLS_1_3):
        context.set_ciphers(_SUITES)
    else:
        context.set_ciphers(f"{_SUITES}:ECDHE+AES:@SECLEVEL=0")


def _certificate(context: ssl.SSLContext, pair: KeyPair) -> None:
    """The module reads only files: these exist in memory, and for as long as that takes."""
    chain, key = os.memfd_create("chain"), os.memfd_create("key")
    try:
        os.write(chain, pair.chain)
        os.write(key, pair.key)
        context.load_cert_chain(f"/proc/self/fd/{chain}", f"/proc/self/fd/{key}", password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsRefused(f"the certificate and its key: {_broken(error).strerror}") from error
    finally:
        os.close(chain)
        os.close(key)


def _trust(context: ssl.SSLContext, rules: PeerRules) -> None:
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        if rules.ca is None:
            context.set_default_verify_paths()
        else:
            context.load_verify_locations(cadata=rules.ca.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise TlsRefused(f"the trusted CA: {_broken(error).strerror}") from error


def _broken(error: Exception) -> TlsBroken:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsBroken(error.verify_message)
    if isinstance(error, ssl.SSLEOFError) or isinstance(error, ssl.SSLError) and error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return TlsBroken("closed without close_notify", errno.ECONNRESET)
    if isinstance(error, ssl.SSLError):
        return TlsBroken((error.reason or str(error)).replace("_", " ").lower())
    if isinstance(error, OSError) and error.errno:
        return TlsBroken(os.strerror(error.errno), error.errno)
    return TlsBroken(str(error))


def _standard_name(name: str) -> str:
    """IANA's name of the suites that `_SUITES` allows; others keep OpenSSL's."""
    if not name.startswith("ECDHE-"):
        return name
    exchange, _, rest = name.removeprefix("ECDHE-").partition("-")
    if rest == "CHACHA20-POLY1305":
        rest += "-SHA256"
    return f"TLS_ECDHE_{exchange}_WITH_" + rest.replace("AES128", "AES_128").replace("AES256", "AES_256").replace("-", "_")
