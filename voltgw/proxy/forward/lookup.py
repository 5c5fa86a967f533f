"""Names of destinations to addresses: asked where the connections go out, remembered for a short while.

Whoever connects uses the addresses of one answer, after they were judged: a name that says something else a moment later (DNS
rebinding) changes nothing for that connection.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import classImplements

from voltgw.security.destinations import plain
from voltgw.security.shares import Shares, source_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall

    from voltgw.net.loop import Loop
    from voltgw.security.shares import Source
    from voltgw.values.exchange import Exchange
    from voltgw.values.network import Network
    from voltgw.values.trace import Trace

#: How long an answer is used. The resolver tells no times to live; its own cache keeps to them.
GOOD_S: Final = 30.0
#: The same of a name that has no address, or whose servers do not answer.
BAD_S: Final = 5.0
#: Longest wait for an answer.
LOOKUP_TIMEOUT_S: Final = 5.0
#: An address that a name has had counts as the name's for so long (servers with many take turns); at most so many of them.
SEEN_S: Final = 300.0
MAX_SEEN: Final = 64
#: Before a client is told that its name leads elsewhere, the name is asked for anew, unless that was done so shortly before.
AGAIN_S: Final = 1.0
#: Names that are remembered, and names that are asked for at a time. One more is answered as if it had no address.
MAX_NAMES: Final = 4096
MAX_ASKED: Final = 512
#: Of these, for clients of one network.
MAX_FROM_ONE: Final = 64


class _Known(NamedTuple):
    addresses: tuple[str, ...]
    asked: float
    until: float
    seen: dict[str, float]                  # until when


class Lookup:
    """The names of one process; a network that has servers of its own has its own answers.

    `resolver_of` gives the `IHostnameResolver` of a network.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, loop: Loop, resolver_of: Callable[[Network], Any]) -> None:
        self._loop = loop
        self._resolver_of = resolver_of
        self._known: dict[tuple[Network, bytes], _Known] = {}
        self._asked: dict[tuple[Network, bytes], _Question] = {}
        self._shares = Shares(MAX_FROM_ONE)
        self.questions = 0                  # put to resolvers
        self.failures = 0                   # of these, without an address
        self.crowded = 0                    # not put, because too many were under way

    def known(self, network: Network, name: bytes) -> tuple[str, ...] | None:
        """The addresses of a name, () if it has none; None = it has to be asked for."""
        found = self._known.get((network, name))
        if found is None or self._loop.monotonic() >= found.until:
            return None
        return found.addresses

    def leads_to(self, network: Network, name: bytes, address: str, client: str = "") -> bool | Deferred[bool]:
        """Whether a name has that address, or had it a moment ago; a Deferred when it has to be asked for, for `client`."""
        found, now = self._known.get((network, name)), self._loop.monotonic()
        if found is not None:
            if found.seen.get(address, 0.0) > now:
                return True
            if now < found.asked + AGAIN_S:
                return False
        return self.ask(network, name, client).addCallback(lambda addresses: address in addresses)

    def ask(self, network: Network, name: bytes, client: str = "") -> Deferred[tuple[str, ...]]:
        """The same, from the resolver; () also when it fails or does not answer in time. Cancelling leaves others waiting.

        `client` is the address for which it is asked, "" = nobody's: one network has a share of what is asked at a time, so
        that names whose servers never answer keep out only whoever asks for them.
        """
        answer: Deferred[tuple[str, ...]] = Deferred()
        key = (network, name)
        question = self._asked.get(key)
        if question is not None:
            question.waiting.append(answer)
            return answer
        source = source_of(client)
        if len(self._asked) >= MAX_ASKED or not self._shares.take(source, crowded=len(self._asked) >= MAX_ASKED // 2):
            self.crowded += 1
            answer.callback(())
            return answer
        self.questions += 1
        self._asked[key] = question = _Question(self, key, source)
        question.waiting.append(answer)
        question.timer = self._loop.clock.callLater(LOOKUP_TIMEOUT_S, question.timed_out)
        try:
            self._resolver_of(network).resolveHostName(question, name.decode("ascii"))
        except Exception:                   # a resolver of somebody else's: its failure is a name without addresses
            self._log.failure("the resolver failed for {name}", name=name.decode("ascii", "replace"))
            question.timed_out()
        return answer

    def ask_for(self, exchange: Exchange, network: Network, name: bytes, client: str) -> Deferred[tuple[str, ...]]:
        """The same for a request; where that takes part in tracing, its trace shows how long it took."""
        asked = self.ask(network, name, client)
        if exchange.trace is not None:
            asked.addCallback(self._noted, exchange.trace, name.decode("ascii", "replace"), self._loop.monotonic())
        return asked

    def _noted(self, found: tuple[str, ...], trace: Trace, name: str, began: float) -> tuple[str, ...]:
        trace.looked_up = [*(trace.looked_up or ()), (name, began, self._loop.monotonic())]
        return found

    def answered(self, question: _Question, addresses: tuple[str, ...]) -> None:
        """A question is over."""
        del self._asked[question.key]
        self._shares.give_back(question.source)
        if not addresses:
            self.failures += 1
        now = self._loop.monotonic()
        before = self._known.pop(question.key, None)
        while len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        seen = {} if before is None else {each: until for each, until in before.seen.items() if until > now}
        for address in addresses:
            seen.pop(address, None)
            seen[address] = now + SEEN_S
        while len(seen) > MAX_SEEN:
            del seen[next(iter(seen))]
        self._known[question.key] = _Known(addresses, now, now + (GOOD_S if addresses else BAD_S), seen)
        for waiting in question.waiting:
            if not waiting.called:          # else whoever asked has left
                waiting.callback(addresses)

    def stop(self) -> None:
        """Nobody asks any more; those who wait hear that there is no address."""
        for question in list(self._asked.values()):
            question.timed_out()


class _Question:
    """One question to a resolver, and everybody who waits for its answer."""

    def __init__(self, lookup: Lookup, key: tuple[Network, bytes], source: Source) -> None:
        self.key = key
        self.source = source
        self.waiting: list[Deferred[tuple[str, ...]]] = []
        self.timer: IDelayedCall | None = None
        self._lookup: Lookup | None = lookup
        self._found: dict[str, None] = {}
        self._resolution: IHostResolution | None = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver works on it."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        try:
            self._found[plain(ip_address(getattr(address, "host", "")))] = None
        except ValueError:
            pass                            # a resolver may answer with what is no IP address; nobody can dial it

    def resolutionComplete(self) -> None:
        """That was all."""
        self._resolution = None
        self._finish(tuple(self._found))

    def timed_out(self) -> None:
        """No answer in time."""
        resolution, self._resolution = self._resolution, None
        lookup = self._lookup
        self._finish(())
        if resolution is not None and lookup is not None:
            try:
                resolution.cancel()
            except NotImplementedError:
                pass                        # Twisted's resolver in a thread cannot be stopped; its answer goes nowhere

    def _finish(self, addresses: tuple[str, ...]) -> None:
        lookup, self._lookup = self._lookup, None
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if lookup is not None:
            lookup.answered(self, addresses)


classImplements(_Question, IResolutionReceiver)
