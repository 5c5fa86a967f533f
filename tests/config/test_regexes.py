"""Regular expressions, as far as their text tells."""

from __future__ import annotations

import re
import warnings

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.config.regexes import check


class CheckTests(SynchronousTestCase):
    def test_patterns_of_re2(self) -> None:
        """What RE2 has passes, although `re` may not know it."""
        for pattern in (
            "/static/.*", "(alice|bob)", "[^/]+", "a{2,3}?", "(?i)foo", "(?:a|b)*", "(?P<name>x)", "(?<name>x)", "\\d+\\.html",
            "[[:alpha:]]+", "\\pN", "\\Qa.b\\E", "^a$", "[]a]", "[^]a]", "[a\\]b]", "a|", "()", "x*?", "x{1,}", "{", "a{,3}",
            "(?s:.)", "(?i-s:a)", "\\z", "",
        ):
            self.assertEqual(check(pattern), pattern)

    def test_what_re2_does_not_have(self) -> None:
        """By name and column."""
        for pattern, words, column in (
            ("a(?=b)", "look-ahead", 2), ("(?!b)", "look-ahead", 1), ("(?<=a)b", "look-behind", 1), ("(?<!a)b", "look-behind", 1),
            ("(a)\\1", "back-reference", 4), ("(?P<x>a)(?P=x)", "back-reference", 9), ("(?>a)", "atomic", 1),
            ("(a)(?(1)b)", "conditional", 4), ("a*+", "possessive", 3), ("(?#c)a", "comment", 1),
        ):
            with self.assertRaisesRegex(ValueError, words, msg=pattern) as caught:
                check(pattern)
            self.assertIn(f"column {column} ", f"{caught.exception} ", pattern)

    def test_unfinished_patterns(self) -> None:
        """Brackets, parentheses, repeats and escapes that lack their other half."""
        for pattern in ("(a", "a)", "[a", "[", "*a", "a|*", "(*a)", "a**", "a\\", "(?", "(?x", "+", "[[:alpha:]", "((a)", "?"):
            with self.assertRaises(ValueError, msg=pattern):
                check(pattern)

    @given(st.text(alphabet="ab()[]|*+?{}1,\\^$.-:P<>=!#", max_size=14))
    @examples(300)
    def test_any_text_is_taken_or_refused(self, pattern: str) -> None:
        """Only ValueError; and what `re` compiles without the things that RE2 lacks is taken."""
        try:
            check(pattern)
        except ValueError:
            foreign = re.search(r"\(\?[=!<>(#P|&R]|\\[1-9kZ]|[*+?}]\+|\\$|\(\?[a-zA-Z^-]", pattern)
            if foreign is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)      # `re` would like to have nested sets one day
                    self.assertRaises(re.error, re.compile, pattern)
