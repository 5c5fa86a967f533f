"""A service in registries: an endpoint object that names one, or chooses by labels.

Several registries may know it, and its members are those of all of them. Each has its own last good answer: one that fails
leaves what it said before, and the others' members, in force.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.config.values import FrozenMap
from voltgw.control.feed import Failed, FeedState, Found, Reset
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from voltgw.cluster.plan import MemberPlan
    from voltgw.control.discovery.registries import Instance, Registries
    from voltgw.control.discovery.sources import Sources
    from voltgw.control.feed import Deliver
    from voltgw.control.seams import ControlLoop
    from voltgw.values.discovery import ServiceQuery


class RegisteredFeed:
    """Keeps the instances of a service that registries know."""

    def __init__(self, member: MemberPlan, query: ServiceQuery, registries: Registries, loop: ControlLoop) -> None:
        self.name = member.name
        self.state = FeedState.PENDING
        self.last_error = ""
        self.last_success = 0.0
        self._member = member
        self._query = query
        self._registries = registries
        self._loop = loop
        self._deliver: Deliver | None = None
        self._stops: list[Callable[[], None]] = []
        self._known: list[tuple[Instance, ...] | None] = []
        self._errors: list[str] = []
        self._told = False                  # whoever has our members was told last that they are not known now

    def start(self, deliver: Deliver) -> None:
        """Ask every registry."""
        self._deliver = deliver
        count = len(self._query.registries)
        self._known, self._errors = [None] * count, [""] * count
        if not count:
            self._says("no discovery object of this site has such a registry")
            return
        for index, access in enumerate(self._query.registries):
            self._stops.append(self._registries.watch(access, self._query, partial(self._answered, index)))

    def stop(self) -> None:
        """Ask no more."""
        self._deliver = None
        stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def _answered(self, index: int, instances: tuple[Instance, ...] | None, why: str) -> None:
        if self._deliver is None:
            return
        self._errors[index] = f"{self._query.registries[index].name}: {why}" if why else ""
        if instances is None:
            self._says("; ".join(filter(None, self._errors)))
            return
        before = self._known[index]
        self._known[index] = instances
        self.last_success = self._loop.monotonic()
        self.last_error = "; ".join(filter(None, self._errors))
        self.state = FeedState.FAILED if self.last_error else FeedState.BOUND
        if not self._member.port:
            portless = sum(not one.port for known in self._known for one in known or ())
            if portless:                    # the others serve
                self.last_error = "; ".join(filter(None, (
                    self.last_error, f"{portless} instances have no port, and the endpoint says none")))
        if before != instances or self._told:
            self._told = False
            self._deliver(Reset(tuple(dict.fromkeys(
                self._found(one) for known in self._known for one in known or () if self._member.port or one.port))))

    def _says(self, why: str) -> None:
        self.state = FeedState.FAILED
        self.last_error = why
        self._told = True
        if self._deliver is not None:
            self._deliver(Failed(why))

    def _found(self, one: Instance) -> Found:
        member = self._member
        labels = FrozenMap({**one.labels, **member.labels}) if member.labels else one.labels
        return Found(
            one.address, member.port or one.port, member.protocol, hostname=one.hostname, weight=member.weight * one.weight,
            health_port=member.health_port, labels=labels, network=member.network, priority=member.priority,
            zone=member.zone or one.zone)


@implementer(IFactory)
class Registered:
    """The factory; the options stand in the endpoint object (`service_info`)."""

    name = "registered"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None

    def build(self, member: MemberPlan, sources: Sources) -> RegisteredFeed:
        """A feed for `member`."""
        assert member.query is not None and sources.registries is not None      # its plan and the gateway have them
        return RegisteredFeed(member, member.query, sources.registries, sources.loop)


FACTORY: Final = Registered()
