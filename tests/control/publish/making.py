"""A registry in memory, which can be told to fail, and a publisher for it on a clock of the test's."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.publish.entries import PublishCounters, Terms, World
from voltgw.control.publish.names import Act, Change, Held, Observed, Refused, Vip, Wanted
from voltgw.control.publish.publisher import Publisher
from voltgw.control.publish.registrar import RegistryError

WALL = 1648508993.0


def wanted(name: str, *addresses: str) -> Wanted:
    """A name at these addresses."""
    return Wanted(name, tuple(Vip(address, 80) for address in addresses))


def all_of(*names: Wanted) -> dict[str, Wanted]:
    """By name."""
    return {each.name: each for each in names}


class Registry:
    """The far side: name -> (owner, addresses)."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.refuses: dict[str, str] = {}
        self.error: Exception | None = None
        self.writes: list[tuple[str, str]] = []
        self.looks = 0
        self.hangs: list[Deferred[None]] | None = None      # a list: calls of `apply` wait in it


class FakeRegistrar:
    """A `Registrar` of it."""

    kind = "fake"
    registry = "memory"

    def __init__(self, far: Registry, owner: str = "me", most: int = 2, complete: bool = True) -> None:
        self.far = far
        self.owner = owner
        self.most = most
        self.complete = complete
        self.closed = 0
        self.batches: list[int] = []

    def content(self, wanted: Wanted) -> Hashable:
        """The addresses."""
        return wanted.addresses

    async def observe(self, names: Collection[str]) -> Observed:
        """All there is."""
        self.far.looks += 1
        if self.far.error is not None:
            raise self.far.error
        return Observed({
            name: Held(owner, addresses, addresses) if owner else Held(occupied=", ".join(addresses))
            for name, (owner, addresses) in self.far.names.items() if self.complete or name in names}, self.complete)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """Write."""
        self.batches.append(len(changes))
        if self.far.hangs is not None:
            hanging: Deferred[None] = Deferred()
            self.far.hangs.append(hanging)
            await hanging
        if self.far.error is not None:
            raise self.far.error
        outcomes: list[Refused | None] = []
        for change in changes:
            if change.name in self.far.refuses:
                outcomes.append(Refused(self.far.refuses[change.name]))
                continue
            self.far.writes.append((change.act.value, change.name))
            if change.act is Act.REMOVE:
                del self.far.names[change.name]
            else:
                assert change.wanted is not None
                self.far.names[change.name] = (self.owner, change.wanted.addresses)
            outcomes.append(None)
        return outcomes

    def close(self) -> None:
        """Noted."""
        self.closed += 1


class PublisherCase(SynchronousTestCase):
    """Ends each test by stopping the publishers, and sees to it that they leave no timer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.far = Registry()
        self.counters = PublishCounters()
        self.publishers: list[Publisher] = []
        self.addCleanup(self._end)

    def publisher(self, registrar: FakeRegistrar | None = None, **terms: Any) -> Publisher:
        """One for the registry."""
        made = Publisher(World(self.clock, lambda: WALL + self.clock.seconds(), lambda: 0.5), registrar or FakeRegistrar(self.far),
                         Terms(**{"interval_s": 60.0, **terms}), self.counters)
        self.publishers.append(made)
        return made

    def pass_by(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass."""
        self.clock.pump([step] * int(seconds / step))

    def _end(self) -> None:
        for each in self.publishers:
            each.stop()
        self.pass_by(10.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


def failing(why: str = "it is away", **more: Any) -> RegistryError:
    """What a registrar raises."""
    return RegistryError(why, **more)
