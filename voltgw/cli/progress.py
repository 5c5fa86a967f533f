"""How far long work is: a line on standard error, where that is a terminal, which is gone when the work is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

#: Nothing is said of work that is over before this (seconds), nor more often than that.
_FIRST_S: Final = 0.5
_EVERY_S: Final = 0.1
_WIDTH: Final = 30


class Progress:
    """``replay [=====>    ] 52 %  12000 lines``; `total` None = nobody knows how much there is.

    Used as a context: at its end the line is taken away, so that what is printed then stands alone. Where it is not
    shown it costs a comparison.
    """

    def __init__(self, what: str, total: float | None, *, quiet: bool = False, to: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._total = total
        self._to = to if to is not None else sys.stderr
        self._clock = clock
        self._shown = not quiet and self._to.isatty()
        self._due = clock() + _FIRST_S if self._shown else 0.0
        self._there = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._there:
            self._to.write("\r\x1b[K")
            self._to.flush()

    def at(self, done: float, more: str = "") -> None:
        """`done` of the total is done; `more` stands behind it."""
        if not self._shown or self._clock() < self._due:
            return
        self._due = self._clock() + _EVERY_S
        bar = ""
        if self._total:
            share = min(1.0, done / self._total)
            full = int(share * _WIDTH)
            bar = f"[{'=' * full}{'>' * (full < _WIDTH)}{' ' * (_WIDTH - full - 1)}] {share * 100:.0f} %"
        self._to.write(f"\r{' '.join(filter(None, (self._what, bar, more)))}\x1b[K")
        self._to.flush()
        self._there = True
