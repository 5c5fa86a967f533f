"""docs/features.rst names every feature once, with a true state; tests/house/verdict.py sees that its tests ran."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import TestCase, TestSuite

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import features
from tests.docs.features import NOT_YET, PARTLY, WORKS


def cases(suite: TestSuite | TestCase) -> Iterator[object]:
    """The single tests of a suite."""
    if isinstance(suite, TestSuite):
        for one in suite:
            yield from cases(one)
    else:
        yield suite


class FeaturesTests(SynchronousTestCase):
    def test_every_feature_stands_once_and_in_order(self) -> None:
        """No feature of the founding description is left out, none is told twice."""
        self.assertEqual([row.id for row in features.read()], features.known_ids())

    def test_states(self) -> None:
        """A state is one of three; what works names a test, what works in part also says what is missing."""
        for row in features.read():
            self.assertIn(row.state, (WORKS, PARTLY, NOT_YET), row.id)
            self.assertEqual(bool(row.tests), row.state != NOT_YET, f"{row.id}: a test, if something works")
            self.assertEqual(bool(row.missing), row.state == PARTLY, f"{row.id}: what is missing, if partly")

    def test_named_tests_exist(self) -> None:
        """Trial finds each named test, and each name means one test, not a class or module of them."""
        loader = TestLoader()
        faults = []
        for row in features.read():
            for name in row.tests:
                found = list(cases(loader.loadByName(name)))
                if len(found) != 1:
                    faults.append(f"{row.id}: {name} is {len(found)} tests")
                elif isinstance(found[0], ErrorHolder) or not name.startswith("tests."):
                    faults.append(f"{row.id}: {name} is none of our tests")
        self.assertEqual(faults, [])


class RowsTests(SynchronousTestCase):
    PAGE = (
        "Title\n=====\n\n.. csv-table::\n   :header: id, feature, state, shown by, missing\n   :widths: 1, 2\n\n"
        '   A1, "one, and more", works, ``tests.a.T.test_x`` ``tests.a.T.test_y``,\n   A2, two, not yet, ,\n\nText.\n'
    )

    def test_a_page_is_read(self) -> None:
        """Cells may be quoted, and a row may name several tests."""
        first, second = features.rows(self.PAGE)
        tests = ("tests.a.T.test_x", "tests.a.T.test_y")
        self.assertEqual(first, features.Row("A1", "one, and more", WORKS, tests, ""))
        self.assertEqual(second, features.Row("A2", "two", NOT_YET, (), ""))

    def test_a_row_with_too_few_cells(self) -> None:
        """A comma that was forgotten is found, with the row."""
        error = self.assertRaises(ValueError, features.rows, self.PAGE.replace("not yet, ,", "not yet"))
        self.assertIn("A2", str(error))
