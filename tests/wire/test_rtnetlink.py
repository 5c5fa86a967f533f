"""Messages of rtnetlink; what the kernel makes of them is seen in tests/net/test_addresses.py."""

from __future__ import annotations

import errno
import struct

from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.rtnetlink import (
    CREATE,
    DELADDR,
    EXCL,
    LOCAL,
    NEWADDR,
    OURS,
    Address,
    Refused,
    Route,
    address_request,
    attribute,
    message,
    read_address,
    read_messages,
    read_route,
    route_request,
)


def error(number: int, sequence: int = 7) -> bytes:
    """What the kernel says of a request: 0 is an acknowledgement."""
    body = struct.pack("=i", -number) + bytes(16)
    return struct.pack("=IHHII", 16 + len(body), 2, 0, sequence, 0) + body


class WrittenTests(SynchronousTestCase):
    def test_an_address_of_ours(self) -> None:
        """What is written is what is read: one address, our mark, its short life."""
        for address, prefix in (("192.0.2.10", 32), ("2001:db8::10", 128)):
            written = address_request(NEWADDR, CREATE | EXCL, 7, 3, address, 30)
            self.assertEqual(struct.unpack_from("=I", written)[0], len(written))
            self.assertEqual(read_address(written[16:]), Address(3, address, prefix, OURS, 30))

    def test_ipv6_is_deprecated_from_the_start(self) -> None:
        """So the kernel does not choose a VIP for connections of the host's own; IPv4 has no such rule."""
        lives = struct.pack("=HHII", 20, 6, 0, 30)
        self.assertIn(lives, address_request(NEWADDR, 0, 7, 3, "2001:db8::10", 30))
        self.assertIn(struct.pack("=HHII", 20, 6, 30, 30), address_request(NEWADDR, 0, 7, 3, "192.0.2.10", 30))

    def test_a_deletion_says_only_which(self) -> None:
        """No life, no mark."""
        found = read_address(address_request(DELADDR, 0, 7, 3, "192.0.2.10", 0)[16:])
        assert found is not None
        self.assertEqual((found.protocol, found.valid_s), (0, 2 ** 32 - 1))

    def test_a_question_for_a_route(self) -> None:
        """It holds the destination, with its whole length."""
        written = route_request(7, "192.0.2.10")
        self.assertEqual(written[16:18], b"\x02\x20")
        self.assertIn(b"\xc0\x00\x02\x0a", written)


class ReadTests(SynchronousTestCase):
    def test_an_acknowledgement(self) -> None:
        """It is the end."""
        self.assertEqual(list(read_messages(error(0), 7)), [None])

    def test_a_refusal(self) -> None:
        """It has the kernel's number and words."""
        with self.assertRaises(Refused) as caught:
            list(read_messages(error(errno.EEXIST), 7))
        self.assertEqual((caught.exception.errno, caught.exception.strerror), (errno.EEXIST, "File exists"))

    def test_answers_to_others(self) -> None:
        """Those of a request that was given up are passed over."""
        self.assertEqual(list(read_messages(error(errno.EEXIST, 6) + error(0), 7)), [None])

    def test_what_is_cut_off(self) -> None:
        """Nothing is read beyond the end."""
        written = message(NEWADDR, 0, 7, b"\x02\x20\0\0" + bytes(4) + attribute(1, b"\xc0\0\2\1"))
        with self.assertRaises(ValueError):
            list(read_messages(written[:-4], 7))
        for body in (written[16:-2], b"", b"\x02\x20\0\0" + bytes(4) + attribute(1, b"\1\2\3\4") + attribute(6, b"\0"),
                     b"\x02\x20\0\0" + bytes(4) + attribute(1, b"\1\2\3\4") + attribute(11, b"")):
            with self.assertRaises(ValueError):
                read_address(body)
        for body in (b"", bytes(12) + attribute(4, b"\0")):
            with self.assertRaises(ValueError):
                read_route(body)

    def test_other_families(self) -> None:
        """They are none of ours."""
        self.assertIsNone(read_address(bytes(8)))

    def test_a_route(self) -> None:
        """The kind, and the interface where one is named."""
        head = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 0, 0, 0, LOCAL, 0)
        self.assertEqual(read_route(head), Route(LOCAL, 0))
        self.assertEqual(read_route(head + attribute(4, struct.pack("=I", 5))), Route(LOCAL, 5))
