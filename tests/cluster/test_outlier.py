"""Tests for `voltgw.cluster.outlier`: Envoy's maths, to the constant."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import endpoints
from tests.fuzz.settings import examples
from voltgw.cluster.endpoint import Endpoint
from voltgw.cluster.outlier import (
    ALL_ANSWERS,
    FAILED_ANSWERS,
    NO_ANSWERS,
    SWEEP_STEP,
    Ejection,
    OutlierDetector,
    OutlierRules,
    Watch,
    success_threshold,
)


class OutlierCase(SynchronousTestCase):
    """Some members and a clock that the test moves."""

    def watch(self, count: int, **rules: Any) -> list[Endpoint]:
        """So many members under these rules."""
        self.now = 1000.0
        self.told: list[Watch] = []
        self.detector = OutlierDetector(OutlierRules(**rules), Random(0))
        self.detector.start(lambda: self.now, self.told.append)
        self.members = endpoints(*[1] * count)
        for endpoint in self.members:
            self.detector.watch(endpoint)
        return self.members

    def answer(self, endpoint: Endpoint, *statuses: int) -> None:
        """What the data plane does with an answer."""
        for status in statuses:
            endpoint.status[status // 100] += 1
            if status >= endpoint.heeds:
                endpoint.heard(status, 0.001, self.now)

    def sweep(self, seconds: float = 10.0) -> list[int]:
        """Time passes, and the sweep comes; the numbers of those who were let back."""
        self.now += seconds
        steps = self.detector.sweeping(self.now)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return self.numbers(done.value)

    def numbers(self, watches: Sequence[Watch]) -> list[int]:
        """The last parts of their addresses."""
        return [int(watch.key.address.rpartition(".")[2]) for watch in watches]

    @property
    def out(self) -> list[int]:
        """Who is ejected now."""
        return self.numbers([watch for watch in self.detector.watches.values() if watch.ejected])


class ConsecutiveTests(OutlierCase):
    def test_five_5xx_in_a_row(self) -> None:
        """Five failures in a row eject, four and a success do not."""
        one, two = self.watch(2)
        self.answer(one, 500, 500, 500, 500, 200, 500, 500, 500, 500)
        self.assertEqual(self.told, [])
        self.answer(two, 500, 501, 502, 503)
        self.assertEqual(self.out, [])
        self.answer(two, 504)
        self.assertEqual(self.out, [2])
        watch = self.told[0]
        self.assertEqual((watch.why, watch.out_s, watch.until), ("5 failures in a row, it answered 504", 30.0, 1030.0))
        self.assertEqual(self.detector.ejected_counts[Ejection.CONSECUTIVE_5XX], 1)

    def test_only_failures_and_the_first_success_after_them_are_told(self) -> None:
        """A healthy endpoint costs one comparison an answer, whatever it answers below 500."""
        (one,) = self.watch(1)
        self.assertEqual(one.heeds, FAILED_ANSWERS)
        self.answer(one, 200, 404, 429, 500)
        self.assertEqual(one.heeds, ALL_ANSWERS)
        self.answer(one, 404)
        self.assertEqual(one.heeds, FAILED_ANSWERS)
        self.assertEqual(endpoints(1)[0].heeds, NO_ANSWERS)

    def test_gateway_failures_are_counted_and_ejected_if_told(self) -> None:
        """502, 503 and 504 in a row are found; that ejects only where it is enforced, as Envoy's default has it."""
        (one,) = self.watch(1, consecutive_gateway_failure=2, consecutive_5xx=100)
        self.answer(one, 502, 504)
        self.assertEqual((self.detector.found_counts[Ejection.GATEWAY_FAILURE], self.out), (1, []))
        (one,) = self.watch(1, consecutive_gateway_failure=2, consecutive_5xx=100, enforcing_consecutive_gateway_failure=100)
        self.answer(one, 502, 500, 504)
        self.assertEqual(self.out, [])
        self.answer(one, 503)
        self.assertEqual(self.out, [1])
        self.assertEqual(self.told[0].why, "2 gateway failures in a row, it answered 503")

    def test_no_answer_counts_as_a_gateway_failure(self) -> None:
        """Refused connections, resets and timeouts count with the 5xx unless they are told apart."""
        (one,) = self.watch(1)
        for _ in range(3):
            one.silent("did not accept a connection", self.now)
        self.answer(one, 500, 500)
        self.assertEqual(self.out, [1])

    def test_local_origin_told_apart(self) -> None:
        """With the split, failures to connect and 5xx are two counts, and each ejects by its own."""
        one, two = self.watch(2, split_external_local_origin_errors=True, max_ejection_percent=100)
        for _ in range(4):
            one.silent("did not accept a connection", self.now)
            self.answer(one, 500)           # it answered: so the next failure is the first one again
        self.assertEqual(self.out, [])
        self.answer(one, 500)
        self.assertEqual(self.told[0].why, "5 failures in a row, it answered 500")
        for _ in range(4):
            two.silent("closed the connection", self.now)
        two.accepted()
        two.silent("closed the connection", self.now)
        self.assertEqual(self.out, [1])
        for _ in range(4):
            two.silent("closed the connection", self.now)
        self.assertEqual(self.out, [1, 2])
        self.assertEqual(self.told[1].why, "5 times in a row without an answer: closed the connection")

    def test_relays_know_only_of_connecting(self) -> None:
        """For TCP and UDP a connection made is a success, which ends a row of failures."""
        (one,) = self.watch(1, consecutive_5xx=3)
        for _ in range(4):
            one.silent("did not accept a connection", self.now)
            one.silent("did not accept a connection", self.now)
            one.accepted(final=True)
        self.assertEqual(self.out, [])
        for _ in range(3):
            one.silent("did not accept a connection", self.now)
        self.assertEqual(self.out, [1])

    def test_while_it_is_out_nothing_more_is_found(self) -> None:
        """Answers that were under way do not eject twice, and after it is back the count begins anew."""
        (one,) = self.watch(1)
        self.answer(one, *[500] * 30)
        self.assertEqual(len(self.told), 1)
        self.assertEqual(self.sweep(30), [1])
        self.answer(one, *[500] * 4)
        self.assertEqual(self.out, [])
        self.answer(one, 500)
        self.assertEqual(self.out, [1])


class TimeTests(OutlierCase):
    def test_back_off_and_its_bound(self) -> None:
        """Each ejection is one base time longer than the last, up to the most; one that behaves for an interval is forgiven one."""
        (one,) = self.watch(1, base_ejection_time_s=30.0, max_ejection_time_s=100.0, interval_s=10.0)
        lengths = []
        for _ in range(6):
            self.answer(one, *[500] * 5)
            watch = self.told[-1]
            lengths.append(watch.out_s)
            self.now = watch.until - 0.001
            self.assertEqual(self.sweep(0), [])
            self.assertEqual(self.sweep(0.001), [1])
        self.assertEqual(lengths, [30, 60, 90, 100, 100, 100])
        self.assertEqual(self.told[-1].backoff, 5)      # Envoy's bound: as long as backoff x base < most + base
        for left in (4, 3, 2, 1, 0, 0):
            self.sweep()
            self.assertEqual(self.told[-1].backoff, left)
        self.answer(one, *[500] * 5)
        self.assertEqual(self.told[-1].out_s, 30)

    def test_an_interval_of_good_behaviour_forgives_one(self) -> None:
        """As in Envoy: the sweep that lets it back forgives nothing, one an interval later does."""
        (one,) = self.watch(1)
        for expected, wait in ((30, 0), (60, 10), (60, 20), (30, 0)):
            self.answer(one, *[500] * 5)
            self.assertEqual(self.told[-1].out_s, expected)
            self.assertEqual(self.sweep(expected), [1])
            for _ in range(wait // 10):
                self.sweep(10)

    def test_jitter(self) -> None:
        """A random part of the jitter is added, so that many do not come back at once."""
        one, two, three = self.watch(3, max_ejection_time_jitter_s=5.0, max_ejection_percent=100)
        for each in (one, two, three):
            self.answer(each, *[500] * 5)
        lengths = {watch.out_s for watch in self.told}
        self.assertEqual(len(lengths), 3)
        self.assertTrue(all(30 <= length < 35 for length in lengths))

    def test_a_base_above_the_most(self) -> None:
        """Without a most of its own a long base time stands."""
        (one,) = self.watch(1, base_ejection_time_s=1000.0)
        self.answer(one, *[500] * 5)
        self.assertEqual(self.told[0].out_s, 1000.0)


class HowManyTests(OutlierCase):
    def test_always_one_and_then_the_percentage(self) -> None:
        """Of nine members 10 % would be nobody: one may be ejected all the same, a second one may not."""
        members = self.watch(9)
        self.answer(members[0], *[500] * 5)
        self.answer(members[1], *[500] * 5)
        self.assertEqual((self.out, self.detector.overflow), ([1], 1))
        self.assertEqual(self.sweep(30), [1])
        self.answer(members[1], *[500] * 5)
        self.assertEqual(self.out, [2])

    def test_the_percentage_is_inclusive(self) -> None:
        """Of ten members 20 % are two."""
        members = self.watch(10, max_ejection_percent=20)
        for member in members:
            self.answer(member, *[500] * 5)
        self.assertEqual((self.out, self.detector.overflow), ([1, 2], 8))

    def test_everyone(self) -> None:
        """With 100 % all may be out: nobody is left, which is what was asked for."""
        members = self.watch(3, max_ejection_percent=100)
        for member in members:
            self.answer(member, *[500] * 5)
        self.assertEqual(self.out, [1, 2, 3])

    def test_one_that_leaves_makes_room(self) -> None:
        """An ejected member that leaves no longer counts as out, and comes back as a new one."""
        members = self.watch(3)
        self.answer(members[0], *[500] * 5)
        self.detector.forget(members[0])
        self.assertEqual((self.detector.out, members[0].watch, members[0].heeds), (0, None, NO_ANSWERS))
        self.detector.watch(members[0])
        self.assertEqual(self.out, [])
        self.answer(members[1], *[500] * 5)
        self.assertEqual(self.out, [2])

    def test_enforcing_by_halves(self) -> None:
        """An enforcing value of 50 ejects about half of those that are found."""
        members = self.watch(1000, enforcing_consecutive_5xx=50, max_ejection_percent=100)
        for member in members:
            self.answer(member, *[500] * 5)
        self.assertEqual(self.detector.found_counts[Ejection.CONSECUTIVE_5XX], 1000)
        self.assertTrue(430 < self.detector.ejected_counts[Ejection.CONSECUTIVE_5XX] < 570)

    def test_two_live_endpoints_of_one_member(self) -> None:
        """Connections of high priority count for the same member."""
        one, twin = *self.watch(1), *endpoints(1)
        self.detector.watch(twin)
        for _ in range(2):
            self.answer(one, 500)
            self.answer(twin, 500)
        self.assertEqual((one.heeds, twin.heeds), (ALL_ANSWERS, ALL_ANSWERS))
        self.answer(twin, 500)
        self.assertEqual(self.out, [1])
        self.detector.forget(twin)
        self.assertEqual(self.out, [1])


class RateTests(OutlierCase):
    def test_the_worked_case(self) -> None:
        """Rates of 50, 100, 100, 100, 100: mean 90, deviation 20, threshold 52."""
        self.assertEqual(success_threshold([50, 100, 100, 100, 100], 1.9), (90.0, 52.0))

    def test_success_rate(self) -> None:
        """Who is below the threshold is ejected, with the figures as evidence."""
        members = self.watch(5, consecutive_5xx=1024)
        for number, member in enumerate(members):
            self.answer(member, *([500, 200] * 50 if number == 0 else [200] * 100))
        self.sweep()
        self.assertEqual(self.out, [1])
        self.assertEqual(self.told[0].why, "50.0 % of 100 succeeded, below 52.0 % (the mean is 90.0 %)")
        self.assertEqual(self.detector.ejected_counts[Ejection.SUCCESS_RATE], 1)

    def test_too_few_requests_or_members(self) -> None:
        """Below 100 requests in the interval a member is not compared, below 5 such members nobody is."""
        for members, good, bad in ((5, 100, 99), (5, 99, 100), (4, 100, 100)):
            made = self.watch(members, consecutive_5xx=1024)
            for number, member in enumerate(made):
                self.answer(member, *([500] * bad if number == 0 else [200] * good))
            self.sweep()
            self.assertEqual(self.out, [], (members, good, bad))

    def test_only_the_last_interval_counts(self) -> None:
        """What was before the last sweep is forgotten."""
        members = self.watch(5, consecutive_5xx=1024)
        for number, member in enumerate(members):
            self.answer(member, *([500, 200] * 49 if number == 0 else [200] * 98))
        self.sweep()
        for member in members:
            self.answer(member, *[200] * 100)
        self.sweep()
        self.assertEqual(self.out, [])
        self.assertEqual({watch.success_rate for watch in self.detector.watches.values()}, {100.0})

    def test_failure_percentage(self) -> None:
        """85 % failed of at least 50, where that is enforced; 84 % are not enough."""
        members = self.watch(5, consecutive_5xx=1024, enforcing_failure_percentage=100, enforcing_success_rate=0,
                             max_ejection_percent=100)
        for number, member in enumerate(members):
            failed = (85, 84, 0, 0, 0)[number]
            self.answer(member, *([500] * failed), *([200] * (100 - failed)))
        self.sweep()
        self.assertEqual(self.out, [1])
        self.assertEqual(self.told[0].why, "85.0 % of 100 failed, at least 85 %")

    def test_rates_of_connecting(self) -> None:
        """Told apart, the rate of tries without an answer is compared on its own."""
        members = self.watch(5, split_external_local_origin_errors=True, consecutive_local_origin_failure=1024)
        for number, member in enumerate(members):
            for _ in range(50):
                member.accepted()
                if number == 0:
                    member.silent("did not accept a connection", self.now)
                else:
                    member.accepted()
        self.sweep()
        self.assertEqual(self.out, [1])
        self.assertEqual(self.detector.ejected_counts[Ejection.LOCAL_SUCCESS_RATE], 1)

    def test_ten_thousand_members_are_swept_in_steps(self) -> None:
        """No step of a sweep looks at more than its share."""
        self.watch(3 * SWEEP_STEP + 1)
        self.assertEqual(len(list(self.detector.sweeping(self.now + 10))), 3)

    @given(st.lists(st.floats(0, 100), min_size=5, max_size=40), st.floats(0, 5))
    @examples(80)
    def test_somebody_always_stays(self, rates: list[float], factor: float) -> None:
        """Whatever the rates are, the best one is never below the threshold."""
        mean, threshold = success_threshold(rates, factor)
        self.assertLessEqual(threshold, mean)
        self.assertGreaterEqual(max(rates), threshold - 1e-9)


class ProbeTests(OutlierCase):
    def test_a_passing_probe_ends_it(self) -> None:
        """As in Envoy, unless only time shall."""
        (one,) = self.watch(1)
        self.answer(one, *[500] * 5)
        self.assertTrue(self.detector.passed(one.key))
        self.assertEqual((self.out, self.detector.passed(one.key)), ([], False))
        (one,) = self.watch(1, successful_active_health_check_uneject_host=False)
        self.answer(one, *[500] * 5)
        self.assertFalse(self.detector.passed(one.key))
        self.assertEqual(self.out, [1])
