"""Static: an endpoint object that names an IP address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from voltgw.control.feed import FeedState, Found, Reset
from voltgw.interfaces import IFactory

if TYPE_CHECKING:
    from voltgw.cluster.plan import MemberPlan
    from voltgw.control.discovery.sources import Sources
    from voltgw.control.feed import Deliver


class StaticFeed:
    """Delivers its one endpoint when it is started."""

    def __init__(self, member: MemberPlan) -> None:
        self.name = member.name
        self.state = FeedState.PENDING
        self.last_error = ""
        self.last_success = 0.0
        self._member = member

    def start(self, deliver: Deliver) -> None:
        """Deliver."""
        member = self._member
        self.state = FeedState.BOUND
        deliver(Reset((Found(
            member.address, member.port, member.protocol, weight=member.weight, health_port=member.health_port,
            labels=member.labels, network=member.network, priority=member.priority, zone=member.zone,
        ),)))

    def stop(self) -> None:
        """Nothing to stop."""


@implementer(IFactory)
class Static:
    """The factory; it has no options of its own."""

    name = "static"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None

    def build(self, member: MemberPlan, sources: Sources) -> StaticFeed:
        """A feed for `member`."""
        return StaticFeed(member)


FACTORY: Final = Static()
