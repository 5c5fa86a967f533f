"""Filters that ask for a pause: nothing is held up but the one request, and the pause ends with its client."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from tests.proxy.rig import EMPTY, GET, ProxyCase, answer, requests
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Delay, Reply

UPLOAD = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n01"


class Mistake(Exception):
    """A bug of a filter."""


class DelayTests(ProxyCase):
    def setUp(self) -> None:
        """A filter that waits, and one behind it."""
        super().setUp()
        self.behind: list[float] = []
        self.route.request_filters = (lambda exchange: Delay(2.5), lambda exchange: self.behind.append(self.hand.now))

    def test_the_request_goes_on_afterwards(self) -> None:
        """To the millisecond, behind that filter; neither the client nor the endpoint sees anything of it."""
        began = self.hand.now
        client = self.client()
        client.send(GET)
        self.advance(2.499)
        self.assertEqual((self.rig.dials, self.behind, client.written), ([], [], b""))
        self.advance(0.002)
        self.assertAlmostEqual(self.behind[0], began + 2.5)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)
        self.assertAlmostEqual(self.records[0].t_start, began)

    def test_others_are_not_held_up(self) -> None:
        """Another client's request, whose filters do not wait, is answered meanwhile."""
        waiting, other = self.client(), self.client()
        waiting.send(GET)
        self.route.request_filters = ()
        other.send(GET)
        self.accept().send(EMPTY)
        self.assertEqual((answer(other.got()).start, waiting.written), (200, b""))

    def test_the_route_s_time_begins_afterwards(self) -> None:
        """A delay on purpose is not the endpoint's."""
        self.route.timeout_s = 2.0
        client = self.client()
        client.send(GET)
        self.advance(2.5)
        origin = self.accept()
        self.advance(1.5)
        origin.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_what_comes_meanwhile_waits(self) -> None:
        """The rest of the body and the next request keep their order and their meaning."""
        client = self.client()
        client.send(UPLOAD)
        client.send(b"2345" + GET)
        self.advance(2.5)
        origin = self.accept()
        self.assertEqual([message.body for message in requests(origin.got())], [b"012345"])
        origin.send(EMPTY)
        self.turn()
        self.assertEqual(origin.written, b"")
        self.advance(2.5)
        self.assertEqual(requests(origin.got())[0].start, b"GET")

    def test_the_client_leaves(self) -> None:
        """The timer goes with it, and no endpoint hears of the request."""
        client = self.client()
        client.send(GET)
        self.advance(1)
        client.reset()
        self.assertEqual((self.hand.clock.getDelayedCalls(), self.records[0].flag), ([], "DC"))
        self.advance(5)
        self.assertEqual((self.behind, self.rig.dials), ([], []))

    def test_the_drain_s_time_is_up(self) -> None:
        """The connection is cut, and the timer with it."""
        client = self.client()
        client.send(GET)
        self.http.close()
        self.turn()
        self.assertEqual((client.aborted, self.hand.clock.getDelayedCalls()), (True, []))

    def test_among_filters_that_ask(self) -> None:
        """Pauses and Deferreds in any order, each once."""
        waits: list[Deferred[Reply | None]] = []

        def ask(exchange: Exchange) -> Deferred[Reply | None]:
            waits.append(Deferred())
            return waits[-1]

        self.route.request_filters = (
            lambda exchange: Delay(1.0), ask, lambda exchange: Delay(1.0), lambda exchange: succeed(None), lambda exchange: Delay(1.0))
        client = self.client()
        client.send(GET)
        self.advance(1)
        self.assertEqual(len(waits), 1)
        self.advance(3)
        self.assertEqual(self.rig.dials, [])
        waits[0].callback(None)
        self.advance(1.5)
        self.assertEqual(self.rig.dials, [])
        self.advance(0.5)
        self.accept().send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_an_answer_behind_a_pause(self) -> None:
        """As fault injection has it: first slow, then broken; the connection goes on."""
        self.route.request_filters = (lambda exchange: Delay(1.0), lambda exchange: Reply(503, flag="FI", negotiate=True))
        client = self.client()
        client.send(GET)
        self.advance(1)
        self.assertEqual((answer(client.got()).start, client.gone, self.rig.dials), (503, False, []))

    def test_a_mistake_behind_a_pause(self) -> None:
        """500 and close, logged once by the guard."""
        def mistake(exchange: Exchange) -> None:
            raise Mistake("no")

        self.route.request_filters = (lambda exchange: Delay(1.0), mistake)
        client = self.client()
        client.send(UPLOAD)
        self.advance(1)
        self.assertEqual((answer(client.got()).start, client.finished, len(self.failures(Mistake))), (500, True, 1))
