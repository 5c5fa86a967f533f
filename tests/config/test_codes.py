"""Error codes: one table, each explained."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import voltgw
from voltgw.config.codes import CODES
from voltgw.config.mistake import explain, mistake
from voltgw.config.reference import render_code


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

    def test_what_is_shown_of_each(self) -> None:
        """The paragraph, what to do, the files of the example, and every line that ``voltgw check`` says of them."""
        for code, entry in CODES.items():
            text, example = explain(code), mistake(code)
            assert text is not None
            for part in (entry.text, f"What to do: {example.remedy}", *(file.name for file in example.files)):
                self.assertIn(part, text, code)
            for line in "".join((*(file.text for file in example.files), example.says)).rstrip("\n").split("\n"):
                self.assertIn(f"\n    {line}".rstrip(), text, code)

    def test_the_pages_show_the_same(self) -> None:
        """Every code has a page, and every page is that of a code."""
        folder = Path(__file__).resolve().parents[2] / "docs" / "codes"
        self.assertEqual({page.name: page.read_text(encoding="utf-8") for page in folder.iterdir()}, {
            f"{code}.rst": f".. generated:: voltgw.config.reference:render_code\n   :argument: {code}\n" for code in CODES})
        for code, entry in CODES.items():
            page, example = render_code(code), mistake(code)
            self.assertTrue(page.startswith(f".. _{code.lower()}:\n"))
            self.assertIn(entry.title, page)
            for line in "".join((*(file.text for file in example.files), example.says)).rstrip("\n").split("\n"):
                self.assertIn(f"\n   {line}".rstrip(), page, code)
