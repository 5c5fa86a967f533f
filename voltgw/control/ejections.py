"""The timer of outlier detection: has it swept in time, a step a turn, and says who is out and who is back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.cluster.outlier import OutlierDetector, Watch
    from voltgw.control.seams import ControlLoop, Timer


class Ejections:
    """Runs `detector`; `told` hears of everyone who is ejected, at once, and of everyone who is let back."""

    def __init__(self, detector: OutlierDetector, loop: ControlLoop, told: Callable[[Watch], None]) -> None:
        self._detector = detector
        self._loop = loop
        self._told = told
        self._timer: Timer | None = None
        self._steps: Generator[None, None, list[Watch]] | None = None

    def start(self) -> None:
        """Judge from now on."""
        self._detector.start(self._loop.monotonic, self._told)
        self._wait()

    def stop(self) -> None:
        """Judge no more; who is out stays as it is."""
        self._detector.stop()
        timer, self._timer, self._steps = self._timer, None, None
        if timer is not None and timer.active():
            timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.clock.callLater(self._detector.rules.interval_s, self._sweep)

    def _sweep(self) -> None:
        self._steps = self._detector.sweeping(self._loop.monotonic())
        self._step()

    def _step(self) -> None:
        if self._steps is None:             # stopped meanwhile
            return
        back: list[Watch] | None = None
        try:
            next(self._steps)
        except StopIteration as done:
            back = done.value
        except BaseException:               # a bug; sweeps go on all the same
            self._steps = None
            self._wait()
            raise
        if back is None:
            self._loop.soon(self._step)
            return
        self._steps = None
        self._wait()
        for watch in back:
            self._told(watch)
