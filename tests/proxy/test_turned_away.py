"""Answers that are not passed on because the request is tried again: their connections, and clients that leave meanwhile."""

from __future__ import annotations

from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, GET, Wire, answer
from voltgw.net.deadlines import TICK_S
from voltgw.values.defaults import LINGER_TIMEOUT_S, MAX_UNHEARD_BYTES
from voltgw.values.exchange import Exchange

LATE = 4 * TICK_S


class TurnedAwayTests(RetryCase):
    """The connection of an answer that is not passed on."""

    def turned_away(self, data: bytes) -> tuple[Wire, Wire]:
        """A client whose first endpoint has said this; it is being tried again."""
        client, origin = self.ask()
        origin.send(data)
        self.assertEqual((client.written, len(self.hand.clock.getDelayedCalls())), (b"", 1))
        return client, origin

    def finish(self, client: Wire) -> None:
        """The second try succeeds, and the client gets its answer and nothing else."""
        self.next_try().send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        message = answer(client.got())
        self.assertEqual((message.start, message.body), (200, b"ok"))
        self.turn()

    def test_one_that_ended_exactly_is_used_again(self) -> None:
        """At once, or when its end has come later, in any framing."""
        for data, rest in ((UNAVAILABLE, b""), (b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu", b"sy"),
                           (b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbu\r\n", b"2\r\nsy\r\n0\r\n\r\n"),
                           (b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbu\r\n0\r\n\r\n", b"")):
            client, origin = self.turned_away(data)
            if rest:
                self.assertEqual(self.idle(), 0)
                origin.send(rest)
            self.assertEqual((self.idle(), origin.gone), (1, False), data)
            self.finish(client)
            origin.fin()
            self.turn()
            self.assertEqual(self.idle(), 0)

    def test_one_that_did_not_is_closed(self) -> None:
        """Longer than announced, broken, closing, until close, or too long to wait for: never in the pool (promise 5)."""
        for data, rest in (
            (b"HTTP/1.1 503 B\r\nContent-Length: 2\r\n\r\nbusy", b""),
            (b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu", b"syHTTP/1.1 200 OK\r\n\r\n"),
            (b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbu\r\n", b"zz\r\n"),
            (b"HTTP/1.1 503 B\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b""),
            (b"HTTP/1.1 503 B\r\n\r\nbusy", b""),
            (b"HTTP/1.1 503 B\r\nContent-Length: %d\r\n\r\n" % (MAX_UNHEARD_BYTES + 1), b""),
            (b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        ):
            client, origin = self.turned_away(data)
            for _ in range(20 if rest else 0):
                if not origin.gone:
                    origin.send(rest)
                    self.turn()
            self.turn()
            self.assertEqual((self.idle(), origin.gone), (0, True), data)
            self.finish(client)
        self.assertEqual(len(self.records), 7)

    def test_one_that_stops(self) -> None:
        """It has a few seconds for its rest."""
        client, origin = self.turned_away(b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu")
        self.finish(client)
        self.advance(LINGER_TIMEOUT_S - 1)
        self.assertFalse(origin.gone)
        self.advance(1 + LATE)
        self.assertTrue(origin.aborted)
        self.assertEqual((len(self.records), self.cluster.counters.timeouts), (1, 0))

    def test_one_that_is_reset(self) -> None:
        """Nobody hears of it."""
        client, origin = self.turned_away(b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu")
        origin.reset()
        self.finish(client)
        self.assertEqual((len(self.records), self.cluster.counters.resets), (1, 0))

    def test_the_client_s_pace_is_not_its_own(self) -> None:
        """A client that does not read holds up neither the answer that is thrown away nor the connection."""
        client, origin = self.turned_away(b"HTTP/1.1 503 B\r\nContent-Length: 60000\r\n\r\n")
        client.stall()
        origin.send(b"x" * 60_000)
        self.assertEqual((origin.reading, self.idle()), (True, 1))

    def test_filters_see_only_the_answer_that_is_passed_on(self) -> None:
        """Response filters run once, for the last answer."""
        seen: list[int] = []

        def response_filter(exchange: Exchange) -> None:
            assert exchange.response is not None
            seen.append(exchange.response.status)

        self.route.response_filters = (response_filter,)
        client, origin = self.turned_away(b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu")
        origin.send(b"sy")
        self.finish(client)
        self.assertEqual((seen, self.records[0].response and self.records[0].response.status), ([200], 200))

    def test_its_times_are_not_the_record_s(self) -> None:
        """The record's first byte of the answer is the first byte of the one that was passed on."""
        client, origin = self.turned_away(UNAVAILABLE)
        rejected = self.hand.now
        second = self.next_try()
        self.advance(1)
        second.send(EMPTY)
        self.assertGreaterEqual(self.records[0].t_upstream_first_rx, rejected + 1)
        self.assertGreater(self.records[0].t_upstream_first_tx, rejected)

    def test_interim_answers_end_it(self) -> None:
        """Once the client has heard anything of a try there is no other one."""
        client, origin = self.ask()
        origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + UNAVAILABLE)
        self.assertIn(b"HTTP/1.1 503 Busy\r\n", client.got())
        client, origin = self.ask(GET, client)
        origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        origin.reset()
        self.assertIn(b"HTTP/1.1 502 ", client.got())
        self.assertEqual(self.rig.dials, [])

    def test_an_answer_that_breaks_off(self) -> None:
        """Response bytes went down: the client is cut, and nothing is tried again, whatever the policy."""
        self.plan("5xx", "reset")
        for end in (Wire.fin, Wire.reset):
            client, origin = self.ask()
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
            end(origin)
            self.turn()
            self.assertEqual((client.aborted, self.rig.dials, self.hand.clock.getDelayedCalls()), (True, [], []))


class LeavingTests(RetryCase):
    def test_in_the_pause(self) -> None:
        """No further try; nothing is left."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.assertEqual(self.cluster.retries, 1)
        client.reset()
        self.assertEqual((self.hand.clock.getDelayedCalls(), self.cluster.retries, self.records[0].flag), ([], 0, "DC"))
        self.advance(1)
        self.assertEqual(self.rig.dials, [])

    def test_while_the_second_is_dialled(self) -> None:
        """The attempt is given up."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.advance(self.pause)
        dial = self.dialled
        client.reset()
        self.assertEqual((dial.cancelled, self.cluster.retries, self.cluster.pending), (True, 0, 0))

    def test_while_the_second_is_at_work(self) -> None:
        """Its connection is cut, so that it may stop; the first one's is not."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        second = self.next_try()
        client.reset()
        self.assertEqual((second.aborted, origin.gone, self.cluster.retries, self.idle()), (True, False, 0, 1))

    def test_while_the_first_answer_is_thrown_away(self) -> None:
        """That goes on to its end all the same."""
        client, origin = self.ask()
        origin.send(b"HTTP/1.1 503 B\r\nContent-Length: 4\r\n\r\nbu")
        client.reset()
        origin.send(b"sy")
        self.assertEqual(self.idle(), 1)

    def test_the_end_of_a_drain(self) -> None:
        """In the pause the connection is cut like any other that is not done."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.http.drain()
        self.assertFalse(client.gone)
        self.http.close()
        self.turn()
        self.assertEqual((client.aborted, self.hand.clock.getDelayedCalls()), (True, []))

    def test_a_drain_lets_it_finish(self) -> None:
        """A request in its pause is under way: it is answered, with close."""
        client, origin = self.ask()
        origin.send(UNAVAILABLE)
        self.http.drain()
        self.next_try().send(EMPTY)
        self.assertEqual(answer(client.got()).get(b"connection"), b"close")
