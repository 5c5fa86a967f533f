"""Durations and sizes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.units import seconds, show_bytes, show_seconds, size


class SecondsTests(SynchronousTestCase):
    def test_plain_numbers_are_in_the_unit_of_the_field(self) -> None:
        """The object model gives milliseconds here and seconds there, never in the file."""
        self.assertEqual(seconds("250", "ms"), 0.25)
        self.assertEqual(seconds("250", "s"), 250.0)
        self.assertEqual(seconds("1.5", "s"), 1.5)

    def test_a_unit_wins_over_that_of_the_field(self) -> None:
        """``30s`` is thirty seconds wherever it stands."""
        for text, expected in (("250ms", 0.25), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("2d", 172800.0),
                               ("1h30m", 5400.0), ("1m 30s", 90.0), ("10us", 1e-5), (" 3s ", 3.0)):
            self.assertAlmostEqual(seconds(text, "ms"), expected, msg=text)

    def test_what_is_no_duration(self) -> None:
        """The reason names the field's own unit."""
        for text in ("", "fast", "5 minutes", "s", "-1", "1e", "5m!", "0x10", "1h30", "٣"):
            with self.assertRaises(ValueError) as caught:
                seconds(text, "ms")
            self.assertIn("milliseconds", str(caught.exception))

    def test_shown_in_the_largest_whole_unit(self) -> None:
        """What is printed reads back as the same value."""
        for value, text in ((0.25, "250ms"), (30.0, "30s"), (300.0, "5m"), (90.0, "90s"), (3600.0, "1h"), (86400.0, "1d"),
                            (0.0, "0s"), (1.5, "1500ms"), (0.0015, "1.5ms")):
            self.assertEqual(show_seconds(value), text)
            self.assertAlmostEqual(seconds(text, "s"), value)


class SizeTests(SynchronousTestCase):
    def test_plain_numbers_and_units(self) -> None:
        """KiB is 1,024 bytes, KB 1,000."""
        for text, unit, expected in (("60", "KiB", 61440), ("60", "B", 60), ("64KiB", "B", 65536), ("1MB", "B", 1000000),
                                     ("1 MiB", "B", 1 << 20), ("8k", "B", 8192), ("1.5KiB", "B", 1536)):
            self.assertEqual(size(text, unit), expected, text)

    def test_what_is_no_size(self) -> None:
        """The reason shows how to write one."""
        for text in ("", "big", "10 apples", "-5", "KiB"):
            with self.assertRaisesRegex(ValueError, "64KiB"):
                size(text, "B")

    def test_shown_in_the_largest_whole_unit(self) -> None:
        """What is printed reads back as the same value."""
        for value, text in ((65536, "64KiB"), (1000, "1000B"), (1 << 20, "1MiB"), (0, "0B")):
            self.assertEqual(show_bytes(value), text)
            self.assertEqual(size(text, "B"), value)
