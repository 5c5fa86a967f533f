"""Tests for `voltgw.cluster.attempts`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import cluster, key, state
from voltgw.cluster.attempts import IDEMPOTENT, Attempts
from voltgw.cluster.cluster import Limits
from voltgw.errors import BadResponse, ConnectFailed, ConnectTimeout, Overflow, UpstreamClosed, UpstreamTimeout


class ConnectFailureTests(SynchronousTestCase):
    def test_another_endpoint_once(self) -> None:
        """A connection that could not be made leads to another endpoint, once, for any method and any body."""
        made = cluster(state(1), state(2), state(3))
        for error in (ConnectFailed("refused"), ConnectTimeout("late")):
            attempts = Attempts(made, b"POST", None)
            first = made.endpoints[0]
            second = attempts.after(error, first, False, False)
            assert second is not None
            self.assertIsNot(second, first)
            self.assertIsNone(attempts.after(error, second, False, False))
            self.assertIn("tried already", attempts.why)
            attempts.close()

    def test_no_other_endpoint(self) -> None:
        """Alone, an endpoint that refuses is not asked again."""
        made = cluster(state(1), state(2, ready=False))
        attempts = Attempts(made, b"GET", None)
        self.assertIsNone(attempts.after(ConnectFailed("refused"), made.endpoints[0], False, True))
        self.assertIn("no other endpoint", attempts.why)
        self.assertEqual(made.retries, 0)


class ReusedConnectionTests(SynchronousTestCase):
    def test_the_same_endpoint_once(self) -> None:
        """A reused connection that closed under an idempotent request leads to the same endpoint again, once."""
        made = cluster(state(1), state(2))
        endpoint = made.endpoints[0]
        for method in IDEMPOTENT:
            attempts = Attempts(made, method, None)
            self.assertIs(attempts.after(UpstreamClosed("closed"), endpoint, True, True), endpoint)
            self.assertIsNone(attempts.after(UpstreamClosed("closed"), endpoint, True, True))
            self.assertIn("sent again already", attempts.why)
            attempts.close()

    def test_an_endpoint_that_is_no_longer_ready(self) -> None:
        """If the endpoint was taken out in the meantime, another one gets the request; without another, nobody."""
        made = cluster(state(1), state(2))
        first, second = made.endpoints
        made.mark_unready(key(1), "down")
        self.assertIs(Attempts(made, b"GET", None).after(UpstreamClosed("closed"), first, True, True), second)
        made.mark_unready(key(2), "down")
        self.assertIsNone(Attempts(made, b"GET", None).after(UpstreamClosed("closed"), first, True, True))

    def test_what_must_not_be_sent_twice(self) -> None:
        """Not for POST and PATCH, not without the body, not on a fresh connection or after the answer began."""
        made = cluster(state(1), state(2))
        closed = UpstreamClosed("closed")
        cases = {
            (b"POST", True, True): "not idempotent",
            (b"PATCH", True, True): "not idempotent",
            (b"GET", True, False): "body",
            (b"GET", False, True): "not a reused one",
        }
        for (method, reused, replayable), why in cases.items():
            attempts = Attempts(made, method, None)
            self.assertIsNone(attempts.after(closed, made.endpoints[0], reused, replayable))
            self.assertIn(why, attempts.why)

    def test_an_endpoint_that_dies_in_use(self) -> None:
        """Closed under a reused connection, then refusing: the request still reaches another endpoint."""
        made = cluster(state(1), state(2), state(3))
        dead = made.endpoints[0]
        attempts = Attempts(made, b"GET", None)
        self.assertIs(attempts.after(UpstreamClosed("closed"), dead, True, True), dead)
        other = attempts.after(ConnectFailed("refused"), dead, False, True)
        self.assertIn(other, made.endpoints[1:])
        self.assertEqual(made.retries, 1)
        attempts.close()
        self.assertEqual(made.retries, 0)


class OtherFailuresTests(SynchronousTestCase):
    def test_no_other_try(self) -> None:
        """A late or broken answer and an exhausted limit are final."""
        made = cluster(state(1), state(2))
        for error in (UpstreamTimeout("late"), BadResponse("garbage"), Overflow("full")):
            attempts = Attempts(made, b"GET", None)
            self.assertIsNone(attempts.after(error, made.endpoints[0], True, True))
            self.assertIn("allows no other try", attempts.why)


class BudgetTests(SynchronousTestCase):
    def test_a_connect_failure_takes_nothing_from_the_default_budget(self) -> None:
        """However many meet a dead endpoint at once, each is sent to another: a refused connection is no work."""
        made = cluster(state(1), state(2))
        for _ in range(100):
            self.assertIsNotNone(Attempts(made, b"GET", None).after(ConnectFailed("refused"), made.endpoints[0], False, True))
        self.assertEqual(made.retries, 0)

    def test_a_retry_counts_until_it_is_closed(self) -> None:
        """With the limit reached there is no retry; once the other exchange is over, there is. Closing twice counts once."""
        made = cluster(state(1), state(2), limits=Limits(retries=1))
        refused = ConnectFailed("refused")
        first, second = Attempts(made, b"GET", None), Attempts(made, b"GET", None)
        self.assertIsNotNone(first.after(refused, made.endpoints[0], False, True))
        self.assertEqual(made.retries, 1)
        self.assertIsNone(second.after(refused, made.endpoints[0], False, True))
        self.assertIn("too many retries", second.why)
        self.assertIsNone(Attempts(made, b"GET", None).after(UpstreamClosed(""), made.endpoints[0], True, True))
        first.close()
        first.close()
        second.close()
        self.assertEqual(made.retries, 0)
        self.assertIsNotNone(Attempts(made, b"GET", None).after(refused, made.endpoints[0], False, True))
