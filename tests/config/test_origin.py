"""Text to nodes; hostile files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from tests.config.making import codes, lines, problems
from tests.fuzz.settings import examples
from voltgw.config import origin
from voltgw.config.origin import PLAIN, QUOTED, Source, Unreadable, documents
from voltgw.errors import Place


def source(text: str, name: str = "f.yaml") -> Source:
    """A source of a text."""
    return Source.decode(name, text.encode())


class DocumentsTests(SynchronousTestCase):
    def test_scalars_are_not_guessed(self) -> None:
        """What is written stays, and quotes are known."""
        (root,) = documents(source("[NO, 010, 22:22, 1:30, 2024-01-01, 'NO', \"x\", ~, null, 1e3]"))
        assert isinstance(root, SequenceNode)
        self.assertEqual([node.value for node in root.value],
                         ["NO", "010", "22:22", "1:30", "2024-01-01", "NO", "x", "~", "null", "1e3"])
        self.assertEqual([node.tag for node in root.value], [PLAIN] * 5 + [QUOTED] * 2 + [PLAIN] * 3)

    def test_a_stream_of_documents(self) -> None:
        """Empty ones are left out."""
        roots = list(documents(source("---\na: 1\n---\n# nothing\n---\n~\n---\nb: 2\n...\n")))
        self.assertEqual(len(roots), 2)

    def test_json_is_yaml(self) -> None:
        """Tabs, escapes and characters beyond U+FFFF included."""
        (root,) = documents(source('{\n\t"a": "x\\/y \\ud83d\\ude00",\n\t"b": [1, true, null]\n}', "f.json"))
        assert isinstance(root, MappingNode)
        value = root.value[0][1]
        assert isinstance(value, ScalarNode)
        self.assertEqual(value.value, "x/y \U0001f600")

    def test_half_a_surrogate_pair(self) -> None:
        """It is no character, and the place is told."""
        with self.assertRaises(Unreadable) as caught:
            source('{"a":\n "\\ud83d"}', "f.json")
        self.assertEqual(caught.exception.problem.place, Place("f.json", 2, 3))

    def test_a_byte_order_mark_is_no_content(self) -> None:
        """Editors on Windows write one."""
        one = Source.decode("f", b"\xef\xbb\xbfa: 1\n")
        self.assertEqual(one.text, "a: 1\n")


class SyntaxTests(SynchronousTestCase):
    def test_the_place_and_what_it_usually_means(self) -> None:
        """libyaml's words are for people who know its insides; the hint is for the others."""
        for text, line, words in (
            ("a: b: c\n", 1, "quotes"), ("a:\n\tb: 1\n", 2, "tab"), ("a: [1, 2\nb: 3\n", 2, "bracket"), ("a: *x\n", 1, "quotes"),
            ("a: 1\n  b: 2\n", 2, "indented"), ("- a\nb: 1\n", 2, "indented"), ("a: 'x\n", 1, "never closed"),
        ):
            with self.assertRaises(Unreadable, msg=text) as caught:
                list(documents(source(text)))
            problem = caught.exception.problem
            self.assertEqual((problem.code, problem.place.line), ("VG0001", line), text)
            self.assertIn(words, problem.hint, text)
            self.assertEqual(problem.source, text.split("\n")[line - 1])

    def test_bytes_that_are_not_utf_8(self) -> None:
        """With the place of the first one."""
        with self.assertRaises(Unreadable) as caught:
            Source.decode("f", b"a: 1\nb: \xff\n")
        self.assertEqual(caught.exception.problem.place, Place("f", 2, 4))
        self.assertEqual(caught.exception.problem.code, "VG0003")

    def test_control_characters(self) -> None:
        """A NUL in a file means that it is none of ours."""
        with self.assertRaises(Unreadable) as caught:
            list(documents(source("a: 1\nb: x\x00y\n")))
        self.assertEqual(caught.exception.problem.place, Place("f.yaml", 2, 5))
        self.assertIn("U+0000", caught.exception.problem.message)


class HostileTests(SynchronousTestCase):
    def refused(self, text: str, words: str) -> None:
        """The text is refused with code VG0004."""
        with self.assertRaisesRegex(Unreadable, words) as caught:
            list(documents(source(text)))
        self.assertEqual(caught.exception.problem.code, "VG0004")

    def test_deep_nesting(self) -> None:
        """Neither parser nor reader runs out of stack, in any spelling."""
        for unit in ("[", "{a: ", "- ", "? "):
            self.refused(unit * 100_000, "nested")

    def test_deep_nesting_below_the_parsers_own_limit(self) -> None:
        """Where nobody looks into a value, its depth is bounded too."""
        found = problems("kind: tunnel\nmetadata: {name: x}\nspec: {a: " + "[" * 100 + "]" * 100 + "}\n")
        self.assertEqual(codes(found), ["VG0004", "VG0117"])

    def test_an_alias_bomb(self) -> None:
        """A billion laughs are refused before anything is expanded."""
        text = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        self.refused(text, "aliases stand for")

    def test_a_value_that_contains_itself(self) -> None:
        """It would never end."""
        self.refused("a: &a [1, *a]\n", "contains itself")
        self.refused("a: &a {b: *a}\n", "contains itself")

    def test_harmless_aliases(self) -> None:
        """Anchors are a convenience of YAML; used with measure they work."""
        self.assertEqual(problems("""
            objects:
            - kind: endpoint
              metadata: {name: a}
              spec: &spec {ip: 127.0.0.1, port: 80}
            - kind: endpoint
              metadata: {name: b}
              spec: *spec
        """), ())

    def test_a_large_file(self) -> None:
        """It is not even parsed."""
        self.patch(origin, "MAX_FILE_BYTES", 10)
        with self.assertRaisesRegex(Unreadable, "11 bytes; at most 10"):
            Source.decode("f", b"a: 90123456")

    def test_tags(self) -> None:
        """None is read, ours or YAML's; the place and the tag are told."""
        for text in ("gateway: {site: !!str x}", "gateway: !!python/object:os.system {site: x}", "gateway: {site: !Ref x}",
                     "include: !!set [a]", "gateway: {dns: !!omap [{address: 1.1.1.1, port: 1}]}"):
            found = problems(text)
            self.assertEqual(codes(found), ["VG0006"], text)
            self.assertIn("!", found[0].message)

    def test_duplicate_keys(self) -> None:
        """In every kind of mapping, with both places."""
        for text, place in (
            ("gateway: {site: a, site: b}", (1, 20)), ("gateway: {}\ngateway: {}", (2, 1)),
            ("gateway: {port_map: {80: 1, 80: 2}}", (1, 29)),
            ("objects:\n- kind: endpoint\n  kind: cluster\n", (3, 3)),
            ("objects:\n- kind: endpoint\n  metadata: {name: a, labels: {x: a, x: b}}\n  spec: {ip: 1.1.1.1, port: 1}\n", (3, 38)),
            ("objects:\n- kind: tunnel\n  metadata: {name: a}\n  spec: {x: 1, x: 2}\n", (4, 16)),
            ("objects:\n- kind: endpoint\n  metadata: {name: a}\n  spec: {dns_name: a, dnsName: b, port: 1}\n", (4, 23)),
        ):
            found = [one for one in problems(text) if one.code == "VG0005"]
            self.assertEqual([(one.place.line, one.place.column) for one in found], [place], text)

    def test_merge_keys(self) -> None:
        """YAML 1.2 has none; the hint says what to do instead."""
        found = problems("""
            objects:
            - kind: endpoint
              metadata: {name: a}
              spec: {<<: {port: 1}, ip: 1.1.1.1}
        """)
        self.assertIn("VG0101", codes(found))
        self.assertIn("defaults:", found[0].hint)

    @given(st.text(alphabet="ab:-{}[],&*!|>'\"#%@\n\t \\0~?", max_size=60))
    @examples(300)
    def test_any_text_loads_or_is_refused(self, text: str) -> None:
        """No traceback ever; every problem has a place in the file and a code."""
        for problem in problems(text):
            self.assertRegex(problem.code, r"^VG\d{4}$")
            self.assertEqual(problem.place.file, "voltgw.yaml")

    @given(st.binary(max_size=40))
    @examples(100)
    def test_any_bytes_are_text_or_are_refused(self, data: bytes) -> None:
        """Only `Unreadable`."""
        try:
            list(documents(Source.decode("f", data)))
        except Unreadable as error:
            self.assertRegex(error.problem.code, r"^VG000[134]$")


class LinesTests(SynchronousTestCase):
    def test_lines_of_every_ending(self) -> None:
        """Line feed, carriage return and both, as the parser counts them."""
        one = source("a\nb\r\nc\rd")
        self.assertEqual([one.line(number) for number in range(6)], ["", "a", "b", "c", "d", ""])

    def test_places_agree_with_lines(self) -> None:
        """Also with Windows line ends."""
        found = problems("gateway:\r\n  site: ok\r\n  nope: 1\r\n")
        self.assertEqual(lines(found), ['3:3 VG0101 unknown field "nope"'])
