"""The table of events says what the source says."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import voltgw
from voltgw.control.events import KINDS
from voltgw.observe.event_kinds import EVENT_KINDS


def said_in_source() -> set[str]:
    """The kinds that stand in the source as ``event="…"`` or as the first argument of ``events.say``."""
    found = set(KINDS.values()) | {"publish.changed"}
    for path in Path(voltgw.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            said = [each.value for each in node.keywords if each.arg == "event"]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "say" and node.args:
                said.append(node.args[0])
            found.update(each.value for each in said if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return found


class EventKindTests(SynchronousTestCase):
    def test_every_kind_that_is_said_is_in_the_table_and_the_other_way_round(self) -> None:
        """Whoever watches for a kind by the table's name sees it, and nobody is told of a kind that is not documented."""
        self.assertEqual(said_in_source(), {each.kind for each in EVENT_KINDS})

    def test_kinds_are_unique_and_of_two_words(self) -> None:
        """``family.word``, since families are what one asks for."""
        kinds = [each.kind for each in EVENT_KINDS]
        self.assertEqual(len(kinds), len(set(kinds)))
        for kind in kinds:
            self.assertRegex(kind, r"\A[a-z_]+\.[a-z_]+\Z")
