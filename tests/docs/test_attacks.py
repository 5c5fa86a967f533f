"""docs/attacks.rst: every case of the catalogue once, with a true state, and tests that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from unittest import TestSuite

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import features
from tests.docs.features import NOT_YET, PARTLY, WORKS
from voltgw.wire.h2limits import Budget, Limits

#: How many cases each part of the page has: framing, target and Host, fields and identity, slow and large, HTTP/2, TLS,
#: credentials, DNS, who may, certificates by ACME, the admin interface.
CASES = {"A": 22, "B": 22, "C": 13, "D": 13, "E": 13, "F": 11, "G": 20, "H": 22, "I": 10, "J": 5, "K": 8}


class AttacksTests(SynchronousTestCase):
    def test_every_case_stands_once_and_in_order(self) -> None:
        """None is left out, none is told twice."""
        ids = [f"{part}{number}" for part, count in CASES.items() for number in range(1, count + 1)]
        self.assertEqual([row.id for row in features.attacks()], ids)

    def test_states(self) -> None:
        """What holds names a test; what holds in part also says what is missing; most of it holds."""
        found = features.attacks()
        for row in found:
            self.assertIn(row.state, (WORKS, PARTLY, NOT_YET), row.id)
            self.assertEqual(bool(row.tests), row.state != NOT_YET, row.id)
            self.assertEqual(bool(row.missing), row.state == PARTLY, row.id)
        self.assertGreater(sum(row.state == WORKS for row in found), len(found) * 0.8)

    def test_named_tests_exist(self) -> None:
        """Trial finds each named test, and each name means one test, not a class or module of them."""
        loader = TestLoader()
        for name in {name for row in features.attacks() for name in row.tests}:
            found = loader.loadByName(name)
            one = list(found) if isinstance(found, TestSuite) else [found]
            self.assertEqual((len(one), name.startswith("tests.")), (1, True), name)
            self.assertFalse(isinstance(one[0], (ErrorHolder, TestSuite)), name)

    def test_limits(self) -> None:
        """Every limit of HTTP/2 stands in the page by its name, budgets with their values."""
        text = features.ATTACKS.read_text(encoding="utf-8")
        rows = re.findall(r"   \* - (``.*)\n     - (.*)\n     - (.*)", text)
        limits = Limits()
        for name in (each.name for each in fields(Limits)):
            if name == "extended_connect":
                continue                    # whether something is served, and no limit
            found = [value for names, value, _ in rows if f"``{name}``" in names]
            self.assertEqual(len(found), 1, name)
            value = getattr(limits, name)
            if isinstance(value, Budget):
                self.assertEqual(found[0], f"{value.burst:,}, {value.per_s:g}/s", name)
                self.assertIn(f'reason="{name}"', text)
