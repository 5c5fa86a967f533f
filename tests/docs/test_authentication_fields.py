"""docs/authentication-fields.csv tells of every field by which credentials are asked for, and of nothing else."""

from __future__ import annotations

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs.authentication_fields import FILE, declared, render, rows
from tests.docs.http_fields import NOTHING, WORKS, written
from tests.docs.test_http_fields import cases
from voltgw.config.reader import State


class AuthenticationFieldsTests(SynchronousTestCase):
    def test_every_field_is_told(self) -> None:
        """Each that is acted on has a row, with a test, or with the reason why there is nothing to show."""
        acting = [name for name, decl in declared().items() if decl.state is State.ACTS]
        said = written(FILE)
        self.assertEqual([name for name in acting if name not in said], [])
        self.assertEqual([name for name in said if name not in acting], [])
        self.assertEqual([name for name, (test, remark) in said.items() if not test and not remark], [])
        states = {row.field: row.state for row in rows()}
        self.assertEqual(states["jwt_validation.target.base_paths"], WORKS)
        self.assertEqual(states["jwt_validation.target.api_groups"], "refused")
        self.assertEqual(states["jwt_validation.token_location.bearer_token"], NOTHING)
        self.assertEqual(render().count("\n   * - ``"), len(rows()))

    def test_named_tests_exist(self) -> None:
        """Each name means one test."""
        loader = TestLoader()
        faults = []
        for name in dict.fromkeys(row.test for row in rows() if row.test):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])
