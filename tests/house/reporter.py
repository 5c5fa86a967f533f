"""Trial's text reporter, which also names the slowest tests and writes down what became of each."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

from twisted.trial.reporter import TextReporter

from tests.house.outcomes import FAILED, PASSED, SKIPPED, Outcome, save

#: Where the outcomes go; unset: nowhere.
OUTCOMES_VARIABLE: Final = "VOLTGW_OUTCOMES"
#: Tests at least this slow are worth a look, the slowest first; no more than so many are named.
SLOW_S: Final = 1.0
SLOWEST: Final = 10


class OutcomesReporter(TextReporter):
    """One dot per test; the file is written once, when the run is over, so a run that dies leaves none.

    A test that failed in any way has failed, whatever else is reported of it. An expected failure ("todo") is counted
    as skipped: it shows nothing that works.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, Outcome] = {}
        self._started = 0.0

    def startTest(self, test: Any) -> None:
        """Look at the clock. A warning is printed once in a run, not once in each test that comes past it."""
        seen = self._warningCache
        super().startTest(test)
        self._warningCache = seen
        self._started = time.monotonic()

    def addSuccess(self, test: Any) -> None:
        """It passed."""
        super().addSuccess(test)
        self._record(test, PASSED)

    def addError(self, test: Any, error: Any) -> None:
        """It, its module or its set-up raised."""
        super().addError(test, error)
        self._record(test, FAILED)

    def addFailure(self, test: Any, fail: Any) -> None:
        """An assertion did not hold."""
        super().addFailure(test, fail)
        self._record(test, FAILED)

    def addSkip(self, test: Any, reason: Any) -> None:
        """It did not run, and says why."""
        super().addSkip(test, reason)
        self._record(test, SKIPPED, str(reason))

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        """It failed as its ``todo`` said."""
        super().addExpectedFailure(test, error, todo)
        self._record(test, SKIPPED, "expected to fail")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        """It passed although its ``todo`` said that it would not: the mark must go."""
        super().addUnexpectedSuccess(test, todo)
        self._record(test, FAILED)

    def done(self) -> None:
        """Print trial's summary and the slowest tests; write the file."""
        super().done()
        slow = sorted((outcome.took_s, name) for name, outcome in self.outcomes.items() if outcome.took_s >= SLOW_S)
        if slow:
            self._writeln("Slowest:")
            for took_s, name in reversed(slow[-SLOWEST:]):
                self._writeln(f"  {took_s:6.1f} s  {name}")
        if path := os.environ.get(OUTCOMES_VARIABLE):
            save(Path(path), self.outcomes)

    def _record(self, test: Any, state: str, reason: str = "") -> None:
        name = test.id()
        known = self.outcomes.get(name)
        if known is None or known.state != FAILED:
            took_s = time.monotonic() - self._started if self._started else 0.0
            self.outcomes[name] = Outcome(state, reason, round(took_s, 3))
