"""Tests for `voltgw.cluster.health`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from voltgw.cluster.health import HealthState, combined, may_serve


class HealthStateTests(SynchronousTestCase):
    def test_the_first_result_decides(self) -> None:
        """Unknown becomes healthy at the first success and unhealthy at the first failure, whatever the thresholds."""
        for ok in (True, False):
            state = HealthState(rise=3, fall=3)
            self.assertIsNone(state.healthy)
            self.assertTrue(state.observe(ok))
            self.assertIs(state.healthy, ok)

    def test_one_failure_among_successes_changes_nothing(self) -> None:
        """A single failed probe does not take a healthy endpoint out when ``fall`` is 3."""
        state = HealthState(rise=2, fall=3, healthy=True)
        self.assertEqual([state.observe(ok) for ok in (False, True, False, False)], [False] * 4)
        self.assertIs(state.healthy, True)

    def test_failures_in_a_row_take_it_out(self) -> None:
        """The third failure in a row takes it out, and only that one is a change."""
        state = HealthState(rise=2, fall=3, healthy=True)
        self.assertEqual([state.observe(False) for _ in range(5)], [False, False, True, False, False])
        self.assertIs(state.healthy, False)

    def test_successes_in_a_row_bring_it_back(self) -> None:
        """Two successes in a row bring it back; a failure between them starts the count anew."""
        state = HealthState(rise=2, fall=3, healthy=False)
        self.assertEqual([state.observe(ok) for ok in (True, False, True, True)], [False, False, False, True])
        self.assertIs(state.healthy, True)

    def test_at_once(self) -> None:
        """A failure that counts at once needs no others; the endpoint comes back by the usual threshold."""
        state = HealthState(rise=2, fall=3, healthy=True)
        self.assertTrue(state.observe(False, at_once=True))
        self.assertEqual([state.observe(True), state.observe(True)], [False, True])

    @given(st.integers(1, 4), st.integers(1, 4), st.lists(st.booleans(), max_size=60))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_against_a_plain_reading_of_the_rule(self, rise: int, fall: int, results: list[bool]) -> None:
        """After any results, health is what the last long enough run of equal results said."""
        state = HealthState(rise, fall)
        healthy: bool | None = None
        for count in range(1, len(results) + 1):
            before = healthy
            latest = results[count - 1]
            needed = rise if latest else fall
            if healthy is None or (count >= needed and results[count - needed:count] == [latest] * needed):
                healthy = latest
            self.assertIs(state.observe(latest), healthy is not before)
            self.assertIs(state.healthy, healthy)


class CombinedTests(SynchronousTestCase):
    def test_all_must_pass(self) -> None:
        """An endpoint is healthy when all its checks pass, unhealthy when one fails, unknown otherwise."""
        cases = {
            (): "unknown",
            (None,): "unknown",
            (True,): "healthy",
            (False,): "unhealthy",
            (True, True): "healthy",
            (True, False): "unhealthy",
            (True, None): "unknown",
            (None, False): "unhealthy",
        }
        self.assertEqual({checks: combined(checks) for checks in cases}, cases)


class MayServeTests(SynchronousTestCase):
    def test_without_checks(self) -> None:
        """In a cluster without checks everyone may serve."""
        self.assertTrue(may_serve("unknown", checked=False, any_healthy=False))

    def test_never_probed(self) -> None:
        """An endpoint that was never probed may serve only while nobody is healthy."""
        self.assertTrue(may_serve("unknown", checked=True, any_healthy=False))
        self.assertFalse(may_serve("unknown", checked=True, any_healthy=True))

    def test_no_panic(self) -> None:
        """An unhealthy endpoint never may, not even when all are."""
        self.assertFalse(may_serve("unhealthy", checked=True, any_healthy=False))
        self.assertTrue(may_serve("healthy", checked=True, any_healthy=True))
