"""Hearing what a client says first towards a destination that it has chosen, and judging that before any of it goes on.

TLS says a name in its hello, HTTP a host and a path; what says neither is judged by address and port. A name that was not known
before must lead to where the connection is bound for: it is looked up where connections go out, and a lie is refused. Whoever
says nothing is waited for, for a while: silence decides nothing, or a policy could be slept through. Only a server that speaks
first decides that it is neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from zope.interface import classImplements

from voltgw.net.deadlines import NO_SLOT
from voltgw.proxy.forward.interception import Action
from voltgw.security.egress import ALLOW, DENY, Flow, Speaks, Verdict
from voltgw.values.compiling import mypyc_attr
from voltgw.wire.clienthello import ClientHello, HelloRefused, NotHello, read_hello

if TYPE_CHECKING:
    import socket

    from twisted.python.failure import Failure

    from voltgw.proxy.forward.factory import ForwardFactory
from voltgw.values.identity import Proof

#: How long a client may take to say what it speaks.
HEARING_S: Final = 30.0
#: So much is kept of what it says meanwhile, and of what a server says that speaks first; then reading stops.
MAX_HEARD_BYTES: Final = 64 * 1024
#: Longest request line that is waited for where the first word is no usual method.
_LINE_BYTES: Final = 8 * 1024
_WORD: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}"
#: A request of HTTP/1, whatever its method: a policy on URLs must not be got around by a word that nobody knows. Nor by a GET
#: without a version (HTTP/0.9), which servers still answer.
_REQUEST: Final = re.compile(
    _WORD + rb"[ \t]+[^\r\n]*HTTP/[0-9.]+[ \t]*\r?\n|GET[ \t]+(?:/|(?i:https?:))[^\r\n]*\r?\n")
_PERHAPS: Final = re.compile(_WORD + rb"?(?:[ \t]+[^\r\n]*\r?)?")
# Alert descriptions (RFC 8446 6.2)
ACCESS_DENIED: Final = 49
UNRECOGNIZED_NAME: Final = 112


@mypyc_attr(allow_interpreted_subclasses=True)
class Hearing:
    """The protocol of a client's transport until it is known what it speaks. It is its own `Deadline`.

    A subclass says what follows: `relay`, `take_requests`, `open_tls` or `refuse`, exactly one of them, once.
    """

    __slots__ = ("_asked", "_factory", "_heard", "_left", "deadline", "deadline_slot", "flow", "half_closed", "hello", "name",
                 "proof", "speaks", "transport", "verdict")

    transport: Any

    def __init__(self, factory: ForwardFactory, flow: Flow, name: bytes) -> None:
        self.flow = flow
        self.name = name                    # that is known already, b"" = none is
        self.proof: Proof | None = None     # who has asked for the tunnel
        self.hello: ClientHello | None = None
        self.speaks: Speaks | None = None   # None: it has not been decided
        self.verdict: Verdict | None = None
        self.half_closed = False            # the client has sent its FIN
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._factory = factory
        self._heard = b""
        self._left = False                  # it is over
        self._asked: Any = None             # a look-up, or whoever looks at an origin: it can be cancelled

    # -- what a subclass does ------------------------------------------------------------------------------------------------

    def relay(self) -> None:
        """Pass everything on as it is."""
        raise NotImplementedError

    def take_requests(self) -> None:
        """It is HTTP: each request is judged."""
        raise NotImplementedError

    def open_tls(self, action: Action) -> None:
        """It is TLS that is to be opened, or whose origin is to be looked at first."""
        raise NotImplementedError

    def refuse(self, alert: int, detail: str) -> None:
        """It may not go on; `alert` is what TLS says of that (0 = nothing is said)."""
        raise NotImplementedError

    def client_left(self) -> None:
        """The client is gone before anything was decided."""
        raise NotImplementedError

    def far_socket(self) -> socket.socket | None:
        """The socket of a connection to the destination, which is the caller's from now on; None where there is none."""
        raise NotImplementedError

    def part(self) -> None:
        """A connection to the destination, if there is one already, is not needed."""
        raise NotImplementedError

    def finish(self, flag: str, detail: str) -> None:
        """Write down what came of it."""
        raise NotImplementedError

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the client."""
        raise NotImplementedError

    # -- hearing -------------------------------------------------------------------------------------------------------------

    def hear(self, transport: Any, held: bytes, *, look: bool = True) -> None:
        """Begin; `held` came already. Without `look` nothing is looked at: it is neither HTTP nor TLS, whatever it is."""
        self.transport = transport
        transport.protocol = self
        plane = self._factory.plane
        self._factory.under_way.add(self)
        self.deadline = plane.monotonic() + HEARING_S
        plane.deadlines.schedule(self)
        self._heard = held
        if not look:
            self._settle(Speaks.OTHER)
        elif held:
            self._look()

    def makeConnection(self, transport: Any) -> None:
        """Part of IProtocol; `hear` does it all."""

    def connectionMade(self) -> None:
        """Likewise."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the client."""
        self._heard += data
        if self.speaks is None:
            self._look()
        if len(self._heard) > MAX_HEARD_BYTES and not self._left:
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """FIN: there will be no more to hear."""
        self.half_closed = True
        if self.speaks is None:
            if self._heard:
                self._settle(Speaks.OTHER)
            else:
                self._gone()

    def writeConnectionLost(self) -> None:
        """Nothing is closed half from our side here."""

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self._gone()

    def server_spoke(self) -> None:
        """The server did not wait for the client."""
        if self.speaks is None:
            self._settle(Speaks.OTHER)

    def expired(self, now: float) -> None:
        """The client has not said in time what it speaks."""
        if not self._left:
            self._factory.outside.counters.unheard += 1
            self.refuse(0, "forward_silence: the client did not say in time what it speaks")

    def drain(self) -> None:
        """Nothing has begun: it may go on as a tunnel until the drain's time is up."""

    def close(self) -> None:
        """The drain's time is up."""
        if not self._left:
            self.refuse(0, "drained")

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        if not self._left:
            self.refuse(0, "internal_error")

    def waits_for(self, asked: Any) -> None:
        """Something that can be cancelled is asked for this client; None = it has answered."""
        self._asked = asked

    def done(self) -> bytes:
        """It is over for us: what was heard, for whoever goes on. The transport is read again."""
        self._left = True
        self.deadline = 0.0
        self._factory.plane.deadlines.forget(self)
        self._factory.under_way.discard(self)
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()
        heard, self._heard = self._heard, b""
        return heard

    def _gone(self) -> None:
        if not self._left:
            self.done()
            self.client_left()

    def _look(self) -> None:
        data = self._heard
        try:
            hello = read_hello(data)
        except HelloRefused as refusal:
            if refusal.kind is NotHello.HTTP:
                self._settle(Speaks.HTTP)
            elif refusal.kind in (NotHello.MALFORMED, NotHello.TOO_LARGE):
                self.refuse(refusal.alert, f"tls_hello_refused: {refusal}")
            else:
                self._look_for_request(data.lstrip(b"\r\n\t "))       # some servers pass over it
            return
        if isinstance(hello, ClientHello):
            self.hello = hello
            self._settle(Speaks.TLS)

    def _look_for_request(self, data: bytes) -> None:
        if _REQUEST.match(data) is not None or data.startswith(b"PRI * HTTP/2.0"):
            self._settle(Speaks.HTTP)
        elif len(data) > _LINE_BYTES or (data and _PERHAPS.fullmatch(data) is None):
            self._settle(Speaks.OTHER)

    # -- judging -------------------------------------------------------------------------------------------------------------

    def _settle(self, speaks: Speaks) -> None:
        self.speaks = speaks
        self.transport.pauseProducing()
        hello = self.hello
        if hello is None:
            self._judge(b"" if speaks is Speaks.OTHER else self.name)
            return
        name = b"" if hello.literal else hello.sni.encode("ascii", "replace")
        if not name or name == self.name:
            self._judge(name)
            return
        factory = self._factory
        leads = factory.outside.lookup.leads_to(factory.egress.network, name, self.flow.address, self.flow.source)
        if isinstance(leads, bool):
            self._agreed(leads, name)
            return
        self._asked = leads
        leads.addCallback(self._agreed, name)
        leads.addErrback(lambda failure: None)      # we cancel it when the client has left

    def _agreed(self, leads: bool, name: bytes) -> None:
        """Whether a name that was not known before leads to where the connection is bound for."""
        self._asked = None
        if self._left:
            return
        if leads:
            self._judge(name)
            return
        self._factory.outside.counters.disagreements += 1
        self.refuse(UNRECOGNIZED_NAME, "forward_name: the server name does not lead to where the connection was bound for")

    def _judge(self, name: bytes) -> None:
        flow, egress, speaks = self.flow, self._factory.egress, self.speaks
        assert speaks is not None
        flow.name, flow.speaks = name, speaks
        action = Action.SPLICE
        if speaks is Speaks.TLS and egress.interception is not None:
            action = egress.interception.choose(name, flow.source)
            flow.opened = action is Action.OPEN
        verdict = egress.policies.judge(flow)
        looked_at = flow.opened or (speaks is Speaks.HTTP and self._takes_requests())
        if verdict.action == DENY and not (speaks is Speaks.HTTP and looked_at):
            self._factory.outside.counters.denied += 1
            self.verdict = verdict.counted()
            self.refuse(ACCESS_DENIED, f"forward_proxy_policy: {verdict.label}")
            return
        if verdict.action != ALLOW and not looked_at:
            self._factory.outside.counters.denied += 1      # there is nothing more to hear
            self.refuse(ACCESS_DENIED, "forward_proxy_policy: nothing lets through what was heard")
            return
        self.verdict = verdict if looked_at else verdict.counted()
        if speaks is Speaks.HTTP and looked_at:
            self.take_requests()
        elif action is Action.SPLICE:
            if speaks is Speaks.TLS:
                self._factory.outside.counters.spliced += 1
            self.relay()
        else:
            self.open_tls(action)

    def _takes_requests(self) -> bool:
        """Whether requests in plain text are judged one by one."""
        return self._factory.egress.hears_requests


classImplements(Hearing, IProtocol, IHalfCloseableProtocol)
