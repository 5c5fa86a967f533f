"""The normal form of targets: what is changed, what is kept, what is refused (promises 3.2)."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from voltgw.routing.path import (
    BadTarget,
    has_dot_segments,
    literal_path,
    literal_query,
    normal_path,
    normalise,
    validate,
)
from voltgw.wire import path as wire_path

#: target -> path, query
NORMAL: dict[bytes, tuple[bytes, bytes | None]] = {
    b"/": (b"/", None),
    b"/a/b?x=1&y[]=2": (b"/a/b", b"x=1&y[]=2"),
    b"/a?": (b"/a", b""),
    b"/a??b?c": (b"/a", b"?b?c"),
    b"/a/./b": (b"/a/b", None),
    b"/a/../b": (b"/b", None),
    b"/a/b/..": (b"/a/", None),
    b"/a/b/.": (b"/a/b/", None),
    b"/..": (b"/", None),
    b"/../../x": (b"/x", None),
    b"/a/..b/.c/...": (b"/a/..b/.c/...", None),
    b"/.well-known/x": (b"/.well-known/x", None),
    b"//": (b"//", None),
    b"//a//b": (b"//a//b", None),
    b"/a//../b": (b"/a/b", None),
    b"/..//x": (b"//x", None),
    b"/a/%2e%2e/b": (b"/b", None),
    b"/a/%2E%2e/b": (b"/b", None),
    b"/a/.%2e/b": (b"/b", None),
    b"/a/%2e/b": (b"/a/b", None),
    b"/%61%62": (b"/ab", None),
    b"/%7Euser/%2d%5f": (b"/~user/-_", None),
    b"/a%2fb": (b"/a%2Fb", None),
    b"/a%5cb": (b"/a%5Cb", None),
    b"/..%2f..%2fetc": (b"/..%2F..%2Fetc", None),
    b"/%252e%252e/x": (b"/%252e%252e/x", None),
    b"/%c0%ae%c0%ae/x": (b"/%C0%AE%C0%AE/x", None),
    b"/caf%c3%a9": (b"/caf%C3%A9", None),
    b"/a;x=1/..;/b": (b"/a;x=1/..;/b", None),
    b"/a[0]": (b"/a%5B0%5D", None),
    b"/a?x=%2e%2e/../&y=%00": (b"/a", b"x=%2e%2e/../&y=%00"),
    b"*": (b"*", None),
    b"http://h": (b"/", None),
    b"http://h?x": (b"/", b"x"),
    b"http://h:80/a/../b?x": (b"/b", b"x"),
    b"HTTPS://user@h/": (b"/", None),
}
REFUSED: dict[bytes, str] = {
    b"": "neither a path",
    b"a": "neither a path",
    b"h:80": "neither a path",
    b"/%00": "NUL",
    b"/a%00b": "NUL",
    b"/%zz": "escape",
    b"/%": "escape",
    b"/%4": "escape",
    b"/a%%41": "escape",
    b"/a?x=%g0": "escape",
    b"/a#b": "fragment",
    b"/a?x#b": "fragment",
    b"/a b": "byte",
    b"/a\tb": "byte",
    b"/a\nb": "byte",
    b"/a\x00": "byte",
    b"/a\x7f": "byte",
    b"/caf\xc3\xa9": "byte",
    b"/a\\b": "byte",
    b'/a"b': "byte",
    b"/a|b": "byte",
    b"/a?{}": "byte",
    b"/a?\xff": "byte",
    b"/a\n": "byte",
}
#: Pieces whose combinations make most trouble.
PIECES = st.sampled_from([
    b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%2f", b"%5C", b"%25", b"%00", b"%zz", b"a", b"~", b"%7e", b"%41", b"?", b"#",
    b"[", b"\\", b";", b"%C3", b"=", b"&", b"\xff", b" ",
])
TARGETS = st.lists(PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces))


class NormaliseTests(SynchronousTestCase):
    """`normalise`."""

    def test_table_of_targets(self) -> None:
        """Dot segments go, unreserved octets are decoded, everything else is kept; ``//`` too."""
        for target, wanted in NORMAL.items():
            self.assertEqual(normalise(target), wanted, target)

    def test_table_of_refusals(self) -> None:
        """NUL, broken escapes, fragments and bytes outside the URI set are refused, with a reason."""
        for target, reason in REFUSED.items():
            for function in (normalise, validate):
                error = self.assertRaises(BadTarget, function, target)
                self.assertIn(reason, str(error), target)

    def test_without_normalisation(self) -> None:
        """``disable_path_normalize`` hands the path back as written, and refuses the same."""
        for target, (_, query) in NORMAL.items():
            if target.startswith(b"/"):
                self.assertEqual(validate(target), (target.partition(b"?")[0], query), target)
        self.assertEqual(validate(b"http://h/a/../b"), (b"/a/../b", None))

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(TARGETS)
    def test_any_target(self, target: bytes) -> None:
        """A normal form is its own normal form, has no dot segment, and holds nothing that may not be sent."""
        try:
            path, query = normalise(target)
        except BadTarget:
            self.assertRaises(BadTarget, validate, target)
            return
        whole = path if query is None else path + b"?" + query
        self.assertEqual(normalise(whole), (path, query))
        self.assertFalse(has_dot_segments(path))
        self.assertIsNone(re.search(rb"[^!-~]|[\"#<>\\^`{|}]|%(?![0-9A-F]{2})|%00", path))
        self.assertEqual(query, target.partition(b"?")[2] if b"?" in target else None)

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(TARGETS)
    def test_the_codec_agrees(self, target: bytes) -> None:
        """What is not refused here has the same normal form in the codec."""
        try:
            wanted = normalise(target)
        except BadTarget:
            return
        self.assertEqual(wire_path.normalise(target), wanted)


class PieceTests(SynchronousTestCase):
    """Paths that rewrites and operators make."""

    def test_above_the_root(self) -> None:
        """A rewritten path may not lead above the root; a client's just stays there."""
        self.assertEqual(normal_path(b"/../x"), b"/x")
        self.assertRaises(BadTarget, normal_path, b"/a/../../x", above_root=False)
        self.assertEqual(normal_path(b"/a/../x", above_root=False), b"/x")
        self.assertRaises(BadTarget, normal_path, b"x")

    def test_literals(self) -> None:
        """An operator's path is escaped as it stands in requests, so that it can match."""
        self.assertEqual(literal_path("/café/a b|c"), b"/caf%C3%A9/a%20b%7Cc")
        self.assertEqual(literal_path("/%7ea/%2f[1]"), b"/~a/%2F%5B1%5D")
        self.assertEqual(literal_path("/%7ea", normalised=False), b"/%7ea")
        self.assertEqual(literal_path("/."), b"/.")
        for text in ("/a?b", "/a#b", "/%z"):
            self.assertRaises(BadTarget, literal_path, text)

    def test_literal_queries(self) -> None:
        """An operator's query is escaped too, and may hold no fragment."""
        self.assertEqual(literal_query("a=b c&d[]={ü}"), b"a=b%20c&d[]=%7B%C3%BC%7D")
        self.assertRaises(BadTarget, literal_query, "a#b")
        self.assertRaises(BadTarget, literal_query, "100%")
