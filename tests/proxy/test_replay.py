"""Request bodies that are sent again: whole, half, as they come, and not at all when they are too long."""

from __future__ import annotations

from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, Wire, answer, requests
from voltgw.values.defaults import BODY_IDLE_TIMEOUT_S, MAX_PIPELINED_BYTES, MAX_REPLAY_BYTES

PUT = b"PUT / HTTP/1.1\r\nHost: shop\r\n"


def upload(size: int) -> bytes:
    """A head that announces so many bytes."""
    return PUT + b"Content-Length: %d\r\n\r\n" % size


class ReplayTests(RetryCase):
    def test_a_whole_body(self) -> None:
        """That came in one piece with its head, or in several, with a length or in chunks: the endpoints get the same."""
        for pieces in ([upload(4) + b"abcd"], [upload(4), b"ab", b"cd"], [upload(4) + b"a", b"bcd"],
                       [PUT + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"2;x=y\r\ncd\r\n0\r\n\r\n"]):
            client, first = self.ask(pieces[0])
            got = self.came
            for piece in pieces[1:]:
                client.send(piece)
                got += first.got()
            first.send(UNAVAILABLE)
            second = self.next_try()
            self.assertEqual(self.came, got)
            self.assertEqual([(message.body, message.whole) for message in requests(got)], [(b"abcd", True)])
            second.send(EMPTY)
            self.assertEqual(answer(client.got()).start, 200)
            self.assertEqual(self.records[-1].bytes_in, sum(map(len, pieces)) - (4 if b";x=y" in pieces[-1] else 0))

    def test_a_body_that_is_still_coming(self) -> None:
        """The connection fails or the endpoint says no early: the next one gets what there was, then the rest as it comes."""
        for end in (Wire.fin, Wire.reset, lambda wire: wire.send(UNAVAILABLE)):
            client, first = self.ask(upload(8) + b"ab")
            client.send(b"cd")
            end(first)
            client.send(b"ef")              # in the pause: it is held
            second = self.next_try()
            self.turn()
            self.assertEqual((first.gone, client.written), (True, b""))
            client.send(b"gh")
            data = self.came + second.got()
            self.assertEqual([message.body for message in requests(data)], [b"abcdefgh"])
            second.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual((answer(client.got()).start, client.gone), (200, False))
            self.turn()

    def test_twice(self) -> None:
        """What was sent again can be sent again."""
        client, origin = self.ask(upload(6) + b"a")
        client.send(b"b")
        origin.reset()
        origin = self.next_try()
        client.send(b"c")
        origin.reset()
        client.send(b"d")
        origin = self.next_try()
        client.send(b"ef")
        self.assertEqual(requests(self.came + origin.got())[0].body, b"abcdef")
        origin.send(EMPTY)
        self.assertEqual((answer(client.got()).start, self.records[0].bytes_in), (200, len(upload(6)) + 6))

    def test_the_bound(self) -> None:
        """Up to `MAX_REPLAY_BYTES` are kept, head included; with one more there is no other try, and nothing is kept."""
        head = upload(MAX_REPLAY_BYTES * 2)
        client, first = self.ask(head)
        room = MAX_REPLAY_BYTES - len(self.came)
        client.send(b"x" * room)
        protocol = client.protocol
        self.assertEqual(sum(map(len, (protocol._wire, *protocol._kept))), MAX_REPLAY_BYTES)
        client.send(b"y")
        self.assertEqual((protocol._wire, protocol._kept), (b"", []))
        first.send(UNAVAILABLE)
        self.turn()
        self.assertEqual((answer(client.got()).start, self.rig.dials, client.finished), (503, [], True))
        client, first = self.ask(head)
        client.send(b"x" * room)
        first.send(UNAVAILABLE)
        self.next_try()
        self.assertTrue(self.came.endswith(b"x" * room))

    def test_nothing_is_kept_for_nothing(self) -> None:
        """A body that may not be sent twice anyway costs no memory; with ``retry_non_idempotent`` it may."""
        for allowed in (False, True):
            self.plan("5xx", non_idempotent=allowed)
            client, first = self.ask(upload(100).replace(b"PUT", b"POST") + b"ab")
            client.send(b"cd")
            self.assertEqual(bool(client.protocol._kept), allowed)
            first.reset()
            self.turn()
            if allowed:
                self.next_try()
                self.assertTrue(self.came.endswith(b"\r\n\r\nabcd"))
            else:
                self.assertEqual((answer(client.got()).start, self.rig.dials), (502, []))

    def test_what_is_held_in_the_pause_is_bounded(self) -> None:
        """A client that goes on sending is not read any further, and read again afterwards."""
        self.plan("5xx", base_s=1.0, max_s=1.0)
        client, first = self.ask(upload(1_000_000))
        first.send(UNAVAILABLE)
        for _ in range(40):
            client.send(b"x" * 5000)
        self.assertFalse(client.reading)
        self.assertLessEqual(len(client.protocol._held), MAX_PIPELINED_BYTES + 5000)
        second = self.next_try()
        self.turn()
        self.assertTrue(client.reading)
        self.assertEqual(len((self.came + second.got()).partition(b"\r\n\r\n")[2]), 200_000)

    def test_the_client_is_not_blamed_for_the_pause(self) -> None:
        """Its time between two body bytes begins again with the next try."""
        self.plan("5xx", base_s=10.0, max_s=10.0)
        client, first = self.ask(upload(4) + b"ab")
        self.advance(BODY_IDLE_TIMEOUT_S - 2)
        first.send(UNAVAILABLE)
        second = self.next_try()
        self.advance(BODY_IDLE_TIMEOUT_S - 2)
        self.assertEqual(client.written, b"")
        client.send(b"cd")
        second.send(EMPTY)
        self.assertEqual(answer(client.got()).start, 200)

    def test_an_expectation(self) -> None:
        """Once a 100 has gone to the client there is no other try; before that there is, with its expectation."""
        expect = PUT + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        client, first = self.ask(expect)
        first.send(UNAVAILABLE)
        second = self.next_try()
        self.assertIn(b"\r\nexpect: 100-continue\r\n", self.came)
        second.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(client.got(), b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"abcd")
        second.send(UNAVAILABLE)
        self.assertEqual((answer(client.got()).start, self.rig.dials), (503, []))

    def test_a_bad_chunk_in_the_pause(self) -> None:
        """It is found when the body goes on: 400, and the next endpoint never takes the body for whole."""
        client, first = self.ask(PUT + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        first.reset()
        client.send(b"zz\r\n")
        second = self.next_try()
        self.turn()
        self.assertEqual((answer(client.got()).start, second.aborted, client.finished), (400, True, True))
        self.assertFalse(requests(self.came + second.got())[0].whole)

    def test_the_client_leaves_while_it_is_sent_again(self) -> None:
        """Half a body on the second connection: cut."""
        client, first = self.ask(upload(8) + b"ab")
        first.reset()
        second = self.next_try()
        client.reset()
        self.assertTrue(second.aborted)
