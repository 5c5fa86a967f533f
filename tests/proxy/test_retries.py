"""Retry policies: what is tried again, where, when, how often, and what the client sees of it (nothing)."""

from __future__ import annotations

from collections.abc import Callable

from tests.proxy.retrying import POST, UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, GET, WALL, Wire, answer, requests
from tests.support import interpreted_only
from voltgw.cluster.attempts import Attempts
from voltgw.cluster.cluster import Limits
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import CONNECT_TIMEOUT_S, RESPONSE_HEAD_TIMEOUT_S
from voltgw.wire.http1 import http_date

LATE = 4 * TICK_S


def status(code: int, *fields: bytes) -> bytes:
    """An answer that keeps its connection."""
    return b"\r\n".join([b"HTTP/1.1 %d X" % code, b"Content-Length: 0", *fields, b"", b""])


class ConditionTests(RetryCase):
    def outcomes(self) -> dict[str, Callable[[], Wire | None]]:
        """What may become of a first try, each from a new request on; the client, or None where it was a connect failure."""
        def refused() -> Wire:
            client = self.client()
            client.send(GET)
            self.dialled.fail()
            return client

        def with_origin(act: Callable[[Wire], object]) -> Callable[[], Wire]:
            def run() -> Wire:
                client, origin = self.ask()
                act(origin)
                return client
            return run

        def within_the_head(origin: Wire) -> None:
            origin.send(b"HTTP/1.1 200 OK\r\nX")
            origin.fin()

        def too_late() -> Wire:
            client, _ = self.ask()
            self.hand.now += RESPONSE_HEAD_TIMEOUT_S + LATE
            self.hand.clock.rightNow = self.hand.now
            self.hand.deadlines.sweep(self.hand.now)
            return client

        found: dict[str, Callable[[], Wire | None]] = {
            "refused": refused, "closed": with_origin(Wire.fin), "reset": with_origin(Wire.reset), "late": too_late,
            "garbled": with_origin(lambda origin: origin.send(b"garbage\r\n\r\n")),
            "within the head": with_origin(within_the_head),
        }
        for code in (200, 404, 409, 429, 500, 502, 503, 504):
            found[str(code)] = with_origin(lambda origin, code=code: origin.send(status(code)))   # type: ignore[misc]
        return found

    def test_every_condition_and_every_outcome(self) -> None:
        """What each condition has tried again is what the object model says, and nothing else."""
        no_answer = {"refused", "closed", "reset", "late", "garbled", "within the head"}
        table = {
            "5xx": no_answer | {"500", "502", "503", "504"},
            "gateway-error": no_answer | {"502", "503", "504"},
            "connect-failure": {"refused"},
            "refused-stream": set(),
            "retriable-4xx": {"409"},
            "retriable-status-codes": {"429", "404"},
            "reset": no_answer,
        }
        self.cluster.active = 1000          # so that the budget does not matter here
        for condition, expected in table.items():
            tried_again = set()
            for name, run in self.outcomes().items():
                self.plan(condition, statuses=frozenset((429, 404)), retries=1)
                self.rig.records.exchanges.clear()
                client = run()
                assert client is not None
                if self.rig.dials or self.hand.clock.getDelayedCalls():
                    tried_again.add(name)
                    self.assertEqual((client.written, self.records), (b"", []), (condition, name))
                    self.advance(0.1)
                    self.accept().send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                    self.assertEqual(answer(client.got()).body, b"ok", (condition, name))
                    self.assertEqual((self.records[0].attempts, self.records[0].flag), (2, ""), (condition, name))
                else:
                    self.assertTrue(client.written, (condition, name))
                for endpoint in self.cluster.endpoints:
                    endpoint.pool.drain()   # the next one is to dial again
                    endpoint.pool.draining = False      # type: ignore[attr-defined]
                self.turn()
            self.assertEqual(tried_again, expected, condition)
        self.cluster.active = 0

    def test_methods_that_may_not_be_sent_twice(self) -> None:
        """POST is not sent again after it was sent once, unless the policy says so; a refused connection is another thing."""
        client, origin = self.ask(POST)
        origin.send(UNAVAILABLE)
        self.assertEqual((answer(client.got()).start, self.records[-1].attempts), (503, 1))
        client, origin = self.ask(POST, client)
        origin.reset()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))
        client.send(POST)
        self.dialled.fail()
        origin = self.arrived()
        self.assertEqual(requests(self.came)[0].body, b"hi")
        origin.send(EMPTY)
        client.clear()
        self.plan("5xx", non_idempotent=True)
        client, origin = self.ask(POST, client)
        origin.send(UNAVAILABLE)
        again = self.next_try()
        self.assertEqual(requests(self.came)[0].body, b"hi")
        again.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)


class NumberTests(RetryCase):
    def test_the_last_answer_is_passed_on(self) -> None:
        """When all tries have failed the client gets the last one as it is, in full, and the connection goes on."""
        self.plan("5xx", retries=2)
        client, first = self.ask()
        first.send(UNAVAILABLE)
        self.next_try().send(UNAVAILABLE)
        last = self.next_try()
        last.send(b"HTTP/1.1 500 Broken\r\nX-Why: this\r\nContent-Length: 6\r\n\r\nbroken")
        message = answer(client.got())
        self.assertEqual((message.start, message.body, message.get(b"x-why"), client.gone), (500, b"broken", b"this", False))
        record = self.records[0]
        self.assertEqual((record.attempts, record.response_code, record.flag), (3, 500, ""))
        where = [f"{origin.protocol.endpoint.address}:9001" for origin in self.rig.origins]
        self.assertEqual(record.tries, [(where[0], "503"), (where[1], "503")])
        self.assertEqual((self.cluster.counters.retries, self.cluster.counters.status[5], self.idle()), (2, 3, 3))
        self.assertEqual(self.under_way(), {"connections": 3, **{f"203.0.113.{n} connections": 1 for n in (1, 2, 3)}})

    def test_the_last_failure_is_told(self) -> None:
        """When all tries have failed without an answer the client hears of the last failure."""
        self.plan("5xx", retries=1)
        client, first = self.ask()
        first.fin()
        self.next_try().send(b"garbage\r\n\r\n")
        self.assertEqual((answer(client.got()).start, self.records[0].flag), (502, "UPE"))
        self.assertEqual([what for _, what in self.records[0].tries or ()], ["upstream_reset_before_response", "bad_response"])

    def test_a_request_that_succeeds_has_no_tries(self) -> None:
        """`tries` is None, and nothing was asked of the policy."""
        client, origin = self.ask()
        origin.send(EMPTY)
        client.clear()
        self.assertEqual((self.records[0].tries, self.records[0].attempts, self.cluster.retries), (None, 1, 0))

    def test_each_endpoint_before_one_comes_again(self) -> None:
        """Another host on retry, all of them; then the first one again."""
        _, origin = self.ask()
        addresses = [origin.protocol.endpoint.address]
        for _ in range(3):
            origin.send(UNAVAILABLE)
            origin = self.next_try()
            addresses.append(origin.protocol.endpoint.address)
        self.assertEqual(len(set(addresses[:3])), 3)
        self.assertIn(addresses[3], addresses[:3])

    def pooled(self) -> tuple[Wire, Wire, Wire]:
        """A client whose request is at the first of two pooled connections, to two endpoints; the second one is next."""
        one, two = self.warm(2)
        for endpoint in self.cluster.endpoints:
            endpoint.ready = bool(len(endpoint.pool))
        client, first = self.ask()
        second = two if first is one else one
        self.only(second)
        first.send(UNAVAILABLE)
        return client, first, second

    def test_a_pooled_connection_is_used(self) -> None:
        """After an answer an idempotent request need not dial."""
        client, first, second = self.pooled()
        self.assertIs(self.next_try(), second)
        second.send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.idle(), self.rig.dials), (200, 2, []))

    def test_tries_do_not_make_pools_grow(self) -> None:
        """An endpoint that refuses sends many to another one: each new connection takes the place of the oldest pooled one."""
        self.warm(1)
        [good] = [endpoint for endpoint in self.cluster.endpoints if len(endpoint.pool)]
        bad = next(endpoint for endpoint in self.cluster.endpoints if endpoint is not good)
        for endpoint in self.cluster.endpoints:
            endpoint.ready = endpoint in (good, bad)
        for _ in range(20):
            self.cluster.pick = lambda key: bad         # the first try goes there
            client = self.client()
            client.send(GET)
            self.rig.dials[0].fail()
            self.turn()
            self.accept().send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)
            self.turn()
            self.assertEqual((good.connections, len(good.pool)), (1, 1))

    def test_a_pooled_connection_that_was_stale(self) -> None:
        """It costs no try of the policy: a fresh connection takes its place."""
        self.plan("5xx", retries=1)
        client, first, second = self.pooled()
        self.next_try()
        second.fin()
        self.accept().send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.records[-1].attempts), (200, 3))

    def test_nobody_is_left(self) -> None:
        """Every endpoint went away during the pause: 503, as for any request then."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        for endpoint in self.cluster.endpoints:
            endpoint.ready = False
        self.advance(self.pause)
        self.assertEqual((answer(client.got()).start, self.records[0].flag, self.rig.dials), (503, "UH", []))
        self.assertEqual((self.cluster.counters.no_endpoint, self.cluster.active, self.cluster.retries), (1, 0, 0))

    def test_host_names_the_endpoint_that_is_asked(self) -> None:
        """auto_host_rewrite: the second one is not called by the first one's name. Nothing else of the request changes."""
        for number, endpoint in enumerate(self.cluster.endpoints):
            endpoint.authority = b"origin-%d.example:81" % number
        for auto, request in ((True, GET), (True, POST.replace(b"POST", b"PUT")), (False, b"GET / HTTP/1.0\r\n\r\n")):
            self.route.auto_host_rewrite = auto
            _, origin = self.ask(request)
            first = self.came
            origin.send(UNAVAILABLE)
            second = self.next_try()
            one, other = (wire.protocol.endpoint.authority for wire in (origin, second))
            self.assertNotEqual(one, other)
            self.assertEqual(requests(first)[0].get(b"host"), one)
            self.assertEqual(self.came, first.replace(one, other))
            second.send(EMPTY)

    def test_host_that_names_no_endpoint_stays(self) -> None:
        """The client's own, or the one that the route writes."""
        for rewrite, host in ((None, b"shop"), (b"inner.example", b"inner.example")):
            self.route.host_rewrite = rewrite
            _, origin = self.ask()
            first = self.came
            origin.send(UNAVAILABLE)
            self.next_try().send(EMPTY)
            self.assertEqual((self.came, requests(first)[0].get(b"host")), (first, host))


class PauseTests(RetryCase):
    def test_full_jitter(self) -> None:
        """Pauses are a random part of 25, 50, 100 ms; they are kept to the millisecond, not to a sweep."""
        for number in (0.5, 1.0):
            self.rig.number = number
            client, origin = self.ask()
            for longest in (0.025, 0.05, 0.1):
                origin.send(UNAVAILABLE)
                self.assertAlmostEqual(self.pause, number * longest)
                self.advance(self.pause - 0.001)
                self.assertEqual((self.rig.dials, [each for each in self.rig.origins if each.written]), ([], []))
                origin = self.next_try()
            origin.send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)

    def test_the_endpoint_says_when(self) -> None:
        """Retry-After, in seconds or as a date, is kept, with up to half as much more; nonsense is no hint."""
        self.rig.number = 0.5
        client, origin = self.ask()
        origin.send(EMPTY)
        client.clear()
        self.only(origin)
        for value, pause in ((b"2", 2.5), (http_date(WALL + 4), 5.0), (b"soon", 0.0125), (b"-1", 0.0125), (b"0", 0.0125),
                             (http_date(WALL - 4), 0.0125), (b"\xff", 0.0125), (b"Sun, 99 Nov 1994 08:49:37 GMT", 0.0125)):
            self.ask(GET, client)
            origin.send(status(503, b"Retry-After: " + value))
            self.assertAlmostEqual(self.pause, pause, msg=repr(value))
            self.next_try().send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)

    def test_the_endpoint_asks_for_too_much(self) -> None:
        """More than the client would be let wait: then the answer, with its hint, is the client's."""
        self.rig.number = 1.0
        client, origin = self.ask()
        for value in (b"25", b"301", b"99999999999999999999"):
            origin.send(status(503, b"Retry-After: " + value))
            message = answer(client.got())
            self.assertEqual((message.start, message.get(b"retry-after")), (503, value))
            self.assertEqual(self.hand.clock.getDelayedCalls(), [])
            self.only(origin)
            self.ask(GET, client)

    def test_what_the_client_sends_meanwhile(self) -> None:
        """Its next request waits for its turn."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        client.send(b"GET /2 HTTP/1.1\r\nHost: shop\r\n\r\n")
        second = self.next_try()
        self.assertEqual([message.target for message in requests(self.came)], [b"/"])
        second.send(EMPTY)
        self.turn()
        self.arrived()
        self.assertEqual([message.target for message in requests(self.came)], [b"/2"])


class TimeTests(RetryCase):
    def test_the_route_s_time_holds_for_all_tries(self) -> None:
        """Tries and pauses together: 504 when it is over, whichever try that is."""
        self.route.timeout_s = 3.0
        client, origin = self.ask()
        self.advance(1)
        origin.send(UNAVAILABLE)
        second = self.next_try()
        self.advance(1)
        second.send(UNAVAILABLE)
        third = self.next_try()
        self.assertEqual(client.written, b"")
        self.advance(1 + LATE)
        self.assertEqual((answer(client.got()).start, third.aborted, self.records[0].attempts), (504, True, 3))
        self.assertEqual((self.rig.dials, self.hand.clock.getDelayedCalls()), ([], []))

    def test_no_pause_beyond_it(self) -> None:
        """A try that could not begin in time is not made: the answer at hand is passed on at once."""
        self.route.timeout_s = 1.0
        self.rig.number = 1.0
        self.plan("5xx", base_s=2.0, max_s=2.0)
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.assertEqual((answer(client.got()).start, self.hand.clock.getDelayedCalls()), (503, []))
        _, origin = self.ask(GET, client)
        origin.send(b"H")                   # else a reused connection that closes may be a stale one
        origin.fin()
        self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))

    def test_the_dial_of_a_later_try_has_what_is_left(self) -> None:
        """Of the route's time, or the cluster's connect timeout."""
        self.route.timeout_s = 3.0
        self.rig.number = 0.0
        _, origin = self.ask()
        self.advance(2.5)
        origin.send(UNAVAILABLE)
        self.hand.go_on(0)
        self.assertAlmostEqual(self.dialled.timeout_s, 0.5, places=2)

    def test_a_time_for_each_try(self) -> None:
        """per_try_timeout: the try is cut, the next one has as long, connecting included; then 504."""
        self.rig.number = 0.0
        self.plan("5xx", retries=1, per_try_timeout_s=2.0)
        client, first = self.ask()
        self.advance(2 - TICK_S)
        self.assertFalse(first.gone)
        while not first.gone:
            self.advance(TICK_S)
        self.assertEqual((first.aborted, client.written), (True, b""))
        began = self.hand.now
        self.assertEqual(self.dialled.timeout_s, CONNECT_TIMEOUT_S)
        self.advance(1.5)
        second = self.accept()
        while not second.gone:
            self.advance(TICK_S)
        self.assertGreaterEqual(self.hand.now, began + 2)
        self.assertLessEqual(self.hand.now, began + 2 + 2 * TICK_S)
        self.assertEqual((second.aborted, answer(client.got()).start), (True, 504))
        self.assertEqual([what for _, what in self.records[0].tries or ()], ["response_timeout"] * 2)
        self.assertEqual(self.cluster.counters.timeouts, 2)

    def test_a_short_time_is_kept_exactly(self) -> None:
        """50 ms are 50 ms, not the next sweep; on a new connection and on a pooled one."""
        self.rig.number = 0.0
        idle, = self.warm()
        self.only(idle)
        self.plan("reset", retries=2, per_try_timeout_s=0.05)
        client = self.client()
        client.send(GET)
        self.advance(0.049)
        self.assertFalse(idle.gone)
        self.advance(0.0011)
        self.assertTrue(idle.aborted)
        second = self.accept()
        self.advance(0.0495)
        self.assertFalse(second.gone)
        self.advance(0.001)
        self.assertTrue(second.aborted)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        self.advance(1)
        self.assertEqual(self.hand.clock.getDelayedCalls(), [])

    def test_the_time_of_a_try_that_is_over(self) -> None:
        """It does not count against the next one, although that is the same request on the same connection."""
        self.rig.number = 0.01
        idle, = self.warm()
        self.only(idle)
        self.plan("5xx", per_try_timeout_s=0.1)
        client, origin = self.ask()
        self.advance(0.09)
        origin.send(UNAVAILABLE)
        self.advance(0.001)
        self.assertIs(self.arrived(), origin)
        self.advance(0.09)
        self.assertFalse(origin.gone)
        self.advance(0.02)
        self.assertTrue(origin.aborted)

    def test_an_answer_that_came_in_time(self) -> None:
        """Its body may take longer than a try; so may the next request's answer on the same connection."""
        idle, = self.warm()
        self.only(idle)
        client = self.client()
        for per_try in (0.05, 2.0):
            self.plan("5xx", per_try_timeout_s=per_try)
            self.ask(GET, client)
            idle.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            self.advance(per_try + LATE)
            idle.send(b"cd")
            self.assertEqual(answer(client.got()).body, b"abcd")
            self.plan("5xx")
            self.ask(GET, client)
            self.advance(per_try + LATE)
            idle.send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)

    def test_an_upload_has_its_time_before_the_try_s(self) -> None:
        """The try's time begins when the request is complete."""
        self.plan("5xx", per_try_timeout_s=1.0, retries=1)
        client, origin = self.ask(b"PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nab")
        self.advance(5)
        client.send(b"cd")
        self.advance(1 - TICK_S)
        self.assertFalse(origin.gone)
        self.advance(LATE)
        self.assertTrue(origin.aborted)
        self.assertEqual(requests(self.accept().got())[0].body, b"abcd")

    def test_a_dial_that_takes_too_long(self) -> None:
        """Each try's time bounds its dial, too; a time out of connecting is a connect failure."""
        self.plan("connect-failure", per_try_timeout_s=0.5, retries=1)
        client = self.client()
        client.send(GET)
        self.assertEqual(self.dialled.timeout_s, 0.5)
        self.dialled.fail(ConnectTimeout("no answer"))
        self.dialled.fail(ConnectTimeout("no answer"))
        self.assertEqual((answer(client.got()).start, self.records[0].attempts), (504, 2))


class LimitTests(RetryCase):
    limits = Limits(retries=1)

    def test_the_cluster_s_limit(self) -> None:
        """circuit_breaker.retries: one request at a time may be tried again; the other's answer is passed on."""
        one, first = self.ask()
        two, second = self.ask()
        first.send(UNAVAILABLE)
        second.send(UNAVAILABLE)
        self.assertEqual((one.written, answer(two.got()).start, self.cluster.retries), (b"", 503, 1))
        self.next_try().send(EMPTY)
        self.assertEqual((answer(one.got()).start, self.cluster.retries), (200, 0))


    def test_a_long_answer_is_no_retry_under_way(self) -> None:
        """The limit is for tries without an answer: once the second one's has begun, another request may be tried again."""
        one, first = self.ask()
        first.send(UNAVAILABLE)
        second = self.next_try()
        self.assertEqual(self.cluster.retries, 1)
        second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        self.assertEqual(self.cluster.retries, 0)
        two, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.assertEqual((two.written, self.cluster.retries), (b"", 1))


class FailedConnectionTests(RetryCase):
    def test_refused_again_and_again(self) -> None:
        """The first refusal leads elsewhere at once, the next ones after a pause; the last one is told."""
        self.plan("connect-failure", retries=2)
        client = self.client()
        client.send(GET)
        endpoints = []
        for number in range(3):
            if number == 2:
                self.advance(self.pause)
            endpoints.append(self.dialled.endpoint)
            self.dialled.fail(ConnectFailed("refused"))
        self.assertEqual((answer(client.got()).start, len(set(endpoints)), self.records[0].attempts), (502, 3, 3))
        self.assertEqual(self.records[0].tries, [(f"{each.address}:9001", "connect_failure") for each in endpoints])

    @interpreted_only
    def test_a_bug_while_trying_again(self) -> None:
        """A failure in the pause's timer reaches the guard: 500, logged once, nothing left."""
        class Mistake(Exception):
            """A bug."""

        def mistake(attempts: Attempts) -> None:
            raise Mistake("no")

        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.patch(Attempts, "next", mistake)
        self.advance(self.pause)
        self.assertEqual((answer(client.got()).start, len(self.failures(Mistake))), (500, 1))
