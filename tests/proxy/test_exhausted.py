"""No descriptor is left for a connection to an endpoint: whose fault that is, and what clients are told."""

from __future__ import annotations

from tests.proxy.over_2 import Over2
from tests.proxy.retrying import RetryCase
from tests.proxy.rig import EMPTY, GET, RelayCase, answer
from voltgw.errors import Exhausted


def none_left() -> Exhausted:
    """What a dial says that could not even be begun."""
    return Exhausted("203.0.113.1:9001: Too many open files")


class ExhaustedTests(RetryCase):
    def blamed(self) -> list[tuple[int, int]]:
        """What counts against each endpoint."""
        return [(each.connect_failures, each.failed_in_a_row) for each in self.cluster.endpoints]

    def test_the_request_fails_and_no_endpoint_is_blamed(self) -> None:
        """503 with the flag ``OM``, at once: another endpoint would need a descriptor, too, whatever the retry policy says."""
        blamed: list[object] = []
        self.cluster.on_connect_failed = blamed.append
        client = self.client()
        client.send(GET)
        self.rig.dials[0].fail(none_left())
        self.assertEqual(answer(client.got()).start, 503)
        self.assertEqual(self.rig.dials, [])
        [record] = self.records
        self.assertEqual((record.flag, record.detail, record.attempts), ("OM", "out_of_descriptors", 1))
        self.assertEqual((self.blamed(), blamed, self.cluster.counters.connect_failures), ([(0, 0)] * 3, [], 0))
        self.assertEqual(self.under_way(), {})

    def test_a_pooled_connection_serves_on(self) -> None:
        """What has a connection already needs no descriptor: the same client's next request is answered."""
        [origin] = self.warm()
        self.only(origin)
        busy = self.client()
        busy.send(GET)
        other = self.client()
        other.send(GET)
        self.rig.dials[0].fail(none_left())
        self.assertEqual(answer(other.got()).start, 503)
        origin.send(EMPTY)
        self.assertEqual(answer(busy.got()).start, 200)
        other.send(GET)
        self.arrived().send(EMPTY)
        self.assertEqual(answer(other.got()).start, 200)


class ExhaustedOver2Tests(Over2, ExhaustedTests):
    """The same for clients of HTTP/2."""


class RelayTests(RelayCase):
    endpoint_count = 2

    def test_a_relayed_connection(self) -> None:
        """It is reset, with the flag; no other endpoint is tried, and none is blamed."""
        client = self.client()
        self.rig.dials[0].fail(none_left())
        self.turn()
        self.assertTrue(client.aborted)
        self.assertEqual(self.rig.dials, [])
        [record] = self.relayed
        self.assertEqual((record.flag, record.detail), ("OM", "out_of_descriptors"))
        self.assertEqual([each.connect_failures for each in self.cluster.endpoints], [0, 0])
