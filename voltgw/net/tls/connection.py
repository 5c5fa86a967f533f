"""One TLS connection of the system's OpenSSL, reading and writing its socket itself."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from voltgw.net.tls.engine import TlsBroken, Want
from voltgw.net.tls.libssl import (
    BIO_FLAGS_IN_EOF,
    BIO_SET_MEM_EOF_RETURN,
    CTRL_SET_TLSEXT_HOSTNAME,
    ERROR_SYSCALL,
    R_ALERT_BASE,
    R_CERTIFICATE_VERIFY_FAILED,
    R_UNEXPECTED_EOF,
    SHUTDOWN_BOTH,
    V_OK,
    WANT_READ,
    WANT_WRITE,
    ZERO_RETURN,
)
from voltgw.values.tls import Handshake
from voltgw.wire.fingerprints import fingerprints

if TYPE_CHECKING:
    import socket

    from voltgw.net.tls.libssl import Library
    from voltgw.net.tls.openssl import Context
    from voltgw.wire.clienthello import ClientHello

#: Most that one `read` gives: one buffer of this size serves all connections.
READ_BYTES: Final = 256 * 1024
#: Messages in a row that carry no data (key updates, tickets) before a peer is cut off: each costs more than it brings.
MAX_SILENT_MESSAGES: Final = 64
_TLS_1_3: Final = 0x0304
#: Clients are many, but what handshakes with them say is mostly the same: what so many said is remembered.
_MAX_REMEMBERED: Final = 1024
#: In an OpenSSL error code: the rest of it is an errno (ERR_SYSTEM_ERROR).
_SYSTEM_ERROR: Final = 1 << 31
#: ERR_LIB_SSL, the part of OpenSSL that knows what an error means for a connection.
_SSL_ERRORS: Final = 20


_handshake: Final = lru_cache(_MAX_REMEMBERED)(Handshake)


class Calls:
    """What all connections use of the library, looked up once, and what they share."""

    __slots__ = ("accept", "buffer", "clear", "connect", "crypto", "error", "ffi", "has_pending", "lib", "library", "live",
                 "protocol", "protocol_size", "read", "suites", "unpack", "versions", "write")

    def __init__(self, library: Library) -> None:
        lib, ffi = library.ssl, library.ffi
        self.library = library
        self.lib: Any = lib
        self.crypto: Any = library.crypto
        self.ffi: Any = ffi
        self.clear: Any = library.clear
        self.accept: Any = lib.SSL_accept
        self.connect: Any = lib.SSL_connect
        self.read: Any = lib.SSL_read
        self.write: Any = lib.SSL_write
        self.has_pending: Any = lib.SSL_has_pending
        self.error: Any = lib.SSL_get_error
        self.unpack: Any = ffi.unpack
        self.buffer: Any = ffi.new("char[]", READ_BYTES)    # what every read reads into; its bytes are copied out at once
        self.protocol: Any = ffi.new("unsigned char **")    # scratch: what ALPN chose…
        self.protocol_size: Any = ffi.new("unsigned int *") # …and its length
        self.live: dict[Any, OpenSslConnection] = {}    # by the address of their SSL object
        self.versions: dict[int, str] = {}  # the names of those that were met
        self.suites: dict[Any, str] = {}    # the same, by the address of OpenSSL's constant


class OpenSslConnection:
    """A `TlsConnection`: a server's, unless `connect` makes it a client's. It lives, with its SSL object, until `free`.

    Of C data that something must hold (`new`, `gc`, `from_buffer`) no local name is the only holder: a compiled function lets
    go of a name behind its last use, and that of a pointer into the data may come later (docs/adr/0023).
    """

    __slots__ = ("_calls", "_drained", "_ended", "_failed", "_first", "_shake", "_silent", "_ssl", "context", "endpoint",
                 "hello", "refusal", "server_name", "sock")

    def __init__(
        self, calls: Calls, context: Context, sock: socket.SocketType, hello: ClientHello | None = None,
        server_name: str = "", endpoint: tuple[str, int] = ("", 0),
    ) -> None:
        self.sock = sock
        self.hello = hello
        self.server_name = server_name
        self.endpoint = endpoint
        self.refusal = ""                   # what our own rules have against the peer
        self.context = context
        self._calls = calls
        self._shake: Any = calls.accept
        self._ended = False                 # the peer's close_notify was seen behind bytes that were read
        self._first: Any = None             # what was read before us, until OpenSSL has taken it
        self._silent = 0
        self._drained = False               # OpenSSL holds nothing, or the beginning of a record: more must come
        self._failed: OSError | None = None     # found while there were bytes to give: for the next read
        lib = calls.lib
        ssl = lib.SSL_new(context.pointer)
        if ssl == calls.ffi.NULL:
            raise TlsBroken("OpenSSL has no memory for a connection", errno.ENOMEM)
        self._ssl: Any = ssl
        lib.SSL_set_fd(ssl, sock.fileno())
        calls.live[ssl] = self              # pointers are equal when their addresses are

    # -- handshake ---------------------------------------------------------------------------------------------------------

    def connect(self, sni: str, session: Any) -> None:
        """Before the handshake: we are the client, and ask for `sni`, if for a name at all; `session` may be resumed."""
        calls, ssl = self._calls, self._ssl
        lib = calls.lib
        self._shake = calls.connect
        if sni:
            lib.SSL_ctrl(ssl, CTRL_SET_TLSEXT_HOSTNAME, 0, calls.ffi.new("char[]", sni.encode("ascii")))
        if session is not None:
            lib.SSL_set_session(ssl, session)

    def feed(self, first: bytes) -> None:
        """Before the handshake: `first` was read from the socket by somebody else, and is what the peer has said so far.

        OpenSSL reads it from memory; when it asks for more, it has the socket again.
        """
        ffi, crypto = self._calls.ffi, self._calls.crypto
        self._first = first, ffi.from_buffer(first)     # the BIO only points to it
        memory = crypto.BIO_new_mem_buf(self._first[1], len(first))
        if memory == ffi.NULL:
            raise TlsBroken("OpenSSL has no memory for a connection", errno.ENOMEM)
        crypto.BIO_ctrl(memory, BIO_SET_MEM_EOF_RETURN, -1, ffi.NULL)
        self._calls.lib.SSL_set0_rbio(self._ssl, memory)

    def _fed(self) -> None:
        """What was fed is taken: read the socket from now on."""
        self._first = None
        calls = self._calls
        calls.lib.SSL_set0_rbio(self._ssl, calls.crypto.BIO_new_socket(self.sock.fileno(), 0))

    def handshake(self) -> Want:
        """Go on with the handshake."""
        calls, ssl = self._calls, self._ssl
        if calls.clear is not None:
            calls.clear()
        done = self._shake(ssl)
        if done == 1:
            if self._first is not None:
                self._fed()                 # it never had to wait for more
            return Want.NOTHING
        error = calls.error(ssl, done)
        if error == WANT_READ:
            if self._first is not None:
                self._fed()
            return Want.READ
        if error == WANT_WRITE:
            return Want.WRITE
        raise self._broken(error, calls.ffi.errno)      # which SSL_get_error leaves as it was

    def described(self) -> Handshake:
        """What the finished handshake says."""
        calls, ssl = self._calls, self._ssl
        lib = calls.lib
        resumed = bool(lib.SSL_session_reused(ssl))
        peer = self._peer(resumed) if self.context.asks_certificate else ()
        hello = self.hello
        version = lib.SSL_version(ssl)
        sni = self.server_name
        kinds = ("", "")
        if hello is not None:
            sni = hello.sni
            if version == _TLS_1_3:
                # The context was chosen by the hello that we read. After a HelloRetryRequest there was a second one, and it
                # must name the same host (RFC 8446 4.1.2).
                said = lib.SSL_get_servername(ssl, 0)
                named = "" if said == calls.ffi.NULL else calls.ffi.string(said).decode("utf-8", "replace")
                if named != sni and named.lower().removesuffix(".") != sni and not hello.literal:
                    raise TlsBroken("the client named another host in its second hello")
            kinds = fingerprints(hello)
        data, size = calls.protocol, calls.protocol_size
        lib.SSL_get0_alpn_selected(ssl, data, size)
        suite = lib.SSL_get_current_cipher(ssl)
        name = calls.versions.get(version) or self.context.engine.version(version, ssl)
        cipher = calls.suites.get(suite) or self.context.engine.suite(suite)
        alpn = calls.ffi.buffer(data[0], size[0])[:] if size[0] else b""
        if peer:
            return Handshake(name, cipher, alpn, sni, peer, resumed, kinds[0], kinds[1])
        return _handshake(name, cipher, alpn, sni, (), resumed, kinds[0], kinds[1])

    def _peer(self, resumed: bool) -> tuple[bytes, ...]:
        lib, crypto, ffi = self._calls.lib, self._calls.crypto, self._calls.ffi
        der_of = self.context.engine.der
        leaf = lib.SSL_get1_peer_certificate(self._ssl)
        if leaf == ffi.NULL:
            return ()
        try:
            if resumed and crypto.X509_cmp_current_time(crypto.X509_get0_notAfter(leaf)) <= 0:
                raise TlsBroken("the certificate of the resumed session has expired")
            ders = [der_of(leaf)]
        finally:
            crypto.X509_free(leaf)
        chain = lib.SSL_get_peer_cert_chain(self._ssl)
        if chain != ffi.NULL:
            for n in range(crypto.OPENSSL_sk_num(chain)):
                der = der_of(ffi.cast("X509 *", crypto.OPENSSL_sk_value(chain, n)))
                if n or der != ders[0]:     # a client's list begins with the leaf, a server's does not have it
                    ders.append(der)
        return tuple(ders)

    # -- data --------------------------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """At most `size` bytes; see `TlsConnection`."""
        if self._failed is not None:
            raise self._failed
        calls, ssl = self._calls, self._ssl
        self._drained = False
        if calls.clear is not None:
            calls.clear()
        count: int = calls.read(ssl, calls.buffer, size if size < READ_BYTES else READ_BYTES)
        if count <= 0:
            count = self._read_on(count, size)
            if count <= 0:
                return b""
        self._silent = 0
        if count < size:
            if calls.has_pending(ssl):
                count = self._read_more(count, size)
            else:
                self._drained = True
        data: bytes = calls.unpack(calls.buffer, count)
        return data

    def _read_more(self, count: int, size: int) -> int:
        """More records have come with the first: take them, too."""
        calls, ssl = self._calls, self._ssl
        size = min(size, READ_BYTES)
        while count < size:
            more = calls.read(ssl, calls.buffer + count, size - count)
            if more <= 0:
                number = calls.ffi.errno
                error = calls.error(ssl, more)
                if error == ZERO_RETURN:
                    self._ended = True      # the socket may never tell of it again: a peer need not send its FIN now
                elif error not in (WANT_READ, WANT_WRITE):
                    self._failed = self._broken(error, number)
                break
            count += more
        return count

    def _read_on(self, count: int, size: int) -> int:
        """A read gave nothing: there is no more (0), or none now (raises), or a message without data was in the way."""
        calls, ssl = self._calls, self._ssl
        ffi = calls.ffi
        size = min(size, READ_BYTES)
        number = ffi.errno
        for _ in range(MAX_SILENT_MESSAGES):
            error = calls.error(ssl, count)
            if error == ZERO_RETURN:
                # OpenSSL takes a FIN without close_notify for an end (else it would send a fatal alert to a peer that is
                # gone, which costs a record and brings an RST): we are the ones who do not.
                if calls.crypto.BIO_test_flags(calls.lib.SSL_get_rbio(ssl), BIO_FLAGS_IN_EOF):
                    raise TlsBroken("closed without close_notify", errno.ECONNRESET)
                return 0
            if error == WANT_WRITE:
                self._drained = True
                raise BlockingIOError(errno.EAGAIN, "TLS wants to write first")
            # 0 with no error at all: a message (a ticket) that came after our own close_notify was dropped
            if error != WANT_READ and not (error == ERROR_SYSCALL and count == 0 and number == 0):
                raise self._broken(error, number)
            # OpenSSL says "want read" both when the kernel has nothing and when it has done with a message that carries no
            # data (we have switched its own retrying off: it would never come back while a peer sends such messages).
            if calls.clear is not None:
                calls.clear()
            ffi.errno = 0
            count = calls.read(ssl, calls.buffer, size)
            if count > 0:
                return count
            number = ffi.errno
            if number == errno.EAGAIN and calls.error(ssl, count) == WANT_READ:
                self._drained = True
                raise BlockingIOError(errno.EAGAIN, "no TLS data yet")
            self._silent += 1
            if self._silent > MAX_SILENT_MESSAGES:
                break
        raise TlsBroken("too many TLS messages without data")

    def write(self, data: bytes | memoryview) -> int:
        """How many bytes of `data` were taken; see `TlsConnection`."""
        calls, ssl = self._calls, self._ssl
        size = len(data)
        if not size:
            return 0
        if calls.clear is not None:
            calls.clear()
        sent: int = calls.write(ssl, data if type(data) is bytes else calls.ffi.from_buffer(data), size)
        if sent == size:
            return sent
        if sent <= 0:
            number = calls.ffi.errno
            error = calls.error(ssl, sent)
            if error == WANT_WRITE:
                raise BlockingIOError(errno.EAGAIN, "the kernel has no room")
            raise self._broken(error, number)
        start = calls.ffi.from_buffer(data)
        while sent < size:                  # one record at a time is what it takes
            more = calls.write(ssl, start + sent, size - sent)
            if more <= 0:
                calls.crypto.ERR_clear_error()
                break                       # full, or broken: the next write will tell
            sent += more
        return sent

    def pending(self) -> bool:
        """Whether bytes wait inside OpenSSL that a read could make something of."""
        if self._failed is not None or self._ended:
            return True
        return not self._drained and bool(self._calls.has_pending(self._ssl))

    # -- end ---------------------------------------------------------------------------------------------------------------

    def close_notify(self) -> bool:
        """Send our close_notify."""
        calls = self._calls
        if calls.clear is not None:
            calls.clear()
        done = calls.lib.SSL_shutdown(self._ssl)
        if done >= 0:
            return True
        number = calls.ffi.errno
        error = calls.error(self._ssl, done)
        if error in (WANT_READ, WANT_WRITE):
            return False
        raise self._broken(error, number)

    def carried(self) -> tuple[int, int]:
        """Bytes on the wire, both ways."""
        lib, crypto, ssl = self._calls.lib, self._calls.crypto, self._ssl
        return int(crypto.BIO_number_read(lib.SSL_get_rbio(ssl))), int(crypto.BIO_number_written(lib.SSL_get_wbio(ssl)))

    def free(self) -> None:
        """Let go of the SSL object."""
        calls = self._calls
        if calls.live.pop(self._ssl, None) is not None:
            # "shut down" both ways, or OpenSSL holds the end against the session and never resumes it
            calls.lib.SSL_set_shutdown(self._ssl, SHUTDOWN_BOTH)
            calls.lib.SSL_free(self._ssl)
            self._ssl = None                # what comes too late is a TypeError, and no crash

    # -- words -------------------------------------------------------------------------------------------------------------

    def _broken(self, error: int, number: int) -> OSError:
        """What has gone wrong, in words; OpenSSL's queue of errors is empty afterwards."""
        calls = self._calls
        crypto, text = calls.crypto, calls.library.text
        code: int = crypto.ERR_get_error()
        while code and code >> 23 & 0xff != _SSL_ERRORS and not code & _SYSTEM_ERROR:
            code = crypto.ERR_get_error()   # what lies below it, in cryptography, says less
        crypto.ERR_clear_error()
        if code & _SYSTEM_ERROR:
            number, code, error = code & ~_SYSTEM_ERROR, 0, ERROR_SYSCALL
        if code == 0 and error == ERROR_SYSCALL and number:
            return OSError(number, os.strerror(number))
        reason = code & 0x7fffff
        if self.refusal:
            return TlsBroken(self.refusal)
        if reason == R_CERTIFICATE_VERIFY_FAILED:
            result = calls.lib.SSL_get_verify_result(self._ssl)
            if result != V_OK:
                return TlsBroken(text(crypto.X509_verify_cert_error_string(result)))
        if code == 0 or reason == R_UNEXPECTED_EOF:
            return TlsBroken("closed without close_notify", errno.ECONNRESET)
        if reason > R_ALERT_BASE:
            said = text(calls.lib.SSL_alert_desc_string_long(reason - R_ALERT_BASE))
            return TlsBroken(f"the peer sent the alert \"{said}\"")
        return TlsBroken(text(crypto.ERR_reason_error_string(code)) or f"OpenSSL error {code:#x}")
