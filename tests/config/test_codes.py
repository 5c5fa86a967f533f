"""Error codes: one table, each explained."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import voltgw
from voltgw.config.codes import CODES, explain


class CodeTests(SynchronousTestCase):
    def used(self) -> set[str]:
        """Every code that stands in the source."""
        root = Path(voltgw.__file__).parent
        return {code for path in root.rglob("*.py") if path.name != "codes.py"
                for code in re.findall(r"\bVG[0-9]{4}\b", path.read_text(encoding="utf-8"))}

    def test_every_code_in_use_is_explained(self) -> None:
        """Also those that other rooms use."""
        self.assertEqual(self.used() - set(CODES), set())

    def test_every_code_that_is_explained_is_in_use(self) -> None:
        """A page about an error that cannot happen misleads."""
        self.assertEqual(set(CODES) - self.used(), set())

    def test_explanations_are_sentences(self) -> None:
        """A title and a paragraph."""
        for code, entry in CODES.items():
            self.assertRegex(code, r"^VG0[0-4][0-9]{2}$")
            self.assertRegex(entry.title, r"^[A-Z][^.]*$")
            self.assertRegex(entry.text, r"(?s)^[A-Z`].{60,}\.$")

    def test_they_are_found_in_any_case(self) -> None:
        """People type ``vg0107``."""
        text = explain("vg0107")
        assert text is not None
        self.assertTrue(text.startswith("VG0107: Not found\n\nThe object"))
        self.assertIsNone(explain("VG9999"))
