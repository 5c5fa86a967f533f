"""When Python's cycle collector runs, and for how long: in small steps, and never over what is there to stay.

Neither a request nor a connection nor a reload leaves a cycle of objects behind (tests count them): what serves no more is
freed by its last reference. The collector is for the slow path alone, which makes little. So it looks at what is young, a
little at a time; what has become old is looked at only while it is little, and is else frozen out of its sight, as is
everything that was made at start or by a reload. docs/adr/0022-garbage.rst has the reasons and the figures.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from voltgw.values.counters import Histogram

if TYPE_CHECKING:
    from voltgw.control.seams import Clock

#: The youngest generation is gone over when so many objects more were made than freed: less than 1 ms…
YOUNG: Final = 2_000
#: …and the older ones never by themselves.
_NEVER: Final = 1_000_000_000
#: What has survived so many of these collections is gone over in one turn of less than 2 ms; what is more is frozen.
LITTLE: Final = 2
#: Seconds between two looks at what has become old.
LOOK_S: Final = 30.0


class Garbage:
    """The cycle collector of this process, from `start` on; `clock` and `monotonic` are those of the loop that it holds up.

    `pauses` are how long collections took, by generation, and `found` is how many objects they have freed.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float]) -> None:
        self.pauses = (Histogram(), Histogram(), Histogram())
        self.found = 0
        self._clock = clock
        self._monotonic = monotonic
        self._began = 0.0
        self._survived = 0                  # collections of the youngest generation since everything was frozen
        self._reloading = False

    def start(self) -> None:
        """What there is now stays; from now on collections are as rare and small as the gateway wants them."""
        gc.callbacks.append(self._noted)
        gc.set_threshold(YOUNG, _NEVER, _NEVER)
        gc.enable()
        self.stays()
        self._clock.callLater(LOOK_S, self._look)

    def stays(self) -> None:
        """Everything that exists now is there to stay: it is never gone over. However much that is, it takes no time."""
        gc.freeze()
        self._survived = 0

    def reload_begins(self) -> None:
        """What is made from now on either stays or is freed without us."""
        if self._survived <= LITTLE:
            gc.collect(1)                   # not 2: that empties the interpreter's free lists, too, which takes up to 4 ms
        self._reloading = True
        gc.disable()

    def reloaded(self) -> None:
        """The reload is over: going over what it has made would be a long turn, in which nothing would be found."""
        self._reloading = False
        gc.enable()
        self.stays()

    def _look(self) -> None:
        """Go over what has become old while it is little."""
        self._clock.callLater(LOOK_S, self._look)
        if self._reloading or not self._survived:
            return
        if self._survived <= LITTLE:
            gc.collect()
        else:
            self.stays()

    def _noted(self, phase: str, info: dict[str, Any]) -> None:
        """One of `gc.callbacks`: a collection begins or is over."""
        if phase == "start":
            self._began = self._monotonic()
            return
        self.pauses[info["generation"]].observe(max(self._monotonic() - self._began, 0.0))
        self.found += info["collected"]
        if not info["generation"]:
            self._survived += 1
