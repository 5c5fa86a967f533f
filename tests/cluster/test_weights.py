"""Tests for `voltgw.cluster.weights`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.cluster.weights import MOST_WEIGHT, read_weight


class WeightTests(SynchronousTestCase):
    def test_weights(self) -> None:
        """Whole numbers, also as text, with spaces around it, or as a registry's float."""
        for said, weight in ((0, 0), (1, 1), (MOST_WEIGHT, MOST_WEIGHT), ("7", 7), (" 12 ", 12), (3.0, 3), ("3.0", 3)):
            self.assertEqual(read_weight(said), weight)

    def test_refused(self) -> None:
        """Each with its reason."""
        for said, reason in (
            (float("nan"), "nan is no whole number"), (float("inf"), "inf is no whole number"), ("NaN", "'NaN' is no whole"),
            (-1, "-1 is no whole number"), (0.5, "0.5 is no whole number"), ("1e3", "'1e3' is no whole"),
            (65536, "65536 is more than 65535"), ("9" * 5000, "99999999999999999999 is more"), ("", "'' is no whole"),
            (None, "None is no number"), (True, "True is no number"), ("\u0663", "'\u0663' is no whole"), ("+1", "'+1' is no whole"),
        ):
            with self.assertRaises(ValueError) as caught:
                read_weight(said)
            self.assertIn(reason, str(caught.exception))

    @examples(100)
    @given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.binary()))
    def test_anything(self, said: object) -> None:
        """It is a weight within the limits, or a ValueError; never anything else."""
        try:
            self.assertTrue(0 <= read_weight(said) <= MOST_WEIGHT)
        except ValueError:
            pass
