"""Keys and shares: what a route works out before a destination and an endpoint are chosen, and the cookies that come of it."""

from __future__ import annotations

from tests.proxy.rig import EMPTY, GET, ProxyCase, answer
from voltgw.routing.split import Destination
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply
from voltgw.values.retry import RetryPlan


class KeyTests(ProxyCase):
    endpoint_count = 2

    def setUp(self) -> None:
        """Picks are written down with their keys."""
        super().setUp()
        self.keys: list[int | None] = []
        pick = self.cluster.pick

        def noted(hash_key: int | None) -> object:
            self.keys.append(hash_key)
            return pick(hash_key)

        self.cluster.pick = noted       # type: ignore[assignment]

    def test_the_key_is_the_scheduler_s(self) -> None:
        """Worked out once, behind the filters, and used for every pick of this exchange; kept in the record."""
        calls: list[bytes | None] = []

        def hash_key(exchange: Exchange) -> int:
            calls.append(exchange.request.get(b"x-user"))
            return 42

        self.route.hash_key = hash_key
        self.route.request_filters = (lambda exchange: exchange.request.fields.append((b"x-user", b"me")),)
        client = self.client()
        client.send(GET)
        self.dialled.fail()
        self.accept().send(EMPTY)
        self.assertEqual((calls, set(self.keys), self.records[0].hash_key), ([b"me"], {42}, 42))
        self.route.hash_key = None
        client.send(GET)
        self.assertIsNone(self.keys[-1])

    def test_no_value(self) -> None:
        """None: the scheduler has its way."""
        self.route.hash_key = lambda exchange: None
        self.client().send(GET)
        self.accept().send(EMPTY)
        self.assertEqual(self.keys, [None])

    def test_an_answer_of_the_route_needs_no_key(self) -> None:
        """Nothing is hashed for a redirect."""
        def hash_key(exchange: Exchange) -> int:
            raise AssertionError("asked for nothing")

        self.route.hash_key = hash_key
        self.route.answer = lambda head, client: Reply(302)
        client = self.client()
        client.send(GET)
        self.assertEqual(answer(client.got()).start, 302)

    def test_a_cookie_that_it_asks_for(self) -> None:
        """It goes with the endpoint's answer, beside the endpoint's own, once; to whole and to streamed answers."""
        def hash_key(exchange: Exchange) -> int:
            exchange.cookies_to_set = [b"stay=1; Path=/", b"more=2"]
            return 1

        self.route.hash_key = hash_key
        for endpoint in self.cluster.endpoints[1:]:
            endpoint.ready = False
        client = self.client()
        for data in (b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 2\r\n\r\nok",
                     b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"):
            client.send(GET)
            (self.accept() if self.rig.dials else self.rig.origins[0]).send(data)
            message = answer(client.got())
            self.assertEqual([value for name, value in message.fields if name == b"set-cookie"],
                             [b"own=1", b"stay=1; Path=/", b"more=2"])
        self.route.hash_key = None
        client.send(GET)
        self.rig.origins[0].send(EMPTY)
        self.assertIsNone(answer(client.got()).get(b"set-cookie"))

    def test_it_is_set_once_however_often_it_is_tried(self) -> None:
        """The answer that is passed on has it; those that are not are nobody's."""
        def hash_key(exchange: Exchange) -> int:
            exchange.cookies_to_set = [b"stay=1"]
            return 1

        self.route.hash_key = hash_key
        self.route.retry = RetryPlan(frozenset(("5xx",)))
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
        self.advance(0.1)
        (self.accept() if self.rig.dials else self.rig.origins[-1]).send(EMPTY)
        self.assertEqual(answer(client.got()).get(b"set-cookie"), b"stay=1")


class ShareTests(ProxyCase):
    def test_a_sticky_split(self) -> None:
        """The route's own number decides, not chance; without one, chance."""
        other = self.make_cluster("default/other")
        self.route.forward_to([Destination(self.cluster, "default/shop", 1), Destination(other, "default/other", 1)])
        users = {b"a": 0.4, b"b": 0.6}
        self.route.share = lambda exchange: users[exchange.request.get(b"x-user") or b""]
        for number in (0.1, 0.9):
            self.rig.number = number
            for user, cluster in ((b"a", "default/shop"), (b"b", "default/other")):
                client = self.client()
                client.send(b"GET / HTTP/1.1\r\nHost: shop\r\nX-User: %b\r\n\r\n" % user)
                self.assertEqual(self.dialled.endpoint.cluster, cluster)
                self.accept().send(EMPTY)
                self.rig.origins[-1].fin()
                self.turn()
        self.route.share = None
        self.client().send(GET)
        self.assertEqual(self.dialled.endpoint.cluster, "default/other")
        self.accept().send(EMPTY)
        self.assertEqual((other.active, self.cluster.active), (0, 0))
