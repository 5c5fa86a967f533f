"""How much a user may send: the generic cell rate algorithm (ITU-T I.371), and where what has been sent is remembered.

GCRA keeps one number for each user, the time at which their bucket is empty of debts again (TAT): a request is early when it
comes more than the tolerance before that. It is a leaky bucket and a token bucket at once: both let `burst` requests through at
once and refill evenly. What the object model calls the token bucket, "stricter", fills in one go at the end of each period
and not in between, which is the same sum over a clock that only moves in whole periods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from voltgw.values.defaults import MAX_RATE_LIMIT_USERS

#: Users that a full store looks at for the one whose debt is the least worth remembering.
_LOOKS: Final = 8
#: Share of an interval by which sums of floats may be wrong; ten thousand requests at once are off by less.
_SLACK: Final = 0.01


@dataclass(frozen=True, slots=True)
class Pace:
    """So many in a period; `burst` of them at once.

    With `strict`, the bucket fills at the ends of periods (counted from the machine's start), else evenly. `block_s` is for how
    long a user is refused altogether who has sent too much, 0.0 = only the excess is refused.
    """

    total: int
    period_s: float
    burst: int
    strict: bool = False
    block_s: float = 0.0

    @property
    def interval_s(self) -> float:
        """From one to the next where they come evenly."""
        return self.period_s / self.total

    @property
    def text(self) -> str:
        """What it allows, in words."""
        filled = " (filled at the end of each period)" if self.strict else ""
        blocked = f"; who sends more is refused for {self.block_s:g} s" if self.block_s else ""
        return f"{self.total} in {self.period_s:g} s, {self.burst} at once{filled}{blocked}"


class Store(Protocol):
    """Where the state of users is kept.

    It answers at once and never raises: one that is shared between processes decides by what it knows and evens out behind
    the scenes. *N* processes that each have a store of their own let a user send as much through each of them, so *N* times
    as much; of *N* that tell each other every *d* seconds, each lets pass at most one burst and what comes in *d* seconds
    beyond what it knows of the others: at most *N* - 1 times that more than one store would. One whose others cannot be
    reached goes on as if it were alone.
    """

    @property
    def pace(self) -> Pace:
        """What it allows."""

    @property
    def most(self) -> int:
        """Users that it remembers at most."""

    @property
    def evicted(self) -> int:
        """Users that owed something and were forgotten for others, so far."""

    def __len__(self) -> int:
        """Users that it remembers."""

    def take(self, key: Hashable, now: float) -> float:
        """One more of a user at the time `now` (monotonic seconds).

        Positive: refused, it comes so many seconds too early, and nothing was counted. Else it was counted, and so many
        seconds of debt, as a negative number, were left.
        """

    def peek(self, key: Hashable, now: float) -> float:
        """What `take` would say, but for `Pace.block_s` that a refusal begins; nothing is counted."""


#: Makes the store of one limiter: (a name that is the limiter's in every process, what it allows, users at most).
NewStore: TypeAlias = Callable[[str, Pace, int], Store]


def local_store(name: str, pace: Pace, most: int) -> Store:
    """The `NewStore` of a process that shares with nobody."""
    return LocalStore(pace, most)


class LocalStore:
    """The store of one process. It remembers at most `most` users, and each look costs the same, however many there are.

    Users come in at the back of a queue. Each new one moves a hand over two from the front: whoever owes nothing any more is
    forgotten, which changes nothing, the others go to the back again. If that makes no room in a full store, the one of
    eight who owes least is forgotten and counted in `evicted`; they begin anew with a full bucket.
    """

    __slots__ = ("_blocked", "_interval", "_period", "_queue", "_tats", "_tolerance", "evicted", "most", "pace")

    def __init__(self, pace: Pace, most: int = MAX_RATE_LIMIT_USERS) -> None:
        self.pace = pace
        self.most = most
        self.evicted = 0
        self._interval = pace.interval_s
        self._period = pace.period_s if pace.strict else 0.0
        self._tolerance = (pace.burst - 1 + _SLACK) * pace.interval_s
        self._tats: dict[Hashable, float] = {}
        self._queue: deque[Hashable] = deque()
        self._blocked: dict[Hashable, float] = {}   # until when; the first one ends first

    def __len__(self) -> int:
        return len(self._tats)

    def take(self, key: Hashable, now: float) -> float:
        """See `Store`."""
        if self._blocked:
            left = self._block_left(key, now)
            if left > 0.0:
                return left
        tats = self._tats
        tat = tats.get(key)
        time = now if not self._period else now - now % self._period
        if tat is None:
            self._make_room(time)
            self._queue.append(key)
            tats[key] = time + self._interval
            return -self._tolerance
        if tat < time:
            tat = time
        late = tat - time - self._tolerance
        if late > 0.0:
            return self._refused(key, late, time, now)
        tats[key] = tat + self._interval
        return late

    def peek(self, key: Hashable, now: float) -> float:
        """See `Store`."""
        left = self._blocked.get(key, now) - now
        if left > 0.0:
            return left
        time = now if not self._period else now - now % self._period
        late = max(self._tats.get(key, time), time) - time - self._tolerance
        return late if late <= 0.0 else self._wait(late, time, now)

    def blocked(self, now: float) -> int:
        """How many users are refused altogether."""
        return sum(1 for until in self._blocked.values() if until > now)

    def _wait(self, late: float, time: float, now: float) -> float:
        """Seconds until a request will do that is `late` by the clock that counts."""
        if not self._period:
            return late
        periods = -(-late // self._period)          # the bucket fills when a period ends
        return time + periods * self._period - now

    def _refused(self, key: Hashable, late: float, time: float, now: float) -> float:
        block = self.pace.block_s
        if not block:
            return self._wait(late, time, now)
        blocked = self._blocked
        while blocked:                              # all last equally long, so the first ones end first
            first = next(iter(blocked))
            if blocked[first] > now and len(blocked) < self.most:
                break
            del blocked[first]
        blocked[key] = now + block
        return block

    def _block_left(self, key: Hashable, now: float) -> float:
        until = self._blocked.get(key)
        if until is None:
            return 0.0
        if until <= now:
            del self._blocked[key]
            return 0.0
        return until - now

    def _make_room(self, time: float) -> None:
        tats, queue = self._tats, self._queue
        for _ in range(2):
            if not queue:
                return
            key = queue.popleft()
            if tats[key] <= time:
                del tats[key]
            else:
                queue.append(key)
        if len(tats) < self.most:
            return
        looked = [queue.popleft() for _ in range(min(_LOOKS, len(queue)))]
        least = min(looked, key=tats.__getitem__)
        if tats[least] > time:
            self.evicted += 1
        del tats[least]
        queue.extend(key for key in looked if key is not least)
