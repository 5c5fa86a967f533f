"""Rollouts over configurations, restarts and orders, with the requests told to them by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from tests.config.making import loaded
from tests.config.test_rollouts import BASE, ROLLOUT
from voltgw.app.build import Runtime
from voltgw.app.rolling import terms_of
from voltgw.app.rollouts import ACTS, Rollouts
from voltgw.cluster.rollout import Analysis, Phase, Quantile, Step, Terms
from voltgw.routing.route import Route


def over(status: int = 200, flag: str = "", *, attempts: int = 1, tries: Any = None, answered: float = 2.5) -> Any:
    """An exchange that began at second 2 and is over."""
    return SimpleNamespace(response_code=status, flag=flag, attempts=attempts, tries=tries, t_start=2.0,
                           t_upstream_first_rx=answered)


class RolloutsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.folder = str(Path(self.mktemp()).absolute())
        self.runtime: Runtime | None = None
        self.rollouts = self.made()

    def made(self) -> Rollouts:
        return Rollouts(self.clock, self.clock.seconds, lambda: 1e9 + self.clock.seconds())

    def install(self, text: str = BASE + ROLLOUT) -> None:
        """Another configuration."""
        self.runtime = runtime(text.replace("/var/lib/voltgw", self.folder), self.runtime)
        self.runtime.settle()
        self.rollouts.install(self.runtime)
        for each in self.route.destinations:
            cluster: Any = each.cluster
            cluster.any_ready = True        # nobody feeds these clusters

    @property
    def route(self) -> Route:
        assert self.runtime is not None
        return self.runtime.hosts["default/shop"].routes[0]

    def shares(self) -> dict[str, float]:
        """What each version gets of a thousand even numbers."""
        split = self.route.split
        assert split is not None
        found = Counter(split(number / 1000).identity.partition("=")[2] for number in range(1000))
        return {name: count / 10 for name, count in found.items()}

    def tell(self, candidate: bool, count: int, exchange: Any) -> None:
        """So many requests of this kind are over."""
        cluster = next(each.cluster for each in self.route.destinations if each.identity.endswith("v2") == candidate)
        tally = self.route.tally
        assert tally is not None
        for _ in range(count):
            tally(exchange, cluster, 3.0)

    @property
    def state(self) -> dict[str, Any]:
        return self.rollouts.view()[0]


class RolloutsTests(RolloutsCase):
    def test_steps(self) -> None:
        """The split follows the steps up to everything; nothing of it is left when it stops."""
        self.install()
        self.rollouts.start()
        self.assertEqual(self.shares(), {"v1": 95.0, "v2": 5.0})
        for shares in ({"v1": 50.0, "v2": 50.0}, {"v2": 100.0}):
            self.tell(False, 1000, over())
            self.tell(True, 1000, over())
            self.clock.pump([1.0] * 70)
            self.assertEqual(self.shares(), shares)
        self.rollouts.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_bad_version(self) -> None:
        """It gets nothing any more, at the next look."""
        self.install()
        self.rollouts.start()
        self.tell(True, 30, over(503))
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.shares(), {"v1": 100.0})
        self.assertEqual(self.state["phase"], "rolled back")
        self.rollouts.stop()

    def test_how_often_it_looks(self) -> None:
        """As `interval` says, and not before."""
        self.install(BASE + ROLLOUT + "    interval: 30s\n")
        self.rollouts.start()
        self.clock.advance(1.0)
        self.tell(True, 30, over(503))
        self.clock.pump([1.0] * 28)
        self.assertEqual(self.state["phase"], "ramping")
        self.clock.pump([1.0] * 4)
        self.assertEqual(self.state["phase"], "rolled back")
        self.rollouts.stop()

    def test_a_restart(self) -> None:
        """Another process goes on where this one was, counts included; a changed rollout begins anew."""
        self.install()
        self.rollouts.start()
        self.tell(False, 1000, over())
        self.tell(True, 1000, over())
        self.clock.pump([1.0] * 66)
        self.tell(True, 7, over(500))
        self.rollouts.stop()
        self.runtime, self.rollouts = None, self.made()
        self.install()
        self.assertEqual(self.shares(), {"v1": 50.0, "v2": 50.0})
        self.assertEqual(self.state["counted"]["candidate"]["failures"], 7)
        self.assertEqual(self.state["step"], 2)
        self.runtime, self.rollouts = None, self.made()
        self.install((BASE + ROLLOUT).replace("{weight: 50}", "{weight: 60}"))
        self.assertEqual(self.shares(), {"v1": 95.0, "v2": 5.0})

    def test_reloads(self) -> None:
        """One that is the same goes on, also on a host that is built anew; a changed one begins anew, a removed one leaves
        the configured weights.
        """
        self.install()
        self.rollouts.start()
        self.rollouts.order("rollback", "shop")
        before = self.route
        self.install((BASE + ROLLOUT).replace('domains: ["*"]', "domains: [shop.example]"))
        self.assertIsNot(self.route, before)
        self.assertIsNone(before.tally)
        self.assertEqual(self.shares(), {"v1": 100.0})
        self.assertEqual(self.state["phase"], "rolled back")
        self.install((BASE + ROLLOUT).replace("{weight: 5}", "{weight: 20}"))
        self.assertEqual(self.shares(), {"v1": 80.0, "v2": 20.0})
        self.assertEqual(self.state["phase"], "ramping")
        self.install(BASE.replace("endpoint_subsets: {version: v2}}]", "endpoint_subsets: {version: v2}, weight: 3}]") + ROLLOUT)
        self.assertEqual(self.shares(), {"v1": 95.0, "v2": 5.0})
        self.install(BASE.replace("endpoint_subsets: {version: v2}}]", "endpoint_subsets: {version: v2}, weight: 3}]"))
        self.assertEqual(self.shares(), {"v1": 25.0, "v2": 75.0})
        self.assertIsNone(self.route.tally)
        self.assertEqual(self.rollouts.view(), [])
        self.rollouts.stop()

    def test_another_name(self) -> None:
        """One takes over the route of another that goes in the same reload, and finds the weights that are configured."""
        self.install()
        self.rollouts.start()
        self.install(BASE + ROLLOUT.replace("name: shop}", "name: next}", 1))
        self.assertEqual([each["rollout"] for each in self.rollouts.view()], ["default/next"])
        self.assertEqual(self.shares(), {"v1": 95.0, "v2": 5.0})
        self.tell(True, 3, over())
        self.assertEqual(self.state["totals"]["candidate"], [3, 0])
        self.install(BASE)
        self.assertEqual(self.shares(), {"v1": 100.0})
        self.rollouts.stop()

    def test_sticky_users(self) -> None:
        """Users stay with the version that they have seen while its share grows."""
        self.install((BASE + ROLLOUT).replace("        destinations:", "        voltgw: {sticky: {cookie: user}}\n        destinations:"))
        users = [number / 997 for number in range(997)]

        def of_new() -> set[float]:
            split = self.route.split
            assert split is not None
            return {user for user in users if split(user).identity.endswith("v2")}

        before = of_new()
        self.assertTrue(20 < len(before) < 90)
        self.tell(False, 1000, over())
        self.tell(True, 1000, over())
        self.rollouts.start()
        self.clock.pump([1.0] * 66)
        after = of_new()
        self.assertTrue(400 < len(after) < 600)
        self.assertEqual(before - after, set())
        self.rollouts.stop()

    def test_the_disk_is_full(self) -> None:
        """It goes on, says so, and writes when there is room again."""
        self.install()
        folder = Path(self.folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.write_text("in the way", encoding="utf-8")
        self.rollouts.start()
        self.assertIn("rollouts.json cannot be written", self.state["not_kept"])
        folder.unlink()
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.state["not_kept"], "")
        self.assertTrue((folder / "rollouts.json").exists())
        self.rollouts.stop()
        self.flushLoggedErrors()

    def test_a_disk_that_takes_its_time(self) -> None:
        """A thread writes, one at a time; what changes meanwhile follows, and the last state is what stays."""
        asked: list[tuple[Deferred[Any], Any, Any]] = []

        def run(call: Any, *arguments: Any) -> Deferred[Any]:
            asked.append((Deferred(), call, arguments))
            return asked[-1][0]

        def done() -> None:
            told, call, arguments = asked.pop()
            call(*arguments)
            told.callback(None)

        self.rollouts = Rollouts(self.clock, self.clock.seconds, lambda: 1e9 + self.clock.seconds(), run)
        self.install()
        self.rollouts.start()
        for act in ("pause", "resume", "pause"):
            self.rollouts.order(act, "default/shop")
        file = Path(self.folder) / "rollouts.json"
        self.assertEqual((len(asked), file.exists()), (1, False))
        done()
        self.assertNotIn("PAUSED", file.read_text("utf-8"))
        done()
        self.assertIn("PAUSED", file.read_text("utf-8"))
        self.assertEqual(asked, [])
        self.rollouts.order("resume", "default/shop")
        told, _, _ = asked.pop()
        told.errback(OSError(28, "No space left on device"))
        self.assertIn("rollouts.json cannot be written: No space left on device", self.state["not_kept"])
        self.assertIn("PAUSED", file.read_text("utf-8"))            # the old state is there still
        self.clock.pump([1.0] * 3)
        done()
        self.assertEqual(self.state["not_kept"], "")
        self.rollouts.stop()
        self.assertNotIn("PAUSED", file.read_text("utf-8"))
        self.flushLoggedErrors()

    def test_a_damaged_state(self) -> None:
        """The configured weights hold until an operator says something."""
        Path(self.folder).mkdir(parents=True)
        (Path(self.folder) / "rollouts.json").write_text("{", encoding="utf-8")
        self.install()
        self.assertEqual(self.shares(), {"v1": 100.0})
        self.assertIn("damaged", self.state["why"])
        self.rollouts.order("restart", "default/shop")
        self.assertEqual(self.shares(), {"v1": 95.0, "v2": 5.0})
        self.assertEqual((Path(self.folder) / "rollouts.json.unread").read_text(encoding="utf-8"), "{")
        self.assertIn("default/shop", (Path(self.folder) / "rollouts.json").read_text(encoding="utf-8"))

    def test_explain(self) -> None:
        """What it has to do with a route, in words; nothing with others."""
        self.install()
        reason = self.rollouts.of_route("default/shop", "shop/0")
        assert reason is not None
        self.assertEqual(reason.outcome, "5 % to default/shop?version=v2 (ramping, step 1 of 2)")
        self.assertIsNone(self.rollouts.of_route("default/shop", "shop/1"))


class OrderTests(RolloutsCase):
    def test_refused(self) -> None:
        """In words."""
        self.install()
        for act, name, words in (("approve", "shop", "rollout default/shop: it does not wait for approval"),
                                 ("explode", "shop", "is none of approve"), ("pause", "none", "there is no rollout 'none'")):
            self.assertIn(words, str(self.assertRaises(ValueError, self.rollouts.order, act, name)))

    def test_each(self) -> None:
        """The answer says how it stands then, and it is written down."""
        self.install()
        self.rollouts.start()
        for act, phase in (("pause", Phase.PAUSED), ("resume", Phase.RAMPING), ("promote", Phase.PROMOTED),
                           ("rollback", Phase.ROLLED_BACK), ("restart", Phase.RAMPING)):
            self.assertIn(act, ACTS)
            self.assertEqual(self.rollouts.order(act, "shop")["phase"], phase.value)
            self.assertIn(f'"{phase.name}"', (Path(self.folder) / "rollouts.json").read_text(encoding="utf-8"))
        self.rollouts.stop()


class TermsTests(RolloutsCase):
    def terms(self, more: str = "", steps: str = "{weight: 5}") -> Terms:
        config = loaded(BASE + ROLLOUT.replace("{weight: 5}, {weight: 50}", steps) + more)
        return terms_of(config.of("rollout")["default", "shop"].spec)

    def test_defaults(self) -> None:
        """What holds where nobody says anything."""
        self.assertEqual(self.terms(), Terms((Step(5.0, 60.0),), Analysis(0.01, 0.95, 100, ()), None, False))

    def test_all_that_can_be_said(self) -> None:
        """In seconds and parts of one."""
        self.assertEqual(self.terms(
            "    step_deadline: 2h\n    if_bad: PAUSE\n    analysis:\n      max_error_percent: 0.5\n      confidence_percent: 99\n"
            "      min_requests: 500\n      latency: [{quantile_percent: 90, max_increase_percent: 20, slack: 10ms, max: 2s}, "
            "{max: 3s}]\n", "{weight: 1, pause: 0}, {weight: 10, pause: 10m, approve: true}"),
            Terms((Step(1.0, 0.0), Step(10.0, 600.0, approve=True)),
                  Analysis(0.005, 0.99, 500, (Quantile(0.9, 0.2, 0.01, 2.0), Quantile(0.99, None, 0.005, 3.0))), 7200.0, True))

    def test_named_subsets(self) -> None:
        """Versions that are named subsets of one cluster are moved as well."""
        text = (BASE + ROLLOUT).replace("endpoint_subsets: [{keys: [version]}]",
                                        'voltgw: {subset_expressions: {old: "version = v1", new: "version = v2"}}')
        for version, name in (("v1", "old"), ("v2", "new")):
            text = text.replace(f"[shop], endpoint_subsets: {{version: {version}}}", f"[shop], voltgw: {{subset: {name}}}")
            text = text.replace(f"shop, endpoint_subsets: {{version: {version}}}", f"shop, subset: {name}")
        self.install(text)
        split = self.route.split
        assert split is not None
        self.assertEqual([split(number).identity for number in (0.94, 0.96)], ["default/shop?old", "default/shop?new"])


class CountingTests(RolloutsCase):
    def test_what_counts(self) -> None:
        """Failures of the version, and those for want of it; what the client broke off or we answered ourselves does not."""
        self.install()
        for exchange, requests, failures in (
            (over(200), 1, 0), (over(404), 1, 0), (over(500), 1, 1), (over(502, "UF"), 1, 1), (over(200, "UC"), 1, 1),
            (over(504, "UT"), 1, 1), (over(503, "UH", attempts=0), 1, 1), (over(503, "UO", attempts=0), 1, 1),
            (over(200, "UR"), 1, 1), (over(200, tries=[("10.0.0.1:80", "reset")]), 1, 1),
            (over(200, "DI"), 1, 0), (over(200, "DC"), 0, 0), (over(400, "DPE"), 0, 0), (over(0, "DC"), 0, 0), (over(499, "DC"), 0, 0), (over(429, "RL", attempts=0), 0, 0), (over(503, "FI", attempts=0), 0, 0),
        ):
            counted = self.state["counted"]["candidate"]
            before = counted["requests"], counted["failures"]
            self.tell(True, 1, exchange)
            counted = self.state["counted"]["candidate"]
            self.assertEqual((counted["requests"] - before[0], counted["failures"] - before[1]), (requests, failures), exchange)
        self.assertEqual(self.state["counted"]["baseline"]["requests"], 0)
        self.tell(False, 3, over(500))
        self.assertEqual(self.state["totals"]["baseline"], [3, 3])

    def test_the_access_log_says_which(self) -> None:
        """The rollout's name, and the side that a request went to; whatever became of it."""
        self.install()
        for candidate, side in ((True, "candidate"), (False, "baseline")):
            exchange = over(499, "DC")
            self.tell(candidate, 1, exchange)
            self.assertEqual(exchange.rollout, f"default/shop {side}")

    def test_latency(self) -> None:
        """The time to the first byte of an answer, to within 6.25 %; none where none came."""
        self.install()
        self.tell(True, 10, over())
        self.tell(True, 10, over(503, "UH", attempts=0, answered=0.0))
        self.assertAlmostEqual(self.state["counted"]["candidate"]["latency_ms"]["p99"], 507.904)
