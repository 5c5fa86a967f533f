"""docs/http-fields.csv tells of every field of virtual hosts and routes, and of nothing else."""

from __future__ import annotations

from unittest import TestCase, TestSuite

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import http_fields
from tests.docs.http_fields import NOTHING, WORKS
from voltgw.config.reader import State


def cases(suite: TestSuite | TestCase) -> list[TestCase]:
    """The single tests of a suite."""
    return [one for each in suite for one in cases(each)] if isinstance(suite, TestSuite) else [suite]


class HttpFieldsTests(SynchronousTestCase):
    def test_every_field_is_told(self) -> None:
        """Each that is acted on has a row in the file, with a test, or with the reason why there is nothing to show."""
        acting = [name for name, decl in http_fields.declared().items() if decl.state is State.ACTS]
        said = http_fields.written()
        self.assertEqual([name for name in acting if name not in said], [])
        self.assertEqual([name for name in said if name not in acting], [])
        self.assertEqual([name for name, (test, remark) in said.items() if not test and not remark], [])

    def test_states(self) -> None:
        """They are those of the declarations."""
        states = {row.field: row.state for row in http_fields.rows()}
        self.assertGreater(len(states), 150)
        for name, state in (("virtual_host.domains", WORKS), ("virtual_host.add_location", "warned"), ("route.routes.uuid", NOTHING),
                            ("virtual_host.js_challenge", "refused"), ("route.routes.match.path.prefix", WORKS)):
            self.assertEqual(states[name], state, name)

    def test_named_tests_exist(self) -> None:
        """Each name means one test."""
        loader = TestLoader()
        faults = []
        for name in dict.fromkeys(row.test for row in http_fields.rows() if row.test):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])

    def test_the_table(self) -> None:
        """Each row of it is a field."""
        self.assertEqual(http_fields.render().count("\n   * - ``"), len(http_fields.rows()))
