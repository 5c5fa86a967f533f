"""The verdict on a full run cannot be fooled by a page, a skip or a run that died."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.docs import features
from tests.docs.features import PARTLY, WORKS, Row
from tests.house import verdict
from tests.house.outcomes import FAILED, PASSED, SKIPPED, Outcome, load, save
from tests.namespaces import NOT_ALLOWED

TEST = "tests.a.T.test_x"
ROWS = [Row("A1", "one", WORKS, (TEST,), ""), Row("A2", "two", PARTLY, (TEST,), "half of it")]


class UntrueTests(SynchronousTestCase):
    def test_a_named_test_that_passed(self) -> None:
        """A feature whose test ran and passed is true."""
        self.assertEqual(verdict.untrue(ROWS, {TEST: Outcome(PASSED)}, strict=True), [])

    def test_a_named_test_that_did_not_run(self) -> None:
        """A feature whose test was not part of the run is a fault, in every row that names it."""
        faults = verdict.untrue(ROWS, {"tests.a.T.test_y": Outcome(PASSED)}, strict=False)
        self.assertEqual(faults, [f"docs/features.rst: {key}: {TEST} did not run" for key in ("A1", "A2")])

    def test_a_named_test_that_failed(self) -> None:
        """A feature whose test failed does not work."""
        self.assertEqual(len(verdict.untrue(ROWS, {TEST: Outcome(FAILED)}, strict=False)), 2)

    def test_a_named_test_that_was_skipped(self) -> None:
        """A skipped test shows nothing: a fault in CI, only a remark on a machine that lacks a server."""
        outcomes = {TEST: Outcome(SKIPPED, "nginx is not installed")}
        self.assertEqual(verdict.untrue(ROWS, outcomes, strict=False), [])
        self.assertEqual(len(verdict.untrue(ROWS, outcomes, strict=True)), 2)
        self.assertEqual(verdict.skips(outcomes), [f"skipped: {TEST}: nginx is not installed"])

    def test_a_right_that_the_kernel_does_not_give(self) -> None:
        """It may be missing even in CI; the test is named all the same."""
        outcomes = {TEST: Outcome(SKIPPED, f"{NOT_ALLOWED}: mount --make-shared /run/netns failed: Operation not permitted")}
        self.assertEqual(verdict.untrue(ROWS, outcomes, strict=True), [])
        self.assertEqual(len(verdict.skips(outcomes)), 1)


class MainTests(SynchronousTestCase):
    """The whole verdict, over a file as the reporter writes it; the features page is put aside."""

    def setUp(self) -> None:
        self.patch(features, "read", list)
        self.patch(features, "attacks", list)
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "rooms"

    def verdict(self, *failed: str, more: Sequence[Path] = ()) -> tuple[int, str]:
        """Exit status and last line, after a run in which these checks failed; `more` are files of further runs of trial."""
        checks = self.path.with_name("failed")
        checks.write_text("".join(f"{name}\n" for name in failed), encoding="utf-8")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = verdict.main([str(checks), str(self.path), *map(str, more)], {})
        return status, output.getvalue().splitlines()[-1]

    def test_all_passed(self) -> None:
        """Nothing wrong: status 0 and the count."""
        save(self.path, {TEST: Outcome(PASSED), "tests.b": Outcome(SKIPPED, "why")})
        self.assertEqual(self.verdict(), (0, "1 passed, 0 failed, 1 skipped"))

    def test_a_test_failed(self) -> None:
        """A failed test counts once: trial's exit status says the same again."""
        save(self.path, {TEST: Outcome(PASSED), "tests.b": Outcome(FAILED)})
        self.assertEqual(self.verdict("trial: rooms"), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_check_failed(self) -> None:
        """A failed check outside of trial fails the run although every test passed."""
        save(self.path, {TEST: Outcome(PASSED)})
        self.assertEqual(self.verdict("mypy"), (1, "1 passed, 1 failed, 0 skipped"))

    def test_trial_died(self) -> None:
        """A run that left no outcomes has failed, whatever its exit status was."""
        self.path.touch()
        self.assertEqual(self.verdict(), (1, "0 passed, 1 failed, 0 skipped"))

    def test_one_of_several_runs_died(self) -> None:
        """What the others have shown counts, and the run has failed."""
        save(self.path, {TEST: Outcome(PASSED)})
        other, third = self.path.with_name("odd"), self.path.with_name("even")
        save(other, {"tests.b": Outcome(PASSED)})
        self.assertEqual(self.verdict(more=[other]), (0, "2 passed, 0 failed, 0 skipped"))
        self.assertEqual(self.verdict(more=[other, third]), (1, "2 passed, 1 failed, 0 skipped"))

    def test_trial_failed_without_a_failed_test(self) -> None:
        """Trial's exit status is believed over the file."""
        save(self.path, {TEST: Outcome(PASSED)})
        self.assertEqual(self.verdict("trial: rooms"), (1, "1 passed, 1 failed, 0 skipped"))

    def test_a_claim_that_the_run_did_not_show(self) -> None:
        """An untrue features page fails the run."""
        self.patch(features, "read", lambda: ROWS)
        save(self.path, {"tests.b": Outcome(PASSED)})
        self.assertEqual(self.verdict(), (1, "1 passed, 2 failed, 0 skipped"))


class OutcomesTests(SynchronousTestCase):
    def test_what_was_saved_is_loaded(self) -> None:
        """Names, states, reasons and times survive the file."""
        outcomes = {TEST: Outcome(SKIPPED, "a reason, \"quoted\"", 1.5)}
        path = Path(self.mktemp())
        save(path, outcomes)
        self.assertEqual(load(path), outcomes)

    def test_a_missing_file(self) -> None:
        """No file: no outcomes."""
        self.assertEqual(load(Path(self.mktemp())), {})
