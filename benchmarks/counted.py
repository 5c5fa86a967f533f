"""Starts twistd with a counter of calls and a sampler of time inside, which signals turn on and off. Run by profile.py.

``python counted.py RESULT.json <twistd arguments>``. SIGRTMIN+5 begins to count calls, SIGRTMIN+7 begins to sample the
stack every millisecond, SIGRTMIN+6 ends either and writes the result.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from types import CodeType, FrameType
from typing import Any, Final

COUNT: Final = signal.SIGRTMIN + 5
STOP: Final = signal.SIGRTMIN + 6
SAMPLE: Final = signal.SIGRTMIN + 7

#: Of wall time: the kernel looks at a timer of CPU time only when its own tick comes, which may be every ten milliseconds.
_SAMPLE_S: Final = 0.001
_OWN: Final = __file__


class Recorder:
    """What was counted since the last start."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._python: Counter[CodeType] = Counter()
        self._c: Counter[str] = Counter()
        self._leaf: Counter[str] = Counter()
        self._within: Counter[CodeType] = Counter()
        self._samples = 0

    def install(self) -> None:
        """Listen to the three signals."""
        signal.signal(COUNT, self._count)
        signal.signal(SAMPLE, self._sample)
        signal.signal(STOP, self._stop)

    def _clear(self) -> None:
        for counter in (self._python, self._c, self._leaf, self._within):
            counter.clear()
        self._samples = 0

    def _count(self, number: int, frame: FrameType | None) -> None:
        self._clear()
        sys.setprofile(self._event)

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._python[frame.f_code] += 1
        elif event == "c_call":
            self._c[f"{getattr(argument, '__module__', None) or ''}.{argument.__qualname__}".lstrip(".")] += 1

    def _sample(self, number: int, frame: FrameType | None) -> None:
        self._clear()
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, _SAMPLE_S, _SAMPLE_S)

    def _tick(self, number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self._samples += 1
        # A call into C shows as the line that made it.
        self._leaf[f"{_name(frame.f_code)}:{frame.f_lineno}"] += 1
        seen = set()
        at: FrameType | None = frame
        while at is not None:
            seen.add(at.f_code)
            at = at.f_back
        self._within.update(seen)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        sys.setprofile(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = {
            "python": {_name(code): count for code, count in _named(self._python)},
            "c": dict(self._c),
            "samples": self._samples, "lines": dict(self._leaf),
            "within": {_name(code): count for code, count in _named(self._within)},
        }
        with open(self._path + ".part", "w") as out:
            json.dump(result, out)
        os.replace(self._path + ".part", self._path)


def _named(counter: Counter[CodeType]) -> list[tuple[CodeType, int]]:
    return [(code, count) for code, count in counter.items() if code.co_filename != _OWN]


def _name(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}:{code.co_qualname}"


def main() -> None:
    """Become twistd."""
    recorder = Recorder(sys.argv[1])
    recorder.install()
    sys.argv[:] = ["twistd", *sys.argv[2:]]
    # This directory holds a module called `profile`, like the standard library; twistd must find the other one.
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or ".") != here]
    from twisted.scripts.twistd import run

    run()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
