"""Registries of services: one client for each that discovery objects describe, shared by all endpoints that ask it.

A client stays while somebody asks it, over reloads as well: what is the same value is the same client. What it knows of a
service is handed to everybody who asks for that service; a service that nobody asks for any more is watched no longer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from twisted.internet.task import deferLater

from voltgw.config.values import EMPTY
from voltgw.control.feed import FeedState

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.control.seams import Clock, ControlLoop
    from voltgw.values.discovery import RegistryAccess, ServiceQuery


class Instance(NamedTuple):
    """One server of a service, as a registry knows it; `zone` "" = its labels may know."""

    address: str
    port: int
    weight: int = 1
    labels: Mapping[str, str] = EMPTY
    hostname: str = ""
    zone: str = ""


class Answered(Protocol):
    """Who asks for a service hears this: its instances, None = they are not known now, and what was known stays."""

    def __call__(self, instances: tuple[Instance, ...] | None, why: str, /) -> None:
        """Called at once with what is known, and with every change."""


class Client(Protocol):
    """Asks one registry. `watch` begins to look after what a query asks for, and the result ends it."""

    def watch(self, query: ServiceQuery, answered: Answered, /) -> Callable[[], None]:
        """Answer now if it is known, and whenever it changes."""

    def close(self) -> None:
        """Nobody asks any more."""


@dataclass(slots=True)
class Standing:
    """How one registry fares, for operators; times are monotonic seconds, 0.0 = never."""

    access: RegistryAccess
    state: FeedState = FeedState.PENDING
    last_error: str = ""
    last_success: float = 0.0
    requests: int = 0
    failures: int = 0
    services: dict[Hashable, int] = field(default_factory=dict)     # instances of each service that is watched
    turned_away: int = 0                    # instances whose address it may not name
    errors: dict[str, str] = field(default_factory=dict)            # of what is asked for and does not come

    def succeeded(self, now: float, what: str = "") -> None:
        """It has answered to `what`; it fares well when it answers to everything."""
        self.last_success = now
        self.forget(what)
        if not self.errors:
            self.state, self.last_error = FeedState.BOUND, ""

    def failed(self, why: str, what: str = "") -> None:
        """It has not, or not well; what it said before stays."""
        self.failures += 1
        self.errors[what] = why
        self.state, self.last_error = FeedState.FAILED, why

    def forget(self, what: str) -> None:
        """Nobody asks for `what` any more, or it is well."""
        if self.errors.pop(what, None) is None:
            return
        if self.errors:
            self.last_error = next(iter(self.errors.values()))
        else:
            self.state, self.last_error = FeedState.BOUND if self.last_success else FeedState.PENDING, ""


def rest(clock: Clock, seconds: float) -> Deferred[None]:
    """So long nothing is asked; cancelling it leaves no timer."""
    rested: Deferred[None] = deferLater(cast(Any, clock), seconds)
    return rested


class Allowed:
    """Whether a registry may name an address. Without prefixes: all that another host can have (not loopback, nor link-local,
    where clouds have their metadata, nor multicast)."""

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self._networks = tuple(ip_network(prefix, strict=False) for prefix in prefixes)

    def __call__(self, text: str) -> bool:
        """Whether it may name this address."""
        try:
            address: Any = ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        if self._networks:
            return any(address in network for network in self._networks)
        return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


#: Makes the client of a registry: (access, standing, loop, random).
MakeClient = Callable[["RegistryAccess", Standing, "ControlLoop", Random], Client]


class Registries:
    """The clients, by what they ask; `makers` has one for each kind."""

    def __init__(self, loop: ControlLoop, random: Random, makers: Mapping[str, MakeClient]) -> None:
        self._loop = loop
        self._random = random
        self._makers = makers
        self._clients: dict[RegistryAccess, tuple[Client, Standing, list[int]]] = {}

    def watch(self, access: RegistryAccess, query: ServiceQuery, answered: Answered) -> Callable[[], None]:
        """Have a registry asked; the result ends it."""
        known = self._clients.get(access)
        if known is None:
            standing = Standing(access)
            client = self._makers[access.kind](access, standing, self._loop, self._random)
            known = self._clients[access] = (client, standing, [0])
        client, _, users = known
        users[0] += 1
        end = client.watch(query, answered)
        over = False

        def stop() -> None:
            nonlocal over
            if over:
                return
            over = True
            end()
            users[0] -= 1
            if not users[0] and self._clients.get(access) is known:
                del self._clients[access]
                client.close()

        return stop

    def standings(self) -> list[Standing]:
        """How each registry fares that is asked."""
        return [standing for _, standing, _ in self._clients.values()]

    def view(self) -> list[dict[str, Any]]:
        """The same, JSON-ready; ages in seconds, None = never."""
        now = self._loop.monotonic()
        return [{
            "discovery": one.access.name, "kind": one.access.kind, "url": one.access.url, "state": one.state.value,
            "last_error": one.last_error, "age_s": round(now - one.last_success, 1) if one.last_success else None,
            "requests": one.requests, "failures": one.failures, "turned_away": one.turned_away,
            "services": {str(name): count for name, count in one.services.items()},
        } for one in self.standings()]

