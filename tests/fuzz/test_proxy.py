"""Fuzz targets of the whole HTTP path: whatever clients and endpoints send, the other side gets valid HTTP, in order,
or nothing."""

from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.proxy.rig import EMPTY, GET, ProxyCase, answers, requests

_FIELDS = st.sampled_from([
    b"", b"", b"X-A: b\r\n", b"Connection: close\r\n", b"Connection: X-A, keep-alive\r\nX-A: 1\r\n",
    b"X-Forwarded-For: 1\r\n", b"Expect: 100-continue\r\n",
    b"X_Y: 1\r\n", b"TE: trailers\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n", b"Content-Length : 3\r\n",
    b"X: a\nb\r\n", b"X: a\r b\r\n", b" X: y\r\n", b"Host: b\r\n",
])
_STARTS = st.sampled_from([
    b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST /a/../b HTTP/1.1\r\nHost: a\r\n", b"HEAD /?q HTTP/1.1\r\nHost: a:80\r\n",
    b"PUT / HTTP/1.0\r\n",
    b"GET http://x/ HTTP/1.1\r\nHost: a\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\n",
])
_BODIES = st.sampled_from([b"", b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;x\r\nabc\r\n0\r\nA: b\r\n\r\n",
                           b"0\r\n\r\n", b"z\r\n", GET, b"\r\n", b"\n", b"\0"])
_REQUEST = st.builds(lambda start, fields, body: start + b"".join(fields) + b"\r\n" + body, _STARTS,
                     st.lists(_FIELDS, max_size=2), _BODIES)
_STREAM = st.lists(_REQUEST, min_size=1, max_size=5).map(b"".join)
_CUTS = st.lists(st.integers(0, 400), max_size=8)

_ANSWER = st.builds(
    lambda start, fields, body: start + b"".join(fields) + b"\r\n" + body,
    st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 X\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 304 X\r\n",
                     b"HTTP/1.1 103 E\r\n", b"HTTP/1.1 100 C\r\n",
                     b"HTTP/1.1 101 S\r\n", b"HTTP/1.1 999 X\r\n", b"garbage\r\n", b""]),
    st.lists(st.sampled_from([b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
                              b"Connection: close\r\n", b"X-A: b\r\n",
                              b"Date: x\r\n", b"Set-Cookie: a\r\n", b"X: a\nb\r\n", b"Server: s\r\n"]), max_size=3),
    st.sampled_from([b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nab", b"0\r\nA: b\r\n\r\n", b"z\r\n",
                     EMPTY]),
)


class _Bench(ProxyCase):
    """A gateway for one example; `end` checks what a test's end checks."""

    def runTest(self) -> None:
        """Not a test of its own."""

    def end(self) -> None:
        """Everybody leaves."""
        self.check_nothing_left()


def _bench() -> _Bench:
    bench = _Bench()
    bench.setUp()
    return bench


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(borders) if begin < end]


class ClientBytesFuzz(SynchronousTestCase):
    @examples(150)
    @given(_STREAM, _CUTS)
    def test_the_endpoint_only_ever_gets_whole_valid_requests(self, stream: bytes, places: list[int]) -> None:
        """h11 reads what arrives as a sequence of requests, one for each that the record says was forwarded (promises
        1, 2).

        The client gets as many answers, in order, however its bytes were cut.
        """
        results = []
        for pieces in ([stream], _cut(stream, places)):
            bench = _bench()
            client = bench.client()
            seen: list[tuple[int | bytes, bytes, bytes]] = []
            for piece in [*pieces, None]:
                if piece is not None and not client.gone:
                    client.send(piece)
                for _ in range(20):
                    bench.turn()
                    while bench.rig.dials:
                        bench.accept()
                    busy = [origin for origin in bench.rig.origins if origin.written and not origin.gone]
                    if not busy:
                        break
                    origin = busy[0]
                    messages = requests(origin.written)
                    if not messages[-1].whole:
                        break
                    assert len(messages) == 1, "a second request before the first was answered"
                    seen += [(message.start, message.target, message.body) for message in messages]
                    origin.clear()
                    origin.send(EMPTY)
            starts = [record.response_code for record in bench.records]
            client_got = client.written
            bench.end()
            for origin in bench.rig.origins:
                requests(origin.written)    # a beginning of a request, or nothing
            forwarded = [record for record in bench.records if record.response_code == 200]
            self.assertEqual(len(forwarded), len(seen))
            methods = [record.request.method or b"GET" for record in bench.records if record.response_code]
            found = answers(client_got, methods or [b"GET"], closed=True) if client_got else []
            self.assertEqual([message.start for message in found], [code for code in starts if code])
            # A piece may be refused for another reason than the whole; that it is refused does not change.
            results.append((seen,
                            ["refused" if record.flag == "DPE" else record.response_code for record in bench.records]))
        self.assertEqual(results[0], results[1])


class EndpointBytesFuzz(SynchronousTestCase):
    @examples(150)
    @given(st.lists(_ANSWER, min_size=1, max_size=3).map(b"".join), _CUTS,
           st.sampled_from([GET, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
                                                                                          b"GET / HTTP/1.0\r\n\r\n"]),
                                                                                          st.booleans())
    def test_the_client_only_ever_gets_one_valid_answer(self, stream: bytes, places: list[int], request: bytes,
                                                        fin: bool) -> None:
        """h11 reads what arrives as (the beginning of) one answer; a part is followed by a cut, never by a proper end
        (promise 4)."""
        bench = _bench()
        client, origin = bench.asked(request)
        for piece in _cut(stream, places):
            if not origin.gone:
                origin.send(piece)
        if not origin.gone and fin:
            origin.fin()
        bench.turn()
        method = request.partition(b" ")[0]
        got = client.written
        try:
            found = answers(got, [method], closed=(client.finished or client.gone) and not client.aborted)
        except h11.RemoteProtocolError:
            self.fail(f"the client got what is not HTTP: {got!r}")
        final = [message for message in found if isinstance(message.start, int) and message.start >= 200]
        self.assertLessEqual(len(final), 1)
        if bench.records and not client.aborted:
            self.assertEqual([message.whole for message in final], [True])
            self.assertEqual(final[0].start, bench.records[0].response_code)
        if client.aborted:
            self.assertNotEqual(bench.records[0].flag, "")
        bench.end()
