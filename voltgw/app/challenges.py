"""What listeners answer while a CA looks whether names are ours; they know of it only meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from zope.interface import implementer

from voltgw.app.tls_table import CHALLENGED, TlsTable
from voltgw.net.sniff import Terminate
from voltgw.proxy.factory import HttpFactory
from voltgw.routing.challenged import ChallengedTable
from voltgw.values.tls import ServerTls

if TYPE_CHECKING:
    from voltgw.app.listening import AnyBound
    from voltgw.net.tls.engine import ServerContext
    from voltgw.values.tls import KeyPair

#: Sessions of a challenge's connection are nobody else's.
_SCOPE: Final = b"acme-tls/1"


class Challenges:
    """Satisfies `voltgw.control.acme.challenges.kinds.Responder`; `listeners` gives those that are open."""

    def __init__(
        self, server_context: Callable[[ServerTls], ServerContext], listeners: Callable[[], Iterable[AnyBound]],
    ) -> None:
        self.answered = 0                       # challenges that listeners were told of
        self._server_context = server_context
        self._listeners = listeners
        self._http: dict[bytes, dict[bytes, bytes]] = {}
        self._tls: dict[str, Terminate] = {}

    def answer_http(self, name: str, token: str, body: bytes | None) -> None:
        """See `Responder`."""
        key = name.encode("ascii")
        tokens = {known: told for known, told in self._http.get(key, {}).items() if known != token.encode("ascii")}
        if body is not None:
            tokens[token.encode("ascii")] = body
            self.answered += 1
        self._http = {known: told for known, told in self._http.items() if known != key}
        if tokens:
            self._http[key] = tokens
        self.show()

    def answer_tls(self, name: str, pair: KeyPair | None) -> None:
        """See `Responder`."""
        self._tls = {known: told for known, told in self._tls.items() if known != name}
        if pair is not None:
            context = self._server_context(ServerTls((pair,), alpn=CHALLENGED, scope=_SCOPE))
            self._tls[name] = Terminate(context, _Closers())
            self.answered += 1
        self.show()

    def show(self) -> None:
        """Have every listener answer as it should now; also after a reload."""
        for bound in self._listeners():
            factory: Any = bound.factory
            if isinstance(factory, TlsTable):
                factory.challenges = self._tls
            elif isinstance(factory, HttpFactory) and bound.plan.forward is None:
                table = bound.plan.table
                assert table is not None            # HTTP kinds have one
                factory.serve_by(ChallengedTable(table, self._http) if self._http else table)

    @property
    def names(self) -> Mapping[str, str]:
        """The names that are looked at now, each with how."""
        return {**{name.decode("ascii"): "http-01" for name in self._http}, **dict.fromkeys(self._tls, "tls-alpn-01")}


@implementer(IProtocolFactory)
class _Closers:
    """The handshake was all that the CA wanted (RFC 8737 3)."""

    def buildProtocol(self, addr: object) -> _Closer:
        """One that says nothing."""
        return _Closer()

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""


@implementer(IProtocol)
class _Closer:
    """Closes the connection."""

    def makeConnection(self, transport: Any) -> None:
        """At once."""
        transport.loseConnection()

    def connectionMade(self) -> None:
        """Part of IProtocol."""

    def dataReceived(self, data: bytes) -> None:
        """Nobody was asked."""

    def connectionLost(self, reason: object) -> None:
        """It is over."""
