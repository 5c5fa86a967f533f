"""What all connections of the data plane share: clocks, chance, the way to dial, the access log, request numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

from voltgw.net.connector import dial
from voltgw.proxy.counters import PlaneCounters
from voltgw.proxy.late import Late
from voltgw.proxy.standing import Waiting
from voltgw.proxy.ties import Tied
from voltgw.routing.table import Route, VirtualHost
from voltgw.values.compiling import mypyc_attr
from voltgw.values.counters import ClusterCounters, RouteCounters

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from voltgw.cluster.endpoint import Endpoint
    from voltgw.errors import ConnectFailed
    from voltgw.interfaces import AccessSink
    from voltgw.net.deadlines import Deadlines
    from voltgw.proxy.endpoint import EndpointConnection
    from voltgw.proxy.factory import HttpFactory
    from voltgw.proxy.forward.outside import Outside
    from voltgw.proxy.forward.prepared import Prepared
    from voltgw.proxy.tcp import RelayTerms
    from voltgw.proxy.waiting import Queue

#: The last group of a UUID: 12 hexadecimal digits, counted up from a random start.
COUNT_MASK: Final = (1 << 48) - 1
#: The last two of them for each of the numbers that they can say; what stands before them is `Plane.counted`.
LOW_DIGITS: Final = [b"%02x" % number for number in range(1 << 8)]
LOW_MASK: Final = (1 << 8) - 1


class Dialling(Protocol):
    """A connection that is being made for somebody."""

    def cancel(self) -> None:
        """Nobody wants it any more."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Plane:
    """One per process; everything a connection needs from outside itself.

    `random` gives a number in [0, 1). `request_id_prefix` and `requests` make request ids in the form of a UUID: 80 bits of
    chance per process, then a count. They tell requests apart; they are no secret. `nobody` is a route of answers that nobody
    hears: it edits nothing.

    While `refusing` is a number, new requests are answered 503 and told to come again after so many seconds; while `closing`,
    answers end their connections. `press` has the factories of client connections do so.
    """

    __slots__ = ("_late", "access", "closing", "counted", "counters", "deadlines", "factories", "loop", "monotonic", "nobody",
                 "outside", "prepared", "queues", "random", "refusing", "request_id_prefix", "requests", "soon", "tied",
                 "unrouted", "waiting", "wall")

    def __init__(self, loop: Any, access: AccessSink, wall: Callable[[], float], random: Callable[[], float]) -> None:
        self.loop: Any = loop               # a `Loop`; tests and simulations bring what they need of one
        self.access = access
        self.wall = wall
        self.random = random
        self.monotonic = loop.monotonic
        self.deadlines: Deadlines = loop.deadlines
        self.soon = loop.soon
        chance = int(random() * (1 << 40)) << 40 | int(random() * (1 << 40))
        text = f"{chance:020x}"
        self.request_id_prefix = f"{text[:8]}-{text[8:12]}-4{text[12:15]}-8{text[15:18]}-".encode("ascii")
        self.requests = int(random() * (1 << 32))
        self.counted = b""                  # `request_id_prefix`, and the digits of `requests` that seldom change
        self.count_on()
        self.counters = PlaneCounters()
        self.unrouted = RouteCounters()     # requests that no route took
        self.nobody = Route(VirtualHost("nobody"), "nobody/0")
        # Where somebody waits for a connection: by the counters of the cluster, which all of its subsets share.
        self.queues: dict[ClusterCounters, Queue] = {}
        self.tied = Tied()                  # connections that serve one client alone
        self.waiting = Waiting(self)        # connections that stand ready for relays
        # Connections that were made for the next one who dials an endpoint.
        self.prepared: dict[Endpoint, Prepared] = {}
        self.outside: Outside | None = None # what forward proxies share; there once somebody needs it
        self.refusing: int | None = None
        self.closing = False
        self.factories: WeakSet[HttpFactory | RelayTerms] = WeakSet()   # those that live
        self._late: dict[float, Late] = {}

    def press(self, *, closing: bool, refusing: int | None) -> None:
        """End connections after their answers, and refuse new requests (None: do not), from now on."""
        self.closing, self.refusing = closing, refusing
        for factory in list(self.factories):
            factory.press()

    def count_on(self) -> None:
        """`requests` or `request_id_prefix` have been set, or more digits than the last two are others now."""
        self.counted = b"%b%010x" % (self.request_id_prefix, self.requests >> 8)

    def request_id(self) -> bytes:
        """A new request id. The hot path does the same in line."""
        self.requests = count = self.requests + 1 & COUNT_MASK
        low = count & LOW_MASK
        if not low:
            self.count_on()
        return self.counted + LOW_DIGITS[low]

    def dial(
        self, endpoint: Endpoint, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None],
        tls: tuple[Any, str] | None = None, first: bytes = b"",
    ) -> Dialling:
        """Connect `protocol` to `endpoint`; `protocol.makeConnection` or `failed` is called later, exactly once.

        `first` goes out before anything else, a TLS handshake included.
        """
        if self.prepared:
            prepared = self.prepared.pop(endpoint, None)
            if prepared is not None:
                return prepared.hand_over(protocol)
        if tls is None:
            return dial(self.loop, endpoint.address, endpoint.port, protocol, timeout_s, failed, options=endpoint.options,
                        first=first, network=endpoint.network)
        return dial(self.loop, endpoint.address, endpoint.port, protocol, timeout_s, failed, tls=tls, options=endpoint.options,
                    first=first, network=endpoint.network)

    def later(self, seconds: float, owner: Any, call: Callable[[], None]) -> IDelayedCall:
        """Call later, on the monotonic clock. What it raises is a bug of `owner`, whose `crashed` hears of it."""
        timer: IDelayedCall = self.loop.clock.callLater(seconds, self._guarded, owner, call)
        return timer

    def _guarded(self, owner: Any, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException:
            self.loop.failed(owner)

    def late(self, timeout_s: float) -> Late:
        """Where tries wait that have `timeout_s` seconds; durations are configured, so that they are few."""
        late = self._late.get(timeout_s)
        if late is None:
            self._late[timeout_s] = late = Late(timeout_s, self.loop.clock, self.monotonic)
        return late

    def room(self, cluster: Any) -> None:
        """A connection of `cluster` has ended, or will not be made. Call it only while there are `queues`."""
        queue = self.queues.get(cluster.counters)
        if queue is not None:
            queue.room()

    def offer(self, cluster: Any, upstream: EndpointConnection) -> None:
        """A connection of `cluster` has come back to its pool. Call it only while there are `queues`."""
        queue = self.queues.get(cluster.counters)
        if queue is not None:
            queue.offer(upstream)
