"""What a reload would do."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers, runtime
from voltgw.app import reload as reload_module
from voltgw.app.reload import plan_reload, planning_reload

ONE = balancer("one", "127.0.0.1:1", "127.0.0.1:11")
TWO = balancer("two", "127.0.0.1:2", "127.0.0.1:12")


class PlanTests(SynchronousTestCase):
    def test_the_same(self) -> None:
        """Nothing opens, nothing closes, every cluster stays, and there is nothing to say."""
        before = runtime(balancers(ONE, TWO))
        plan = plan_reload(before, runtime(balancers(ONE, TWO), before))
        self.assertEqual(plan.describe(), [])
        self.assertEqual(list(map(str, plan.listeners_keep)), ["127.0.0.1:1", "127.0.0.1:2"])
        self.assertEqual(plan.clusters_keep, ("default/one", "default/two"))

    def test_one_leaves_and_one_comes(self) -> None:
        """Its listener, host and cluster are gone, the other's are new; each is one line."""
        before = runtime(balancers(ONE, TWO))
        three = balancer("three", "127.0.0.1:3", "127.0.0.1:13")
        plan = plan_reload(before, runtime(balancers(ONE, three), before))
        self.assertEqual(plan.describe(), [
            "listeners opened: 127.0.0.1:3", "listeners closed: 127.0.0.1:2",
            "virtual hosts added: default/three", "virtual hosts removed: default/two",
            "clusters added: default/three", "clusters removed: default/two",
        ])
        self.assertEqual((plan.clusters_new, plan.clusters_gone, plan.clusters_keep),
                         (("default/three",), ("default/two",), ("default/one",)))

    def test_a_changed_cluster(self) -> None:
        """It is both new (to be warmed up) and gone (to be drained), and is said to have changed."""
        before = runtime(balancers(ONE, TWO))
        plan = plan_reload(before, runtime(balancers(ONE, balancer("two", "127.0.0.1:2", "127.0.0.1:99")), before))
        self.assertEqual((plan.clusters_new, plan.clusters_gone), (("default/two",), ("default/two",)))
        self.assertEqual(plan.describe(), ["clusters changed: default/two"])

    def test_the_order_of_what_goes(self) -> None:
        """Changed and removed clusters stand in the order that they had."""
        names = ["a", "b", "c", "d"]
        entries = {name: balancer(name, f"127.0.0.1:{number}", "127.0.0.1:11") for number, name in enumerate(names, 1)}
        before = runtime(balancers(*entries.values()))
        changed = balancer("c", "127.0.0.1:3", "127.0.0.1:12")
        plan = plan_reload(before, runtime(balancers(changed, entries["a"], entries["d"]), before))
        self.assertEqual((plan.clusters_new, plan.clusters_gone), (("default/c",), ("default/b", "default/c")))
        self.assertEqual((plan.clusters_keep, plan.hosts_gone), (("default/a", "default/d"), ("default/b",)))

    def test_in_steps(self) -> None:
        """A few names at a time: with very many it would be a long turn."""
        self.patch(reload_module, "_STEP", 2)
        entries = [balancer(f"n{number}", f"127.0.0.1:{number + 1}", "127.0.0.1:11") for number in range(10)]
        before = runtime(balancers(*entries))
        steps = list(planning_reload(before, runtime(balancers(*entries), before)))
        self.assertEqual(len(steps), 4 * 5)     # clusters and hosts, each looked at from both sides

    def test_another_kind_of_proxy(self) -> None:
        """A listener that relays from now on is kept, and named."""
        before = runtime(balancers(ONE))
        after = runtime(balancers(balancer("one", "127.0.0.1:1", "127.0.0.1:11", more=", protocol: tcp")), before)
        plan = plan_reload(before, after)
        self.assertEqual(plan.describe(), ["listeners of another kind: 127.0.0.1:1"])
        self.assertEqual(plan.listeners_other, plan.listeners_keep)

    def test_many(self) -> None:
        """A line names five and counts the others."""
        before = runtime(balancers(ONE))
        more = [balancer(f"n{number}", f"127.0.0.1:{number}", "127.0.0.1:11") for number in range(10, 17)]
        plan = plan_reload(before, runtime(balancers(ONE, *more), before))
        self.assertEqual(plan.describe()[0], "listeners opened: 127.0.0.1:10, 127.0.0.1:11, 127.0.0.1:12, 127.0.0.1:13, "
                         "127.0.0.1:14 and 2 more")
