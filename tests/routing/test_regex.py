"""User regexes: RE2's syntax, proofs of linear time, the automaton, rewriting."""

from __future__ import annotations

import re
from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from voltgw.routing.regex.automaton import Automaton
from voltgw.routing.regex.edges import without_edges
from voltgw.routing.regex.pattern import ANY, FIELD, PATH, Pattern, Rewrite, Shape
from voltgw.routing.regex.proof import linear
from voltgw.routing.regex.syntax import RegexError, parse

#: pattern -> values that match, values that do not
WHOLE: dict[str, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    "/static/.*": ((b"/static/", b"/static/a/b"), (b"/static", b"/x/static/")),
    "/a": ((b"/a",), (b"/a/", b"/ab", b"/A")),
    "(?i)/A[b-c]": ((b"/aB", b"/AC"), (b"/ad",)),
    "/a(?i)b|C": ((b"/aB", b"c", b"C"), (b"/AB",)),
    "/a(?i:b)c": ((b"/aBc", b"/abc"), (b"/abC",)),
    "(?i)a(?-i:b)": ((b"Ab",), (b"AB",)),
    "/foo(/|$).*": ((b"/foo", b"/foo/", b"/foo/bar"), (b"/foobar",)),
    "^/a$|^/b/.*$": ((b"/a", b"/b/", b"/b/x"), (b"/b", b"/a/x")),
    "(^/a|/b$)": ((b"/a", b"/b"), (b"/a/b",)),
    r"/v[0-9]+/\w+": ((b"/v1/a_B9", b"/v23/x"), (b"/v/a", b"/v1/a-b")),
    r".*\.(css|js)": ((b"/a.css", b".js", b"/a.js.css"), (b"/a.jsx",)),
    ".*foo.*bar.*": ((b"foobar", b"xfooxbarx"), (b"barfoo", b"foo")),
    "a{2,4}": ((b"aa", b"aaa", b"aaaa"), (b"a", b"aaaaa")),
    "a{3}": ((b"aaa",), (b"aa", b"aaaa")),
    "a{2,}b": ((b"aab", b"aaaab"), (b"ab",)),
    "a{,2}": ((b"a{,2}",), (b"a", b"")),
    "x{": ((b"x{",), (b"x",)),
    "[[:digit:][:upper:]_]+": ((b"A1_",), (b"a",)),
    "[^[:alpha:]]": ((b"1", b"\xff"), (b"a",)),
    "[]a-]+": ((b"]a-",), (b"b",)),
    "[^]]": ((b"a",), (b"]",)),
    r"[\d\-x]+": ((b"1-x",), (b"a",)),
    r"\x41\x{42}\t": ((b"AB\t",), (b"AB",)),
    r"\Qa.b*\E+": ((b"a.b*", b"a.b**"), (b"axb",)),
    r"\012": ((b"\n",), (b"\x0b",)),
    "é+": (("éé".encode(),), (b"\xc3\xa9\xa9",)),
    "(?P<name>a)(?<other>b)": ((b"ab",), (b"a",)),
    "a||b": ((b"a", b"", b"b"), (b"ab",)),
    "(a*)*b": ((b"b", b"aab"), (b"a",)),
    "a.c": ((b"abc", b"a\xffc"), (b"a\nc",)),
    "(?s)a.c": ((b"a\nc",), (b"ac",)),
    r"a\Cb": ((b"a\nb",), (b"ab",)),
    "(?U)a+": ((b"aaa",), (b"",)),
    r"\Aa\z": ((b"a",), (b"a\n",)),
    "a$": ((b"a",), (b"a\n",)),
}
REFUSED = (
    "", "(", ")", "a)", "[", "[a", "[]", "*", "+a", "a**", "a+*", "a{2}{3}", "{2}", "a{3,2}", "a{1001}", "(?=a)", "(?!a)",
    "(?<=a)", "(?<!a)b", "(?>a)", "(?#a)", "(?P=a)", "(?P<1>a)", "(?P<a", "(?m)^a", "(?x)a", "(?", "(?i", r"(a)\1", r"\8",
    r"\p{Greek}", r"\pL", r"\Z", r"\G", r"\xg", r"\x{100}", r"\x{", "\\", "[z-a]", "[é]", "[[:nope:]]", r"[\b]", "a$b", "a^b",
    "(a{100}){100}", ".*a.{20}.*b.*", "(?:^a)*b", r".*\b.*a.*\b", "a" * 3000, "(" * 60 + ")" * 60,
)
#: On these `re` alone would take for ever; each with a value that makes it.
EVIL: dict[str, bytes] = {
    "(a*)*b": b"a" * 5000,
    "(a?)*b": b"a" * 5000,
    "(a|a)*b": b"a" * 5000,
    "(a|aa)+c": b"a" * 5000,
    "(x+x+)+y": b"x" * 5000,
    ".*a.*a.*b": b"a" * 5000,
    "(a?){30}a{30}": b"a" * 29,
    "([a-z]+)*1": b"z" * 5000,
    "(.*)(.*)(.*)x": b"y" * 5000,
    "((a|b)*c?)*d": b"ab" * 2500,
    "(ab|a|b)*c": b"ab" * 2500,
}


class SyntaxTests(SynchronousTestCase):
    """What is read, and as what."""

    def test_table_of_patterns(self) -> None:
        """Whole values match, and only those; whichever engine runs the pattern."""
        for text, (good, bad) in WHOLE.items():
            pattern = Pattern(text, ANY)
            for value in good:
                self.assertTrue(pattern.matches(value), (text, value))
            for value in bad:
                self.assertFalse(pattern.matches(value), (text, value))

    def test_word_boundaries(self) -> None:
        """``\\b`` is understood where the proof needs no table."""
        matches = Pattern(r".*\bMobile\b.*", FIELD).matches
        self.assertTrue(matches(b"x Mobile/1") and matches(b"Mobile"))
        self.assertFalse(matches(b"Mobiles"))

    def test_table_of_refusals(self) -> None:
        """What is not RE2, can match nothing or cannot be matched in linear time with little memory is refused."""
        for text in REFUSED:
            self.assertRaises(RegexError, Pattern, text, PATH)

    def test_messages_say_where(self) -> None:
        """A message names the character."""
        self.assertIn("at character 3 of 'ab)'", str(self.assertRaises(RegexError, Pattern, "ab)", PATH)))


#: Regexes over {a, b} of every construct whose meaning both engines must agree on.
_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "(a|b)", "(ab|a)", "a*", "b+", "a?", "(a*b)*", "(a|b)+", "a{1,2}", "^",
                          "$", "(b|$)", "(^|a)", "a*?", "(ab|ac|b)"])
REGEXES = st.lists(st.lists(_ATOMS, min_size=1, max_size=4).map("".join), min_size=1, max_size=3).map("|".join)
VALUES = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=8).map(b"".join)


class EngineTests(SynchronousTestCase):
    """The two engines, and the proof that decides between them."""

    @settings(max_examples=500, deadline=None, derandomize=True, database=None)
    @given(REGEXES, st.lists(VALUES, min_size=5, max_size=5))
    def test_both_engines_agree(self, text: str, values: list[bytes]) -> None:
        """The table, our choice of engine, and Python's own reading of the pattern give the same answers."""
        plain = re.compile(text.replace("$", r"\Z").encode("ascii"))
        try:
            node = without_edges(parse(text)[0])
        except RegexError as error:
            if "nothing" in str(error):
                self.assertEqual([value for value in values if plain.fullmatch(value)], [])
            return
        table = Automaton(node)
        chosen = Pattern(text, ANY)
        for value in values:
            wanted = plain.fullmatch(value) is not None
            self.assertEqual(table.matches(value), wanted, (text, value))
            self.assertEqual(bool(chosen.matches(value)), wanted, (text, value))
            if wanted:
                self.assertTrue(value.startswith(chosen.prefix))

    def test_evil_patterns(self) -> None:
        """Patterns that would keep a backtracking matcher busy for ever run on the table, in milliseconds."""
        for text, value in EVIL.items():
            pattern = Pattern(text, PATH)
            self.assertEqual(pattern.engine, "table", text)
            start = process_time()
            self.assertFalse(pattern.matches(value))
            self.assertLess(process_time() - start, 0.5, text)

    def test_proved_patterns_on_their_worst_values(self) -> None:
        """What is proved to be linear is: a value four times as long does not take sixteen times as long."""
        for text, piece in ((r".*\.(css|js)", b".cs"), ("(ab|ac)*d", b"ab"), ("/api/(v1|v2)/.*/x", b"/x/"),
                            ("[^/]*[0-9]{3}", b"12"), ("(users|uploads|u)/.*", b"u")):
            self.assertTrue(linear(without_edges(parse(text)[0]), PATH), text)
            matches = Pattern(text, PATH).matches
            value = b"/api/v1/" + piece * 20_000
            start = process_time()
            matches(value)
            self.assertLess(process_time() - start, 0.5, text)

    def test_usual_patterns_run_on_re(self) -> None:
        """The patterns that operators write run at full speed."""
        for text in ("/api/v[0-9]+/users/[^/]+", r".*\.(js|css|png)", "/(users|uploads)/.*", "^/a(/.*)?$", "/foo(/|$).*",
                     "(alice|bob)", r"^/(.*)/(.*)$", "/[a-z]+-[0-9]+", r"(?i).*\.jpe?g", "/api/(v1|v2)/.*/x.*"):
            self.assertEqual(Pattern(text, PATH).engine, "re", text)

    def test_domain(self) -> None:
        """A loop over "." never fails in a path, but it may in a decoded query value, which can hold a line end."""
        self.assertEqual(Pattern("a.*b.*", PATH).engine, "re")
        self.assertEqual(Pattern("a.*b.*", FIELD).engine, "re")
        self.assertEqual(Pattern("a.*b.*", ANY).engine, "table")

    def test_shapes(self) -> None:
        """Patterns that are literals or prefixes are known as such, with the literal every match begins with."""
        for text, shape, literal in (
                ("/a", Shape.LITERAL, b"/a"), ("^/a$", Shape.LITERAL, b"/a"), ("/a/.*", Shape.PREFIX, b"/a/"),
                (".*", Shape.PREFIX, b""), ("/a/.+", Shape.GENERAL, b"/a/"), ("/(ab|ac)x", Shape.GENERAL, b"/a"),
                ("/ab|/ac", Shape.GENERAL, b"/a"), ("/a?b", Shape.GENERAL, b"/"), ("(?i)/a", Shape.GENERAL, b"/"),
                (r"/a\.b", Shape.LITERAL, b"/a.b"), ("/a|", Shape.GENERAL, b"")):
            pattern = Pattern(text, PATH)
            self.assertEqual((pattern.shape, pattern.prefix), (shape, literal), text)


class RewriteTests(SynchronousTestCase):
    """`Rewrite`."""

    def test_table_of_rewrites(self) -> None:
        r"""An anchored pattern is replaced once, another one everywhere; ``\1`` is a group, ``\0`` the match."""
        for pattern, substitution, path, wanted in (
                ("^/api/(.*)$", r"/\1", b"/api/x/y", b"/x/y"),
                ("^/api/(.*)$", r"/\1", b"/other", b"/other"),
                ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", b"/service/s/t", b"/t/instance/s"),
                ("/v1/", "/v2/", b"/v1/a/v1/b", b"/v2/a/v2/b"),
                ("^/v1/", "/v2/", b"/v1/a/v1/b", b"/v2/a/v1/b"),
                ("(?i)/XXX", "/y", b"/xXx/xxx", b"/y/y"),
                ("/foo/([^/]+)", r"/\1/\0", b"/foo/a/b", b"/a//foo/a/b"),
                ("^/(a)?(b)", r"/[\1]\2", b"/b", b"/[]b"),
                ("b", "\\\\", b"/abc", b"/a\\c"),
                ("/a", "", b"/a/b", b"/b")):
            self.assertEqual(Rewrite(pattern, substitution)(path), wanted, pattern)

    def test_refused(self) -> None:
        """What might take long, matches everywhere, or speaks of a group that is not there is refused."""
        for pattern, substitution in (("a*b", ""), ("^/(.*)/(.*)/(.*)$", ""), ("a*", ""), ("(a)", r"\2"), ("a", "\\"),
                                      ("a", r"\x"), ("(", ""), ("/a.*b/", "")):
            self.assertRaises(RegexError, Rewrite, pattern, substitution)

    def test_long_paths(self) -> None:
        """No accepted pattern takes long, whatever the path."""
        for pattern, path in (("/foo/([^/]+)", b"/foo/" * 15_000), ("^/a/(.*)/b$", b"/a/" + b"/b/" * 15_000),
                              ("ab?c", b"ab" * 30_000), ("/foo/.*$", b"/fo" * 20_000)):
            rewrite = Rewrite(pattern, "x")
            start = process_time()
            rewrite(path)
            self.assertLess(process_time() - start, 0.5, pattern)
