"""Keeps a scheduler over the endpoints that may be used, and builds the next one without holding up a turn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from typing import TYPE_CHECKING, Final

from voltgw.cluster.affinity import PINNED, Affinity, Pinned
from voltgw.cluster.schedulers.building import StepwiseFactory
from voltgw.cluster.schedulers.random import Uniform
from voltgw.cluster.spread import Part, Spread, SpreadRules, parts_of
from voltgw.values.compiling import mypyc_attr

if TYPE_CHECKING:
    from random import Random

    from voltgw.cluster.cluster import Scheduler, SchedulerFactory
    from voltgw.cluster.endpoint import Endpoint

#: Steps of 1 ms that are made at once where there is nobody to pick from until they are made.
FIRST_STEPS: Final = 64

Pick = Callable[["int | None"], "Endpoint | None"]
#: Who is asked in attempt 1, 2… after the first for a key.
PickNext = Callable[[int, int], "Endpoint | None"]
#: Has something called in the next turn of the reactor.
Soon = Callable[[Callable[[], None]], object]


@mypyc_attr(allow_interpreted_subclasses=True)
class Chooser:
    """Has a scheduler over some endpoints; the base of clusters and their subsets.

    `pick` is the scheduler's own bound method, so that a pick costs one frame: do not keep it over a turn.

    With `soon`, a table that takes long is built one step a turn. Meanwhile the old scheduler serves, which passes over those
    who left; where it has nobody left, chance picks. Sets that arrive while a table is built wait until it is complete, and
    only the last of them counts, so that members who come and go all the time cannot keep a table from ever being complete.

    Where members are of several priorities or localities (`spread`), each part of them has a chooser of its own.
    """

    __slots__ = ("_among", "_next", "_parts", "_steps", "affinity", "endpoints", "factory", "in_use", "pick", "pick_next",
                 "random", "scheduler", "soon", "spread")

    def __init__(
        self, factory: SchedulerFactory, random: Random, soon: Soon | None = None, spread: SpreadRules | None = None,
    ) -> None:
        self.factory = factory
        self.random = random
        self.soon = soon
        self.endpoints: tuple[Endpoint, ...] = ()
        self.in_use: tuple[Endpoint, ...] = ()          # those that get traffic, as far as they are ready
        self.spread = spread
        self.affinity: Affinity | None = None           # whose cookies pin clients to endpoints
        self._parts: dict[tuple[int, str], Chooser] = {}
        self._among: Sequence[Endpoint] = ()            # for whom the last build was begun
        self._steps: Generator[None, None, Scheduler] | None = None
        self._next: Sequence[Endpoint] | None = None
        self.scheduler: Scheduler
        self.pick: Pick
        self.pick_next: PickNext | None     # None: the scheduler keeps no affinity
        self._use(factory.build((), random))

    @property
    def building(self) -> bool:
        """Whether a table is being built."""
        return self._steps is not None or any(part.building for part in self._parts.values())

    def choose(self, members: Sequence[Endpoint]) -> None:
        """Pick from those of `members` that are ready and have a weight, by priorities and localities."""
        spread = self.spread
        if spread is None or not spread.apply_to(members):
            self._parts = {}
            ready = [endpoint for endpoint in members if endpoint.ready and endpoint.weight > 0]
            self.in_use = tuple(ready)
            self.choose_among(ready)
            return
        parts = parts_of(members, spread)
        before, self._parts = self._parts, {}
        choosers = []
        for part in parts:
            key = part.priority, part.zone
            chooser = before.get(key) or Chooser(self.factory, self.random, self.soon)
            chooser.factory, chooser.soon = self.factory, self.soon
            chooser.endpoints = part.members
            chooser.choose_among(part.members)
            self._parts[key] = chooser
            choosers.append(chooser)
        self.in_use = tuple(endpoint for part in parts for endpoint in part.members)
        self._steps = self._next = None
        self._among = self.in_use
        self._use(Spread(parts, choosers, self.random.random) if parts else self.factory.build((), self.random))

    def shares(self) -> dict[Endpoint, float]:
        """What part of the requests without a key each endpoint gets, as far as that does not depend on what they do.

        It goes by priorities, localities, weights and slow start; who is not in it gets nothing.
        """
        parts: Sequence[Part] = (
            self.scheduler.parts if isinstance(self.scheduler, Spread) else (Part(0, "", 100.0, self.in_use),))
        found: dict[Endpoint, float] = {}
        for part in parts:
            ready = [endpoint for endpoint in part.members if endpoint.ready]
            total = sum(endpoint.weight * endpoint.pace for endpoint in ready)
            for endpoint in ready:
                found[endpoint] = part.load / 100 * endpoint.weight * endpoint.pace / total
        return found

    def choose_among(self, ready: Sequence[Endpoint]) -> None:
        """Pick from these from now on, or from soon on."""
        factory = self.factory
        if not ready or self.soon is None or not isinstance(factory, StepwiseFactory):
            self._steps = self._next = None
            self._among = ready
            self._use(factory.build(ready, self.random))
            return
        alone = not any(endpoint.ready for endpoint in self._among)
        under_way = self._steps is not None
        if under_way and not alone:
            self._next = ready
            return
        self._begin(factory, ready)
        for _ in range(FIRST_STEPS if alone else 1):
            if self._step():
                return
        if alone:
            self._use(Uniform(ready, self.random))
        if not under_way:                   # else the turns go on by themselves
            self.soon(self._go_on)

    def pick_other(self, tried: Collection[Endpoint], hash_key: int | None) -> Endpoint | None:
        """A ready endpoint that is not among `tried`, or None; asked only after a failure."""
        pick_next = self.pick_next
        if hash_key is not None and hash_key >= PINNED:
            hash_key = None                 # the one that it names has failed
        if hash_key is not None and pick_next is not None:
            for attempt in range(1, 2 * len(tried) + 2):
                endpoint = pick_next(hash_key, attempt)
                if endpoint is None or endpoint not in tried:
                    return endpoint
        else:
            for _ in range(len(tried) + 1):     # in a round, so many picks in a row pass every tried one at least once
                endpoint = self.scheduler.pick(hash_key)
                if endpoint is None or endpoint not in tried:
                    return endpoint
        for among in (self.in_use, self.endpoints):     # weights or chance gave the tried ones again
            for endpoint in among:
                if endpoint.ready and endpoint.weight > 0 and endpoint not in tried:
                    return endpoint
        return None

    def holds(self, endpoint: Endpoint) -> bool:
        """Whether a live endpoint of the cluster is one of these."""
        return True

    def _begin(self, factory: StepwiseFactory, ready: Sequence[Endpoint]) -> None:
        self._among = ready
        self._next = None
        self._steps = factory.building(ready, self.random, self.scheduler)

    def _step(self) -> bool:
        """One step; True when the table is complete and in use."""
        assert self._steps is not None      # the callers know
        try:
            next(self._steps)
        except StopIteration as done:
            self._steps = None
            self._use(done.value)
            return True
        return False

    def _go_on(self) -> None:
        """A turn has come."""
        if self._steps is None:
            return
        if self._step():
            ready = self._next
            if ready is None:
                return
            assert isinstance(self.factory, StepwiseFactory)        # nobody else sets it
            self._begin(self.factory, ready)
        if self.soon is not None:
            self.soon(self._go_on)
        else:                               # nobody gives turns any longer
            while not self._step():
                pass

    def _use(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.pick = scheduler.pick if self.affinity is None else Pinned(scheduler, self.endpoints).pick
        self.pick_next = getattr(scheduler, "pick_next", None)
        if isinstance(scheduler, Spread) and all(part.pick_next is None for part in self._parts.values()):
            self.pick_next = None
