"""Which records are written, and how many of a sample."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import Host, Route, a_connection, an_exchange
from voltgw.observe.chosen import Chosen


def answered(status: int, number: int = 0, **more: Any) -> Any:
    """An exchange with an id of its own."""
    exchange = an_exchange()
    exchange.request_id = b"f282cd42-4c86-4fd8-8d57-%012x" % number
    exchange.response_code = status
    for name, value in more.items():
        setattr(exchange, name, value)
    return exchange


class ChosenTests(SynchronousTestCase):
    def test_statuses(self) -> None:
        """A class, and a single one; a connection has none."""
        chosen = Chosen(("5xx", "404"))
        self.assertEqual([chosen.exchange(answered(status)) for status in (200, 403, 404, 499, 500, 599, 0)],
                         [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
        self.assertEqual(chosen.connection(a_connection()), 0.0)

    def test_durations(self) -> None:
        """From so long on."""
        exchange = an_exchange()
        took = exchange.t_downstream_last - exchange.t_start
        self.assertEqual([Chosen((), least).exchange(exchange) for least in (took, took + 0.001)], [1.0, 0.0])
        self.assertEqual([Chosen((), least).connection(a_connection()) for least in (2.4, 2.6)], [1.0, 0.0])

    def test_hosts(self) -> None:
        """By namespace and name; what no host took is nobody's."""
        chosen = Chosen(hosts=frozenset(("default/shop",)))
        other, nobody = an_exchange(), an_exchange()
        other.route, nobody.route = Route(host=Host("blog")), None
        self.assertEqual([chosen.exchange(each) for each in (an_exchange(), other, nobody)], [1.0, 0.0, 0.0])
        self.assertEqual(chosen.connection(a_connection()), 0.0)

    def test_a_sample(self) -> None:
        """About so many of the class, and of no other; the same ones in a larger sample."""
        small, large = Chosen(shares={"2xx": 0.1}), Chosen(shares={"2xx": 0.3, "4xx": 0.0})
        exchanges = [answered(200, number) for number in range(10_000)]
        few = {each.request_id for each in exchanges if small.exchange(each)}
        many = {each.request_id for each in exchanges if large.exchange(each)}
        self.assertTrue(900 < len(few) < 1100 and 2800 < len(many) < 3200 and few < many, (len(few), len(many)))
        self.assertEqual({small.exchange(each) for each in exchanges}, {0.0, 0.1})
        self.assertEqual([small.exchange(answered(404)), large.exchange(answered(404)), large.exchange(answered(302))], [1.0, 0.0, 1.0])

    def test_requests_only(self) -> None:
        """For formats that have no place for a connection."""
        chosen = Chosen(requests_only=True)
        self.assertEqual((chosen.exchange(an_exchange()), chosen.connection(a_connection())), (1.0, 0.0))

    def test_errors_are_always_written(self) -> None:
        """However few of the others are."""
        chosen = Chosen(shares={f"{number}xx": 0.0 for number in range(1, 5)} | {"tcp": 0.0})
        self.assertEqual([chosen.exchange(each) for each in (
            answered(200), answered(503), answered(0), answered(200, flag="DC"), answered(504, flag="UT"))], [0.0, 1.0, 1.0, 1.0, 1.0])
        record = a_connection()
        self.assertEqual(chosen.connection(record), 0.0)
        record.flag = "UF"
        self.assertEqual(chosen.connection(record), 1.0)

    def test_a_sample_of_connections(self) -> None:
        """They have no ids; who they are decides."""
        chosen = Chosen(shares={"tcp": 0.25})
        written = 0
        for number in range(4000):
            record = a_connection()
            record.t_start += number * 0.001
            written += bool(chosen.connection(record))
        self.assertTrue(900 < written < 1100, written)
