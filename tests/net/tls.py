"""What the tests of TLS share: a listener that ends TLS, and clients of ours and of Python's own ssl module."""

from __future__ import annotations

import ssl
from typing import Any

from tests.net.certificates import authority, leaf
from tests.net.streams import StreamCase
from tests.support import TIMEOUT_S, Recorder, Recorders
from voltgw.net.connector import dial
from voltgw.net.listener import Listener
from voltgw.net.sniff import Pass, Refuse, Terminate, Turned
from voltgw.net.tls.context import best_engine, client_context, server_context
from voltgw.net.tls.engine import ClientContext, Engine
from voltgw.values.tls import ClientTls, PeerRules, ServerTls
from voltgw.wire.clienthello import ClientHello

NAME = "a.example"


class Hosts:
    """A sniffer with an exact table of names; `asked` are the hellos that it saw."""

    def __init__(self, table: dict[str, Terminate | Pass]) -> None:
        self.table = table
        self.asked: list[ClientHello | None] = []

    def choose(self, hello: ClientHello | None, peer: tuple[str, int]) -> Terminate | Pass | Refuse:
        """By name alone."""
        self.asked.append(hello)
        chosen = self.table.get("" if hello is None else hello.sni)
        return Refuse(112, "nobody here has that name") if chosen is None or hello is None else chosen


class TlsCase(StreamCase):
    """`serve` opens a listener for one host; `connect` is a client of ours, `stranger` one of Python's ssl module."""

    engine: Engine | None = None

    def setUp(self) -> None:
        """Nothing has been turned away yet."""
        super().setUp()
        self.turned: list[Turned] = []
        self._clients: list[Recorder] = []

    def server_tls(self, *names: str, **fields: Any) -> ServerTls:
        """What a host asks for: a certificate of the test CA for `names`, and `fields`."""
        return ServerTls(**{"certificates": (leaf(*(names or (NAME,))),), **fields})

    def serve(self, config: ServerTls | None = None, factory: Any = None, keys: Any = None) -> tuple[Listener, Any]:
        """A listener that ends TLS for whatever name."""
        factory = factory or Recorders(Recorder)
        context = server_context(config or self.server_tls(), keys, self.engine)
        return self.serve_hosts({name: Terminate(context, factory) for name in (NAME, "")}), factory

    def serve_hosts(self, table: dict[str, Terminate | Pass], **options: Any) -> Listener:
        """A listener that serves by a table of names."""
        return self.listen(Recorders(Recorder), sniffer=Hosts(table), on_turned=self.turned.append, **options)

    def client_tls(self, **fields: Any) -> ClientContext:
        """A client that trusts the test CA."""
        return client_context(ClientTls(**{"peer": PeerRules(ca=authority().pem), **fields}), self.engine)

    def connect(self, listener: Listener, context: ClientContext | None = None, name: str = NAME, protocol: Any = None) -> Any:
        """A client of ours; its protocol once connected, or the error."""
        outcome: list[Any] = []
        client = protocol or Recorder()
        dial(self.loop, "127.0.0.1", self.port_of(listener), client, TIMEOUT_S, outcome.append,
             tls=(context or self.client_tls(), name))
        self.spin(lambda: outcome or client.transport is not None)
        if outcome:
            return outcome[0]
        self._clients.append(client)
        return client

    def _close_ours(self) -> None:
        for client in self._clients:
            client.transport.abortConnection()
        super()._close_ours()

    def _left(self) -> list[str]:
        """Also what OpenSSL was not told to let go of."""
        return super()._left() + [f"a TLS connection: {one.sock!r}" for one in getattr(best_engine(), "live", {}).values()]

    def stranger(self, listener: Listener, name: str | None = NAME, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Python's ssl on a plain socket, its handshake not begun; `finish` ends it."""
        context = context or self.stranger_context()
        sock = self.socket(listener)
        sock.setblocking(False)
        wrapped = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        self._sockets.append(wrapped)
        return wrapped

    def stranger_context(self, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Trusts the test CA."""
        context = ssl.create_default_context(cadata=authority().pem.decode())
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def until_done(self, step: Any) -> Any:
        """What a non-blocking step of a stranger gives in the end, the loop running meanwhile."""
        tries = 0
        while True:
            try:
                return step()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                tries += 1
                self.assertLess(tries, 2000, "the stranger waits in vain")
                if self.wait(0.005):
                    self.turn()
