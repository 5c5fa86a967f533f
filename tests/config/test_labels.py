"""Label selector expressions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.config.labels import Operator, Requirement, parse, selector

_KEYS = st.sampled_from(["app", "tier", "ves.io/siteName", "a-b"])
_VALUES = st.sampled_from(["", "web", "x_1", "2.0", "in"])


class ParseTests(SynchronousTestCase):
    def test_every_operator(self) -> None:
        """Existence, absence, sets, equality, inequality."""
        self.assertEqual(parse("app in (a, b), version,!legacy , tier notin (x),z=1,y==2,x!=3"), (
            Requirement("app", Operator.IN, frozenset(("a", "b"))),
            Requirement("version", Operator.EXISTS),
            Requirement("legacy", Operator.ABSENT),
            Requirement("tier", Operator.NOT_IN, frozenset(("x",))),
            Requirement("z", Operator.IN, frozenset(("1",))),
            Requirement("y", Operator.IN, frozenset(("2",))),
            Requirement("x", Operator.NOT_IN, frozenset(("3",))),
        ))

    def test_white_space_separates_and_is_otherwise_nothing(self) -> None:
        """Spread out or not at all."""
        self.assertEqual(parse(" app  in(a,b) "), parse("app in ( a , b )"))

    def test_empty_values(self) -> None:
        """``a=`` and an empty item of a set are the empty value."""
        self.assertEqual(parse("a="), (Requirement("a", Operator.IN, frozenset(("",))),))
        self.assertEqual(parse("a in (,b)"), (Requirement("a", Operator.IN, frozenset(("", "b"))),))
        self.assertEqual(parse("a=,b"), (Requirement("a", Operator.IN, frozenset(("",))), Requirement("b", Operator.EXISTS)))

    def test_a_word_of_the_language_may_be_a_label(self) -> None:
        """Only its place makes ``in`` an operator."""
        self.assertEqual(parse("in in (in)"), (Requirement("in", Operator.IN, frozenset(("in",))),))
        self.assertEqual(parse("notin"), (Requirement("notin", Operator.EXISTS),))

    def test_mistakes_are_told_with_their_column(self) -> None:
        """So that the caret of an editor finds them."""
        for text, column in (("app in a", 8), ("app in (a", 10), ("app,", 5), ("app & b", 5), ("=a", 1), ("a b", 3),
                             ("!a=b", 3), ("a in (b c)", 9), ("a=" + "x" * 64, 3), ("a=b/c", 3), ("-a", 1), ("a in", 5)):
            with self.assertRaisesRegex(ValueError, f"column {column}\\b", msg=text):
                parse(text)

    @given(st.text(alphabet="ab=!,() in\t-/_.", max_size=30))
    @examples(150)
    def test_any_text_is_parsed_or_refused(self, text: str) -> None:
        """No other exception, and what is parsed can be asked."""
        try:
            needs = parse(text)
        except ValueError:
            return
        for need in needs:
            self.assertIsInstance(need.matches({"a": "b"}), bool)


class SelectorTests(SynchronousTestCase):
    def test_no_expression_matches_everything(self) -> None:
        """An empty selector does; a missing one is the caller's business."""
        self.assertTrue(selector([]).matches({}))
        self.assertTrue(selector([""]).matches({"a": "b"}))

    def test_strings_are_alternatives_and_commas_conditions(self) -> None:
        """One string that matches is enough; all of its conditions must hold."""
        chosen = selector(["app in (web), tier=1", "special"])
        self.assertTrue(chosen.matches({"app": "web", "tier": "1"}))
        self.assertFalse(chosen.matches({"app": "web", "tier": "2"}))
        self.assertTrue(chosen.matches({"special": ""}))

    def test_negations_match_when_the_key_is_absent(self) -> None:
        """``notin`` and ``!=`` do, ``in`` and ``=`` do not."""
        for text, expected in (("a notin (x)", True), ("a!=x", True), ("!a", True), ("a in (x)", False), ("a=x", False),
                               ("a=", False), ("a", False)):
            self.assertIs(selector([text]).matches({}), expected, text)

    @given(_KEYS, st.frozensets(_VALUES, min_size=1), st.dictionaries(_KEYS, _VALUES))
    @examples(100)
    def test_in_and_notin_are_opposites(self, key: str, values: frozenset[str], labels: dict[str, str]) -> None:
        """Whatever the labels."""
        listed = ", ".join(sorted(values))
        self.assertIsNot(selector([f"{key} in ({listed})"]).matches(labels), selector([f"{key} notin ({listed})"]).matches(labels))
