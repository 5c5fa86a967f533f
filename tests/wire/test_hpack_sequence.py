"""Header blocks one after another on one connection: each side's table stays what the other side takes it for (RFC 7541 2.3)."""

from __future__ import annotations

from random import Random

import hpack
from twisted.trial.unittest import SynchronousTestCase

from voltgw.wire.hpack import Decoder, Encoder

NAMES = (b":status", b"server", b"content-type", b"vary", b"location", b"date", b"x-a", b"x-b", b"etag", b"set-cookie", b"via")


class SequenceTests(SynchronousTestCase):
    def test_an_entry_within_a_block_moves_the_others(self) -> None:
        """What a block adds to the table is counted for the fields behind it in the same block."""
        encoder, judge = Encoder(), hpack.Decoder()
        first = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"server", b"voltgw")]
        second = [(b":status", b"302"), (b"vary", b"accept"), (b"server", b"voltgw"), (b"content-type", b"text/plain")]
        for fields in (first, second, first, second):
            self.assertEqual([tuple(each) for each in judge.decode(encoder.encode(fields), raw=True)], fields)

    def test_any_sequence(self) -> None:
        """Blocks of any fields, drawn by chance: the library reads what was meant, and so do we."""
        random = Random(11)
        for _ in range(60):
            encoder, judge, ours = Encoder(), hpack.Decoder(), Decoder()
            for _ in range(30):
                fields = [(random.choice(NAMES), b"%d" % random.randrange(4) * random.randrange(1, 30))
                          for _ in range(random.randrange(1, 9))]
                block = encoder.encode(fields)
                self.assertEqual([tuple(each) for each in judge.decode(block, raw=True)], fields)
                self.assertEqual(ours.decode(block)[0], fields)
