"""What has to be done about a name, marks, and holding back."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.control.publish.damping import Damper
from voltgw.control.publish.marks import Seen, mark_of, marker_of, name_behind, owner_in
from voltgw.control.publish.names import FREE, Act, Change, Held, Refused, Vip, Wanted, decide

ONE = Wanted("shop.example", (Vip("192.0.2.1", 80),))
TWO = Wanted("shop.example", (Vip("192.0.2.2", 80),))


class DecideTests(SynchronousTestCase):
    """`decide`."""

    def test_every_case(self) -> None:
        """What is ours is made, changed and taken out; what has no mark, or another's, is left alone."""
        ours, others = Held("me", "a"), Held("other", "a")
        for wanted, content, held, act in (
            (ONE, "a", FREE, Act.CREATE), (ONE, "a", ours, None), (ONE, "b", ours, Act.REPLACE), (None, None, ours, Act.REMOVE),
            (None, None, FREE, None), (None, None, others, None), (None, None, Held(occupied="192.0.2.9"), None),
        ):
            decided = decide("shop.example", wanted, content, held, "me")
            self.assertEqual(decided.act if isinstance(decided, Change) else decided, act, (wanted, held))
        for held in (others, Held(occupied="192.0.2.9")):
            decided = decide("shop.example", ONE, "b", held, "me")
            assert isinstance(decided, Refused)
            self.assertTrue(decided.foreign)


class MarkTests(SynchronousTestCase):
    """Marks."""

    def test_names(self) -> None:
        """The marker of a name says which name it is of, wildcards too; other names are no markers."""
        for name in ("shop.example", "*.shops.example", "example"):
            self.assertEqual(name_behind(marker_of(name)), name)
        self.assertFalse(marker_of("*.shops.example").startswith("*"))
        self.assertIsNone(name_behind("shop.example"))

    def test_owners(self) -> None:
        """One mark is its owner's; several are nobody's of them; another text is another's mark."""
        self.assertEqual(owner_in(mark_of("edge-1")), "edge-1")

        def owner(*texts: str) -> str:
            seen = Seen()
            seen.note([("TXT", text, 30) for text in texts], marker=True)
            return seen.held(lambda addresses, ttls, alias: None).owner

        self.assertEqual(owner(mark_of("a")), "a")
        self.assertNotIn(owner(mark_of("a"), mark_of("b")), ("a", "b", ""))
        self.assertNotEqual(owner("v=spf1"), "")
        self.assertEqual(owner(), "")


class DamperTests(SynchronousTestCase):
    """`Damper`."""

    def test_flapping(self) -> None:
        """A hundred changes in a minute are at most one for each half minute; the last one is not lost."""
        damper = Damper(30.0)
        damper.settle({"shop.example": ONE}, 0.0, configured=True)
        shown = [damper.settle({"shop.example": (ONE, TWO)[second % 2]}, float(second))["shop.example"] for second in range(1, 61)]
        changes = sum(before != after for before, after in zip([ONE, *shown], shown, strict=False))
        self.assertLessEqual(changes, 3)
        self.assertEqual(shown[0], TWO)                 # the first one passes at once
        self.assertEqual(damper.settle({"shop.example": TWO}, 100.0), {"shop.example": TWO})
        self.assertEqual(damper.held_back, 0)

    def test_what_is_held_back(self) -> None:
        """It is counted; a configuration, and a name that is new, do not wait."""
        damper = Damper(30.0)
        damper.settle({"shop.example": ONE}, 0.0, configured=True)
        damper.settle({"shop.example": TWO}, 1.0)
        self.assertEqual(damper.settle({"shop.example": ONE, "new.example": ONE}, 2.0), {"shop.example": TWO, "new.example": ONE})
        self.assertEqual(damper.held_back, 1)
        self.assertEqual(damper.settle({"shop.example": ONE}, 3.0, configured=True), {"shop.example": ONE})
