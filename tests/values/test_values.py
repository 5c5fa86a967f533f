"""The other values: heads, exchanges, records, replies and reasons."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from voltgw.errors import Place
from voltgw.values.compiling import slots_of
from voltgw.values.exchange import Exchange
from voltgw.values.head import CHUNKED, FORWARDING, UNTIL_CLOSE, RequestHead, ResponseHead
from voltgw.values.reason import Reason
from voltgw.values.record import ConnectionRecord
from voltgw.values.reply import Reply


class Client:
    """As much of a client's side as an exchange looks at when it begins."""

    peer_address = "192.0.2.7"


def request() -> RequestHead:
    """``GET /a?b`` with three fields."""
    fields = [(b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    return RequestHead(b"GET", b"/a?b", b"/a", b"b", 1, b"Example.com:80", b"example.com", 80, fields, 0, True)


class HeadTests(SynchronousTestCase):
    def test_the_first_of_a_name(self) -> None:
        """`get` gives the first value; names are lower-case in a head, and another spelling is another name."""
        for head in (request(), ResponseHead(200, b"OK", 1, request().fields, 0, True)):
            self.assertEqual(head.get(b"cookie"), b"a=1")
            self.assertIs(head.get(b"Cookie"), None)
            self.assertIs(head.get(b"host"), None)

    def test_what_a_codec_has_not_said(self) -> None:
        """A new head has every slot set: the common case costs the codec nothing."""
        one, other = request(), request()
        for name in slots_of(RequestHead):
            getattr(one, name)
        self.assertEqual((one.expect_continue, one.forwarding, one.upgrade, one.connection), (False, None, None, []))
        self.assertIsNot(one.connection, other.connection)
        answer = ResponseHead(200, b"OK", 1, [], CHUNKED, True)
        for name in slots_of(ResponseHead):
            getattr(answer, name)
        self.assertEqual((answer.declared, answer.server, answer.dated, answer.upgrade), (-1, None, False, None))

    def test_lengths_that_are_none(self) -> None:
        """The marks for other framings are no lengths, and differ."""
        self.assertTrue(CHUNKED < 0 > UNTIL_CLOSE)
        self.assertNotEqual(CHUNKED, UNTIL_CLOSE)

    def test_forwarding_fields_are_spelt_as_in_a_head(self) -> None:
        """All lower-case, or the codec would never find them."""
        self.assertEqual(FORWARDING, {name.lower() for name in FORWARDING})


class ExchangeTests(SynchronousTestCase):
    def test_at_its_beginning(self) -> None:
        """The client is the peer, nothing was sent, nothing has happened; the authority is kept as the client wrote it."""
        exchange = Exchange(cast("Any", Client()), request(), b"id", 5.0, 99)
        for name in set(slots_of(Exchange)) - {
                "believed_scheme", "grpc_status", "held", "limit", "quota", "rollout", "trace"}:    # which only some ever have
            value = getattr(exchange, name)
            if name.startswith("t_") and name != "t_start":
                self.assertEqual(value, 0.0, name)
        self.assertEqual((exchange.client_address, exchange.bytes_in, exchange.bytes_out), ("192.0.2.7", 99, 0))
        self.assertEqual((exchange.response_code, exchange.attempts, exchange.flag, exchange.detail), (0, 0, "", ""))
        exchange.request.authority = b"rewritten"
        self.assertEqual(exchange.original_authority, b"Example.com:80")

    def test_a_record_at_its_beginning(self) -> None:
        """The same for a relayed connection."""
        record = ConnectionRecord(cast("Any", Client()), None, 5.0)
        self.assertEqual((record.t_start, record.t_end, record.t_upstream_connected), (5.0, 0.0, 0.0))
        self.assertEqual((record.bytes_in, record.bytes_out, record.attempts, record.flag), (0, 0, 0, ""))


class ReplyTests(SynchronousTestCase):
    def test_fields_are_its_own(self) -> None:
        """A reply without fields has a list that no other reply shares, so that a filter may add to it."""
        one, other = Reply(404), Reply(404)
        one.fields.append((b"x", b"y"))
        self.assertEqual(other.fields, [])

    def test_what_was_not_said(self) -> None:
        """No body, no flag, the connection stays."""
        reply = Reply(204)
        self.assertEqual((reply.body, reply.flag, reply.close, reply.negotiate), (b"", "", False, False))


class ReasonTests(SynchronousTestCase):
    def test_it_is_a_value(self) -> None:
        """Equal if it says the same, hashable, and it does not change under those who show it."""
        def made() -> Reason:
            return Reason("route", "taken", "prefix /a", Place("a.yaml", 3, 1), (Reason("host", "taken"),))

        self.assertEqual(made(), made())
        self.assertEqual(len({made(), made()}), 1)
        self.assertRaises(FrozenInstanceError, setattr, made(), "outcome", "refused")
