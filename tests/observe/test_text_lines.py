"""Access records for reading."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import START, WALL, Client, Endpoint, a_connection, an_exchange
from voltgw.observe.lines import MAX_LINE
from voltgw.observe.text_lines import TextLines
from voltgw.values.exchange import Exchange
from voltgw.values.head import RequestHead

OFFSET = WALL - START


class TextLinesTests(SynchronousTestCase):
    """One line, in Envoy's order."""

    def test_an_exchange(self) -> None:
        """Everything in its place, secrets hidden."""
        self.assertEqual(
            TextLines().http(an_exchange(b"/cart?key=abc"), OFFSET),
            '[2022-03-28T23:09:53.748Z] "GET /cart?key=*** HTTP/1.1" 200 - 717 223 1 1 "203.0.113.10" "curl/8.5.0" '
            '"f282cd42-4c86-4fd8-8d57-f90e43e1c9a5" "shop.example.com" "10.0.0.5:9001" "default/shop" "shop/0"\n')

    def test_a_connection(self) -> None:
        """A relayed connection has no request and shows it."""
        record = a_connection()
        record.flag = "UC"
        self.assertEqual(
            TextLines().connection(record, OFFSET),
            '[2022-03-28T23:09:53.748Z] "- - -" 0 UC 1000 2000 2500 0 "203.0.113.10" "-" "-" "-" "10.0.0.7:5432" '
            '"default/db" "db/0"\n')

    def test_nothing_is_known(self) -> None:
        """Bytes that were no request still have a line of the same form."""
        exchange = Exchange(Client(), RequestHead(b"", b"", b"", None, 1, b"", b"", None, [], 0, False), b"id", START, 9)
        exchange.response_code, exchange.flag = 400, "DPE"
        self.assertEqual(
            TextLines().http(exchange, OFFSET),
            '[2022-03-28T23:09:53.748Z] "- - HTTP/1.1" 400 DPE 9 0 0 - "203.0.113.10" "-" "id" "" "-" "-" "-"\n')

    def test_a_path_that_tries_to_begin_a_line(self) -> None:
        """Quotes and line feeds of a client are escaped."""
        line = TextLines().http(an_exchange(b'/"\r\n[2022] "GET / \x1b[2J\xff'), OFFSET)
        self.assertIn(r'"GET /\"\r\n[2022] \"GET / \u001b[2J\\xff HTTP/1.1"', line)
        self.assertEqual(line.count("\n"), 1)

    def test_an_ipv6_endpoint(self) -> None:
        """Its address stands in brackets."""
        exchange = an_exchange()
        exchange.endpoint = Endpoint(address="2001:db8::1")
        self.assertIn('"[2001:db8::1]:9001"', TextLines().http(exchange, OFFSET))

    def test_a_long_path(self) -> None:
        """The line is clipped."""
        line = TextLines().http(an_exchange(b"/" + b"x" * 30_000), OFFSET)
        self.assertLess(len(line), MAX_LINE)
        self.assertIn('xx... HTTP/1.1" 200 - 717 223', line)
