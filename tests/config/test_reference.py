"""The reference pages."""

from __future__ import annotations

import io
from typing import Any

import docutils.core  # type: ignore[import-untyped]  # its stubs are a package of their own
import docutils.nodes  # type: ignore[import-untyped]  # as above
from docutils.parsers.rst import roles  # type: ignore[import-untyped]  # as above
from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.codes import CODES
from voltgw.config.kinds import KINDS
from voltgw.config.reference import render_code, render_codes, render_defaults, render_reference, render_states
from voltgw.values import defaults


def complaints(page: str) -> str:
    """What docutils says of a page (Sphinx's roles taken as plain text)."""
    def role(name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None) -> Any:
        return [docutils.nodes.literal(rawtext, text)], []

    for name in ("ref", "doc"):
        roles.register_local_role(name, role)
    said = io.StringIO()
    docutils.core.publish_doctree(page, settings_overrides={"warning_stream": said, "report_level": 2})
    return said.getvalue()


class PageTests(SynchronousTestCase):
    def test_all_are_clean(self) -> None:
        """Text of declarations must not be taken for markup."""
        for render in (render_reference, render_defaults, render_states):
            self.assertEqual(complaints(render()), "", render.__name__)
        for code in CODES:
            self.assertEqual(complaints(render_code(code)), "", code)

    def test_the_reference_has_every_field(self) -> None:
        """Of every declared kind, with unit, limits, absence, example, state."""
        page = render_reference()
        for kind in KINDS.values():
            self.assertIn(f"``{kind.name}``" if not kind.spec else f"\n{kind.name}\n---", page)
            plan = kind.plan()
            for decl in plan.decls if plan is not None else ():
                self.assertIn(f"\n``{decl.name}``\n", page)
        for words in ("- Unit of a plain number: milliseconds", "- Limits: 0 to 600000 ms", "- Absent: 2s", "- Group: ``panic_threshold_type``",
                      "- Example: ``connection_timeout: 500ms``", "- Since: +2021-03", "- Required: yes", "- Also: ``dns_name_advance``",
                      "- State: ``V4_ONLY``"):
            self.assertIn(words, page)

    def test_the_page_of_defaults(self) -> None:
        """Every constant, with its unit and its sentence."""
        page = render_defaults()
        for name in vars(defaults):
            if name.isupper():
                self.assertIn(f"``{name}``", page)
        self.assertIn("     - 2 s\n     - An endpoint must accept a connection in this time", page)
        self.assertIn("60 KiB", page)

    def test_the_page_of_codes(self) -> None:
        """A row for each, which leads to its own page."""
        page = render_codes()
        for code, entry in CODES.items():
            self.assertIn(f"   * - :doc:`{code} <codes/{code}>`\n     - {entry.title}\n", page)
            self.assertIn(f"\n   codes/{code}\n", page)
