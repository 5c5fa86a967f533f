"""How load balancers say by what their pools are balanced: what is lowered to the destinations of their routes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import HTTP, TCP, UDP, balancer, forward, tcp, view
from voltgw.config.objects.extensions import Balance, DestinationExtension


def udp(fields: str) -> str:
    """A udp_loadbalancer with these fields."""
    return view("udp_loadbalancer", f"listen_port: 53, origin_pools_weights: [{{pool: p}}], {fields}")


class BalanceTests(SynchronousTestCase):
    def test_http(self) -> None:
        """least_active and random go to the route's destinations; round robin is what the pool says."""
        for said, balance in (("least_active", Balance.LEAST_REQUEST), ("random", Balance.RANDOM)):
            made = forward(balancer(f"{said}: {{}}"), HTTP)
            assert made.voltgw is not None
            self.assertEqual((made.voltgw.balance, made.hash_policy), (balance, ()))
        self.assertIsNone(forward(balancer("round_robin: {}"), HTTP).voltgw)

    def test_tcp_and_udp(self) -> None:
        """The same under their longer names."""
        for make, kind in ((tcp, TCP), (udp, UDP)):
            for said, balance in (("least_active", Balance.LEAST_REQUEST), ("random", Balance.RANDOM)):
                made = forward(make(f"hash_policy_choice_{said}: {{}}"), kind)
                assert made.voltgw is not None
                self.assertEqual(made.voltgw.balance, balance)

    def test_absent(self) -> None:
        """Where nothing is said the cluster's own algorithm serves."""
        self.assertIs(DestinationExtension().balance, Balance.CLUSTER)
