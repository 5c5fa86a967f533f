"""What we need of a TLS library, and what each of them can do.

A library is one `Engine`. It makes contexts from values; a context is bound to a connected, non-blocking socket and gives a
`TlsConnection`, which reads and writes that socket itself: no copy through memory buffers, no loop of its own.
"""

from __future__ import annotations

import errno
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket

    from voltgw.net.tls.tickets import TicketKeys
    from voltgw.values.tls import ClientTls, Handshake, ServerTls
    from voltgw.wire.clienthello import ClientHello


class Want(IntEnum):
    """What a handshake waits for."""

    NOTHING = 0                     # it is done
    READ = 1
    WRITE = 2


class Capability(Enum):
    """What not every library can do, in the words that an operator is told."""

    TICKET_KEYS = "session tickets under rotating, shared keys"
    OCSP = "OCSP stapling"
    SUITES = "a choice of cipher suites"
    DEPTH = "a limit on the depth of certificate chains"
    CHAIN = "the peer's whole certificate chain"
    CRL = "certificate revocation lists"
    CLIENT_SESSIONS = "resuming sessions towards endpoints"


class TlsBroken(OSError):
    """TLS itself has failed on a connection; `strerror` says how, in words. Nothing more can be read or written."""

    def __init__(self, why: str, number: int = errno.EPROTO) -> None:
        super().__init__(number, why)


class TlsConnection(Protocol):
    """TLS on one socket.

    `read` and `write` answer as a socket's `recv` and `send` do: BlockingIOError when nothing can be done now, OSError when
    nothing can be done any more, b"" once the peer has said that it ends (close_notify). A `write` that was not taken, or
    only in part, must be repeated with the same bytes first, more may stand behind them.
    """

    sock: socket.SocketType             # the one to close; some libraries replace that which they were given

    def handshake(self) -> Want:
        """Go on with the handshake. Raises TlsBroken when there will be none."""

    def described(self) -> Handshake:
        """What the finished handshake says. Raises TlsBroken when the rules refuse the peer after all."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, and more than one record's worth if they are there."""

    def write(self, data: bytes | memoryview, /) -> int:
        """How many bytes were taken."""

    def pending(self) -> bool:
        """Whether bytes that were read from the socket still wait in here; the socket will not tell of them."""

    def close_notify(self) -> bool:
        """Tell the peer that we have said everything; False when the kernel has no room for it now."""

    def carried(self) -> tuple[int, int]:
        """Bytes (in, out) on the wire; (0, 0) if the library does not say."""

    def free(self) -> None:
        """Let go of everything but the socket; nothing else may be called afterwards."""


class ServerContext(Protocol):
    """Makes server connections that all ask for the same."""

    config: ServerTls

    def accept(self, sock: socket.SocketType, hello: ClientHello | None = None, first: bytes = b"") -> TlsConnection:
        """TLS on an accepted socket; `hello` is what its client is about to say, for `described`.

        `first` is what was read from the socket already, which some libraries cannot take (`TlsBroken`).
        """


class ClientContext(Protocol):
    """Makes client connections that all ask for the same."""

    config: ClientTls

    def connect(self, sock: socket.SocketType, server_name: str, endpoint: tuple[str, int]) -> TlsConnection:
        """TLS on a connected socket.

        `server_name` is asked for and verified, "" = none is asked for, and only `PeerRules.names` can match. Sessions are
        kept by name and `endpoint`.
        """


class Engine(Protocol):
    """A TLS library."""

    name: str                       # "OpenSSL 3.0.19 (cffi)"
    capabilities: frozenset[Capability]

    def server(self, config: ServerTls, keys: TicketKeys | None) -> ServerContext:
        """A context; without `keys`, tickets are encrypted under one of its own. Raises `TlsRefused`."""

    def client(self, config: ClientTls) -> ClientContext:
        """A context. Raises `TlsRefused`."""
