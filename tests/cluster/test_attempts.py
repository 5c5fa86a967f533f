"""Tests for `voltgw.cluster.attempts`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import cluster, key, state
from voltgw.cluster.attempts import IDEMPOTENT, Attempts, conditions_of, conditions_of_status, is_bad
from voltgw.cluster.cluster import Cluster, Limits
from voltgw.cluster.endpoint import Endpoint
from voltgw.errors import (
    BadResponse,
    ClientGone,
    ConnectFailed,
    ConnectTimeout,
    NoEndpoint,
    Overflow,
    ProxyError,
    Retry,
    UpstreamClosed,
    UpstreamTimeout,
)
from voltgw.values.defaults import MAX_RETRY_AFTER_S
from voltgw.values.retry import RetryPlan

REFUSED = ConnectFailed("refused")
CLOSED = UpstreamClosed("closed")
LATE = UpstreamTimeout("late")


class Unprocessed(ProxyError):
    """The endpoint has said that it did nothing with the request (HTTP/2: REFUSED_STREAM)."""

    retry = Retry.ALWAYS


def following(attempts: Attempts, error: ProxyError, endpoint: Endpoint, reused: bool = False, replayable: bool = True) -> Endpoint | None:
    """Where the next try goes, None for none; it must go there at once."""
    pause = attempts.after(error, endpoint, reused, replayable)
    if pause is None:
        return None
    assert pause == 0.0, pause
    return attempts.next()


class ConnectFailureTests(SynchronousTestCase):
    def test_another_endpoint_once(self) -> None:
        """A connection that could not be made leads to another endpoint, once, for any method and any body."""
        made = cluster(state(1), state(2), state(3))
        for error in (REFUSED, ConnectTimeout("late")):
            attempts = Attempts(made, b"POST", None)
            first = made.endpoints[0]
            second = following(attempts, error, first, False, False)
            assert second is not None
            self.assertIsNot(second, first)
            self.assertTrue(attempts.afresh)
            self.assertIsNone(attempts.after(error, second, False, False))
            self.assertIn("tried already", attempts.why)
            attempts.close()

    def test_no_other_endpoint(self) -> None:
        """Alone, an endpoint that refuses is not asked again."""
        made = cluster(state(1), state(2, ready=False))
        attempts = Attempts(made, b"GET", None)
        self.assertIsNone(attempts.after(REFUSED, made.endpoints[0], False, True))
        self.assertIn("no other endpoint", attempts.why)
        self.assertEqual(made.retries, 0)


class ReusedConnectionTests(SynchronousTestCase):
    def test_the_same_endpoint_once(self) -> None:
        """A reused connection that closed under an idempotent request leads to the same endpoint again, once."""
        made = cluster(state(1), state(2))
        endpoint = made.endpoints[0]
        for method in IDEMPOTENT:
            attempts = Attempts(made, method, None)
            self.assertIs(following(attempts, CLOSED, endpoint, True), endpoint)
            self.assertTrue(attempts.afresh)
            self.assertIsNone(attempts.after(CLOSED, endpoint, True, True))
            self.assertIn("sent again already", attempts.why)
            attempts.close()

    def test_an_endpoint_that_is_no_longer_ready(self) -> None:
        """If the endpoint was taken out in the meantime, another one gets the request; without another, nobody."""
        made = cluster(state(1), state(2))
        first, second = made.endpoints
        made.mark_unready(key(1), "down")
        self.assertIs(following(Attempts(made, b"GET", None), CLOSED, first, True), second)
        made.mark_unready(key(2), "down")
        self.assertIsNone(Attempts(made, b"GET", None).after(CLOSED, first, True, True))

    def test_what_must_not_be_sent_twice(self) -> None:
        """Not for POST and PATCH, not without the body, not on a fresh connection or after the answer began."""
        made = cluster(state(1), state(2))
        cases = {
            (b"POST", True, True): "not idempotent",
            (b"PATCH", True, True): "not idempotent",
            (b"GET", True, False): "body",
            (b"GET", False, True): "not a reused one",
        }
        for (method, reused, replayable), why in cases.items():
            attempts = Attempts(made, method, None)
            self.assertIsNone(attempts.after(CLOSED, made.endpoints[0], reused, replayable))
            self.assertIn(why, attempts.why)

    def test_an_endpoint_that_dies_in_use(self) -> None:
        """Closed under a reused connection, then refusing: the request still reaches another endpoint."""
        made = cluster(state(1), state(2), state(3))
        dead = made.endpoints[0]
        attempts = Attempts(made, b"GET", None)
        self.assertIs(following(attempts, CLOSED, dead, True), dead)
        self.assertIn(following(attempts, REFUSED, dead), made.endpoints[1:])
        self.assertEqual(made.retries, 1)
        attempts.close()
        self.assertEqual(made.retries, 0)

    def test_a_policy_does_not_take_it_away(self) -> None:
        """It is our pool that was stale: neither the policy's conditions nor its number have to do with that."""
        made = cluster(state(1), state(2))
        endpoint = made.endpoints[0]
        attempts = Attempts(made, b"GET", None, RetryPlan(frozenset(("retriable-4xx",)), retries=0))
        self.assertIs(following(attempts, CLOSED, endpoint, True), endpoint)
        self.assertIsNone(attempts.after(CLOSED, endpoint, True, True))
        self.assertIn("no condition", attempts.why)
        attempts.close()


class OtherFailuresTests(SynchronousTestCase):
    def test_no_other_try(self) -> None:
        """Without a policy a late or broken answer and an exhausted limit are final; so is any answer."""
        made = cluster(state(1), state(2))
        for error in (LATE, BadResponse("garbage"), Overflow("full")):
            attempts = Attempts(made, b"GET", None)
            self.assertIsNone(attempts.after(error, made.endpoints[0], True, True))
            self.assertIn("allows no other try", attempts.why)
        self.assertIsNone(attempts.after_answer(503, made.endpoints[0], True))
        self.assertIn("no retry policy", attempts.why)


class ConditionTests(SynchronousTestCase):
    def test_failures(self) -> None:
        """Which failures meet which condition; what is the client's or the gateway's own meets none."""
        no_answer = {"5xx", "gateway-error", "reset"}
        table: dict[ProxyError, set[str]] = {
            REFUSED: no_answer | {"connect-failure"}, ConnectTimeout(""): no_answer | {"connect-failure"},
            CLOSED: no_answer, LATE: no_answer, BadResponse(""): no_answer, Unprocessed(""): no_answer | {"refused-stream"},
            Overflow(""): set(), NoEndpoint(""): set(), ClientGone(""): set(),
        }
        for error, met in table.items():
            self.assertEqual(conditions_of(error), met, error)

    def test_answers(self) -> None:
        """Which statuses meet which condition; retriable-4xx is 409 alone."""
        table = {200: set(), 404: set(), 429: {"retriable-status-codes"}, 409: {"retriable-4xx"}, 500: {"5xx"},
                 501: {"5xx"}, 502: {"5xx", "gateway-error"}, 503: {"5xx", "gateway-error", "retriable-status-codes"},
                 504: {"5xx", "gateway-error"}, 505: {"5xx"}, 599: {"5xx"}, 600: set(), 302: set()}
        for status, met in table.items():
            self.assertEqual(conditions_of_status(status, frozenset((429, 503))), met, status)
        plan = RetryPlan(frozenset(("retriable-status-codes",)), statuses=frozenset((302,)))
        self.assertEqual([is_bad(status, plan) for status in (302, 503)], [True, False])


class PlanTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A cluster of three, busy enough for any number of retries, and a policy of three further tries."""
        self.made = cluster(state(1), state(2), state(3))
        self.made.active = 1000
        self.first = self.made.endpoints[0]
        self.number = 0.5

    def attempts(self, method: bytes = b"GET", made: Cluster | None = None, **values: object) -> Attempts:
        """Tries under a policy."""
        plan = RetryPlan(**{"conditions": frozenset(("5xx",)), "retries": 3, **values})   # type: ignore[arg-type]
        attempts = Attempts(made or self.made, method, None, plan, lambda: self.number)
        self.addCleanup(attempts.close)
        return attempts

    def test_the_number_of_tries(self) -> None:
        """So many further ones, whether answers or failures ask for them; each endpoint before one comes again."""
        attempts = self.attempts()
        endpoints = [self.first]
        for number in range(3):
            pause = (attempts.after(LATE, endpoints[-1], False, True) if number % 2
                     else attempts.after_answer(503, endpoints[-1], True))
            self.assertIsNotNone(pause, attempts.why)
            following = attempts.next()
            assert following is not None
            endpoints.append(following)
        self.assertEqual(len({endpoint.address for endpoint in endpoints[:3]}), 3)
        self.assertIsNone(attempts.after_answer(503, endpoints[-1], True))
        self.assertIn("3 times already", attempts.why)

    def test_none_at_all(self) -> None:
        """num_retries 0 switches even the default off."""
        attempts = self.attempts(retries=0, conditions=frozenset(("connect-failure",)))
        self.assertIsNone(attempts.after(REFUSED, self.first, False, True))

    def test_full_jitter(self) -> None:
        """A random part of 25, 50, 100, 200, 250, 250 ms (algorithms C12: as Envoy's code, not as its documentation)."""
        attempts = self.attempts(retries=6)
        pauses = [attempts.after_answer(500, self.first, True) for _ in range(6)]
        self.assertEqual(pauses, [0.0125, 0.025, 0.05, 0.1, 0.125, 0.125])
        self.number = 0.0
        self.assertEqual(self.attempts().after_answer(500, self.first, True), 0.0)
        self.number = 1.0
        self.assertEqual(self.attempts(base_s=1.0, max_s=1.5).after_answer(500, self.first, True), 1.0)

    def test_what_the_endpoint_asks_for(self) -> None:
        """Retry-After: between once and one and a half times as long, however long the policy's own pauses are."""
        for number, pause in ((0.0, 10.0), (0.5, 12.5), (1.0, 15.0)):
            self.number = number
            self.assertEqual(self.attempts().after_answer(503, self.first, True, 10.0), pause)
        attempts = self.attempts()
        self.assertIsNone(attempts.after_answer(503, self.first, True, MAX_RETRY_AFTER_S + 1))
        self.assertIn("too long", attempts.why)
        self.assertEqual(self.made.retries, 3)      # one that is refused does not count

    def test_methods_that_may_not_be_sent_twice(self) -> None:
        """POST goes out again only where nothing was sent, or where the policy says so."""
        sent: tuple[ProxyError, ...] = (CLOSED, LATE, BadResponse(""))
        for error in sent:
            attempts = self.attempts(b"POST")
            self.assertIsNone(attempts.after(error, self.first, False, True))
            self.assertIn("idempotent", attempts.why)
            self.assertIsNotNone(self.attempts(b"POST", non_idempotent=True).after(error, self.first, False, True))
        self.assertIsNone(self.attempts(b"POST").after_answer(503, self.first, True))
        self.assertIsNotNone(self.attempts(b"POST", non_idempotent=True).after_answer(503, self.first, True))
        for error in (REFUSED, Unprocessed("")):
            self.assertIsNotNone(self.attempts(b"POST").after(error, self.first, False, True))

    def test_a_body_that_is_gone(self) -> None:
        """No other try, unless nothing of it was sent."""
        self.assertIsNone(self.attempts().after_answer(503, self.first, False))
        self.assertIsNone(self.attempts().after(CLOSED, self.first, False, False))
        self.assertIsNotNone(self.attempts().after(REFUSED, self.first, False, False))

    def test_only_the_listed_conditions(self) -> None:
        """A policy takes the place of the default."""
        attempts = self.attempts(conditions=frozenset(("retriable-4xx",)))
        self.assertIsNone(attempts.after(REFUSED, self.first, False, True))
        self.assertIsNone(attempts.after_answer(503, self.first, True))
        self.assertIsNotNone(attempts.after_answer(409, self.first, True))

    def test_one_endpoint_alone(self) -> None:
        """A policy asks it again; when it is no longer ready, nobody is asked."""
        alone = cluster(state(1))
        for error in (REFUSED, CLOSED):
            attempts = self.attempts(made=alone)
            self.assertIsNotNone(attempts.after(error, alone.endpoints[0], False, True))
            self.assertIs(attempts.next(), alone.endpoints[0])
        alone.mark_unready(key(1), "down")
        self.assertIsNone(self.attempts(made=alone).after(REFUSED, alone.endpoints[0], False, True))
        self.assertIsNone(self.attempts(made=alone).next())

    def test_a_refused_connection_goes_elsewhere_at_once(self) -> None:
        """The first time, when there is somebody else; then, or with nobody else, there are pauses."""
        attempts = self.attempts()
        self.assertEqual(attempts.after(REFUSED, self.first, False, True), 0.0)
        self.assertEqual(attempts.after(REFUSED, self.made.endpoints[1], False, True), 0.025)
        alone = cluster(state(1))
        self.assertEqual(self.attempts(made=alone).after(REFUSED, alone.endpoints[0], False, True), 0.0125)

    def test_pooled_connections(self) -> None:
        """After an answer an idempotent request may use one; after a refusal or for POST it is a new one."""
        attempts = self.attempts()
        attempts.after_answer(503, self.first, True)
        self.assertFalse(attempts.afresh)
        attempts.after(REFUSED, self.first, False, True)
        self.assertTrue(attempts.afresh)
        attempts = self.attempts(b"POST", non_idempotent=True)
        attempts.after_answer(503, self.first, True)
        self.assertTrue(attempts.afresh)


class OtherEndpointTests(SynchronousTestCase):
    def test_the_scheduler_s_turn_is_not_taken(self) -> None:
        """Of two endpoints one of which is bad every second request meets it first, not every one."""
        made = cluster(state(1), state(2))
        bad = made.endpoints[0]
        first = []
        for _ in range(10):
            picked = made.pick(None)
            first.append(picked)
            if picked is bad:
                self.assertIs(following(Attempts(made, b"GET", None), REFUSED, bad), made.endpoints[1])
        self.assertEqual(first.count(bad), 5)

    def test_by_weight(self) -> None:
        """The others share what the failed one leaves, as their weights say; weight 0 and unready ones get nothing."""
        made = cluster(state(1), state(2, weight=3), state(3, weight=1), state(4, weight=0), state(5, ready=False))
        found = []
        for number in range(100):
            attempts = Attempts(made, b"GET", None, None, lambda number=number: number / 100)  # type: ignore[misc]
            found.append(following(attempts, REFUSED, made.endpoints[0]))
        self.assertEqual([found.count(endpoint) for endpoint in made.endpoints], [0, 75, 25, 0, 0])

    def test_a_key_is_the_scheduler_s(self) -> None:
        """With affinity, and in a cluster of many, it is asked; the answer is another endpoint all the same."""
        made = cluster(*(state(number) for number in range(1, 100)))
        for key_ in (None, 7):
            attempts = Attempts(made, b"GET", key_)
            other = following(attempts, REFUSED, made.endpoints[0])
            self.assertIsNotNone(other)
            self.assertIsNot(other, made.endpoints[0])


class BudgetTests(SynchronousTestCase):
    def test_a_connect_failure_takes_nothing_from_the_default_budget(self) -> None:
        """However many meet a dead endpoint at once, each is sent to another: a refused connection is no work."""
        made = cluster(state(1), state(2))
        for plan in (None, RetryPlan()):
            for _ in range(100):
                attempts = Attempts(made, b"GET", None, plan)
                self.assertIsNotNone(attempts.after(REFUSED, made.endpoints[0], False, True))
        self.assertEqual(made.retries, 0)

    def test_but_the_second_does(self) -> None:
        """A policy that asks again and again must not make a storm of it."""
        made = cluster(state(1), state(2))
        attempts = Attempts(made, b"GET", None, RetryPlan(retries=5))
        attempts.after(REFUSED, made.endpoints[0], False, True)
        attempts.after(REFUSED, made.endpoints[1], False, True)
        self.assertEqual(made.retries, 1)
        attempts.close()
        self.assertEqual(made.retries, 0)

    def test_answers_take_from_it(self) -> None:
        """Three at a time while little is under way, a fifth of what is, and no more."""
        made = cluster(*(state(number) for number in range(1, 20)))
        plan = RetryPlan(frozenset(("5xx",)))
        for active, most in ((0, 3), (100, 20)):
            made.active = active
            tries = [Attempts(made, b"GET", None, plan) for _ in range(30)]
            allowed = [each.after_answer(503, made.endpoints[0], True) is not None for each in tries]
            self.assertEqual(allowed.count(True), most)
            self.assertIn("too many retries", tries[-1].why)
            for each in tries:
                each.close()
            self.assertEqual(made.retries, 0)

    def test_a_retry_counts_until_it_is_closed(self) -> None:
        """With the limit reached there is no retry; once the other exchange is over, there is. Closing twice counts once."""
        made = cluster(state(1), state(2), limits=Limits(retries=1))
        first, second = Attempts(made, b"GET", None), Attempts(made, b"GET", None)
        self.assertIsNotNone(first.after(REFUSED, made.endpoints[0], False, True))
        self.assertEqual(made.retries, 1)
        self.assertIsNone(second.after(REFUSED, made.endpoints[0], False, True))
        self.assertIn("too many retries", second.why)
        self.assertIsNone(Attempts(made, b"GET", None).after(CLOSED, made.endpoints[0], True, True))
        first.close()
        first.close()
        second.close()
        self.assertEqual(made.retries, 0)
        self.assertIsNotNone(Attempts(made, b"GET", None).after(REFUSED, made.endpoints[0], False, True))


class SilentTests(SynchronousTestCase):
    def test_an_endpoint_that_dies_under_a_fresh_connection(self) -> None:
        """An idempotent request that got not a byte of an answer goes to another endpoint, once, and counts in the budget."""
        made = cluster(state(1), state(2))
        first, second = made.endpoints
        error = UpstreamClosed("reset")
        error.silent = True
        attempts = Attempts(made, b"GET", None)
        self.assertEqual(attempts.after(error, first, False, True), 0.0)
        self.assertIs(attempts.next(), second)
        self.assertEqual(made.retries, 1)
        self.assertIsNone(attempts.after(error, second, False, True))
        attempts.close()
        self.assertEqual(made.retries, 0)

    def test_not_if_anything_speaks_against_it(self) -> None:
        """Not for POST, not without the body, not once a byte had come, not without another endpoint."""
        made, alone = cluster(state(1), state(2)), cluster(state(1))
        silent, begun = UpstreamClosed("reset"), UpstreamClosed("reset")
        silent.silent = True
        for clusters, method, error, replayable in (
            (made, b"POST", silent, True), (made, b"GET", silent, False), (made, b"GET", begun, True), (alone, b"GET", silent, True),
        ):
            self.assertIsNone(Attempts(clusters, method, None).after(error, clusters.endpoints[0], False, replayable))
