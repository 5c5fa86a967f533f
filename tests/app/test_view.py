"""What the admin pages show of much: one thing after another."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import balancer, balancers, cluster, config, endpoint, host, objects, policy, route, runtime
from voltgw.app import view
from voltgw.config.show import effective


class ViewTests(SynchronousTestCase):
    def test_some(self) -> None:
        """The first ones, and how many more there are."""
        names = [str(number) for number in range(30)]
        self.assertEqual(view.some(names[:3], "hosts"), ["0", "1", "2"])
        self.assertEqual(view.some(names, "hosts")[-2:], ["19", "10 more hosts"])

    def test_virtual_hosts(self) -> None:
        """Each is made when it is asked for."""
        made = runtime(objects(host("a", domains="[a.example]"), host("b", domains="[b.example]"),
                               policy("p", "address: 127.0.0.1, port: 8080"), route("r"), cluster(), endpoint()))
        listed = view.virtual_hosts(made, [])
        self.assertEqual(next(listed)["name"], "a")
        made.hosts["default/b"].domains = ("other.example",)
        self.assertEqual(next(listed)["domains"], ["other.example"])
        self.assertRaises(StopIteration, next, listed)

    def test_the_effective_configuration(self) -> None:
        """It is the one that is shown elsewhere, with its objects one by one."""
        made = config(balancers(balancer("a", "127.0.0.1:1", "127.0.0.1:11")))
        shown = view.effective(made)
        self.assertEqual({**shown, "objects": list(shown["objects"])}, effective(made))
