"""Pages and tables made from the code at build time, so that they cannot tell something else.

``.. generated:: module:function``
    what the function returns, read as reStructuredText, or shown as it is with the ``:literal:`` option; with an
    ``:argument:`` option it is called with that;
``.. table-of:: module:NAME``
    a table of the records in a collection, with one column for each attribute named in the ``:columns:`` option
    (``attribute=Heading`` gives it a heading of its own). Attributes named in ``:literal:`` are shown as they are; others
    are text, which may hold markup. Collections are joined; True is "yes", False and None are empty.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class _FromCode(SphinxDirective):
    """A directive whose argument is ``module:attribute``."""

    required_arguments = 1

    def named(self) -> Any:
        """The object that the argument names; the page is rebuilt when its module's file has changed."""
        module_name, _, attribute = self.arguments[0].partition(":")
        module = importlib.import_module(module_name)
        if module.__file__ is not None:
            self.env.note_dependency(module.__file__)
        return getattr(module, attribute)

    def parsed(self, lines: list[str]) -> list[nodes.Node]:
        """The nodes of some reStructuredText, which may have sections."""
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Generated(_FromCode):
    """The text that a function returns."""

    option_spec: ClassVar = {"literal": directives.flag, "argument": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Call it and parse the result, or show it as it is."""
        text: str = self.named()(*(self.options[name] for name in ("argument",) if name in self.options))
        return [nodes.literal_block(text, text, language="text")] if "literal" in self.options \
            else self.parsed(text.splitlines())


class TableOf(_FromCode):
    """A table of records."""

    option_spec: ClassVar = {
        "columns": directives.unchanged_required,
        "literal": directives.unchanged,
        "widths": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Write a list-table and parse it."""
        columns = [column.strip().partition("=") for column in self.options["columns"].split(",")]
        literal = {name.strip() for name in self.options.get("literal", "").split(",")}
        lines = [".. list-table::", "   :header-rows: 1"]
        if "widths" in self.options:
            lines.append(f"   :widths: {self.options['widths']}")
        lines.append("")
        lines += _row(heading or attribute for attribute, _, heading in columns)
        for record in self.named():
            lines += _row(_cell(getattr(record, attribute), attribute in literal) for attribute, _, _ in columns)
        return self.parsed(lines)


def _row(cells: Iterable[str]) -> list[str]:
    return [f"   {'* -' if index == 0 else '  -'} {cell}".rstrip() for index, cell in enumerate(cells)]


def _cell(value: object, literal: bool) -> str:
    """A value in one line."""
    if isinstance(value, (tuple, list)):
        return ", ".join(_cell(item, literal) for item in value)
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    text = " ".join(str(value).split())
    return f"``{text}``" if literal and text else text


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("generated", Generated)
    app.add_directive("table-of", TableOf)
    return {"version": "1", "parallel_read_safe": True}
