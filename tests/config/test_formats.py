"""The forms that text may have to have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config import formats
from voltgw.config.formats import Format


class FormatTests(SynchronousTestCase):
    def good(self, form: Format, cases: dict[str, str]) -> None:
        """Each text is read as the other."""
        for text, expected in cases.items():
            self.assertEqual(form.read(text), expected, text)

    def bad(self, form: Format, *texts: str) -> None:
        """Each text is refused with a reason that names it or a part of it."""
        for text in texts:
            with self.assertRaises(ValueError) as caught:
                form.read(text)
            self.assertTrue(str(caught.exception), text)

    def test_addresses(self) -> None:
        """IPv4 and IPv6, in their normal form."""
        self.good(formats.IP, {"192.0.2.1": "192.0.2.1", "2001:DB8:0::1": "2001:db8::1", "::1": "::1"})
        self.bad(formats.IP, "192.0.2", "localhost", "192.0.2.1:80", "[::1]", "256.1.1.1", "")

    def test_prefixes(self) -> None:
        """Host bits are cut off, as everybody does who writes 10.0.0.5/8."""
        self.good(formats.PREFIX, {"10.0.0.5/8": "10.0.0.0/8", "2001:db8::/32": "2001:db8::/32", "192.0.2.7": "192.0.2.7/32"})
        self.bad(formats.PREFIX, "10.0.0.0/33", "ten")

    def test_host_names(self) -> None:
        """Lower case, without the final dot; labels of 63 characters, 253 altogether."""
        self.good(formats.HOSTNAME, {"App.Internal.": "app.internal", "a_b.c-d": "a_b.c-d", "x" * 63: "x" * 63})
        self.bad(formats.HOSTNAME, "", "a..b", "-a", "a-", "a b", "x" * 64, ".".join(["abcdefgh"] * 30), "höst", "a/b", "*.a")

    def test_domains(self) -> None:
        """Exact names, wildcards of whole labels and of 2020, the lone star, an optional port."""
        self.good(formats.DOMAIN, {
            "Shop.Example.com": "shop.example.com", "*.foo.com": "*.foo.com", "*-bar.foo.com": "*-bar.foo.com", "*": "*",
            "shop.example.com:8080": "shop.example.com:8080", "*.foo.com:8443": "*.foo.com:8443", "192.0.2.1": "192.0.2.1",
            "[2001:DB8::1]:80": "[2001:db8::1]:80", "*:8080": "*:8080", "localhost": "localhost",
        })
        self.bad(formats.DOMAIN, "", "foo.*", "f*o.com", "*foo.com", "*.*.com", "a:b", "a:0", "a:70000", "http://a", "a/b")

    def test_host_and_port(self) -> None:
        """The port may be missing."""
        self.good(formats.HOSTPORT, {"A.b:80": "a.b:80", "a.b": "a.b", "[::1]:80": "[::1]:80", "[::1]": "[::1]"})
        self.bad(formats.HOSTPORT, "a:b", "::1", "a:", ":80", "a:1:2")

    def test_paths(self) -> None:
        """A slash first; nothing that would have to be encoded."""
        self.good(formats.HTTP_PATH, {"/": "/", "/a%20b?c=d": "/a%20b?c=d"})
        self.bad(formats.HTTP_PATH, "", "a", "/a b", "/ä", "/a\r\nX: y")

    def test_header_names(self) -> None:
        """Tokens of RFC 9110."""
        self.good(formats.HEADER_NAME, {"X-Canary": "X-Canary", "host": "host"})
        self.bad(formats.HEADER_NAME, "", "a b", "a:", ":path", "ä", "a\n")

    def test_headers_that_must_not_be_edited(self) -> None:
        """What frames a message, and Host, which has a field of its own."""
        self.good(formats.EDITED_HEADER, {"x-a": "x-a"})
        self.bad(formats.EDITED_HEADER, "Content-Length", "transfer-encoding", "Connection", "Host", ":authority", "te")

    def test_header_values(self) -> None:
        """No line ends: they would make another header."""
        self.good(formats.FIELD_TEXT, {" a\tb ": "a\tb", "": "", "ü": "ü"})
        self.bad(formats.FIELD_TEXT, "a\r\nX: y", "a\nb", "\x00", "\x7f")

    def test_object_names(self) -> None:
        """Generous, but a slash would be a namespace."""
        self.good(formats.OBJECT_NAME, {"web_v2": "web_v2", "ves-io-origin-pool-a.b": "ves-io-origin-pool-a.b", "A": "A"})
        self.bad(formats.OBJECT_NAME, "", "a/b", "-a", "a-", "a b", "ä", "x" * 254)

    def test_methods(self) -> None:
        """A comma list, as it goes into the header."""
        self.good(formats.METHODS, {"GET, POST": "GET, POST", "*": "*"})
        self.bad(formats.METHODS, "GET POST", "GET,,POST")
