"""Whatever becomes of any number of tries, in whatever order: one answer, valid HTTP, nothing left (promises 1, 2, 4, 5)."""

from __future__ import annotations

from typing import Final

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.proxy.retrying import UNAVAILABLE, RetryCase
from tests.proxy.rig import EMPTY, Wire, answers, requests
from voltgw.errors import ConnectFailed
from voltgw.values.retry import RetryPlan

_CONDITIONS: Final = ("5xx", "gateway-error", "connect-failure", "reset", "retriable-4xx", "retriable-status-codes")
_PLAN: Final = st.builds(
    RetryPlan, conditions=st.frozensets(st.sampled_from(_CONDITIONS), min_size=1), retries=st.integers(0, 4),
    per_try_timeout_s=st.sampled_from([0.0, 0.05, 0.3, 2.0]), statuses=st.just(frozenset((200, 429))),
    non_idempotent=st.booleans(), hedge=st.booleans())
#: What an endpoint may say next, whatever it has said before.
_SAID: Final = st.sampled_from([
    EMPTY, UNAVAILABLE, UNAVAILABLE[:-2], b"sy", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"cde",
    b"HTTP/1.1 503 B\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n",
    b"HTTP/1.1 100 C\r\n\r\n", b"garbage\r\n\r\n", b"HTTP/1.1 503 B\r\nConnection: close\r\n\r\nuntil the end", b"HTTP/1.1 42",
    b"HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0 409 C\r\n\r\n"])
_EVENT: Final = st.one_of(
    st.tuples(st.just("dial"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("say"), st.integers(0, 5), _SAID),
    st.tuples(st.sampled_from(["fin", "reset", "stall", "take"]), st.integers(0, 5), st.none()),
    st.tuples(st.just("body"), st.sampled_from([b"2\r\nxy\r\n", b"0\r\n\r\n", b"z\r\n"]), st.none()),
    st.tuples(st.just("time"), st.sampled_from([0.0, 0.01, 0.06, 0.35, 3.0, 31.0]), st.none()),
    st.tuples(st.sampled_from(["down", "up"]), st.integers(0, 2), st.none()),
    st.tuples(st.sampled_from(["leave", "client stalls", "client takes"]), st.none(), st.none()),
)
_METHOD: Final = st.sampled_from([b"GET", b"PUT", b"POST"])


class _Bench(RetryCase):
    uploading = False                       # the request's body is not complete

    def runTest(self) -> None:
        """Not a test of its own."""

    def happen(self, client: Wire, event: tuple[object, object, object]) -> None:
        """One event, if it can happen now."""
        what, which, how = event
        origins = self.rig.origins
        if what == "dial" and isinstance(which, int) and which < len(self.rig.dials):
            dial = self.rig.dials[which]
            if how:
                dial.accept()
            else:
                dial.fail(ConnectFailed("refused"))
        elif what in ("say", "fin", "reset", "stall", "take") and isinstance(which, int) and which < len(origins):
            origin = origins[which]
            if origin.gone or origin._fin_come:
                return
            if what == "say":
                assert isinstance(how, bytes)
                origin.send(how)
            else:
                getattr(origin, str(what))()
        elif what == "body" and isinstance(which, bytes) and not client.gone and self.uploading and not self.records:
            self.uploading = which != b"0\r\n\r\n"
            client.send(which)
        elif what == "time" and isinstance(which, float):
            self.advance(which)
        elif what in ("down", "up") and isinstance(which, int):
            self.cluster.endpoints[which].ready = what == "up"
        elif what == "leave" and not client.gone:
            client.reset()
        elif what == "client stalls":
            client.stall()
        elif what == "client takes":
            client.take()
        self.turn()


class TriesAtRandomTests(SynchronousTestCase):
    @examples(250)
    @given(_PLAN, _METHOD, st.booleans(), st.lists(_EVENT, max_size=25), st.sampled_from([0.0, 1.0]), st.sampled_from([1, 2, 1 << 30]))
    def test_one_answer_or_none(self, plan: RetryPlan, method: bytes, chunked: bool, events: list[tuple[object, object, object]],
                                limit_s: float, connections: int) -> None:
        """The client gets at most one final answer, whole or cut; each endpoint valid requests; every count ends at zero."""
        bench = _Bench()
        bench.setUp()
        bench.cluster.max_connections = connections
        bench.route.retry = plan
        bench.route.timeout_s = limit_s
        bench.uploading = chunked
        client = bench.client()
        client.send(method + b" / HTTP/1.1\r\nHost: a\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" if chunked else b"\r\n"))
        for event in events:
            bench.happen(client, event)
            tries = [bench.cluster.active, sum(endpoint.active for endpoint in bench.cluster.endpoints)]
            self.assertTrue(all(count >= 0 for count in tries))
            self.assertLessEqual(bench.cluster.active, 1)
            self.assertLessEqual(bench.cluster.connections, connections)
            self.assertLessEqual(tries[1], 1 + plan.retries + 1)
        got = client.written
        for origin in bench.rig.origins:
            seen = requests(origin.written)
            self.assertLessEqual(len(seen), 1 + plan.retries)
        try:
            found = answers(got, [method], closed=(client.finished or client.gone) and not client.aborted) if got else []
        except h11.RemoteProtocolError:
            self.fail(f"the client got what is not HTTP: {got!r}")
        final = [message for message in found if isinstance(message.start, int) and message.start >= 200]
        self.assertLessEqual(len(final), 1)
        record = bench.records[0] if bench.records else None
        if record is not None:
            self.assertEqual(len(bench.records), 1)
            self.assertLessEqual(record.attempts, 1 + plan.retries + 1)     # one more for a pooled connection that was stale
            self.assertEqual((bench.cluster.active, bench.cluster.retries), (0, 0))
            if final and final[0].whole:
                self.assertEqual(final[0].start, record.response_code)
        bench.check_nothing_left()


_MANY_EVENTS: Final = st.one_of(_EVENT, st.tuples(st.just("ask"), st.integers(0, 5), st.just(b"")),
                                st.tuples(st.just("leaves"), st.integers(0, 5), st.none()))


class WaitingAtRandomTests(SynchronousTestCase):
    @examples(200)
    @given(_PLAN, st.lists(_MANY_EVENTS, max_size=30), st.integers(1, 3), st.integers(1, 4), st.booleans(), st.sampled_from([0.0, 2.0]))
    def test_nobody_is_forgotten(self, plan: RetryPlan, events: list[tuple[object, object, object]], connections: int, pending: int,
                                 keyed: bool, limit_s: float) -> None:
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
        for event in events:
            what, which, _ = event
            if what == "ask" and isinstance(which, int):
                if not clients[which].gone and not clients[which].finished:
                    asked[which] += 1
                    clients[which].send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % which)
                bench.turn()
            elif what == "leaves" and isinstance(which, int):
                if not clients[which].gone:
                    clients[which].reset()
                bench.turn()
            elif what not in ("body", "leave"):
                bench.happen(clients[0], event)
            waiting = sum(len(queue) for queue in bench.rig.queues.values())
            used = cluster.connections + cluster.pending - waiting
            self.assertLessEqual(used, connections)
            self.assertLessEqual(cluster.pending, pending)
            self.assertEqual(cluster.pending, waiting + len(bench.rig.dials))
            if waiting:
                self.assertEqual(used, connections, "there is room, and somebody waits")
                self.assertEqual(bench.idle(), 0, "a connection is idle, and somebody waits")
        for client, count in zip(clients, asked, strict=True):
            if client.written and not client.aborted and not client.gone:
                found = answers(client.written, [b"GET"] * count, closed=client.finished)
                self.assertLessEqual(len([each for each in found if isinstance(each.start, int) and each.start >= 200]), count)
        bench.check_nothing_left()
        self.assertEqual(bench.rig.queues, {})
