"""How names of header fields are written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.values.header_case import proper_case


class ProperCaseTests(SynchronousTestCase):
    def test_letters_behind_neither_letter_nor_digit(self) -> None:
        """The first letter and those behind any special character become capitals (objects.md 3.11)."""
        for name, wanted in ((b"content-type", b"Content-Type"), (b"x-1a", b"X-1a"), (b"etag", b"Etag"), (b"a_b.c!d", b"A_B.C!D"),
                             (b"x-b3-traceid", b"X-B3-Traceid"), (b"-", b"-"), (b"", b""), (b"te", b"Te")):
            self.assertEqual(proper_case(name), wanted)
