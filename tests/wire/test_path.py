"""The normal form of a path: one for routing, policy and forwarding (RFC 3986 6.2.2; promises 3.2)."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.path import (
    PATH_BYTES,
    BadTarget,
    has_dot_segments,
    literal_path,
    literal_query,
    normal_path,
    normalise,
    without_dot_segments,
    written_path,
)

#: Path as written -> normal form.
FORMS = {
    b"/": b"/",
    b"/a/b": b"/a/b",
    # dot segments, plain and encoded, with every spelling
    b"/.": b"/", b"/..": b"/", b"/./": b"/", b"/../": b"/", b"/a/.": b"/a/", b"/a/..": b"/", b"/a/./b": b"/a/b", b"/a/../b": b"/b",
    b"/a/../../b": b"/b", b"/../../../etc/passwd": b"/etc/passwd", b"/a/b/../../c/./d": b"/c/d",
    b"/a/%2e%2e/admin": b"/admin", b"/a/%2E%2E/admin": b"/admin", b"/a/.%2e/admin": b"/admin", b"/a/%2e./admin": b"/admin",
    b"/%2e/a": b"/a", b"/a/%2e": b"/a/", b"/a/%2e%2e": b"/",
    # what only looks like one
    b"/...": b"/...", b"/.a": b"/.a", b"/a./b": b"/a./b", b"/a../b": b"/a../b", b"/..a/b": b"/..a/b", b"/.well-known/x": b"/.well-known/x",
    b"/..;/a": b"/..;/a", b"/.;x/a": b"/.;x/a",
    # empty segments are names
    b"//": b"//", b"//a//b": b"//a//b", b"/a//../b": b"/a/b", b"/a//./b": b"/a//b", b"//..": b"/", b"/..//a": b"//a",
    # unreserved octets are decoded, others stay, in upper case
    b"/%7Euser": b"/~user", b"/%41%5a%61%30%2D%5F": b"/AZa0-_", b"/%c3%a9": b"/%C3%A9", b"/a%20b": b"/a%20b", b"/%25": b"/%25",
    b"/a%2fb": b"/a%2Fb", b"/a%2F..%2fb": b"/a%2F..%2Fb", b"/a%5c..%5Cb": b"/a%5C..%5Cb", b"/%3f%23": b"/%3F%23", b"/%3b": b"/%3B",
    # encoded twice is encoded once more, not decoded twice
    b"/%252e%252e/a": b"/%252e%252e/a", b"/%25%32%65": b"/%252e", b"/%2525": b"/%2525",
    # overlong UTF-8 is no dot and no slash
    b"/%c0%ae%c0%ae/a": b"/%C0%AE%C0%AE/a", b"/%c0%af": b"/%C0%AF",
    # what clients send although it may not stand there
    b"/a\\..\\b": b"/a%5C..%5Cb", b'/"<>^`{|}[]': b"/%22%3C%3E%5E%60%7B%7C%7D%5B%5D", b"/\xc3\xa9": b"/%C3%A9", b"/\xc0\xae\xc0\xae/": b"/%C0%AE%C0%AE/",
    # parameters are part of their segment
    b"/a;b=c/d;e": b"/a;b=c/d;e", b"/a/..;/b": b"/a/..;/b", b"/a/%2e%2e;/b": b"/a/..;/b", b"/a;x=1/..;/b": b"/a;x=1/..;/b",
    # some more of each kind, put together
    b"/a/..b/.c/...": b"/a/..b/.c/...", b"/..//x": b"//x", b"/..%2f..%2fetc": b"/..%2F..%2Fetc", b"/%252e%252e/x": b"/%252e%252e/x",
    b"/%7Euser/%2d%5f": b"/~user/-_", b"/caf%c3%a9": b"/caf%C3%A9", b"/a[0]": b"/a%5B0%5D", b"/a/.%2e/%2E/b": b"/b",
}

REFUSED = (
    b"/%00", b"/a%00b", b"/%", b"/%2", b"/%zz", b"/%2g", b"/a%", b"/%%32e", b"/a b", b"/a\tb", b"/a\rb", b"/a\nb", b"/a\0b", b"/\x7f", b"/\x1b",
    b"/a#b", b"/a?b#c", b"/a?b c", b"/a?b\nc", b"/a?\0",
)
#: Target -> what the reason for its refusal must hold.
REASONS = {
    b"": "slash", b"a": "slash", b"*": "slash", b"h:80": "slash", b"http://h/": "slash", b"/%00": "NUL", b"/a%00b?c": "NUL", b"/%zz": "hexadecimal",
    b"/%": "hexadecimal", b"/a%%41": "hexadecimal", b"/a#b": "fragment", b"/a?x#b": "fragment", b"/a b": "space", b"/a\tb": "control", b"/a\n": "control",
    b"/a?\n": "control", b"/a\x00": "control", b"/a\x7f": "control",
}
#: Pieces whose combinations make most trouble.
PIECES = [
    b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5C", b"%25", b"%00", b"%zz", b"%", b"0", b"a", b"~", b"%7e", b"%41", b"?", b"#",
    b"[", b"\\", b";", b"%C3", b"=", b"&", b"\xff", b" ",
]
TARGETS = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: b"/" + b"".join(pieces))


class FormTests(SynchronousTestCase):
    def test_every_path_has_the_form_of_the_table(self) -> None:
        """Dot segments resolved, unreserved octets decoded, slashes and backslashes in escapes kept."""
        self.assertEqual({path: normalise(path)[0] for path in FORMS}, FORMS)

    def test_the_form_of_a_form_is_itself(self) -> None:
        """So a second pass, by us after a rewrite or by another gateway, finds nothing to do."""
        for form in FORMS.values():
            self.assertEqual(normalise(form), (form, None))

    def test_no_form_has_a_dot_segment(self) -> None:
        """However it was spelled: no origin that decodes once can climb."""
        for form in FORMS.values():
            self.assertNotIn(b"..", form.split(b"/"))
            self.assertNotIn(b".", form.split(b"/"))

    def test_what_has_no_form_is_refused(self) -> None:
        """Controls, spaces, fragments, broken escapes and an encoded NUL."""
        for target in REFUSED:
            self.assertRaises(BadTarget, normalise, target)
            self.assertRaises(BadTarget, normalise, target, False)

    def test_the_query_is_kept(self) -> None:
        """It is not normalised; only what may not stand in it is encoded. An empty one is not the same as none."""
        table = {
            b"/a": (b"/a", None), b"/a?": (b"/a", b""), b"/a?b=c&d": (b"/a", b"b=c&d"), b"/a?b?c": (b"/a", b"b?c"),
            b"/a?%2e%2E/../%zz%": (b"/a", b"%2e%2E/../%zz%"), b'/a?"<>{}|\\^`[]': (b"/a", b"%22%3C%3E%7B%7D%7C%5C%5E%60[]"),
            b"/a?\xe9": (b"/a", b"%E9"), b"/../a?/../b": (b"/a", b"/../b"), b"/a?%00%0d%0a": (b"/a", b"%00%0d%0a"),
        }
        self.assertEqual({target: normalise(target) for target in table}, table)

    def test_a_path_may_stay_as_written(self) -> None:
        """With normalising off dots and escapes stay; what may not stand there is encoded all the same."""
        table = {b"/a/../b": b"/a/../b", b"/%7e/%2e": b"/%7e/%2e", b"/a\\b": b"/a%5Cb", b"//.": b"//."}
        self.assertEqual({path: normalise(path, False)[0] for path in table}, table)

    def test_dot_segments_alone(self) -> None:
        """RFC 3986 5.2.4's own example, and the root as the end of every climb."""
        self.assertEqual(without_dot_segments(b"/a/b/c/./../../g"), b"/a/g")
        self.assertEqual(without_dot_segments(b"/" + b"../" * 1000 + b"x"), b"/x")

    def test_a_refusal_has_its_reason(self) -> None:
        """The client and the log are told what was wrong."""
        for target, reason in REASONS.items():
            for normalised in (True, False):
                self.assertIn(reason, str(self.assertRaises(BadTarget, normalise, target, normalised)), target)

    def test_every_escape(self) -> None:
        """Unreserved octets are decoded, NUL is refused, the other escapes stay: all 256, whatever the case of their digits."""
        unreserved = re.compile(rb"[A-Za-z0-9\-._~]").fullmatch
        for octet in range(1, 256):
            plain, escape = bytes((octet,)), b"%%%02X" % octet
            wanted = b"/a" + (plain if unreserved(plain) else escape)
            for spelling in (escape, escape.lower()):
                self.assertEqual(normalise(b"/a" + spelling), (wanted, None))
                self.assertEqual(normalise(b"/a" + spelling, False), (b"/a" + spelling, None))

    def test_which_bytes_a_path_can_hold(self) -> None:
        """`PATH_BYTES` are exactly those that pass unescaped: proofs about regexes rest on it."""
        found = set(b"%")
        for octet in range(256):
            target = b"/a" + bytes((octet,))
            try:
                paths = {normalise(target)[0], normalise(target, False)[0]}
            except BadTarget:
                continue
            if paths == {target}:
                found.add(octet)
            else:
                self.assertNotIn(octet, PATH_BYTES)
        self.assertEqual(found, PATH_BYTES)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(TARGETS)
    def test_any_target(self, target: bytes) -> None:
        """A form is its own form, has no dot segment, and holds nothing that may not be sent; and one rule refuses."""
        try:
            path, query = normalise(target)
        except BadTarget:
            self.assertRaises(BadTarget, normalise, target, False)
            return
        whole = path if query is None else path + b"?" + query
        self.assertEqual(normalise(whole), (path, query))
        self.assertFalse(has_dot_segments(path))
        self.assertIsNone(re.search(rb"[^!-~]|[\"#<>\\^`{|}\[\]]|%(?![0-9A-F]{2})|%00", path))
        self.assertLessEqual(set(path), PATH_BYTES)
        self.assertIs(query is None, b"?" not in target)
        written, same_query = normalise(target, False)
        self.assertEqual((normal_path(written), same_query), (path, query))
        self.assertLessEqual(set(written), PATH_BYTES)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(TARGETS.map(lambda target: target.partition(b"?")[0]))
    def test_the_short_cut_changes_nothing(self, path: bytes) -> None:
        """What is seen to be normal already, at a glance, is what the long way leaves as it is."""
        try:
            wanted = normal_path(path)
        except BadTarget:
            self.assertRaises(BadTarget, normalise, path)
            return
        self.assertEqual(normalise(path), (wanted, None))


class PieceTests(SynchronousTestCase):
    """Paths that rewrites and operators make."""

    def test_above_the_root(self) -> None:
        """A rewritten path may not lead above the root; a client's just stays there."""
        self.assertEqual(normal_path(b"/../x"), b"/x")
        for path in (b"/a/../../x", b"/..", b"/%2e%2e/x"):
            self.assertRaises(BadTarget, normal_path, path, above_root=False)
        self.assertEqual(normal_path(b"/a/../x", above_root=False), b"/x")

    def test_a_path_is_no_target(self) -> None:
        """A rewrite cannot bring in a query or a fragment, nor lose the slash in front."""
        for function in (normal_path, written_path):
            for path in (b"x", b"", b"/a?b", b"/a#b", b"/a b", b"/a\r\nb", b"/%2", b"/%00"):
                self.assertRaises(BadTarget, function, path)

    def test_as_written(self) -> None:
        """Dots and escapes stay; what may not stand in a path is escaped all the same."""
        self.assertEqual(written_path(b"/%7e/../\xc3\xa9[|]/%2f"), b"/%7e/../%C3%A9%5B%7C%5D/%2f")

    def test_dot_segments_are_found(self) -> None:
        """Whole segments only."""
        for path, found in ((b"/a/./b", True), (b"/..", True), (b"/.", True), (b"/...", False), (b"/.a/b.", False), (b"//", False)):
            self.assertIs(has_dot_segments(path), found)

    def test_literals(self) -> None:
        """An operator's path is escaped as it stands in requests, so that it can match."""
        self.assertEqual(literal_path("/café/a b|c"), b"/caf%C3%A9/a%20b%7Cc")
        self.assertEqual(literal_path("/%7ea/%2f[1]"), b"/~a/%2F%5B1%5D")
        self.assertEqual(literal_path("/%7ea", normalised=False), b"/%7ea")
        self.assertEqual(literal_path("/."), b"/.")
        for text in ("/a?b", "/a#b", "/%z", "/%00", "/\0"):
            self.assertRaises(BadTarget, literal_path, text)

    def test_literal_queries(self) -> None:
        """An operator's query is escaped too, and may hold no fragment; a stray % is a mistake there."""
        self.assertEqual(literal_query("a=b c&d[]={ü}"), b"a=b%20c&d[]=%7B%C3%BC%7D")
        self.assertRaises(BadTarget, literal_query, "a#b")
        self.assertRaises(BadTarget, literal_query, "100%")

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(st.text(max_size=12).map(lambda text: "/" + text))
    def test_any_literal(self, text: str) -> None:
        """What an operator's path becomes can stand in a request as it is."""
        try:
            path = literal_path(text)
        except BadTarget:
            return
        self.assertEqual(normalise(path)[0], without_dot_segments(path))
