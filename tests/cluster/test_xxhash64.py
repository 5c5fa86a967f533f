"""Tests for `voltgw.cluster.xxhash64`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.cluster.xxhash64 import xxh64


class Xxh64Tests(SynchronousTestCase):
    def test_published_vectors(self) -> None:
        """Those of the reference implementation and of its ports: every tail, and more than one stripe."""
        for data, expected in (
            (b"", 0xEF46DB3751D8E999), (b"a", 0xD24EC4F1A98C6E5B), (b"as", 0x1C330FB2D66BE179), (b"asd", 0x631C37CE72A97393),
            (b"asdf", 0x415872F599CEA71E), (b"abc", 0x44BC2CF5AD770999),
            (b"Call me Ishmael. Some years ago--never mind how long precisely-", 0x02A2E85470D6FD96),
            (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
        ):
            self.assertEqual(xxh64(data), expected, data)

    def test_every_length_and_seed_is_another_number(self) -> None:
        """64 bits, and no two alike among all lengths up to three stripes with three seeds."""
        made = {xxh64(bytes(range(length)), seed) for length in range(97) for seed in (0, 1, 2**64 - 1)}
        self.assertEqual(len(made), 97 * 3)
        self.assertTrue(all(0 <= number < 2**64 for number in made))
