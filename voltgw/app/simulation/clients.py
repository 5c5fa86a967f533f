"""The clients of a simulation: requests that come at their times, on connections that are kept or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.question import read_question
from voltgw.app.simulation.scenario import Spacing
from voltgw.app.simulation.wires import Wire
from voltgw.values.tls import Handshake

if TYPE_CHECKING:
    from random import Random

    from voltgw.app.question import Question
    from voltgw.app.simulation.scenario import Traffic
    from voltgw.app.simulation.world import World
    from voltgw.proxy.factory import HttpFactory

#: The address of the first user; the others follow it (addresses that no host has of itself, RFC 6598).
_FIRST_USER: Final = 0x64400000
_ONE: Final = "192.0.2.1"
#: What a sum of many gaps may be wrong by: a request that is due at the end does not come.
_ROUNDING_S: Final = 1e-6


def question_of(traffic: Traffic, user: int) -> Question:
    """The request of a user. Raises `QuestionError`."""
    number = str(user)
    method, _, url = traffic.request.partition(" ")
    headers = [f"{name}: {value.replace('{n}', number)}" for name, value in traffic.headers.items()]
    url = url.strip().replace("{n}", number)
    return read_question(method, url, headers, _address_of(traffic, user), traffic.listener or "")


def _address_of(traffic: Traffic, user: int) -> str:
    if traffic.users is None:
        return _ONE
    number = _FIRST_USER + user
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


class Client:
    """One connection of a user."""

    __slots__ = ("busy", "protocol", "user", "wire")

    def __init__(self, user: int) -> None:
        self.user = user
        self.busy = False
        self.wire: Wire
        self.protocol: Any = None

    def taken(self, data: bytes) -> None:
        """An answer's bytes; what they say is in the exchange."""


class Source:
    """Traffic of one kind: from `begin` on requests come at their times, whether those before were answered or not."""

    def __init__(
        self, world: World, random: Random, traffic: Traffic, factory: HttpFactory, duration_s: float, tls: bool,
        clients: dict[Any, Callable[[], None]],
    ) -> None:
        """`clients` gets what is to be called when an exchange of a connection has ended, by the connection."""
        self.sent = 0
        self._world = world
        self._random = random
        self._traffic = traffic
        self._factory = factory
        self._tls = tls
        self._begin_s = traffic.from_s or 0.0
        self._end_s = min(traffic.until_s or duration_s, duration_s)
        self._even = traffic.spacing is Spacing.EVEN
        self._zero = 0.0
        self._idle: dict[int, list[Client]] = {}
        self._heads: dict[int, bytes] = {}
        self._clients = clients
        self._ports = 0

    def begin(self) -> None:
        """The beginning of the scenario is now."""
        self._zero = self._world.now
        self._schedule(self._begin_s)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _over(self, client: Client) -> None:
        """Its exchange has ended."""
        client.busy = False
        if self._traffic.new_connections:
            self._world.soon(client.wire.close)
        elif not client.wire.gone:
            self._idle.setdefault(client.user, []).append(client)

    def _schedule(self, since_s: float) -> None:
        """The next request after `since_s`."""
        due = 1.0                           # of an even request: what of its gap is still to come
        while since_s < self._end_s:
            rate, until_s = self._rate_at(since_s)
            if rate > 0.0:
                gap_s = due / rate if self._even else self._random.expovariate(rate)
                if since_s + gap_s < until_s - _ROUNDING_S:
                    self._world.at(self._zero + since_s + gap_s, self._send, since_s + gap_s)
                    return
                due = max(due - (until_s - since_s) * rate, 0.0)
            since_s = until_s               # there it is another rate; of chance nothing is remembered

    def _rate_at(self, time_s: float) -> tuple[float, float]:
        rate = self._traffic.rate
        for step in self._traffic.steps:
            if step.at_s > time_s:
                return rate, min(step.at_s, self._end_s)
            rate = step.rate
        return rate, self._end_s

    def _send(self, time_s: float) -> None:
        self.sent += 1
        user = self._random.randrange(self._traffic.users) if self._traffic.users else 0
        client = self._client_of(user)
        client.busy = True
        client.wire.send(self._head_of(user))
        self._schedule(time_s)

    def _head_of(self, user: int) -> bytes:
        head = self._heads.get(user)
        if head is None:
            head = self._heads[user] = question_of(self._traffic, user).head
        return head

    def _client_of(self, user: int) -> Client:
        waiting = self._idle.get(user)
        while waiting:
            client = waiting.pop()
            if not client.wire.gone:
                return client
        client = Client(user)
        self._ports = self._ports % 64_000 + 1
        client.protocol = protocol = self._factory.serve((_address_of(self._traffic, user), 1024 + self._ports))
        client.wire = Wire(self._world, protocol, client.taken, lambda: self._ended(protocol))
        if self._tls:
            client.wire.handshake = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", sni=question_of(self._traffic, user).host)
        self._clients[protocol] = lambda: self._over(client)
        protocol.makeConnection(client.wire)
        return client

    def _ended(self, protocol: Any) -> None:
        self._clients.pop(protocol, None)
