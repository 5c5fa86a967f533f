"""DNS: an endpoint object that names a host; every address of the name is an endpoint.

The name is looked up through Twisted's `IHostnameResolver`, which tells addresses but no times to live (only that of a network
with DNS servers of its own does): it is asked again every `refresh_s`. A failure, and an answer without any address, which
cannot be told from one, leaves the last good addresses in force and is tried again sooner, with growing pauses.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.control.feed import Failed, FeedState, Found, Reset
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.interfaces import IAddress

    from voltgw.cluster.plan import MemberPlan
    from voltgw.control.discovery.sources import Sources
    from voltgw.control.feed import Deliver
    from voltgw.control.seams import ControlLoop, Timer

#: A look-up that has not answered by then has failed; the system's resolver gives up after 5 s a server, twice.
LOOKUP_TIMEOUT_S: Final = 10.0
#: The pause after the first failure; it doubles with each further one, up to `refresh_s`.
FIRST_PAUSE_S: Final = 1.0
#: A name whose answers live shorter is looked up this often.
SHORTEST_LIFE_S: Final = 1.0
#: Refreshes are up to this share late, so that names that were looked up together do not stay together.
SPREAD: Final = 0.1


class DnsFeed:
    """Keeps the addresses of one name.

    Addresses are delivered in a fixed order (IPv4 first, then by number), so that a server that rotates its answers
    changes nothing.
    """

    _log = Logger()

    def __init__(self, member: MemberPlan, resolver: Any, loop: ControlLoop, random: Random) -> None:
        self.name = member.name
        self.state = FeedState.PENDING
        self.last_error = ""
        self.last_success = 0.0
        self.addresses: tuple[str, ...] = ()
        self._member = member
        self._resolver = resolver
        self._loop = loop
        self._random = random
        self._deliver: Deliver | None = None
        self._lookup: _Lookup | None = None
        self._timer: Timer | None = None
        self._failures = 0                  # in a row

    def start(self, deliver: Deliver) -> None:
        """Look the name up now, and again and again."""
        self._deliver = deliver
        self._look_up()

    def stop(self) -> None:
        """Look up no more; an answer that is under way goes nowhere."""
        self._deliver = None
        self._cancel_timer()
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _look_up(self) -> None:
        self._timer = self._loop.clock.callLater(LOOKUP_TIMEOUT_S, self._timed_out)
        lookup = self._lookup = _Lookup(self)
        try:
            self._resolver.resolveHostName(lookup, self._member.address)
        except Exception as error:          # a resolver of someone else's: its failure must not end ours
            self._log.failure("the resolver failed for {name}", name=self._member.address)
            if self._lookup is lookup:      # else it has answered before it failed
                lookup.cancel()
                self._failed(f"the resolver failed: {error}")

    def answered(self, lookup: _Lookup) -> None:
        """The look-up under way is complete; one that was given up is never heard of again."""
        self._lookup = None
        usable = {found for found in lookup.found if not found.is_unspecified and not found.is_multicast}
        addresses = tuple(str(address) for address in sorted(usable, key=lambda a: (a.version, int(a))))
        if not addresses:
            self._failed("the name has no usable address" if lookup.found else "the name has no address")
            return
        self._cancel_timer()
        self._failures = 0
        self.state = FeedState.BOUND
        self.last_error = ""
        self.last_success = self._loop.monotonic()
        self.addresses = addresses
        refresh_s = self._member.refresh_s
        if self._member.by_ttl and lookup.ttl_s is not None:
            refresh_s = max(lookup.ttl_s, SHORTEST_LIFE_S)
        self._again(refresh_s * (1 + SPREAD * self._random.random()))
        if self._deliver is not None:
            self._deliver(Reset(tuple(map(self._found, addresses))))

    def _timed_out(self) -> None:
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()
        self._failed(f"no answer within {LOOKUP_TIMEOUT_S:g} s")

    def _failed(self, why: str) -> None:
        self._lookup = None
        self._cancel_timer()
        pause_s = min(FIRST_PAUSE_S * 2 ** min(self._failures, 16), self._member.refresh_s)
        self._failures += 1
        self.state = FeedState.FAILED
        self.last_error = f"{self._member.address}: {why}"
        self._again(pause_s * (1 + SPREAD * self._random.random()))
        if self._deliver is not None:
            self._deliver(Failed(self.last_error))

    def _again(self, delay_s: float) -> None:
        self._timer = self._loop.clock.callLater(delay_s, self._look_up)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _found(self, address: str) -> Found:
        member = self._member
        return Found(
            address, member.port, member.protocol, hostname=member.address, weight=member.weight,
            health_port=member.health_port, labels=member.labels, network=member.network, priority=member.priority,
            zone=member.zone,
        )


@implementer(IResolutionReceiver)
class _Lookup:
    """One question to the resolver; its answers come one by one."""

    def __init__(self, feed: DnsFeed) -> None:
        self.found: list[IPv4Address | IPv6Address] = []
        self.ttl_s: int | None = None       # None: the resolver does not tell
        self._feed: DnsFeed | None = feed
        self._resolution: IHostResolution | None = None

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """The resolver works on it."""
        self._resolution = resolutionInProgress

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        try:
            self.found.append(ip_address(getattr(address, "host", "")))
        except ValueError:
            pass                            # a resolver may answer with addresses that are not IP; nobody can dial them

    def lives_for(self, seconds: int) -> None:
        """The addresses are good for so long; only a resolver of our own says so."""
        self.ttl_s = seconds

    def resolutionComplete(self) -> None:
        """That was all."""
        self._resolution = None
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.answered(self)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._feed = None
        resolution, self._resolution = self._resolution, None
        if resolution is not None:
            try:
                resolution.cancel()
            except NotImplementedError:
                pass                        # Twisted's resolver in a thread cannot be stopped; its answer goes nowhere


@implementer(IFactory)
class Dns:
    """The factory; the options stand in the endpoint object (`dns_name`, `dns_name_advanced`)."""

    name = "dns"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None

    def build(self, member: MemberPlan, sources: Sources) -> DnsFeed:
        """A feed for `member`."""
        return DnsFeed(member, sources.resolver_of(member.network), sources.loop, sources.random)


FACTORY: Final = Dns()
