"""Counters that go from one process to another as differences."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.cluster.evidence import Tally
from voltgw.cluster.outlier import Ejection
from voltgw.control.workers.deltas import MOST_NAMES, add, difference, negative, numbers_of, summed
from voltgw.values.counters import ClusterCounters, ListenerCounters, RouteCounters


class Outliers:
    """Counts by an enumeration, and by pairs."""

    def __init__(self) -> None:
        self.found = dict.fromkeys(Ejection, 0)
        self.by_pair: dict[tuple[str, str], int] = {}


def over_the_wire(more: Any) -> Any:
    """As it comes out at the other end."""
    return json.loads(json.dumps(more))


class DeltasTests(SynchronousTestCase):
    def follow(self, here: Any, there: Any, before: Any = None) -> Any:
        """Bring `there` up to `here`; what was told by now."""
        now = numbers_of(here)
        more = difference(now, before)
        if more is not None:
            add(there, over_the_wire(more))
        return now

    def test_a_route(self) -> None:
        """Numbers, lists, mappings and the histogram inside arrive; what has not changed is not told."""
        here, there = RouteCounters(), RouteCounters()
        here.status[2] += 3
        here.bytes_out += 10
        here.local_replies["UF"] = 2
        here.latency.observe(0.003)
        told = self.follow(here, there)
        self.assertEqual(numbers_of(there), numbers_of(here))
        self.assertIsNone(difference(numbers_of(here), told))
        here.status[5] += 1
        here.local_replies["NR"] = 1
        self.assertEqual(difference(numbers_of(here), told), {"status": {"5": 1}, "local_replies": {"NR": 1}})
        self.follow(here, there, told)
        self.assertEqual(numbers_of(there), numbers_of(here))

    def test_two_add_up(self) -> None:
        """What several processes have counted stands in one object."""
        sum_, first, second = ListenerCounters(), ListenerCounters(), ListenerCounters()
        first.accepted, first.open, first.tls_versions["TLSv1.3"] = 5, 2, 4
        second.accepted, second.open, second.tls_versions["TLSv1.2"] = 7, 1, 3
        self.follow(first, sum_)
        self.follow(second, sum_)
        self.assertEqual((sum_.accepted, sum_.open, sum_.tls_versions), (12, 3, {"TLSv1.3": 4, "TLSv1.2": 3}))

    def test_a_gauge_goes_down(self) -> None:
        """Less is a difference, too; and what one has of it can be taken back."""
        here, there = ListenerCounters(), ListenerCounters()
        here.open = 5
        told = self.follow(here, there)
        here.open = 2
        self.follow(here, there, told)
        self.assertEqual(there.open, 2)
        held = summed({"open": 5}, {"open": -3})
        add(there, negative(held))
        self.assertEqual(there.open, 0)
        self.assertIsNone(summed(held, negative(held)))

    def test_keys_that_are_no_text(self) -> None:
        """Enumerations and pairs of texts arrive as what they were."""
        here, there = Outliers(), Outliers()
        here.found[Ejection.SUCCESS_RATE] = 4
        here.by_pair["jwt", "ok"] = 9
        self.follow(here, there)
        self.assertEqual((there.found, there.by_pair), (here.found, here.by_pair))

    def test_lists_in_mappings(self) -> None:
        """Pairs of counts by a name that the other side has not heard of yet."""
        here, there = ClusterCounters(), ClusterCounters()
        here.probes["up"] = [3, 1]
        self.follow(here, there)
        self.assertEqual(there.probes, {"up": [3, 1]})

    def test_a_tally(self) -> None:
        """Objects in objects."""
        here, there = Tally(), Tally()
        here.count(True, False, 0.01)
        here.count(False, False, 0.02)
        self.follow(here, there)
        self.assertEqual(there.plain(), here.plain())

    def test_rubbish(self) -> None:
        """What the object does not have, or is no number, changes nothing; names cannot become too many."""
        there = RouteCounters()
        before = numbers_of(there)
        for more in (None, 3, "x", [1], {"nothing": 1}, {"__class__": 1}, {"status": {"99": 1}}, {"status": {"-1": 1}},
                     {"status": 3}, {"bytes_in": "4"}, {"bytes_in": True}, {"bytes_in": {"x": 1}}, {"latency": {"buckets": 1}},
                     {"local_replies": {"UF": "x"}}):
            add(there, more)
        self.assertEqual(numbers_of(there), before)
        add(there, {"local_replies": {str(number): 1 for number in range(MOST_NAMES + 100)}})
        self.assertEqual(len(there.local_replies), MOST_NAMES)
