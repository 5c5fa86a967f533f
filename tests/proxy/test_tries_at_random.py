"""Whatever becomes of any number of tries, in whatever order: one answer, valid HTTP, nothing left (promises 1, 2, 4, 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, Wire, answers, requests
from voltgw.values.retry import RetryPlan

_CONDITIONS: Final = ("gateway-error", "connect-failure", "reset", "retriable-4xx", "retriable-status-codes")
_PLAN: Final = st.builds(
    RetryPlan, conditions=st.frozensets(st.sampled_from(_CONDITIONS)).map(lambda some: some or frozenset(("5xx",))),
    retries=st.integers(0, 4), per_try_timeout_s=st.sampled_from([0.0, 0.05, 0.3, 2.0]), statuses=st.just(frozenset((200, 429))),
    non_idempotent=st.booleans(), hedge=st.booleans())
#: What an endpoint may say next, whatever it has said before; what is usual stands there more often.
_SAID: Final = (
    EMPTY, EMPTY, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE[:-2], b"sy", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"cde",
    b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n",
    b"garbage\r\n\r\n", b"HTTP/1.1 503 B\r\nConnection: close\r\n\r\nuntil the end", b"HTTP/1.1 42",
    b"HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0 409 C\r\n\r\n")
_TIMES: Final = (0.0, 0.01, 0.06, 0.06, 0.35, 3.0, 31.0)
_BODY: Final = (b"2\r\nxy\r\n", b"2\r\nxy\r\n", b"0\r\n\r\n", b"z\r\n")
#: Each number chooses one of the things that can happen at that moment.
_CHOICES: Final = st.lists(st.integers(0, 1 << 20), min_size=12, max_size=40)

Event = Callable[[], object]


def closed_properly(client: Wire) -> bool:
    """Whether the gateway has closed this connection with FIN."""
    ended = client.reason is not None and client.reason.check(ConnectionDone) is not None
    return client.finished or ended


class _Bench(RetryCase):
    """A gateway for one example."""

    uploading = False                       # the first client's body is not complete

    def runTest(self) -> None:
        """Not a test of its own."""

    def body(self, client: Wire, piece: bytes) -> None:
        """More of a request's body."""
        self.uploading = piece != b"0\r\n\r\n"
        client.send(piece)

    def ready(self, number: int) -> None:
        """An endpoint comes or goes."""
        endpoint = self.cluster.endpoints[number]
        endpoint.ready = not endpoint.ready

    def possible(self, client: Wire) -> list[Event]:
        """What may happen now; endpoints that are at work most of all."""
        events: list[Event] = [partial(self.advance, seconds) for seconds in _TIMES]
        for dial in self.rig.dials:
            events += [dial.accept] * 8 + [dial.fail] * 4
        for origin in self.rig.origins:
            if not origin.gone and not origin._fin_come:
                if origin.protocol.downstream is not None:
                    events += [partial(origin.send, said) for said in _SAID]
                events += [origin.fin, origin.reset, origin.take if origin.stalled else origin.stall]
        if not client.gone:
            events += [client.reset, client.take if client.stalled else client.stall]
            if self.uploading and not self.records:
                events += [partial(self.body, client, piece) for piece in _BODY]
        return [*events, *(partial(self.ready, number) for number in range(self.endpoint_count))]


class TriesAtRandomTests(SynchronousTestCase):
    @examples(250)
    @given(_PLAN, st.sampled_from([b"GET", b"PUT", b"POST"]), st.booleans(), _CHOICES, st.sampled_from([0.0, 1.0]),
           st.sampled_from([1, 2, 1 << 30]))
    def test_one_answer_or_none(self, plan: RetryPlan, method: bytes, chunked: bool, choices: list[int], limit_s: float,
                                connections: int) -> None:
        """The client gets at most one final answer, whole or cut; each endpoint valid requests; every count ends at zero."""
        bench = _Bench()
        bench.setUp()
        bench.cluster.max_connections = connections
        bench.route.retry = plan
        bench.route.timeout_s = limit_s
        bench.uploading = chunked
        client = bench.client()
        client.send(method + b" / HTTP/1.1\r\nHost: a\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" if chunked else b"\r\n"))
        most = 1 + plan.retries + 1         # one more for a pooled connection that was stale
        for choice in choices:
            events = bench.possible(client)
            events[choice % len(events)]()
            bench.turn()
            active = [endpoint.active for endpoint in bench.cluster.endpoints]
            self.assertTrue(all(count >= 0 for count in active))
            self.assertLessEqual((bench.cluster.active, sum(active)), (1, most))
            self.assertLessEqual(bench.cluster.connections, connections)
        for origin in bench.rig.origins:
            self.assertLessEqual(len(requests(origin.written)), most)
        got = client.written
        try:
            found = answers(got, [method], closed=closed_properly(client)) if got else []
        except h11.RemoteProtocolError:
            self.fail(f"the client got what is not HTTP: {got!r}")
        final = [message for message in found if isinstance(message.start, int) and message.start >= 200]
        self.assertLessEqual(len(final), 1)
        self.assertLessEqual(len(bench.records), 1)
        for record in bench.records:
            self.assertLessEqual(record.attempts, most)
            self.assertEqual((bench.cluster.active, bench.cluster.retries), (0, 0))
            if final and final[0].whole:
                self.assertEqual(final[0].start, record.response_code)
        bench.check_nothing_left()


class WaitingAtRandomTests(SynchronousTestCase):
    @examples(200)
    @given(_PLAN, _CHOICES, st.integers(1, 3), st.integers(1, 4), st.booleans(), st.sampled_from([0.0, 2.0]))
    def test_nobody_is_forgotten(self, plan: RetryPlan, choices: list[int], connections: int, pending: int, keyed: bool,
                                 limit_s: float) -> None:
        """With few connections and many clients: limits hold, who waits does so only while there is no room, all counts end."""
        bench = _Bench()
        bench.setUp()
        cluster = bench.cluster
        cluster.max_connections, cluster.max_pending = connections, pending
        bench.route.retry = plan
        bench.route.timeout_s = limit_s
        if keyed:
            bench.route.hash_key = lambda exchange: exchange.request.path[-1]
        clients = [bench.client() for _ in range(6)]
        asked = [0] * 6

        def ask(number: int) -> None:
            asked[number] += 1
            clients[number].send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)

        for choice in choices:
            events = bench.possible(clients[0])
            for number, client in enumerate(clients):
                if not client.gone and not client.finished:
                    events += [partial(ask, number)] * 8 + [client.reset]
            events[choice % len(events)]()
            bench.turn()
            waiting = sum(len(queue) for queue in bench.rig.queues.values())
            used = cluster.connections + cluster.pending - waiting
            self.assertLessEqual((used, cluster.pending), (connections, pending))
            self.assertEqual(cluster.pending, waiting + len(bench.rig.dials))
            if waiting:
                self.assertEqual(used, connections, "there is room, and somebody waits")
                self.assertEqual(bench.idle(), 0, "a connection is idle, and somebody waits")
        for client, count in zip(clients, asked, strict=True):
            if client.written and not client.aborted and not client.gone:
                found = answers(client.written, [b"GET"] * count, closed=closed_properly(client))
                self.assertLessEqual(len([each for each in found if isinstance(each.start, int) and each.start >= 200]), count)
        bench.check_nothing_left()
        self.assertEqual(bench.rig.queues, {})
