"""The system's OpenSSL 3 as our TLS engine: it can do all that `Capability` lists.

Callbacks into Python exist once per engine and find their connection by the address of its SSL object. All of them run
inside a call of ours on the loop's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.logger import Logger

from voltgw.errors import TlsRefused
from voltgw.net.tls import libssl
from voltgw.net.tls.connection import Calls, OpenSslConnection
from voltgw.net.tls.engine import Capability
from voltgw.net.tls.libssl import Library, load
from voltgw.net.tls.peers import refusal
from voltgw.net.tls.setup import Setup
from voltgw.net.tls.tickets import NAME_BYTES
from voltgw.values.defaults import TLS_SESSION_LIFETIME_S
from voltgw.values.tls import ClientAuth, ClientTls, ServerTls, SniSource, Version

if TYPE_CHECKING:
    import socket

    from voltgw.net.tls.tickets import TicketKey, TicketKeys
    from voltgw.wire.clienthello import ClientHello

#: Tickets after a TLS 1.3 handshake. Each is used once; a browser opens one connection at a time to an HTTP/2 host.
TICKETS: Final = 1
#: Endpoints and names whose sessions one client context keeps; those not used for longest are forgotten.
MAX_SESSION_PLACES: Final = 1024
#: Offers of ALPN whose answer a context remembers; clients differ little.
MAX_ANSWERS: Final = 64
_IV_BYTES: Final = 16
_OSSL_UTF8: Final = 4
_OSSL_OCTETS: Final = 5


class OpenSsl:
    """The engine; see `Engine`. One per process is enough (`voltgw.net.tls.context`)."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, library: Library) -> None:
        self.library = library
        self.name = f"OpenSSL {library.version} of the system"
        self.capabilities = frozenset(Capability)
        self.calls = Calls(library)
        self.live = self.calls.live
        self.select_protocol = self._callback(
            "int(SSL *, const unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)",
            self._select_protocol, libssl.EXT_ALERT_FATAL)
        self.verify = self._callback("int(X509_STORE_CTX *, void *)", self._verify, 0)
        self.ticket_key = self._callback(
            "int(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int)", self._ticket_key, -1)
        self.staple = self._callback("int(SSL *, void *)", self._staple, libssl.EXT_NOACK)
        self.keep_session = self._callback("int(SSL *, SSL_SESSION *)", self._keep_session, 0)

    def server(self, config: ServerTls, keys: TicketKeys | None) -> OpenSslServer:
        """A server's context."""
        return OpenSslServer(self, config, keys)

    def client(self, config: ClientTls) -> OpenSslClient:
        """A client's context."""
        return OpenSslClient(self, config)

    def der(self, certificate: Any) -> bytes:
        """A certificate as DER."""
        ffi, crypto = self.library.ffi, self.library.crypto
        size = crypto.i2d_X509(certificate, ffi.NULL)
        room = ffi.new("unsigned char[]", size)
        crypto.i2d_X509(certificate, ffi.new("unsigned char **", room))
        der: bytes = ffi.buffer(room, size)[:]
        return der

    def version(self, number: int, ssl: Any) -> str:
        """What OpenSSL calls the version of a connection, for `Calls.versions`."""
        text = self.calls.versions[number] = self.library.text(self.library.ssl.SSL_get_version(ssl))
        return text

    def suite(self, cipher: Any) -> str:
        """IANA's name of a suite, for `Calls.suites`."""
        text = self.calls.suites[cipher] = self.library.text(self.library.ssl.SSL_CIPHER_standard_name(cipher))
        return text

    # -- callbacks ---------------------------------------------------------------------------------------------------------

    def _callback(self, declared: str, function: Callable[..., int], failed: int) -> Any:
        """A C function that calls ours; when ours raises, which is a bug, it is logged and gives `failed`."""
        return self.library.ffi.callback(declared, function, error=failed, onerror=self._crashed)

    def _crashed(self, kind: type[BaseException], value: BaseException, traceback: Any) -> None:
        self._log.error("a TLS callback failed: {error!r}", error=value)

    def _of(self, ssl: Any) -> OpenSslConnection:
        return self.live[ssl]

    def _select_protocol(self, ssl: Any, out: Any, out_size: Any, offered: Any, size: int, arg: Any) -> int:
        """RFC 7301 3.2: the first of ours that the client offers; none in common ends the handshake."""
        connection = self.live[ssl]
        context = connection.context
        offer: bytes = self.library.ffi.buffer(offered, size)[:]
        chosen = context.answers.get(offer)
        if chosen is not None:
            out[0] = offered + chosen[0]
            out_size[0] = chosen[1]
            return libssl.EXT_OK
        at = 0
        names = {}
        while at < size:
            end = at + 1 + offer[at]
            names[offer[at + 1:end]] = at + 1
            at = end
        for name in context.config.alpn:
            if name in names:
                if len(context.answers) < MAX_ANSWERS:
                    context.answers[offer] = names[name], len(name)
                out[0] = offered + names[name]
                out_size[0] = len(name)
                return libssl.EXT_OK
        connection.refusal = f"the client offers only {', '.join(name.decode('ascii', 'replace') for name in names)}"
        return libssl.EXT_ALERT_FATAL

    def _verify(self, store: Any, arg: Any) -> int:
        """The peer has sent its certificates."""
        lib, crypto, ffi = self.library.ssl, self.library.crypto, self.library.ffi
        ssl = crypto.X509_STORE_CTX_get_ex_data(store, lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        connection = self._of(ffi.cast("SSL *", ssl))
        context = connection.context
        if context.verify_chain:
            if crypto.X509_verify_cert(store) <= 0:
                return 0
            chain = crypto.X509_STORE_CTX_get0_chain(store)
            for n in range(1, crypto.OPENSSL_sk_num(chain)):
                if context.revoked(ffi.cast("X509 *", crypto.OPENSSL_sk_value(chain, n))):
                    crypto.X509_STORE_CTX_set_error(store, libssl.V_ERR_CERT_REVOKED)
                    return 0
        else:
            crypto.X509_STORE_CTX_set_error(store, libssl.V_OK)
        leaf = self.der(crypto.X509_STORE_CTX_get0_cert(store))
        connection.refusal = refusal(leaf, context.rules, context.name_of(connection))
        if connection.refusal:
            crypto.X509_STORE_CTX_set_error(store, libssl.V_ERR_APPLICATION)
            return 0
        return 1

    def _ticket_key(self, ssl: Any, name: Any, iv: Any, cipher: Any, mac: Any, encrypt: int) -> int:
        """RFC 5077 4: 1 = go on, 2 = and give the client a new ticket, 0 = a ticket of a key that we do not have."""
        ffi, crypto, lib = self.library.ffi, self.library.crypto, self.library.ssl
        context = self.live[ssl].context
        keys = context.keys
        assert keys is not None             # the callback is set only then
        if encrypt:
            key = keys.current
            ffi.buffer(name, NAME_BYTES)[:] = key.name
            if crypto.RAND_bytes(iv, _IV_BYTES) != 1:
                return -1
            answer = 1
        else:
            known = keys.find(ffi.buffer(name, NAME_BYTES)[:])
            if known is None:
                return 0
            key = known
            # In TLS 1.3 a ticket is used once, so each must bring its successor.
            answer = 1 if key is keys.current and lib.SSL_version(ssl) != Version.TLS_1_3.value else 2
        sealing = context.sealing
        if sealing is None or sealing.key is not key:
            sealing = context.sealing = Sealing(self.library, key)
        if not crypto.EVP_MAC_CTX_set_params(mac, sealing.parameters):
            return -1
        if not crypto.EVP_CipherInit_ex(cipher, sealing.cipher, ffi.NULL, key.cipher, iv, encrypt):
            return -1
        return answer

    def _staple(self, ssl: Any, arg: Any) -> int:
        """RFC 6066 8: the response for whichever of our certificates was chosen. OpenSSL frees the copy that it is given."""
        ffi, crypto, lib = self.library.ffi, self.library.crypto, self.library.ssl
        context = self._of(ssl).context
        response = context.staples.get(int(ffi.cast("uintptr_t", lib.SSL_get_certificate(ssl))))
        if response is None:
            return libssl.EXT_NOACK
        copy = crypto.CRYPTO_malloc(len(response), ffi.NULL, 0)
        if copy == ffi.NULL:
            return libssl.EXT_NOACK
        ffi.memmove(copy, response, len(response))
        lib.SSL_ctrl(ssl, libssl.CTRL_STATUS_REQ_OCSP_RESP, len(response), copy)
        return libssl.EXT_OK

    def _keep_session(self, ssl: Any, session: Any) -> int:
        """A session that can be resumed (with TLS 1.3 after the handshake); 1 = it is ours to free."""
        connection = self._of(ssl)
        return int(connection.context.keep(connection, session))


class Sealing:
    """A ticket key as OpenSSL wants it told, made once for many tickets."""

    __slots__ = ("_held", "cipher", "key", "parameters")

    def __init__(self, library: Library, key: TicketKey) -> None:
        ffi = library.ffi
        self.key = key
        self.cipher = library.crypto.EVP_aes_256_cbc()
        secret, digest = ffi.from_buffer(key.mac), ffi.new("char[]", b"SHA256")
        labels = ffi.new("char[]", b"key"), ffi.new("char[]", b"digest")
        self._held = secret, digest, labels     # the parameters only point to them
        self.parameters = ffi.new("OSSL_PARAM[3]")
        self.parameters[0] = (labels[0], _OSSL_OCTETS, ffi.cast("void *", secret), len(key.mac), 0)
        self.parameters[1] = (labels[1], _OSSL_UTF8, ffi.cast("void *", digest), 6, 0)


class Context:
    """What both sides' contexts share; `pointer` is the SSL_CTX, freed with this object."""

    __slots__ = ("_crls", "answers", "asks_certificate", "config", "engine", "keys", "pointer", "rules", "sealing", "staples",
                 "verify_chain")

    def __init__(self, engine: OpenSsl, config: ServerTls | ClientTls, setup: Setup) -> None:
        self.engine = engine
        self.config: Any = config
        self.rules = config.peer
        self.pointer = setup.pointer
        self.keys: TicketKeys | None = None
        self.sealing: Sealing | None = None         # the ticket key that was used last
        self.answers: dict[bytes, tuple[int, int]] = {}     # offers of ALPN that were seen: where ours begins, and its length
        self.staples = setup.staples
        self.verify_chain = True
        self.asks_certificate = True
        self._crls = setup.crls

    def revoked(self, certificate: Any) -> bool:
        """Whether one of our lists, of its issuer, names a certificate above the leaf (of which OpenSSL takes care)."""
        library = self.engine.library
        crypto, found = library.crypto, library.ffi.new("X509_REVOKED **")
        return any(
            crypto.X509_NAME_cmp(crypto.X509_CRL_get_issuer(crl), crypto.X509_get_issuer_name(certificate)) == 0
            and crypto.X509_CRL_get0_by_cert(crl, found, certificate) == 1
            for crl in self._crls)

    def name_of(self, connection: OpenSslConnection) -> str | None:
        """The name that the peer's certificate must have; None for a client's."""
        return None

    def keep(self, connection: OpenSslConnection, session: Any) -> bool:
        """Keep a session; whether it was taken."""
        return False


class OpenSslServer(Context):
    """A `ServerContext`."""

    __slots__ = ()

    def __init__(self, engine: OpenSsl, config: ServerTls, keys: TicketKeys | None) -> None:
        setup = Setup(engine.library, engine.library.ssl.TLS_server_method())
        super().__init__(engine, config, setup)
        if not config.certificates:
            raise TlsRefused("a TLS server needs a certificate")
        asks = config.client_auth is not ClientAuth.NONE
        if asks and config.peer.ca is None and not (config.peer.spki_pins or config.peer.hash_pins):
            raise TlsRefused("client certificates need a trusted CA or pins to be judged by")
        lib, library = engine.library.ssl, engine.library
        setup.versions(config.minimum, config.maximum)
        setup.suites(config.suites, config.minimum)
        setup.groups()
        for pair in config.certificates:
            setup.certificate(pair)
        setup.check(lib.SSL_CTX_set_session_id_context(self.pointer, session_scope(config), 32), "the session id context")
        lib.SSL_CTX_ctrl(self.pointer, libssl.CTRL_SESS_CACHE_MODE, libssl.SESS_CACHE_OFF, library.ffi.NULL)
        lib.SSL_CTX_set_num_tickets(self.pointer, TICKETS)
        lib.SSL_CTX_set_timeout(self.pointer, int(TLS_SESSION_LIFETIME_S))
        if keys is not None:
            self.keys = keys
            setup.check(lib.SSL_CTX_set_tlsext_ticket_key_evp_cb(self.pointer, engine.ticket_key), "the ticket keys")
        if config.alpn:
            lib.SSL_CTX_set_alpn_select_cb(self.pointer, engine.select_protocol, library.ffi.NULL)
        if setup.staples:
            lib.SSL_CTX_callback_ctrl(self.pointer, libssl.CTRL_STATUS_REQ_CB, library.ffi.cast("void *", engine.staple))
        self.asks_certificate = asks
        self.verify_chain = config.peer.ca is not None
        if asks:
            mode = libssl.VERIFY_PEER
            if config.client_auth is ClientAuth.REQUIRED:
                mode |= libssl.VERIFY_FAIL_IF_NO_PEER_CERT
            setup.trust(config.peer, announce=True)
            setup.verify(mode, engine.verify)

    def accept(self, sock: socket.SocketType, hello: ClientHello | None = None, first: bytes = b"") -> OpenSslConnection:
        """TLS on an accepted socket, from which `first` was read already."""
        connection = OpenSslConnection(self.engine.calls, self, sock, hello)
        if first:
            connection.feed(first)
        return connection


class OpenSslClient(Context):
    """A `ClientContext`, with the sessions that its endpoints have given us."""

    __slots__ = ("_sessions",)

    def __init__(self, engine: OpenSsl, config: ClientTls) -> None:
        setup = Setup(engine.library, engine.library.ssl.TLS_client_method())
        super().__init__(engine, config, setup)
        self._sessions: OrderedDict[tuple[str, tuple[str, int]], list[Any]] = OrderedDict()
        lib = engine.library.ssl
        setup.versions(config.minimum, config.maximum)
        setup.suites(config.suites, config.minimum)
        setup.groups()
        if config.certificate is not None:
            setup.certificate(config.certificate)
        if config.alpn:
            wire = b"".join(bytes((len(name),)) + name for name in config.alpn)
            if lib.SSL_CTX_set_alpn_protos(self.pointer, wire, len(wire)):      # 0 is success, here alone
                raise TlsRefused("the list of ALPN protocols is not acceptable")
        self.verify_chain = config.verify
        if config.verify:
            setup.trust(config.peer)
        setup.verify(libssl.VERIFY_PEER, engine.verify)     # without verification, `_verify` only looks at pins
        if config.sessions > 0:
            lib.SSL_CTX_ctrl(self.pointer, libssl.CTRL_SESS_CACHE_MODE,
                             libssl.SESS_CACHE_CLIENT | libssl.SESS_CACHE_NO_INTERNAL, engine.library.ffi.NULL)
            lib.SSL_CTX_sess_set_new_cb(self.pointer, engine.keep_session)
        else:
            lib.SSL_CTX_ctrl(self.pointer, libssl.CTRL_SESS_CACHE_MODE, libssl.SESS_CACHE_OFF, engine.library.ffi.NULL)

    def connect(self, sock: socket.SocketType, server_name: str, endpoint: tuple[str, int]) -> OpenSslConnection:
        """TLS on a connected socket."""
        connection = OpenSslConnection(self.engine.calls, self, sock, None, server_name, endpoint)
        sessions = self._sessions.get((server_name, endpoint))
        session = None
        if sessions:
            session = sessions[-1]
            if self.engine.library.ssl.SSL_SESSION_get_protocol_version(session) == Version.TLS_1_3.value:
                sessions.pop()              # its ticket is used once (RFC 8446 C.4); the server gives another
        # with `SniSource.NONE` the name is only verified
        connection.connect("" if self.config.sni is SniSource.NONE else sni_of(server_name), session)
        return connection

    def name_of(self, connection: OpenSslConnection) -> str | None:
        """The name of the endpoint, unless nothing is verified."""
        return connection.server_name if self.verify_chain else None

    def keep(self, connection: OpenSslConnection, session: Any) -> bool:
        """Keep a session for the next connection to the same endpoint by the same name."""
        library = self.engine.library
        if connection.refusal or not library.ssl.SSL_SESSION_is_resumable(session):
            return False
        place = (connection.server_name, connection.endpoint)
        sessions = self._sessions.setdefault(place, [])
        self._sessions.move_to_end(place)
        sessions.append(library.ffi.gc(session, library.ssl.SSL_SESSION_free))
        del sessions[:-self.config.sessions]
        if len(self._sessions) > MAX_SESSION_PLACES:
            self._sessions.popitem(last=False)
        return True


def session_scope(config: ServerTls) -> bytes:
    """The session id context: a session is resumed only where all that let its client in is the same."""
    rules = config.peer
    judged: tuple[object, ...] = (config.scope, config.client_auth, rules.ca, rules.crls, rules.names, rules.skip_name,
                                  rules.depth, rules.spki_pins, rules.hash_pins)
    return sha256(repr(judged).encode()).digest()


def sni_of(server_name: str) -> str:
    """What is asked for: an IP address is no name (RFC 6066 3)."""
    if ":" in server_name or server_name.replace(".", "").isdigit():
        return ""
    return server_name.rstrip(".")


def engine() -> OpenSsl | None:
    """The engine, if this system has the library."""
    library = load()
    return None if library is None else OpenSsl(library)
