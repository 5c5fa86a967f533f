"""Hedging: a try that is late goes on beside the next one; the first good answer wins, and there is exactly one."""

from __future__ import annotations

from itertools import permutations

from tests.proxy.retrying import POST, UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, GET, Wire, answer, requests
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import RESPONSE_HEAD_TIMEOUT_S

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class HedgeTests(RetryCase):
    #: Each try has so long.
    time = 0.1

    def setUp(self) -> None:
        """With hedging."""
        super().setUp()
        self.plan("5xx", per_try_timeout_s=self.time, hedge=True, retries=2)

    def be_late(self) -> None:
        """The present try's time passes."""
        self.advance(self.time)

    def late(self, request: bytes = GET, tries: int = 1) -> tuple[Wire, list[Wire]]:
        """A client whose first `tries` endpoints are late, and the connections of these and of the one that came last."""
        client, origin = self.ask(request)
        origins = [origin]
        for _ in range(tries):
            self.be_late()
            origins.append(self.arrived())
        self.assertEqual(client.written, b"")
        return client, origins

    def test_each_of_them_may_win(self) -> None:
        """Whichever answers first: its answer is passed on whole, the others' connections are cut, the record names it."""
        for winner in range(3):
            client, origins = self.late(tries=2)
            self.assertEqual(len({origin.protocol.endpoint.address for origin in origins}), 3)
            self.assertEqual(sum(endpoint.active for endpoint in self.cluster.endpoints), 3)
            origins[winner].send(OK)
            self.assertEqual([origin.aborted for origin in origins], [number != winner for number in range(3)])
            self.assertEqual([endpoint.active for endpoint in self.cluster.endpoints if endpoint.active], [1])
            origins[winner].send(b"ok")
            self.assertEqual(answer(client.got()).body, b"ok")
            record = self.records[-1]
            self.assertIs(record.endpoint, origins[winner].protocol.endpoint)
            self.assertEqual((record.attempts, record.flag, [what for _, what in record.tries or ()]),
                             (3, "", ["per_try_timeout"] * 2))
            self.assertEqual((self.cluster.active, self.cluster.retries, self.idle()), (0, 0, 1))
            origins[winner].fin()
            self.turn()
        self.assertEqual((self.cluster.counters.retries, self.cluster.counters.timeouts), (6, 6))

    def test_at_the_same_time(self) -> None:
        """What the loser sends in the same turn is never taken for anything."""
        client, (first, second) = self.late()
        second.send(OK + b"ok")
        if not first.gone:
            first.send(OK + b"no")
        self.turn()
        self.assertEqual(answer(client.got()).body, b"ok")
        self.assertTrue(first.aborted)

    def test_while_the_next_one_is_dialled(self) -> None:
        """The late one answers after all: the dial is given up."""
        client, origin = self.ask()
        self.be_late()
        dial = self.dialled
        origin.send(EMPTY)
        self.assertEqual((dial.cancelled, answer(client.got()).start, self.cluster.pending), (True, 200, 0))

    def test_bad_answers_are_dropped_while_another_may_be_good(self) -> None:
        """In every order: the client gets the good one; a bad one is used again as a connection if it ended."""
        for order in permutations((0, 1, 2)):
            client, origins = self.late(tries=2)
            for number in order[:2]:
                origins[number].send(UNAVAILABLE)
                self.assertEqual(client.written, b"")
            origins[order[2]].send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)
            self.assertEqual((self.idle(), self.cluster.active, self.cluster.retries), (3, 0, 0), order)
            for endpoint in self.cluster.endpoints:
                endpoint.pool.drain()
                endpoint.pool.draining = False      # type: ignore[attr-defined]
            self.turn()

    def test_all_are_bad(self) -> None:
        """The last bad answer is passed on."""
        for order in permutations((0, 1, 2)):
            client, origins = self.late(tries=2)
            for number in order:
                self.assertEqual(client.written, b"")
                origins[number].send(UNAVAILABLE)
            message = answer(client.got())
            self.assertEqual((message.start, message.body), (503, b"busy"), order)
            self.assertEqual((self.cluster.active, self.cluster.retries), (0, 0))
            for origin in origins:
                origin.fin()
            self.turn()

    def test_all_fail(self) -> None:
        """Failures while another may answer are dropped; the last one is told."""
        for order in permutations((0, 1, 2)):
            client, origins = self.late(tries=2)
            for number in order:
                self.assertEqual(client.written, b"")
                origins[number].reset()
            self.assertEqual((answer(client.got()).start, self.records[-1].flag), (502, "UC"), order)
            self.assertEqual(self.under_way(), {})

    def test_a_bad_answer_of_the_present_one_is_tried_again(self) -> None:
        """While there are tries left; the late one goes on beside the pause, too, and may win in it."""
        client, (first, second) = self.late()
        second.send(UNAVAILABLE)
        self.assertEqual((client.written, len(self.rig.dials)), (b"", 0))
        first.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        self.advance(1)
        self.assertEqual((self.rig.dials, self.cluster.retries), ([], 0))

    def test_a_refused_connection_beside_one_that_is_late(self) -> None:
        """It is no reason to give up the late one, even when no other try is left."""
        self.plan("5xx", per_try_timeout_s=self.time, hedge=True, retries=1)
        client, origin = self.ask()
        self.be_late()
        self.dialled.fail()
        self.assertEqual((client.written, self.rig.dials), (b"", []))
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.records[0].attempts), (200, 2))

    def test_a_limit_beside_one_that_is_late(self) -> None:
        """The cluster takes no further connection: the late one goes on."""
        client, origin = self.ask()
        self.cluster.max_pending = 0
        self.be_late()
        self.assertEqual((client.written, self.rig.dials), (b"", []))
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_no_other_try_is_allowed(self) -> None:
        """The number is used up, or the method may not be sent twice: the late one is waited for as without the policy."""
        for request, retries in ((GET, 0), (POST, 2)):
            self.plan("5xx", per_try_timeout_s=self.time, hedge=True, retries=retries)
            client, origin = self.ask(request)
            self.advance(self.time + 1)
            self.assertEqual((origin.gone, self.rig.dials), (False, []))
            origin.send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)
            client, origin = self.ask(request)
            self.advance(self.time + RESPONSE_HEAD_TIMEOUT_S + 2 * TICK_S)
            self.assertEqual((answer(client.got()).start, origin.aborted), (504, True))

    def test_the_route_s_time_ends_all_of_them(self) -> None:
        """504, every connection cut."""
        self.route.timeout_s = 3 * self.time + 2
        client, origins = self.late(tries=2)
        self.assertEqual(client.written, b"")
        self.advance(self.route.timeout_s + TICK_S)
        self.assertEqual(answer(client.got()).start, 504)
        self.assertEqual([origin.aborted for origin in origins], [True] * 3)
        self.assertEqual(self.cluster.retries, 0)

    def test_the_client_leaves(self) -> None:
        """Every connection is cut, every dial given up."""
        client, origins = self.late(tries=1)
        self.be_late()
        dial = self.dialled
        client.reset()
        self.assertEqual(([origin.aborted for origin in origins], dial.cancelled), ([True, True], True))
        self.assertEqual((self.cluster.active, self.cluster.retries, self.cluster.pending), (0, 0, 0))

    def test_an_upload_that_is_not_complete_is_not_hedged(self) -> None:
        """Its time begins when it is; then both get the whole of it."""
        client, first = self.ask(b"PUT / HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nab")
        self.advance(5)
        self.assertEqual(self.rig.dials, [])
        client.send(b"cd")
        self.be_late()
        second = self.arrived()
        self.assertEqual(requests(self.came)[0].body, b"abcd")
        second.send(EMPTY)
        self.assertEqual((answer(client.got()).start, first.aborted), (200, True))

    def test_without_it_the_late_one_is_cut(self) -> None:
        """A per-try timeout alone."""
        self.plan("5xx", per_try_timeout_s=self.time)
        self.rig.number = 0.0
        client, first = self.ask()
        self.be_late()
        self.assertTrue(first.aborted)
        self.arrived().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_interim_answers_end_it(self) -> None:
        """The client has heard of the first: it alone may answer."""
        client, origin = self.ask()
        origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        self.be_late()
        self.assertEqual((origin.gone, self.rig.dials), (False, []))
        origin.send(EMPTY)
        self.assertIn(b"HTTP/1.1 200 OK\r\n", client.got())


class SlowHedgeTests(HedgeTests):
    """The same with a time that the sweep keeps."""

    time = 2.0

    def be_late(self) -> None:
        """The present try's time passes; the sweep notices it a moment later."""
        self.advance(self.time + TICK_S)
