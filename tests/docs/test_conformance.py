"""docs/http2-conformance.csv: every section has rules, and every rule tests that exist."""

from __future__ import annotations

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import conformance
from tests.docs.test_http_fields import cases


class ConformanceTests(SynchronousTestCase):
    def test_every_section(self) -> None:
        """In the order of the RFC; none is left out."""
        found = [row.section for row in conformance.rows()]
        self.assertEqual([name for name in conformance.SECTIONS if not any(
            one == name or one.startswith((f"{name}.", f"{name} ")) for one in found)], [])
        self.assertGreater(len(found), 60)
        self.assertEqual([row for row in conformance.rows() if not all(row)], [])

    def test_named_tests_exist(self) -> None:
        """Each name means one test."""
        loader = TestLoader()
        faults = []
        for name in dict.fromkeys(name for row in conformance.rows() for name in row.tests):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])
