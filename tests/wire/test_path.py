"""The normal form of a path: one for routing, policy and forwarding (RFC 3986 6.2.2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.path import BadTarget, normalise, without_dot_segments

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
    b"/a;b=c/d;e": b"/a;b=c/d;e", b"/a/..;/b": b"/a/..;/b", b"/a/%2e%2e;/b": b"/a/..;/b",
}

REFUSED = (
    b"/%00", b"/a%00b", b"/%", b"/%2", b"/%zz", b"/%2g", b"/a%", b"/%%32e", b"/a b", b"/a\tb", b"/a\rb", b"/a\nb", b"/a\0b", b"/\x7f", b"/\x1b",
    b"/a#b", b"/a?b#c", b"/a?b c", b"/a?b\nc", b"/a?\0",
)


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
