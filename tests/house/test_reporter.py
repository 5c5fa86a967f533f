"""The reporter of full runs counts what happened, not what was hoped."""

from __future__ import annotations

import io
import os
from pathlib import Path
from unittest import TestSuite

from twisted.trial.unittest import SynchronousTestCase

from tests.house.outcomes import FAILED, PASSED, SKIPPED, load
from tests.house.reporter import OUTCOMES_VARIABLE, OutcomesReporter


class Specimens(SynchronousTestCase):
    """One test of each kind. They are run by hand below: trial does not find methods that are not named ``test_…``."""

    def passes(self) -> None:
        """Pass."""

    def fails(self) -> None:
        """Fail."""
        self.fail("on purpose")

    def raises(self) -> None:
        """Raise."""
        raise ValueError("on purpose")

    def skips(self) -> None:
        """Skip."""

    skips.skip = "no such program"          # type: ignore[attr-defined]  # trial reads it from the function

    def hoped(self) -> None:
        """Fail as expected."""
        self.fail("on purpose")

    hoped.todo = "some day"                 # type: ignore[attr-defined]

    def surprises(self) -> None:
        """Pass against expectation."""

    surprises.todo = "some day"             # type: ignore[attr-defined]

    def fails_in_cleanup(self) -> None:
        """Pass, then fail."""
        self.addCleanup(self.fail, "on purpose")


class OutcomesReporterTests(SynchronousTestCase):
    def run_specimens(self, *names: str) -> OutcomesReporter:
        """A reporter that has seen these."""
        reporter = OutcomesReporter(io.StringIO())
        TestSuite([Specimens(name) for name in names]).run(reporter)
        return reporter

    def states(self, *names: str) -> dict[str, str]:
        """What became of each."""
        reporter = self.run_specimens(*names)
        return {name.rpartition(".")[2]: outcome.state for name, outcome in reporter.outcomes.items()}

    def test_every_kind(self) -> None:
        """Only a test that ran and did what it says has passed."""
        names = ("passes", "fails", "raises", "skips", "hoped", "surprises", "fails_in_cleanup")
        self.assertEqual(self.states(*names), {
            "passes": PASSED, "fails": FAILED, "raises": FAILED, "skips": SKIPPED, "hoped": SKIPPED,
            "surprises": FAILED, "fails_in_cleanup": FAILED,
        })

    def test_why_it_was_skipped(self) -> None:
        """The reason stands beside the skip."""
        (outcome,) = self.run_specimens("skips").outcomes.values()
        self.assertEqual(outcome.reason, "no such program")

    def test_the_file(self) -> None:
        """The file is written when the run is over, and only where one is asked for."""
        reporter = self.run_specimens("passes", "skips")
        path = Path(self.mktemp())
        self.patch_environ({OUTCOMES_VARIABLE: str(path)})
        reporter.done()
        self.assertEqual(load(path), reporter.outcomes)

    def test_a_warning_in_many_tests(self) -> None:
        """The same warning of the same place is printed once."""
        reporter = OutcomesReporter(output := io.StringIO())
        event = {"warning": "on purpose", "filename": "x.py", "lineno": 1, "category": "UserWarning"}
        for name in ("passes", "passes"):
            reporter.startTest(Specimens(name))
            reporter._observeWarnings(event)
        self.assertEqual(output.getvalue().count("on purpose"), 1)

    def patch_environ(self, environ: dict[str, str]) -> None:
        """Set the environment for this test."""
        self.patch(os, "environ", {**os.environ, **environ})
