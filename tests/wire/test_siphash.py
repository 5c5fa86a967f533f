"""SipHash-2-4 against its authors' published vectors."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.siphash import siphash24

KEY = bytes(range(16))


class SipHashTests(SynchronousTestCase):
    """`siphash24`."""

    def test_published_vectors(self) -> None:
        """Of the reference implementation's table: inputs of 0, 1, 7, 8, 15 and 63 bytes."""
        for size, digest in ((0, "310e0edd47db6f72"), (1, "fd67dc93c539f874"), (7, "37d1018bf50002ab"),
                             (8, "6224939a79f5f593"), (15, "e545be4961ca29a1"), (63, "724506eb4c328a95")):
            self.assertEqual(siphash24(KEY, bytes(range(size))).hex(), digest, size)

    def test_a_key_of_another_size(self) -> None:
        """It is refused."""
        self.assertRaises(ValueError, siphash24, KEY[:-1], b"")
