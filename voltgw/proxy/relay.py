"""Two joined connections: what one peer says the other one hears; nothing of the bytes is looked at.

Once both sides stand, a stream hands what it reads straight to the other's `write` (`Stream.deliver_to`), so a relayed
piece costs no call of ours but those two. Back-pressure, half-close and reset pass from side to side.
"""

from __future__ import annotations

from errno import ECONNRESET
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from zope.interface import classImplements

from voltgw.net.deadlines import NO_SLOT
from voltgw.net.pacing import Valve
from voltgw.proxy.counters import SHED
from voltgw.values.defaults import LINGER_TIMEOUT_S

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.interfaces import StreamTransport
    from voltgw.net.pacing import Rate
    from voltgw.proxy.plane import Plane

#: Both sides are closed by us when a relay idles; the access log says it so (Envoy's flag for an idle stream).
_IDLE_FLAG: Final = "SI"


class Side:
    """What the two sides of a relay have in common: each is the producer for the other's transport."""

    __slots__ = ("before", "bytes_in", "closed", "half_closed", "other", "relay", "transport", "valve")
    __deletable__ = ("relay",)

    transport: StreamTransport

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.other: Side | None = None      # set once both sides are connected
        self.bytes_in = 0                   # what came through us, which is nothing where the stream delivers directly
        self.before = 0                     # what the transport had brought before it was ours
        self.half_closed = False            # its peer has sent FIN
        self.closed = False
        self.valve: Valve | None = None     # what is read of it comes no faster than a rate

    def makeConnection(self, transport: Any) -> None:
        """Connected; which side this is decides what follows."""
        self.transport = transport

    def connectionMade(self) -> None:
        """Part of IProtocol; `makeConnection` does it all."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes, when the transport is not one that delivers straight to the other side."""
        self.bytes_in += len(data)
        if self.other is not None:
            self.other.transport.write(data)
            if self.valve is not None:
                self.valve.took(len(data))
        else:
            self.relay.hold(data)

    def readConnectionLost(self) -> None:
        """FIN: the other side's peer gets one too, behind what was sent before."""
        self.half_closed = True
        self.relay.half_closed(self)

    def writeConnectionLost(self) -> None:
        """Our FIN is out; the other direction goes on."""

    def connectionLost(self, reason: Failure) -> None:
        """This side is over."""
        self.closed = True
        if self.valve is not None:
            self.valve.close()
            self.relay.was_slowed_s += self.valve.waited_s
            self.valve = None
        self.bytes_in = self.moved
        self.relay.lost(self, reason)

    @property
    def moved(self) -> int:
        """Bytes that its peer has sent so far."""
        if not hasattr(self, "transport"):
            return 0
        return max(self.bytes_in, getattr(self.transport, "bytes_in", 0) - self.before)

    def crashed(self) -> None:
        """A bug of ours; the guard has logged it."""
        self.relay.end("IE", "internal_error", reset=True)

    # -- IPushProducer: the other side's transport cannot keep up with what we read ------------------------------------

    def pauseProducing(self) -> None:
        """Stop reading this side."""
        if self.valve is not None:
            self.valve.hold()
        else:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read this side again."""
        if self.valve is not None:
            self.valve.release()
        else:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other transport is gone; its protocol hears of it in a moment."""


classImplements(Side, IProtocol, IHalfCloseableProtocol, IPushProducer)


class Relay:
    """The client's side, the endpoint's once there is one, and how they end. It is its own `Deadline`.

    A subclass brings the connections, and writes down what they were (`_finish`, which is called once, at the end or when
    the end is certain).
    """

    __slots__ = ("_client", "_moved", "_over", "_plane", "_server", "deadline", "deadline_slot", "was_slowed_s")

    def __init__(self, plane: Plane) -> None:
        self.deadline = 0.0
        self.deadline_slot = NO_SLOT
        self._plane = plane
        self._client = Side(self)
        self._server: Side | None = None
        self.was_slowed_s = 0.0             # by the rates of sides that are over
        self._moved = 0                     # bytes both ways when the idle deadline was last set
        self._over = False                  # it is written down

    # -- what a subclass does ----------------------------------------------------------------------------------------------

    @property
    def idle_timeout_s(self) -> float:
        """The longest silence."""
        raise NotImplementedError

    def accepted(self) -> None:
        """The client is connected."""
        raise NotImplementedError

    def connected(self, server: Side) -> None:
        """The endpoint is connected."""
        raise NotImplementedError

    def hold(self, data: bytes) -> None:
        """Bytes of the client before there is another side."""
        raise NotImplementedError

    def _server_lost(self) -> None:
        """The connection to the endpoint has ended."""
        raise NotImplementedError

    def _left_alone(self) -> None:
        """The client has left before there was another side."""
        raise NotImplementedError

    def _finish(self, flag: str, detail: str) -> None:
        """Write it down, give back what was counted."""
        raise NotImplementedError

    # -- joining -----------------------------------------------------------------------------------------------------------

    def rate_of(self, side: Side) -> Rate | None:
        """How fast a side may be read; None = as fast as it sends."""
        return None

    def limited(self) -> None:
        """A side is not read for a while, for its rate."""

    @property
    def slowed_s(self) -> float:
        """So long has a rate kept both sides waiting so far, together."""
        valves = [side.valve for side in (self._client, self._server) if side is not None and side.valve is not None]
        return sum((valve.waited_s for valve in valves), self.was_slowed_s)

    def _join(self, server: Side, now: float) -> None:
        """From now on what one side reads the other one writes. Reading goes on as it was."""
        client = self._client
        self._server = server
        client.other, server.other = server, client
        server.transport.registerProducer(client, True)
        client.transport.registerProducer(server, True)
        for source, sink in ((client, server), (server, client)):
            deliver_to = getattr(source.transport, "deliver_to", None)
            rate = self.rate_of(source)
            if rate is not None:
                self._limit(source, sink, rate)
            elif deliver_to is not None:
                deliver_to(sink.transport.write)
                splice_to = getattr(source.transport, "splice_to", None)
                if splice_to is not None:
                    splice_to(sink.transport)
        self.deadline = now + self.idle_timeout_s
        self._plane.deadlines.schedule(self)

    def _limit(self, source: Side, sink: Side, rate: Rate) -> None:
        """Read a side by its rate, piece by piece: what the kernel carries by itself cannot be counted in time."""
        plane, transport = self._plane, source.transport
        source.valve = valve = Valve(
            transport, sink.transport.write, rate, plane.monotonic, lambda wait, call: plane.later(wait, source, call),
            self.limited)
        if hasattr(transport, "deliver_to"):
            transport.deliver_to(valve.received)
        if hasattr(transport, "read_at_most"):
            transport.read_at_most(valve.piece_bytes)

    # -- ending ------------------------------------------------------------------------------------------------------------

    def half_closed(self, side: Side) -> None:
        """One peer has sent FIN: pass it on; after the second one both sides close."""
        other = side.other
        if other is None or other.closed:
            return                          # the endpoint has not accepted yet: it is passed on then
        other.transport.unregisterProducer()
        other.transport.loseWriteConnection()

    def lost(self, side: Side, reason: Failure) -> None:
        """One side is over: so is the other, in the same manner."""
        other = side.other
        if other is None or other.closed:
            self.deadline = 0.0
        if side is not self._client:
            self._server_lost()
        done = isinstance(reason.value, ConnectionDone)     # what `Failure.check` asks costs a dozen calls
        if other is None:
            if side is self._client and not self._over:
                self._left_alone()
            if side is self._client:
                self._part()
            return
        if not other.closed:
            if done:
                if not other.half_closed or not side.half_closed:
                    other.transport.unregisterProducer()
                    other.transport.loseConnection()
            else:
                other.transport.abortConnection()
        if self._over:
            if other.closed:
                self._part()
            return
        if not done:
            failed = getattr(reason.value, "osError", None)
            what = "reset" if failed == ECONNRESET or failed is None else "failed"
            upstream = side is not self._client
            self._end("UC" if upstream else "DC", f"{'upstream' if upstream else 'downstream'}_{what}")
        elif other.closed:
            self._end("", "")
        if other.closed:
            self._part()

    def _part(self) -> None:
        """Both sides are over, and hear nothing more: leave nothing behind, least of all a cycle."""
        self._plane.deadlines.forget(self)
        server, self._server = self._server, None
        if server is not None:
            self._client.other = server.other = None
        del self._client.relay

    def end(self, flag: str, detail: str, reset: bool) -> None:
        """Close both sides ourselves; without `reset` behind what was sent, but a peer that takes nothing has only so long."""
        self._end(flag, detail)
        closing = False
        for side in (self._client, self._server):
            if side is not None and not side.closed and hasattr(side, "transport"):
                if reset:
                    side.transport.abortConnection()
                else:
                    if side.other is not None and not side.other.half_closed:
                        side.transport.unregisterProducer()
                    side.transport.loseConnection()
                    closing = True
        if closing:
            self.deadline = self._plane.monotonic() + LINGER_TIMEOUT_S
            self._plane.deadlines.schedule(self)

    def _end(self, flag: str, detail: str) -> None:
        if not self._over:
            self._over = True
            self.deadline = 0.0
            self._finish(flag, detail)

    def expired(self, now: float) -> None:
        """The idle time has passed since the deadline was set: did anything move meanwhile?"""
        if self._over:
            self.end("", "", reset=True)    # it was to close, but a peer did not take what waits
            return
        moved = self._client.moved + (self._server.moved if self._server is not None else 0)
        if moved != self._moved:
            self._moved = moved
            self.deadline = now + self.idle_timeout_s
            self._plane.deadlines.schedule(self)
            return
        self.end(_IDLE_FLAG, "idle_timeout", reset=False)

    def leave(self) -> None:
        """As `drain`."""

    def drain(self) -> None:
        """Relayed connections have no message borders: they go on until the drain's time is up."""

    def ease(self) -> bool:
        """The same in a time of overload."""
        return False

    @property
    def held_bytes(self) -> int:
        """Bytes that either side has not taken yet."""
        return sum(getattr(getattr(side, "transport", None), "unsent", 0) for side in (self._client, self._server))

    def shed(self) -> None:
        """Memory is short, and this relay holds much of it."""
        self.end(*SHED, reset=True)

    def close(self) -> None:
        """The drain's time is up."""
        self.end("", "drained", reset=False)
