"""Connections to endpoints that may only become so old (``voltgw: {max_connection_age: …}``)."""

from __future__ import annotations

from typing import Any

from tests.proxy.rig import EMPTY, GET, ProxyCase
from tests.proxy.rig2 import Proxy2Case
from voltgw.cluster.cluster import Cluster


class AgeTests(ProxyCase):
    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """Whose connections become ten seconds old."""
        cluster = super().make_cluster(name, **options)
        cluster.max_age_s = 10.0
        return cluster

    def test_one_that_waits(self) -> None:
        """It is closed at its age, and the next request makes a new one."""
        origin, = self.warm()
        self.advance(9.0)
        self.assertEqual((origin.gone, len(self.endpoint.pool)), (False, 1))
        self.advance(2.0)
        self.assertEqual((origin.gone, len(self.endpoint.pool)), (True, 0))
        client = self.client()
        client.send(GET)
        self.accept().send(EMPTY)
        self.assertIn(b"200 OK", client.got())

    def test_one_that_is_used_all_the_time(self) -> None:
        """It serves what it serves at that moment, and nothing more."""
        client, origin = self.asked()
        for _ in range(18):
            origin.send(EMPTY)
            self.advance(0.5)
            client.send(GET)
        self.advance(2.0)
        self.assertFalse(origin.gone)       # a request is under way
        origin.send(EMPTY)
        self.turn()
        self.assertEqual((origin.gone, client.got().count(b"200 OK")), (True, 19))

    def test_in_the_middle_of_an_answer(self) -> None:
        """The answer goes on to its end."""
        client, origin = self.asked()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.advance(11.0)
        origin.send(b"cd")
        self.turn()
        self.assertEqual((client.got()[-4:], origin.gone, client.gone), (b"abcd", True, False))


class Age2Tests(Proxy2Case):
    origin_2 = True

    def make_cluster(self, name: str = "default/shop", **options: Any) -> Cluster:
        """The same."""
        cluster = super().make_cluster(name, **options)
        cluster.max_age_s = 10.0
        return cluster

    def test_http_2(self) -> None:
        """A connection of HTTP/2 takes no more requests from its age on, and ends when it serves nobody."""
        client = self.client()
        client.send(GET)
        origin = self.accept2()
        self.advance(11.0)
        self.assertEqual(len(self.endpoint.pool.trunks), 0)     # type: ignore[attr-defined]  # a Pool
        origin.answer(max(origin.seen))
        self.settle(origin)
        self.assertIn(b"200 OK", client.got())
        other = self.client(port=50001)
        other.send(GET)
        self.assertEqual(len(self.rig.dials), 1)
        self.accept2()
