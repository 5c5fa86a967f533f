"""A registry is kept as it should be, whatever happens to it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import provider

from tests.control.publish.making import WALL, FakeRegistrar, PublisherCase, all_of, failing, wanted
from voltgw.control.publish.entries import NameState, Terms
from voltgw.control.publish.publisher import CALL_S, LAST_S, RETIRE_S

SHOP, STORE = wanted("shop.example", "192.0.2.1"), wanted("store.example", "192.0.2.2", "2001:db8::2")
MINE = ("me", ("192.0.2.1",))


class RoundTests(PublisherCase):
    """`Publisher`'s rounds."""

    def test_names_come_change_and_go(self) -> None:
        """Each change is written once, and only what has changed."""
        made = self.publisher()
        made.want(all_of(SHOP, STORE))
        self.assertIs(made.entries["shop.example"].state, NameState.PENDING)
        self.pass_by(1.0)
        self.assertEqual(self.far.names, {"shop.example": MINE, "store.example": ("me", ("192.0.2.2", "2001:db8::2"))})
        self.assertEqual(made.entries["shop.example"].synced, WALL + 0.25)
        made.want(all_of(SHOP, wanted("store.example", "192.0.2.3")))
        self.pass_by(1.0)
        made.want(all_of(wanted("store.example")))
        self.assertIs(made.entries["shop.example"].state, NameState.REMOVING)
        self.pass_by(1.0)
        self.assertEqual(self.far.names, {"store.example": ("me", ())})
        self.assertEqual({name: each.state for name, each in made.entries.items()}, {"store.example": NameState.WITHDRAWN})
        self.assertEqual(self.far.writes, [
            ("create", "shop.example"), ("create", "store.example"), ("replace", "store.example"), ("replace", "store.example"),
            ("remove", "shop.example")])
        self.assertEqual(self.counters.writes, {"create": 2, "replace": 2, "remove": 1})

    def test_many_changes_at_once(self) -> None:
        """Changes that come together make one round; nothing new makes none."""
        made = self.publisher()
        for count in range(10):
            made.want(all_of(wanted("shop.example", f"192.0.2.{count}")))
        made.want(all_of(wanted("shop.example", "192.0.2.9")))
        self.pass_by(5.0)
        self.assertEqual((self.far.looks, self.far.writes), (1, [("create", "shop.example")]))

    def test_batches(self) -> None:
        """No call has more changes than the registrar takes."""
        registrar = FakeRegistrar(self.far, most=3)
        self.publisher(registrar).want(all_of(*(wanted(f"n{count}.example", "192.0.2.1") for count in range(10))))
        self.pass_by(2.0)
        self.assertEqual(registrar.batches, [3, 3, 3, 1])

    def test_what_others_do(self) -> None:
        """What they change or take out of ours is repaired within the interval; what is not ours stays, and is said."""
        self.far.names = {"their.example": ("they", ("192.0.2.7",)), "old.example": ("", ("192.0.2.8",))}
        made = self.publisher()
        made.want(all_of(SHOP, STORE, wanted("their.example", "192.0.2.1"), wanted("old.example", "192.0.2.1")))
        self.pass_by(1.0)
        self.far.names["shop.example"] = ("me", ("203.0.113.1",))
        del self.far.names["store.example"]
        self.pass_by(70.0)
        self.assertEqual(self.far.names, {
            "their.example": ("they", ("192.0.2.7",)), "old.example": ("", ("192.0.2.8",)), "shop.example": MINE,
            "store.example": ("me", STORE.addresses)})
        for name, why in (("their.example", "it is held by owner 'they'"), ("old.example", "without our mark: 192.0.2.8")):
            self.assertIs(made.entries[name].state, NameState.FOREIGN)
            self.assertIn(why, made.entries[name].error)
        self.assertEqual(self.counters.rounds["failed"], 0)
        del self.far.names["their.example"]
        self.pass_by(70.0)
        self.assertIs(made.entries["their.example"].state, NameState.BOUND)

    def test_a_former_life(self) -> None:
        """What an earlier process has left behind and nobody wants is taken out."""
        self.far.names = {"gone.example": MINE, "shop.example": MINE, "their.example": ("they", ())}
        self.publisher().want(all_of(SHOP))
        self.pass_by(1.0)
        self.assertEqual(self.far.names, {"shop.example": MINE, "their.example": ("they", ())})
        self.assertEqual(self.far.writes, [("remove", "gone.example")])

    def test_a_dry_run(self) -> None:
        """Nothing is written; what would be is said."""
        self.far.names = {"gone.example": MINE, "shop.example": ("me", ())}
        made = self.publisher(dry_run=True, remove=True)
        made.want(all_of(SHOP, STORE))
        self.pass_by(70.0)
        self.assertEqual(self.far.writes, [])
        self.assertEqual({name: (each.state.value, each.planned) for name, each in made.entries.items()}, {
            "shop.example": ("planned", "replace"), "store.example": ("planned", "create"), "gone.example": ("planned", "remove")})
        made.follow(made.registrar, Terms(60.0))
        made.want(all_of(SHOP, STORE))
        self.pass_by(1.0)
        self.assertEqual(self.far.names, {"shop.example": MINE, "store.example": ("me", STORE.addresses)})
        self.assertEqual(made.entries["shop.example"].planned, "")

    def test_events(self) -> None:
        """What has changed is kept, the last of it; ten thousand changes are not ten thousand lines of the log."""
        lines: list[str] = []

        @provider(ILogObserver)
        def line(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(line)
        self.addCleanup(globalLogPublisher.removeObserver, line)
        made = self.publisher(FakeRegistrar(self.far, most=1000))
        names = [wanted(f"n{count}.example", "192.0.2.1") for count in range(500)]
        made.want(all_of(*names))
        self.pass_by(2.0)
        self.assertEqual((len(made.events.ring), made.events.ring[-1][1:]), (128, ("n499.example", "bound", "create: 192.0.2.1")))
        self.assertEqual(len(lines), 21)
        self.assertEqual(lines[0], "fake memory n0.example is bound: create: 192.0.2.1")
        self.assertEqual(lines[-1], "fake memory: 480 further changes")
        self.far.error = failing()
        made.want(all_of(*names[1:]))
        self.pass_by(0.5)
        self.far.error = None
        self.pass_by(5.0)
        self.assertEqual([event[1:] for event in made.events.ring][-3:], [
            ("", "failed", "it is away"), ("n0.example", "removed", "remove"), ("", "bound", "it is up to date again")])

    def test_one_name_that_is_refused(self) -> None:
        """The others are written; it is tried again, and says why."""
        self.far.refuses["shop.example"] = "by its policy"
        made = self.publisher()
        made.want(all_of(SHOP, STORE))
        self.pass_by(1.0)
        self.assertEqual((made.entries["shop.example"].state, made.entries["shop.example"].error), (NameState.FAILED, "by its policy"))
        self.assertIs(made.entries["store.example"].state, NameState.BOUND)
        self.assertIn("1 names were not written", made.error)
        self.far.refuses = {}
        self.pass_by(5.0)
        self.assertEqual((made.entries["shop.example"].state, made.error), (NameState.BOUND, ""))
        self.assertEqual(self.counters.refused, {"foreign": 0, "other": 1})


class OutageTests(PublisherCase):
    """When the registry cannot be asked."""

    def test_pauses_grow(self) -> None:
        """A registry that is away is asked less and less often, up to the interval; changes meanwhile do not hurry it."""
        self.far.error = failing()
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(60.0)
        first = self.far.looks
        self.assertLessEqual(first, 7)                  # at 0, 1, 3, 7, 15, 31
        for count in range(20):
            made.want(all_of(wanted("shop.example", f"192.0.2.{count}")))
            self.pass_by(1.0)
        self.assertLessEqual(self.far.looks, first + 1)
        self.assertEqual((made.entries["shop.example"].state, made.entries["shop.example"].error), (NameState.PENDING, "it is away"))
        self.far.error = None
        self.pass_by(70.0)
        self.assertEqual(self.far.names, {"shop.example": ("me", ("192.0.2.19",))})
        self.assertEqual((made.error, made.entries["shop.example"].state, made.entries["shop.example"].error), ("", NameState.BOUND, ""))

    def test_a_registry_that_asks_for_a_pause(self) -> None:
        """It gets one, however long its own pauses would be."""
        self.far.error = failing("too many requests", retry_after_s=40.0)
        self.publisher().want(all_of(SHOP))
        self.pass_by(39.0)
        self.assertEqual(self.far.looks, 1)
        self.pass_by(2.0)
        self.assertEqual(self.far.looks, 2)

    def test_a_bug_in_a_registrar(self) -> None:
        """It is logged once as what it is, and tried again like any other failure."""
        self.far.error = ZeroDivisionError("zero")
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(made.error, "zero")
        self.far.error = None
        self.pass_by(2.0)
        self.assertEqual(self.far.names, {"shop.example": MINE})

    def test_a_registry_that_hangs(self) -> None:
        """A call that takes too long is given up, and what it was for is tried again."""
        self.far.hangs = []
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(CALL_S + 1.0)
        self.assertIn(f"longer than {CALL_S:g} s", made.error)
        self.far.hangs = None
        self.pass_by(2.0)
        self.assertEqual(self.far.names, {"shop.example": MINE})


class LifeTests(PublisherCase):
    """Reloads and ends."""

    def test_a_change_while_a_round_runs(self) -> None:
        """It is written in the next round, at once; in the end what counts is the last word."""
        self.far.hangs = []
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(1.0)
        made.want(all_of(wanted("shop.example", "192.0.2.9"), STORE))
        hanging, self.far.hangs = self.far.hangs, None
        hanging[0].callback(None)
        self.pass_by(1.0)
        self.assertEqual(self.far.names, {"shop.example": ("me", ("192.0.2.9",)), "store.example": ("me", STORE.addresses)})
        self.assertEqual({each.state for each in made.entries.values()}, {NameState.BOUND})

    def test_other_credentials_while_a_round_runs(self) -> None:
        """What is under way ends with its batch, then the new ones are used; no name is taken out in between."""
        self.far.hangs = []
        before, after = FakeRegistrar(self.far, most=1), FakeRegistrar(self.far, most=1)
        made = self.publisher(before)
        made.want(all_of(SHOP, STORE))
        self.pass_by(1.0)
        made.follow(after, Terms(60.0))
        made.want(all_of(SHOP, STORE))
        hanging, self.far.hangs = self.far.hangs, None
        hanging[0].callback(None)
        self.pass_by(1.0)
        self.assertEqual((before.batches, after.batches), ([1], [1]))
        self.assertEqual(self.far.writes, [("create", "shop.example"), ("create", "store.example")])
        self.assertGreater(before.closed, 0)

    def test_retiring(self) -> None:
        """A registry that is not configured any more is emptied of what is ours, also when it is away at first."""
        made = self.publisher()
        made.want(all_of(SHOP, STORE))
        self.pass_by(1.0)
        self.far.error = failing()
        gone: list[object] = []
        made.on_finished = gone.append
        made.retire()
        self.pass_by(30.0)
        self.assertEqual((made.finished, made.entries["shop.example"].state), (False, NameState.REMOVING))
        self.far.error = None
        self.pass_by(60.0)
        self.assertEqual((made.finished, self.far.names, gone), (True, {}, [made]))

    def test_retiring_in_vain(self) -> None:
        """After an hour it is given up."""
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(1.0)
        self.far.error = failing()
        made.retire()
        self.pass_by(RETIRE_S, 5.0)
        self.assertTrue(made.finished)

    def test_back_before_it_has_gone(self) -> None:
        """A registry that is configured again is kept; its names are back."""
        made = self.publisher()
        made.want(all_of(SHOP))
        self.pass_by(1.0)
        self.far.hangs = []
        made.retire()
        self.pass_by(1.0)
        made.follow(made.registrar, Terms(60.0))
        made.want(all_of(SHOP))
        hanging, self.far.hangs = self.far.hangs, None
        hanging[0].callback(None)
        self.pass_by(1.0)
        self.assertEqual((made.finished, self.far.names), (False, {"shop.example": MINE}))
        self.assertIs(made.entries["shop.example"].state, NameState.BOUND)

    def test_back_while_it_is_emptied(self) -> None:
        """Names that have not been taken out yet are not taken out any more."""
        made = self.publisher(FakeRegistrar(self.far, most=1))
        many = all_of(*(wanted(f"n{count}.example", "192.0.2.1") for count in range(5)))
        made.want(many)
        self.pass_by(1.0)
        self.far.hangs = []
        made.retire()
        self.pass_by(1.0)
        made.follow(made.registrar, Terms(60.0))
        hanging, self.far.hangs = self.far.hangs, None
        hanging[0].callback(None)
        self.pass_by(3.0)                               # nobody has said yet what is wanted
        made.want(many)
        self.pass_by(1.0)
        self.assertEqual((len(self.far.names), self.counters.writes), (5, {"create": 6, "replace": 0, "remove": 1}))

    def stop(self, remove: bool) -> tuple[float, dict[str, object]]:
        """Stop it; after how long that was done, and what is left."""
        made = self.publisher(remove=remove)
        made.want(all_of(SHOP))
        self.pass_by(1.0)
        if self.away:
            self.far.error = failing()
        if self.slow:
            self.far.hangs = []
        begun = self.clock.seconds()
        ended: list[float] = []
        stopped: Deferred[None] = made.stop()
        stopped.addCallback(lambda _: ended.append(self.clock.seconds()))
        self.pass_by(20.0)
        self.assertEqual(made.finished, True)
        return ended[0] - begun, dict(self.far.names)

    away = slow = False

    def test_a_shutdown_that_keeps(self) -> None:
        """Nothing is taken out, and nobody waits."""
        self.assertEqual(self.stop(False), (0.0, {"shop.example": MINE}))

    def test_a_shutdown_that_removes(self) -> None:
        """Everything is taken out before it is over."""
        took, left = self.stop(True)
        self.assertLess(took, 1.0)
        self.assertEqual(left, {})

    def test_a_shutdown_without_the_registry(self) -> None:
        """It does not wait for one that is away…"""
        self.away = True
        took, left = self.stop(True)
        self.assertLess(took, 1.0)
        self.assertEqual(left, {"shop.example": MINE})

    def test_a_shutdown_with_a_slow_registry(self) -> None:
        """… and not long for one that is slow."""
        self.slow = True
        took, left = self.stop(True)
        self.assertEqual(took, LAST_S)
        self.assertEqual(left, {"shop.example": MINE})
