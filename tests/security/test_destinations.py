"""Where a forward proxy may not go, and how many ways there are to write an address."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.security.destinations import Guard, literal


class LiteralTests(SynchronousTestCase):
    def test_every_spelling_of_an_address_is_one_address(self) -> None:
        """What inet_aton(3) takes for an address is read as it reads it: decimal, octal, hexadecimal, with parts left out."""
        for spelled in (b"127.0.0.1", b"2130706433", b"0x7f000001", b"0x7f.1", b"0177.0.0.1", b"127.1", b"127.0.1", b"017700000001",
                        b"[::ffff:127.0.0.1]", b"[::ffff:7f00:1]", b"0x7f.0x0.0x0.0x1"):
            self.assertEqual(literal(spelled), "127.0.0.1", spelled)
        self.assertEqual(literal(b"[2001:db8::1]"), "2001:db8::1")
        self.assertEqual(literal(b"0x"), "0.0.0.0")

    def test_what_only_looks_like_an_address_is_refused(self) -> None:
        """A name that ends in a number is no name for any resolver; nor is an address with a zone one for us."""
        for spelled in (b"256.0.0.1", b"1.2.3.4.5", b"08.0.0.1", b"127.0.0.0x100", b"example.1", b"4294967296", b"1.16777216",
                        b"[fe80::1%25eth0]", b"exa%6dple.com", b"a..b", b"-a.com", b"x" * 64 + b".com", b""):
            self.assertRaises(ValueError, literal, spelled)

    def test_a_name_is_none(self) -> None:
        """Names go to the resolver, those with digits and underscores, too."""
        for name in (b"example.com", b"localhost", b"1and1.com", b"0xcafe.example", b"_dmarc.example.com", b"xn--bcher-kva.ch"):
            self.assertIsNone(literal(name), name)


class GuardTests(SynchronousTestCase):
    def test_what_is_not_on_the_internet_is_refused(self) -> None:
        """Loopback, private, link-local, shared, metadata, multicast, reserved; in IPv6 also what translators would turn into them."""
        guard = Guard()
        for address in ("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
                        "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "::1", "::",
                        "::ffff:10.0.0.1", "fe80::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::127.0.0.1", "64:ff9b::7f00:1",
                        "64:ff9b::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b:1::1", "::ffff:0:127.0.0.1", "::ffff:0:a9fe:a9fe",
                        "2001:0:4136:e378:8000:63bf:80ff:fffe", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:169.254.169.254"):
            self.assertTrue(guard.refusal(address, 80), address)

    def test_the_rest_is_let_through(self) -> None:
        """Public addresses, and what is kept for documentation, which tests use for them."""
        guard = Guard()
        for address in ("1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "192.0.2.7", "203.0.113.9", "2606:4700::1111",
                        "64:ff9b::101:101", "2002:101:101::1", "2001:db8::1", "2001:4860:4860::8888", "2001:0:4136:e378:8000:63bf:fefe:fefe",
                        "2606:4700::5efe:1.1.1.1"):
            self.assertEqual(guard.refusal(address, 443), "", address)

    def test_an_operator_may_allow_a_prefix_and_nothing_else(self) -> None:
        """What is allowed is let through; a neighbour of it, and IPv6 that means something else, are not."""
        guard = Guard(("10.20.0.0/16",))
        self.assertEqual(guard.refusal("10.20.1.1", 80), "")
        self.assertEqual(guard.refusal("64:ff9b::a14:101", 80), "")
        self.assertIn("private", guard.refusal("10.21.1.1", 80))

    def test_ourselves_nothing_allows(self) -> None:
        """Our own ports are refused on every address of this host, whatever prefix is allowed."""
        guard = Guard(("0.0.0.0/0", "::/0"), [("", 3128), ("192.0.2.1", 9901)])
        for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "192.0.2.5"):
            self.assertEqual(guard.refusal(address, 3128, ("192.0.2.5",)), "it is this gateway itself", address)
        self.assertTrue(guard.refusal("192.0.2.1", 9901))
        self.assertEqual(guard.refusal("192.0.2.6", 3128, ("192.0.2.5",)), "")
        self.assertEqual(guard.refusal("127.0.0.1", 80), "")
