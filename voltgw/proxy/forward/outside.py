"""What all forward proxies of a process share: names, destinations, logins, TLS to origins, counts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

from voltgw.proxy.forward.logins import Logins
from voltgw.proxy.forward.lookup import Lookup
from voltgw.proxy.forward.origins import Origins
from voltgw.values.compiling import slots_of
from voltgw.values.tls import ClientTls, SniSource

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.cluster.cluster import ClientContextLike
    from voltgw.proxy.plane import Plane
    from voltgw.values.network import Network


#: TLS to an origin that a client has named: the system's roots vouch for that name, either version of HTTP is spoken.
ORIGIN_TLS: Final = ClientTls(alpn=(b"h2", b"http/1.1"), sni=SniSource.HOST, sessions=1)
#: Failures of clients and origins are told in the log so often at most; the access log has them all.
TOLD_S: Final = 1.0


def _nothing(address: str, port: int) -> str:
    return ""


class OutsideCounters:
    """What forward proxies have done; plain integers, read at a scrape."""

    __slots__ = ("captured", "denied", "disagreements", "guarded", "handshakes_failed", "minted", "opened", "peeked", "spliced",
                 "tunnels", "unheard")

    def __init__(self) -> None:
        self.tunnels = 0            # CONNECT that was answered 200
        self.captured = 0           # connections that packet rules have brought
        self.denied = 0             # refused by a policy
        self.guarded = 0            # refused because of their address (private, ourselves...)
        self.disagreements = 0      # Host or server name that leads elsewhere than the connection was bound for
        self.opened = 0             # TLS connections that were opened for inspection
        self.spliced = 0            # TLS connections that were passed on
        self.peeked = 0             # of these, those whose origin's certificate was looked at first
        self.minted = 0             # certificates signed for that
        self.handshakes_failed = 0  # clients that did not take a minted certificate
        self.unheard = 0            # connections that were given up before they said what they speak


class Outside:
    """One per process. `in_thread` runs a function in a thread; `client_context` makes contexts of TLS."""

    def __init__(
        self, plane: Plane, random: Random, resolver_of: Callable[[Network], Any], in_thread: Callable[..., Deferred[Any]],
        client_context: Callable[[ClientTls], ClientContextLike],
    ) -> None:
        self.plane = plane
        self.counters = OutsideCounters()
        self.lookup = Lookup(plane.loop, resolver_of)
        self.origins = Origins(random, plane.monotonic)
        self.logins = Logins(random.randbytes(32), plane.monotonic, in_thread)
        #: How we call ourselves in Via (RFC 9110 7.6.3): no other proxy of our kind has this name, so it tells a loop.
        self.pseudonym = b"voltgw-%012x" % random.getrandbits(48)
        #: What else nothing may be sent to (our own admin interface): a reason for an address and port, "" = it may.
        self.refuses: Callable[[str, int], str] = _nothing
        self.client_context = client_context
        self._tls: ClientContextLike | None = None
        self._told_until = float("-inf")
        self._untold = 0

    @property
    def tls(self) -> ClientContextLike:
        """For origins of ``https`` URLs: the system's roots, the name of the URL."""
        if self._tls is None:
            self._tls = self.client_context(ORIGIN_TLS)
        return self._tls

    def told(self) -> str | None:
        """What is added to a line of the log about one more failure; None = not now, or clients could fill the disk."""
        now = self.plane.monotonic()
        if now < self._told_until:
            self._untold += 1
            return None
        self._told_until = now + TOLD_S
        untold, self._untold = self._untold, 0
        return f" (and {untold} more since the last such line)" if untold else ""

    def via(self, minor: int) -> bytes:
        """Our element of Via for a message of that minor version; 2 stands for HTTP/2."""
        return (b"1.0 ", b"1.1 ", b"2 ")[minor] + self.pseudonym

    def numbers(self) -> dict[str, float]:
        """For the metrics."""
        counters = self.counters
        found: dict[str, float] = {f"forward_{name}": getattr(counters, name) for name in slots_of(type(counters))}
        found.update(
            forward_lookups=self.lookup.questions, forward_lookup_failures=self.lookup.failures,
            forward_lookups_crowded=self.lookup.crowded, forward_origins=len(self.origins),
            forward_logins=self.logins.good, forward_logins_refused=self.logins.bad + self.logins.crowded)
        return found

    def close(self) -> None:
        """The process ends."""
        self.lookup.stop()
        self.origins.close()
