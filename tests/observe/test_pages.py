"""Pages for people: who gets them, and that nothing in them is taken for markup."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.observe.pages import page, prefers_html, sections, show


class AcceptTests(SynchronousTestCase):
    """JSON or HTML."""

    def test_browsers_and_programs(self) -> None:
        """A browser names HTML; curl and Prometheus do not."""
        for accept, html in (
            ("", False), ("*/*", False), ("application/json", False), ("text/html", True),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
            ("text/html;q=0.5, application/json", False),
            ("application/json;q=0.5, text/html", True), ("text/html;q=0", False), ("text/html;q=x", False),
            ("text/html, text/*;q=0.5", True), (",;,", False),
        ):
            self.assertIs(prefers_html(accept), html, accept)


class PageTests(SynchronousTestCase):
    """Values as HTML."""

    def test_values(self) -> None:
        """Everything is escaped, tables have a column for each key."""
        values: list[Any] = [None, "", True, False, 3, "<a&b>", [], {}, ["x", "<"]]
        self.assertEqual([show(value) for value in values],
                         ["-", "-", "yes", "no", "3", "&lt;a&amp;b&gt;", "-", "-", "x<br>&lt;"])
        table = show([{"a_b": 1}, {"<c>": "<d>"}])
        self.assertIn('<th scope="col">a b</th><th scope="col">&lt;c&gt;</th>', table)
        self.assertIn("<td>-</td><td>&lt;d&gt;</td>", table)
        self.assertIn(b"<title>&lt;t&gt; - voltgw</title>", b"".join(page("<t>", [])))

    def test_sections(self) -> None:
        """Each thing has its own; none at all is said so."""
        self.assertEqual(list(sections([])), ["<p>There are none.</p>\n"])
        self.assertEqual([text.partition("</h2>")[0] for text in sections([{"name": "<a>"}, {"name": "b", "c": 1}])],
                         ["<h2>&lt;a&gt;", "<h2>b"])
