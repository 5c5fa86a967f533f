"""`voltgw.security.overload`: when actions begin and end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.security.overload import RELIEF_S, Action, Budget, Pressure, asked_for

KEEP, REFUSE, ACCEPT, RESET = Action
SHARES = {KEEP: 0.8, REFUSE: 0.9, ACCEPT: 0.95, RESET: 0.98}


class PressureTests(SynchronousTestCase):
    def pressure(self, **shares: float) -> Pressure:
        """Of a budget of 1,000."""
        wanted = {Action(name): share for name, share in shares.items()} if shares else SHARES
        return Pressure("memory", Budget(1000, wanted))

    def test_each_action_has_its_share(self) -> None:
        """What is asked for by how much is in use, when nothing was asked for before; a share itself counts."""
        for used, taken in ((0, ()), (799, ()), (800, (KEEP,)), (899, (KEEP,)), (900, (KEEP, REFUSE)),
                            (950, (KEEP, REFUSE, ACCEPT)), (980, (KEEP, REFUSE, ACCEPT, RESET)),
                            (5000, (KEEP, REFUSE, ACCEPT, RESET))):
            with self.subTest(used=used):
                pressure = self.pressure()
                self.assertEqual(pressure.look(used, 0.0), bool(taken))
                self.assertEqual(pressure.taken, set(taken))
                self.assertEqual(pressure.share, used / 1000)

    def test_it_does_not_flap(self) -> None:
        """An action goes on until the use was 5 % of the budget lower for 5 seconds; a moment above that begins anew."""
        pressure = self.pressure(refuse=0.9)
        steps = [(0.0, 900, True), (1.0, 860, True), (2.0, 850, True),      # not low enough
                 (3.0, 849, True), (7.9, 849, True),                        # low, but not for long enough
                 (8.0, 850, True), (9.0, 100, True), (13.9, 100, True),     # once more
                 (14.0, 100, False), (15.0, 899, False), (16.0, 900, True)]
        changed = [pressure.look(used, now) for now, used, _ in steps]
        self.assertEqual([now for (now, _, _), each in zip(steps, changed, strict=True) if each], [0.0, 14.0, 16.0])
        pressure = self.pressure(refuse=0.9)
        for now, used, taken in steps:
            pressure.look(used, now)
            self.assertEqual(bool(pressure.taken), taken, now)

    def test_actions_end_one_by_one(self) -> None:
        """The sharpest ends first, each by its own share."""
        pressure = self.pressure()
        pressure.look(990, 0.0)
        pressure.look(890, 1.0)
        self.assertTrue(pressure.look(890, 1.0 + RELIEF_S))
        self.assertEqual(pressure.taken, {KEEP, REFUSE})
        pressure.look(700, 10.0)
        pressure.look(700, 10.0 + RELIEF_S)
        self.assertEqual(pressure.taken, set())

    def test_an_action_may_be_left_out(self) -> None:
        """What has no share is never asked for, however much is in use."""
        pressure = self.pressure(accept=0.5)
        pressure.look(10_000, 0.0)
        self.assertEqual(pressure.taken, {ACCEPT})

    def test_how_much_is_too_much(self) -> None:
        """For resetting: what must go, and nothing where that is not asked for."""
        pressure = self.pressure()
        pressure.look(979, 0.0)
        self.assertEqual(pressure.excess(), 0)
        pressure.look(1100, 1.0)
        self.assertEqual(pressure.excess(), 121)
        pressure.look(960, 2.0)                 # it is asked for still, but there is nothing to give back
        self.assertEqual(pressure.excess(), 0)

    def test_another_budget(self) -> None:
        """A new configuration decides at the next look; an action that it does not know ends at once."""
        pressure = self.pressure()
        pressure.look(960, 0.0)
        pressure.follow(Budget(2000, {KEEP: 0.8}))
        self.assertEqual(pressure.taken, {KEEP})
        pressure.look(960, 1.0)
        self.assertTrue(pressure.look(960, 1.0 + RELIEF_S))
        self.assertEqual(pressure.taken, set())


class AskedForTests(SynchronousTestCase):
    def test_by_any_of_them(self) -> None:
        """An action is taken while any resource asks for it, mildest first, with the names of those that do."""
        memory = Pressure("memory", Budget(100, {KEEP: 0.5, RESET: 0.9}))
        files = Pressure("open_files", Budget(100, {KEEP: 0.5, REFUSE: 0.7}))
        both = {"memory": memory, "open_files": files}
        self.assertEqual(asked_for(both), {})
        memory.look(95, 0.0)
        files.look(75, 0.0)
        self.assertEqual(list(asked_for(both).items()),
                         [(KEEP, ("memory", "open_files")), (REFUSE, ("open_files",)), (RESET, ("memory",))])
