"""A second store of rate limits: what several processes owe stands in one place, and each tells it now and then."""

from __future__ import annotations

from collections.abc import Hashable

from voltgw.security.rates import LocalStore, NewStore, Pace, Store


class Shared:
    """The place that all have in common: it takes whatever it is told, and knows until when each user's bucket owes."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.reachable = True
        self.tats: dict[Hashable, float] = {}

    def add(self, key: Hashable, count: int, now: float) -> float:
        """So many more of a user; the answer is the time at which they owe nothing any more."""
        tat = max(self.tats.get(key, now), now) + count * self.pace.interval_s
        self.tats[key] = tat
        return tat


class SharingStore:
    """The store of one process. It decides by its own, and tells the others every `every_s` seconds.

    With 0.0 it tells them at once: then all processes count as one does.
    """

    def __init__(self, shared: Shared, most: int = 1000, every_s: float = 0.0) -> None:
        self._own = LocalStore(shared.pace, most)
        self._shared = shared
        self._every_s = every_s
        self._told_at = 0.0
        self._untold: dict[Hashable, tuple[int, float]] = {}     # how many, since when

    @property
    def pace(self) -> Pace:
        return self._shared.pace

    @property
    def most(self) -> int:
        return self._own.most

    @property
    def evicted(self) -> int:
        return self._own.evicted

    def __len__(self) -> int:
        return len(self._own)

    def take(self, key: Hashable, now: float) -> float:
        if now - self._told_at >= self._every_s:
            self._even_out(now)
        if self._every_s == 0.0 and self._shared.reachable:
            self._learn(key, self._shared.tats.get(key, 0.0))
        late = self._own.take(key, now)
        if late <= 0.0:
            count, since = self._untold.get(key, (0, now))
            self._untold[key] = count + 1, since
            if self._every_s == 0.0:
                self._even_out(now)
        return late

    def peek(self, key: Hashable, now: float) -> float:
        if self._every_s == 0.0 and self._shared.reachable:
            self._learn(key, self._shared.tats.get(key, 0.0))
        return self._own.peek(key, now)

    def _even_out(self, now: float) -> None:
        if not self._shared.reachable:
            return
        self._told_at = now
        untold, self._untold = self._untold, {}
        for key, (count, since) in untold.items():
            time = since - since % self.pace.period_s if self.pace.strict else since
            self._learn(key, self._shared.add(key, count, time))
        for key in list(self._own._tats):
            self._learn(key, self._shared.tats.get(key, 0.0))

    def _learn(self, key: Hashable, tat: float) -> None:
        own = self._own
        if key in own._tats and tat > own._tats[key]:
            own._tats[key] = tat
        elif key not in own._tats and tat > 0.0:
            own._make_room(tat)
            own._queue.append(key)
            own._tats[key] = tat


def sharing(shared: dict[str, Shared], every_s: float = 0.0) -> NewStore:
    """A `voltgw.security.rates.NewStore` whose stores of one name share."""
    def new_store(name: str, pace: Pace, most: int) -> Store:
        return SharingStore(shared.setdefault(name, Shared(pace)), most, every_s)

    return new_store
