"""HTTP/2 connections (RFC 9113): conversations with the h2 library as judge, cuts, windows, states and their errors."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.h2rig import GET, POST, Bench, Record, data, frame, split
from voltgw.wire import h2frames as frames
from voltgw.wire.h2frames import PREFACE, header, headers, ping, rst_stream, settings, window_update
from voltgw.wire.h2heads import connect_fields, response_fields
from voltgw.wire.h2limits import Limits
from voltgw.wire.http2 import Client, Server

OK = response_fields(200, [(b"server", b"voltgw")])


def judge(client: bool) -> h2.connection.H2Connection:
    """The other side, by the library."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=None))
    connection.initiate_connection()
    return connection


def talk(ours: Server | Client, other: h2.connection.H2Connection) -> list[h2.events.Event]:
    """Both sides say all that they have to say; what the library has heard."""
    events: list[h2.events.Event] = []
    while True:
        out = other.data_to_send()
        if out:
            ours.receive(out, 1.0)
        answer = ours.take()
        if answer:
            events += other.receive_data(answer)
        if not out and not answer:
            return events


def only(events: list[h2.events.Event], kind: type[Any]) -> list[Any]:
    """Those of a kind."""
    return [event for event in events if isinstance(event, kind)]


class ConversationTests(SynchronousTestCase):
    def test_requests_to_us(self) -> None:
        """The library's client asks with and without body and trailers, and hears what we answer."""
        handler = Record()
        server = handler.connection = Server(handler, Limits())
        client = judge(True)
        client.send_headers(1, GET, end_stream=True)
        client.send_headers(3, [*POST, (b"content-length", b"5"), (b"cookie", b"a=b"), (b"cookie", b"c=d")])
        client.send_data(3, b"hello", end_stream=False, pad_length=7)
        client.send_headers(3, [(b"x-sum", b"1")], end_stream=True)
        talk(server, client)
        self.assertEqual(handler.log, [
            ("settings",), ("request", 1, b"GET", b"/x?y=1", b"a.example", (), 0, True),
            ("request", 3, b"POST", b"/x?y=1", b"a.example", ((b"cookie", b"a=b; c=d"),), 5, False),
            ("data", 3, b"hello", False), ("trailers", 3, ((b"x-sum", b"1"),))])
        server.send_head(handler.streams[1], response_fields(103, [(b"link", b"x")]), False)
        server.send_head(handler.streams[1], OK, False)
        server.send_data(handler.streams[1], b"x" * 100000)
        server.send_trailers(handler.streams[1], [(b"grpc-status", b"0")])
        server.send_head(handler.streams[3], OK, True)
        events = []
        for _ in range(9):
            more = talk(server, client)
            for event in only(more, h2.events.DataReceived):
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            events += more
        self.assertEqual(sum(len(event.data) for event in only(events, h2.events.DataReceived)), 100000)
        self.assertEqual([event.headers for event in only(events, h2.events.TrailersReceived)], [[(b"grpc-status", b"0")]])
        self.assertEqual(len(only(events, h2.events.InformationalResponseReceived)), 1)
        self.assertEqual(sorted(event.stream_id for event in only(events, h2.events.StreamEnded)), [1, 3])
        self.assertEqual(server.streams, {})
        self.assertIn(("drained", 1), handler.log)

    def test_requests_from_us(self) -> None:
        """The library's server gets what our client asks, and we hear its answers, however large."""
        handler = Record()
        client = handler.connection = Client(handler, Limits())
        server = judge(False)
        talk(client, server)
        first = client.open(b"GET", b"https", b"a.example", b"/", [(b"user-agent", b"x")], True)
        second = client.open(b"POST", b"https", b"a.example", b"/up", [], False)
        self.assertFalse(client.send_data(second, b"y" * 200000, True))
        events = []
        for _ in range(20):
            more = talk(client, server)
            for event in only(more, h2.events.DataReceived):
                server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            events += more
        self.assertEqual([event.headers for event in only(events, h2.events.RequestReceived)], [
            [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/"), (b"user-agent", b"x")],
            [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/up")]])
        self.assertEqual(sum(len(event.data) for event in only(events, h2.events.DataReceived)), 200000)
        server.send_headers(first.id, [(b":status", b"103"), (b"link", b"x")])
        server.send_headers(first.id, [(b":status", b"200"), (b"content-length", b"3")])
        server.send_data(first.id, b"abc", end_stream=True)
        server.send_headers(second.id, [(b":status", b"204")], end_stream=True)
        talk(client, server)
        self.assertEqual(handler.log[-4:], [
            ("response", 1, 103, ((b"link", b"x"),), 0, False), ("response", 1, 200, (), 3, False), ("data", 1, b"abc", True),
            ("response", 3, 204, (), 0, True)])
        self.assertEqual(client.streams, {})

    def test_large_heads(self) -> None:
        """Heads beyond a frame go in CONTINUATION frames, both ways (6.10)."""
        handler = Record()
        server = handler.connection = Server(handler, Limits())
        client = judge(True)
        talk(server, client)
        large = [(b"x-%d" % number, b"\xff%d" % number * 1000) for number in range(8)]
        client.send_headers(1, [*GET, *large], end_stream=True)
        talk(server, client)
        self.assertEqual(handler.log[-1][5], tuple(large))
        server.send_head(handler.streams[1], [*OK, *large], True)
        events = talk(server, client)
        self.assertEqual(only(events, h2.events.ResponseReceived)[0].headers[2:], large)

    def test_cut_at_every_offset(self) -> None:
        """A conversation means the same whole, byte by byte, and cut anywhere."""
        bench = Bench()
        conversation = b"".join((
            PREFACE, settings({4: 100000}), bench.head(1), bench.head(3, POST, False), data(3, b"abc", padding=3), ping(b"12345678"),
            window_update(0, 5), data(3, b"def"), headers(5, bench.block([*POST, (b"x", b"y" * 40)]), 0, 20), rst_stream(5, 8),
            headers(3, bench.block([(b"x-t", b"1")]), 1, 1 << 14), frame(99, 0, 0, b"?"), frames.goaway(0, 0)))

        def heard(*pieces: bytes) -> tuple[list[tuple[Any, ...]], bytes]:
            handler = Record()
            server = handler.connection = Server(handler, Limits())
            for piece in pieces:
                server.receive(piece, 1.0)
            return handler.log, server.take()

        whole = heard(conversation)
        self.assertEqual([each[0] for each in whole[0]],
                         ["settings", "request", "request", "data", "request", "reset", "trailers", "goaway"])
        for place in range(1, len(conversation)):
            self.assertEqual(heard(conversation[:place], conversation[place:]), whole, place)
        self.assertEqual(heard(*(conversation[place:place + 1] for place in range(len(conversation)))), whole)

    def test_graceful_end(self) -> None:
        """After the first GOAWAY new streams are taken, after the last they are ignored and old ones end (6.8)."""
        bench = Bench()
        bench.connection.announce_end()
        bench.receive(bench.head(1, POST, False))
        bench.connection.go_away()
        bench.receive(bench.head(3, POST, False), data(3, b"x", True), data(1, b"y", True))
        self.assertEqual([each[:2] for each in bench.log], [("request", 1), ("data", 1)])
        goaways = [payload for kind, _, _, payload in bench.sent() if kind == frames.GOAWAY]
        self.assertEqual(goaways, [b"\x7f\xff\xff\xff" + bytes(4), b"\0\0\0\1" + bytes(4)])

    def test_goaway_to_us(self) -> None:
        """Streams that the server leaves out may be sent again, the others go on, new ones are not opened."""
        bench = Bench(client=True)
        for _ in range(3):
            bench.connection.open(b"GET", b"http", b"a", b"/", [], True)
        bench.receive(frames.goaway(3, 0, b"bye"), bench.head(1, [(b":status", b"200")]))
        self.assertEqual(bench.log, [("reset", 5, frames.REFUSED_STREAM, False), ("goaway", 3, 0),
                                     ("response", 1, 200, (), 0, True)])
        self.assertFalse(bench.connection.can_open)

    def test_extended_connect(self) -> None:
        """It is announced, comes as an upgrade, and carries data both ways (RFC 8441)."""
        bench = Bench(Limits(extended_connect=True))
        self.assertEqual(frames.read_settings(split(bench.first)[0][3])[8], 1)
        bench.receive(bench.head(1, connect_fields(b"websocket", b"https", b"a", b"/", []), False), data(1, b"x" * 9))
        self.assertEqual([each[0] for each in bench.log], ["request", "data"])
        self.assertEqual(bench.handler.streams[1].protocol, b"websocket")
        client = Bench(client=True, peer={8: 1})
        self.assertTrue(client.connection.peer_extended_connect)
        stream = client.connection.connect(connect_fields(b"websocket", b"https", b"a", b"/", []))
        client.receive(client.head(1, [(b":status", b"200")], False), data(1, b"y"))
        self.assertEqual((stream.local_ended, [each[0] for each in client.log]), (False, ["response", "data"]))


class WindowTests(SynchronousTestCase):
    def test_data_waits_for_windows(self) -> None:
        """Nothing beyond the stream's or the connection's window leaves; updates and settings let more go (6.9)."""
        bench = Bench(peer={frames.INITIAL_WINDOW_SIZE: 10})
        bench.receive(bench.head(1))
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        self.assertFalse(bench.connection.send_data(stream, b"x" * 30, True))
        sizes = [len(payload) for kind, _, _, payload in bench.sent() if kind == frames.DATA]
        for grant in (window_update(1, 5), settings({frames.INITIAL_WINDOW_SIZE: 12}), settings({frames.INITIAL_WINDOW_SIZE: 0}),
                      window_update(1, 20), settings({frames.INITIAL_WINDOW_SIZE: 100})):
            bench.receive(grant)
            sizes.append(sum(len(payload) for kind, _, _, payload in bench.sent() if kind == frames.DATA))
        self.assertEqual(sizes, [10, 5, 2, 0, 8, 5])
        self.assertEqual((bench.log[-1], bench.connection.streams), (("drained", 1), {}))

    def test_the_end_needs_no_window(self) -> None:
        """An empty DATA frame ends a stream whose window is used up or negative (6.9.1)."""
        bench = Bench(peer={frames.INITIAL_WINDOW_SIZE: 4})
        bench.receive(bench.head(1))
        stream = bench.handler.streams[1]
        bench.connection.send_head(stream, OK, False)
        self.assertTrue(bench.connection.send_data(stream, b"abcd"))
        bench.receive(settings({frames.INITIAL_WINDOW_SIZE: 1}))
        self.assertTrue(bench.connection.send_data(stream, b"", True))
        self.assertEqual(bench.sent()[-1], (frames.DATA, frames.END_STREAM, 1, b""))

    def test_what_is_read_may_come_again(self) -> None:
        """Windows grow by what has gone on, and by padding and ignored bodies at once; not by what lies about."""
        bench = Bench(Limits(stream_window_bytes=1000, window_bytes=70000), eager=False)
        bench.receive(bench.head(1, POST, False), data(1, b"x" * 500), data(1, b"", padding=200))
        stream = bench.handler.streams[1]
        bench.sent()
        bench.connection.consumed(stream, 299)
        self.assertEqual(bench.sent(), [(frames.WINDOW_UPDATE, 0, 1, b"\0\0\x01\xf4")])
        bench.connection.consumed(stream, 10000)
        self.assertEqual((stream.unread, bench.sent()), (0, []))
        bench.connection.ignore(stream)
        bench.receive(data(1, b"x" * 400))
        self.assertEqual(len(bench.sent()), 1)
        self.assertEqual([each[0] for each in bench.log], ["request", "data"])

    def test_too_much(self) -> None:
        """More than the stream's window costs the stream, more than the connection's the connection (6.9.1)."""
        bench = Bench(Limits(stream_window_bytes=100, window_bytes=65535), eager=False)
        bench.receive(bench.head(1, POST, False), data(1, b"x" * 101))
        self.assertEqual(bench.codes(), [(1, frames.FLOW_CONTROL_ERROR)])
        bench = Bench(Limits(stream_window_bytes=60000, window_bytes=65535), eager=False)
        bench.receive(bench.head(1, POST, False), bench.head(3, POST, False),
                      *(data(stream_id, b"x" * 11000) for stream_id in (1, 3) * 3))
        self.assertEqual(bench.codes(), [(0, frames.FLOW_CONTROL_ERROR)])

    def test_a_reset_gives_the_connection_its_window_back(self) -> None:
        """What was not read of a stream that is reset does not count for ever, nor what still comes for it."""
        bench = Bench(Limits(window_bytes=70000), eager=False)
        for stream_id in range(1, 41, 2):
            bench.receive(bench.head(stream_id, POST, False), data(stream_id, b"x" * 10000))
            bench.connection.reset(bench.handler.streams[stream_id], frames.CANCEL)
            bench.receive(data(stream_id, b"x" * 10000, True))
            bench.connection.take()
        self.assertIsNone(bench.connection.fault)

    def test_turns(self) -> None:
        """Equals take turns frame by frame; urgent ones go first; one that says so is not cut up (RFC 9218)."""
        def order(*priorities: bytes) -> list[int]:
            bench = Bench(peer={frames.INITIAL_WINDOW_SIZE: 0})
            for number, priority in enumerate(priorities):
                extra = [(b"priority", priority)] if priority else []
                bench.receive(bench.head(2 * number + 1, [*GET, *extra]))
                stream = bench.handler.streams[2 * number + 1]
                bench.connection.send_head(stream, OK, False)
                bench.connection.send_data(stream, b"x" * 20000, True)
            bench.receive(settings({frames.INITIAL_WINDOW_SIZE: 60000}), window_update(0, 1 << 20))
            return [stream_id for kind, _, stream_id, _ in bench.sent() if kind == frames.DATA]

        self.assertEqual(order(b"", b""), [1, 3, 1, 3])
        self.assertEqual(order(b"", b"u=1"), [3, 3, 1, 1])
        self.assertEqual(order(b"u=3", b"u=3, i", b""), [1, 1, 3, 5, 3, 5])
        bench = Bench()
        bench.receive(bench.head(1), frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=0, i"))
        self.assertEqual((bench.handler.streams[1].urgency, bench.handler.streams[1].incremental), (0, True))

    def test_data_does_not_pile_up(self) -> None:
        """While nobody takes what there is, data stays with its stream and its source is told."""
        bench = Bench(peer={frames.INITIAL_WINDOW_SIZE: 1 << 20})
        bench.receive(bench.head(1), window_update(0, 1 << 20))
        stream = bench.handler.streams[1]
        answers = [bench.connection.send_data(stream, b"x" * 16000) for _ in range(8)]
        self.assertEqual(answers, [True] * 5 + [False] * 3)
        self.assertEqual(sum(len(payload) for kind, _, _, payload in bench.sent() if kind == frames.DATA), 128000)
        self.assertEqual(bench.log[-1], ("drained", 1))


class ErrorTests(SynchronousTestCase):
    def ended(self, *pieces: bytes, client: bool = False, streams: int = 0) -> list[tuple[int, int]]:
        """What the peer is told, (stream, code) each, stream 0 for GOAWAY."""
        bench = Bench(client=client)
        for _ in range(streams):
            bench.connection.open(b"GET", b"http", b"a", b"/", [], True)
        bench.sent()
        bench.receive(*pieces)
        codes = bench.codes()
        self.assertEqual(bench.connection.fault is not None, any(not stream for stream, _ in codes))
        return codes

    def test_errors_of_the_connection(self) -> None:
        """Each with the code that RFC 9113 names; nothing is heard after it."""
        bench = Bench()
        head, post = bench.head(1), Bench().head(3, POST, False)
        fragment = header(3, frames.HEADERS, 0, 1) + head[9:12]
        protocol, size, flow, closed = 1, 6, 3, 5
        for name, pieces, code in (
            ("4.2 too large", (header(16385, 0, 0, 1),), size),
            ("4.3 compression", (frame(1, 5, 1, b"\xff\xff\xff"),), frames.COMPRESSION_ERROR),
            ("5.1 DATA, idle", (data(1, b"x"),), protocol), ("5.1 RST_STREAM, idle", (rst_stream(1, 8),), protocol),
            ("5.1 WINDOW_UPDATE, idle", (window_update(1, 1),), protocol), ("5.1.1 even", (frame(1, 5, 2, head[9:]),), protocol),
            ("5.1.1 smaller", (frame(1, 5, 7, head[9:]), frame(1, 5, 5, b"\x82")), protocol),
            ("6.1 DATA on 0", (data(0, b"x"),), protocol), ("6.1 padding", (post, frame(0, 8, 3, b"\x02x")), protocol),
            ("6.2 HEADERS on 0", (frame(1, 5, 0, head[9:]),), protocol), ("6.2 padding", (frame(1, 13, 1, b"\x09" + head[9:12]),), protocol),
            ("6.2 no padding", (frame(1, 13, 1, b""),), size), ("6.2 no priority", (frame(1, 0x25, 1, b"\0\0"),), size),
            ("6.3 PRIORITY on 0", (frame(2, 0, 0, bytes(5)),), protocol), ("6.4 on 0", (rst_stream(0, 8),), protocol),
            ("6.4 size", (head, frame(3, 0, 1, b"\0\0\0")), size), ("6.5 on 1", (frame(4, 0, 1, b""),), protocol),
            ("6.5 size", (frame(4, 0, 0, b"\0" * 5),), size), ("6.5 ACK", (frame(4, 1, 0, b"\0" * 6),), size),
            ("6.5.2 push", (settings({2: 2}),), protocol), ("6.5.2 window", (settings({4: 1 << 31}),), flow),
            ("6.5.2 frame", (settings({5: 16383}),), protocol), ("6.5.2 frame", (settings({5: 1 << 24}),), protocol),
            ("RFC 8441 3", (settings({8: 2}),), protocol), ("RFC 8441 3", (settings({8: 1}), settings({8: 0})), protocol),
            ("6.6 PUSH_PROMISE", (frame(5, 4, 1, bytes(5)),), protocol), ("6.7 on 1", (frame(6, 0, 1, bytes(8)),), protocol),
            ("6.7 size", (frame(6, 0, 0, bytes(7)),), size), ("6.8 on 1", (frame(7, 0, 1, bytes(8)),), protocol),
            ("6.8 size", (frame(7, 0, 0, bytes(7)),), size), ("6.9 size", (frame(8, 0, 0, bytes(3)),), size),
            ("6.9 by 0", (window_update(0, 0),), protocol), ("6.9.1", (window_update(0, (1 << 31) - 1),), flow),
            ("6.9.2", (head, window_update(1, (1 << 31) - 1 - 65535), settings({4: 65536})), flow),
            ("6.10 alone", (frame(9, 4, 1, b""),), protocol), ("6.10 other stream", (fragment, frame(9, 4, 3, b"")), protocol),
            ("6.10 other frame", (fragment, ping(bytes(8))), protocol), ("6.10 unknown frame", (fragment, frame(99, 0, 0, b"")), protocol),
            ("9218 on 1", (frame(16, 0, 1, bytes(4)),), protocol), ("9218 size", (frame(16, 0, 0, bytes(3)),), size),
            ("9218 stream 0", (frame(16, 0, 0, bytes(4)),), protocol),
            ("5.1 closed by a reset", (head, rst_stream(1, 8), data(1, b"x")), closed),
            ("5.1 closed by a reset", (head, rst_stream(1, 8), frame(1, 5, 1, b"\x82")), closed),
        ):
            self.assertEqual(self.ended(*pieces, ping(b"notheard")), [(0, code)], name)

    def test_errors_of_a_stream(self) -> None:
        """They cost the stream and nothing else; what still comes for it is ignored (5.4.2)."""
        bench = Bench()
        head, post = bench.head(1, POST), bench.head(3, [*POST, (b"content-length", b"3")], False)
        trailers, again = bench.head(3, [(b"a", b"b")]), bench.head(3, [(b"a", b"b")], False)
        for name, pieces, expected in (
            ("5.1 DATA behind the end", (head, data(1, b"x")), (1, frames.STREAM_CLOSED)),
            ("5.1 HEADERS behind the end", (head, post, frame(1, 5, 1, b"\x82")), (1, frames.STREAM_CLOSED)),
            ("6.3 size", (head, frame(2, 0, 1, bytes(4))), (1, frames.FRAME_SIZE_ERROR)),
            ("6.9 by 0", (head, window_update(1, 0)), (1, frames.PROTOCOL_ERROR)),
            ("6.9.1", (head, window_update(1, (1 << 31) - 1)), (1, frames.FLOW_CONTROL_ERROR)),
            ("8.1 no end", (head, post, again, data(3, b"x")), (3, frames.PROTOCOL_ERROR)),
            ("8.1.1 longer", (head, post, data(3, b"abcd"), data(3, b"x")), (3, frames.PROTOCOL_ERROR)),
            ("8.1.1 shorter", (head, post, data(3, b"ab", True)), (3, frames.PROTOCOL_ERROR)),
            ("8.1.1 shorter, trailers", (head, post, data(3, b"ab"), trailers, data(3, b"x")), (3, frames.PROTOCOL_ERROR)),
            ("8.2 upper case", (head, frame(1, 5, 3, b"\x82\x87\x84\x01\x01a\x00\x01X\x01y")), (3, frames.PROTOCOL_ERROR)),
        ):
            self.assertEqual(self.ended(*pieces), [expected], name)

    def test_what_is_no_error(self) -> None:
        """Frames that may cross ours, of unknown types, with the reserved bit or unknown flags, and old priorities (5.5, 4.1)."""
        bench = Bench()
        head = bench.head(1, POST, False)
        bench.receive(
            head, frame(99, 255, 1, b"x"), frame(2, 0, 77, bytes(5)), settings({77: 1}), header(8, 6, 0xFE, 1 << 31) + bytes(8),
            frame(0, 0xF6, 1, b"ab"), frame(frames.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x63u=1"))
        bench.connection.reset(bench.handler.streams[1], frames.CANCEL)
        bench.receive(data(1, b"x"), window_update(1, 1), window_update(1, 0), rst_stream(1, 8), bench.head(1, [(b"a", b"b")]))
        self.assertIsNone(bench.connection.fault)
        bench.receive(frame(1, 0x2D, 3, b"\x02" + bytes(5) + bench.block(GET) + bytes(2)))
        self.assertEqual([each[0] for each in bench.log], ["request", "settings", "data", "request"])

    def test_the_beginning(self) -> None:
        """A preface, then SETTINGS, from either side (3.4)."""
        for pieces in ((b"GET / HTTP/1.1\r\n\r\n",), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r",), (PREFACE, ping(bytes(8))),
                       (PREFACE, frames.SETTINGS_ACK)):
            handler = Record()
            server = Server(handler, Limits())
            server.receive(b"".join(pieces), 1.0)
            self.assertEqual(handler.log, [("fault", frames.PROTOCOL_ERROR)])
        handler = Record()
        client = Client(handler, Limits())
        self.assertTrue(client.take().startswith(PREFACE))
        client.receive(ping(bytes(8)), 1.0)
        self.assertEqual(handler.log, [("fault", frames.PROTOCOL_ERROR)])

    def test_servers_that_break_rules(self) -> None:
        """Promises, answers to nothing, data before the head, and answers that are none."""
        answer = Bench().head(1, [(b":status", b"200")], False)
        for name, pieces, expected in (
            ("8.4 push", (frame(5, 4, 1, b"\0\0\0\2\x82"),), (0, 1)), ("6.5.2", (settings({2: 1}),), (0, 1)),
            ("5.1.1 a stream of its own", (frame(1, 5, 2, answer[9:]),), (0, 1)),
            ("5.1 idle", (frame(1, 5, 9, answer[9:]),), (0, 1)), ("9218", (frame(16, 0, 0, bytes(5)),), (0, 1)),
            ("8.1 data first", (data(1, b"x"),), (1, 1)), ("8.1 twice", (answer, frame(1, 4, 1, answer[9:])), (1, 1)),
            ("8.1.1", (frame(1, 4, 1, b"\x89"), data(1, b"x")), (1, 1)), ("8.6", (frame(1, 4, 1, b"\x08\x03101"),), (1, 1)),
        ):
            self.assertEqual(self.ended(*pieces, client=True, streams=1), [expected], name)

    def test_nothing_is_sent_on_streams_that_are_over(self) -> None:
        """Whoever learns late that a stream has ended does no harm."""
        bench = Bench()
        bench.receive(bench.head(1), rst_stream(1, 8))
        stream = bench.handler.streams[1]
        bench.sent()
        bench.connection.send_head(stream, OK, False)
        self.assertTrue(bench.connection.send_data(stream, b"x", True))
        self.assertTrue(bench.connection.send_trailers(stream, []))
        bench.connection.reset(stream, 8)
        bench.connection.consumed(stream, 5)
        self.assertEqual((bench.sent(), bench.log[-1]), ([], ("reset", 1, 8, False)))
