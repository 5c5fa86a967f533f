"""Asks a DNS server by TCP with messages that are signed by TSIG (RFC 8945), and believes only answers that are signed, too.

dnspython builds, signs and verifies messages; Twisted moves them. Questions follow each other on one connection without waiting
(RFC 7766 6.2.1.1); a zone transfer (RFC 5936) is read a message at a time, in a thread, so that a large zone holds nobody up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from voltgw.control.publish.registrar import RegistryError

#: A server accepts a connection, and answers a question, in this time, in seconds.
ANSWER_S: Final = 10.0
#: Questions that are under way at once.
WINDOW: Final = 32
#: Questions that are signed, and answers that are verified, in one turn of the reactor: each takes half a millisecond.
_IN_A_TURN: Final = 4
#: Of a transfer, so many records are read; a zone with more is asked for name by name.
MOST_RECORDS: Final = 500_000
#: Of a transfer, each message may take so long, in seconds.
_MESSAGE_S: Final = 30.0


class NoTransfer(Exception):
    """The server does not hand the zone out, or it is too large; the message says which."""


@dataclass(frozen=True, slots=True)
class Account:
    """A DNS server, and the key by which messages to it are signed; `algorithm` as TSIG names it, such as ``hmac-sha256``."""

    address: str
    port: int
    key_name: str
    algorithm: str
    secret: bytes = field(repr=False)


class _Wire(Int16StringReceiver):
    """Messages with their length in front (RFC 1035 4.2.2): none can be longer than 65535 bytes."""

    noisy = False

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._taken = 0
        self._going_on: Any = None
        self.waiting: dict[int, Deferred[bytes]] = {}
        self.stream: Callable[[bytes], None] | None = None      # a transfer takes all messages
        self.lost: Failure | None = None
        self.on_lost: Callable[[Failure], None] | None = None

    def exchange(self, data: bytes) -> Deferred[bytes]:
        """Send, and have the message with the same id."""
        number = int.from_bytes(data[:2], "big")
        waiting: Deferred[bytes] = Deferred(lambda _: self._forget(number))
        if self.lost is not None:
            waiting.errback(self.lost)
        else:
            self.waiting[number] = waiting
            self.sendString(data)
        return waiting

    def _forget(self, number: int) -> None:
        self.waiting.pop(number, None)

    def stringReceived(self, string: bytes) -> None:
        """An answer; one that nobody waits for (any more) is dropped."""
        if self.stream is not None:
            self.stream(string)
            return
        waiting = self.waiting.pop(int.from_bytes(string[:2], "big"), None)
        if waiting is not None:
            waiting.callback(string)
        self._taken += 1
        if self._taken % _IN_A_TURN == 0 and self.lost is None and self._going_on is None and self.stream is None:
            self.pauseProducing()                   # whoever else has something to do comes first
            self._going_on = self._clock.callLater(0.0, self._go_on)

    def _go_on(self) -> None:
        self._going_on = None
        self.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits is told."""
        self.lost = reason
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None
        waiting, self.waiting = self.waiting, {}
        for each in waiting.values():
            each.errback(reason)
        if self.on_lost is not None:
            self.on_lost(reason)


class DnsClient:
    """One server. Its methods raise `RegistryError`; `close` cuts what is open, and the next question opens it again."""

    def __init__(self, reactor: Any, clock: Any, account: Account) -> None:
        """Raises ValueError for a key that cannot be."""
        self._reactor = reactor
        self._clock = clock
        self.account = account
        try:
            self._key = dns.tsig.Key(account.key_name, account.secret, account.algorithm)
        except dns.exception.DNSException as error:
            raise ValueError(f"the key's name is none: {error}") from error
        self._wire: Any = None
        self._connecting: Deferred[Any] | None = None
        self._window = DeferredSemaphore(WINDOW)
        self._asked = 0
        self._opening = DeferredLock()

    async def ask(self, message: dns.message.Message) -> dns.message.Message:
        """The answer to a query or an update, whatever its RCODE; the message is signed here. At most `WINDOW` at once."""
        await self._window.acquire()
        try:
            self._asked += 1
            if self._asked % _IN_A_TURN == 0:
                turn: Deferred[None] = Deferred(lambda _: call.cancel())
                call = self._clock.callLater(0.0, turn.callback, None)
                await turn
            return await self._ask(message)
        finally:
            self._window.release()

    async def _ask(self, message: dns.message.Message) -> dns.message.Message:
        message.use_tsig(self._key)
        data = message.to_wire(max_size=65535)
        wire = await self._connected()
        while message.id in wire.waiting:           # two questions with one id could not be told apart
            message.id = (message.id + 1) & 0xFFFF
            data = message.to_wire(max_size=65535)
        try:
            told = await wire.exchange(data).addTimeout(ANSWER_S, self._clock)
        except NoAnswer as error:
            raise RegistryError(f"it does not answer within {ANSWER_S:g} s") from error
        except ConnectionClosed as error:
            raise RegistryError(f"the connection has ended: {error}") from error
        answer = self._read(told, message)
        if not message.is_response(answer):
            raise RegistryError("its answer is to another question")
        return answer

    async def transfer(self, zone: dns.name.Name, take: Callable[[dns.message.Message], None]) -> None:
        """Have `take` called, in a thread, with each message of the zone's transfer; the last one ends with the SOA again.

        Raises `NoTransfer` where the server gives none, or there are more than `MOST_RECORDS`. The connection is closed then.
        """
        query = dns.message.make_query(zone, dns.rdatatype.AXFR)
        query.flags &= ~dns.flags.RD
        query.use_tsig(self._key)
        data = query.to_wire()
        wire = await self._connected()
        coming = _Transfer(self, query, zone, take, wire)
        wire.stream, wire.on_lost = coming.came, coming.lost
        wire.sendString(data)
        try:
            await coming.done
        except ConnectionClosed as error:
            raise RegistryError(f"the connection has ended amid a transfer: {error}") from error
        finally:
            coming.stop()
            wire.stream = wire.on_lost = None
            if wire.lost is None:
                wire.resumeProducing()
            if not coming.whole:
                self.close()

    def close(self) -> None:
        """Cut the connection."""
        wire, self._wire = self._wire, None
        if wire is not None and wire.lost is None:
            wire.transport.abortConnection()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def aside(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call in a thread."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)

    def read_part(self, data: bytes, query: dns.message.Message, context: Any, first: bool) -> dns.message.Message:
        """A message of a transfer, its signature verified with those before it (RFC 8945 5.3.1)."""
        return self._parsed(lambda: dns.message.from_wire(
            data, keyring=self._key, request_mac=query.mac if first else b"", xfr=True, tsig_ctx=context, multi=True,
            one_rr_per_rrset=True))

    @property
    def clock(self) -> Any:
        """An `IReactorTime`."""
        return self._clock

    async def _connected(self) -> Any:
        await self._opening.acquire()
        try:
            if self._wire is None or self._wire.lost is not None:
                endpoint = HostnameEndpoint(self._reactor, self.account.address, self.account.port, timeout=ANSWER_S)
                self._connecting = endpoint.connect(Factory.forProtocol(partial(_Wire, self._clock)))
                self._wire = await self._connecting
            return self._wire
        except (ConnectError, ConnectingCancelledError) as error:
            raise RegistryError(f"cannot connect: {error}") from error
        finally:
            self._connecting = None
            self._opening.release()

    def _read(self, data: bytes, message: dns.message.Message) -> dns.message.Message:
        try:
            answer = self._parsed(lambda: dns.message.from_wire(data, keyring=self._key, request_mac=message.mac))
        except RegistryError:
            self.must_be_signed(data)               # else that is the better reason
            raise
        if not answer.had_tsig:
            self.must_be_signed(data)
        return answer

    def must_be_signed(self, data: bytes) -> None:
        """Raises `RegistryError` with the RCODE of an answer that has no TSIG at all: it could be anybody's."""
        try:
            unsigned = dns.message.from_wire(data, keyring=None, one_rr_per_rrset=True)
        except dns.exception.DNSException:
            return                                  # it has one, or is malformed
        raise RegistryError(f"its answer is not signed ({dns.rcode.to_text(unsigned.rcode())})", credentials=True)

    def _parsed(self, parse: Callable[[], dns.message.Message]) -> dns.message.Message:
        try:
            return parse()
        except dns.tsig.PeerBadTime as error:
            raise RegistryError("the server's clock and ours differ by more than 5 minutes (BADTIME)",
                                credentials=True) from error
        except dns.tsig.PeerError as error:
            raise RegistryError(
                f"the server does not take our key {self.account.key_name} here: it does not know it, or has another secret or "
                f"algorithm for it, or other rights ({_CODES.get(type(error), type(error).__name__)})",
                credentials=True) from error
        except _NOT_VERIFIED as error:
            raise RegistryError(f"its answer's signature does not hold: {error or type(error).__name__}",
                                credentials=True) from error
        except (dns.exception.DNSException, ValueError) as error:
            raise RegistryError(f"its answer cannot be read: {error or type(error).__name__}") from error


_NOT_VERIFIED: Final = (
    dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.BadKey, dns.tsig.BadAlgorithm, dns.message.UnknownTSIGKey)
_CODES: Final = {dns.tsig.PeerBadKey: "BADKEY", dns.tsig.PeerBadSignature: "BADSIG", dns.tsig.PeerBadTruncation: "BADTRUNC"}


class _Transfer:
    """One transfer under way: a message is read while the connection waits."""

    def __init__(self, client: DnsClient, query: dns.message.Message, zone: dns.name.Name,
                 take: Callable[[dns.message.Message], None], wire: _Wire) -> None:
        self.done: Deferred[None] = Deferred()
        self.whole = False
        self._client = client
        self._query = query
        self._zone = zone
        self._take = take
        self._wire = wire
        self._context: Any = None
        self._records = 0
        self._soas = 0
        self._first = True
        self._stopped = False
        self._patience = client.clock.callLater(_MESSAGE_S, self._too_late)

    def came(self, data: bytes) -> None:
        """The next message."""
        self._wire.pauseProducing()
        self._patience.reset(_MESSAGE_S)
        self._client.aside(self._read, data).addCallbacks(self._was_read, self._failed)

    def lost(self, reason: Failure) -> None:
        """The connection has ended."""
        self._failed(reason)

    def stop(self) -> None:
        """It is over."""
        self._stopped = True
        if self._patience.active():
            self._patience.cancel()

    def _read(self, data: bytes) -> bool:
        """In a thread: whether it was the last one."""
        if self._first:
            try:
                self._client.must_be_signed(data)
                message = self._client.read_part(data, self._query, self._context, True)
            except RegistryError as error:
                if not error.credentials:
                    raise
                raise NoTransfer(str(error)) from error     # the same key was good for a question a moment ago
        else:
            message = self._client.read_part(data, self._query, self._context, False)
        if message.rcode() != dns.rcode.NOERROR:
            raise NoTransfer(f"it answers {dns.rcode.to_text(message.rcode())}")
        if message.id != self._query.id or not message.flags & dns.flags.QR:
            raise RegistryError("its answer is to another question")
        self._first = False
        self._context = message.tsig_ctx
        for rrset in message.answer:
            self._records += len(rrset)
            self._soas += rrset.rdtype == dns.rdatatype.SOA and rrset.name == self._zone
        if not self._soas:
            raise NoTransfer("what it sends does not begin with the zone's SOA")
        if self._records > MOST_RECORDS:
            raise NoTransfer(f"the zone has more than {MOST_RECORDS} records")
        last = self._soas > 1
        if last and not message.had_tsig:
            raise RegistryError("the end of a transfer is not signed", credentials=True)
        self._take(message)
        return last

    def _was_read(self, last: bool) -> None:
        if self._stopped:
            return
        if last:
            self.whole = True
            self.done.callback(None)
        else:
            self._wire.resumeProducing()

    def _failed(self, failure: Failure) -> None:
        if not self._stopped and not self.done.called:
            self._stopped = True
            self.done.errback(failure)

    def _too_late(self) -> None:
        self._failed(Failure(RegistryError(f"the next part of a transfer has not come within {_MESSAGE_S:g} s")))
