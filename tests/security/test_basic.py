"""Passwords that are checked aside: queues, what is remembered, and what explain says of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Event, current_thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.security.credentials import credential
from tests.security.making import asks
from tests.support import until
from voltgw.app import aside
from voltgw.app.aside import MAX_WAITING, Threads
from voltgw.security.basic import BAD_S, GOOD_S, Basic
from voltgw.security.htpasswd import Htpasswd
from voltgw.security.proofs import Accepted, Denied
from voltgw.security.shares import MAX_FROM_ONE, Shares, Source, source_of


class AsideTests(SynchronousTestCase):
    def setUp(self) -> None:
        """One user, whose hash counts how often it is worked out; threads that the test plays."""
        self.checked: list[bytes] = []
        self.queue: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.full = False
        self.now = 100.0

        def check(password: bytes) -> bool:
            self.checked.append(password)
            return password == b"secret"

        self.method = Basic(Htpasswd({b"ada": check}), "shop", b"key", lambda: self.now, lambda: self.aside)

    def aside(self, work: Callable[[], Any], key: Hashable, source: Source) -> Deferred[Any] | None:
        """Take work, unless there is too much of it."""
        if self.full:
            return None
        self.queue.append((work, Deferred()))
        return self.queue[-1][1]

    def work(self) -> None:
        """Do what waits."""
        waiting, self.queue = self.queue, []
        for call, done in waiting:
            done.callback(call())

    def ask(self, password: str) -> object:
        """What comes of a request, a Deferred if it takes a while."""
        return self.method.check(asks("/", "GET", credential("ada", password)))

    def test_it_is_worked_out_once(self) -> None:
        """A good password for minutes, a bad one for seconds; then it is worked out again."""
        for password, kind, seconds in (("secret", Accepted, GOOD_S), ("wrong", Denied, BAD_S)):
            first = self.ask(password)
            assert isinstance(first, Deferred)
            self.work()
            self.assertIsInstance(self.successResultOf(first), kind)
            self.now += seconds - 0.1
            self.assertIsInstance(self.ask(password), kind)
            self.now += 0.1
            self.assertIsInstance(self.ask(password), Deferred)
            self.work()
        self.assertEqual(self.checked, [b"secret"] * 2 + [b"wrong"] * 2)

    def test_too_many_wait(self) -> None:
        """The client is told to come again, and that verdict is not remembered."""
        self.full = True
        verdict = self.ask("secret")
        assert isinstance(verdict, Denied)
        self.assertEqual((verdict.reason, verdict.status, verdict.challenge), ("busy", 503, None))
        self.full = False
        self.assertIsInstance(self.ask("secret"), Deferred)

    def test_explain_waits_for_no_hash(self) -> None:
        """In a running gateway it says what is remembered, else that it does not know."""
        exchange = asks("/", "GET", credential("ada", "wrong"))
        verdict, unknown = self.method.rehearse(exchange)
        self.assertIsInstance(verdict, Accepted)
        self.assertIn("whether the password is right", unknown)
        self.ask("wrong")
        self.work()
        self.assertIsInstance(self.method.rehearse(exchange)[0], Denied)
        self.assertEqual(self.checked, [b"wrong"])


class ThreadsTests(TestCase):
    async def test_bounded_and_ended(self) -> None:
        """So many may wait; results come back, failures too; the threads end."""
        threads = Threads(reactor)
        self.addCleanup(threads.stop)
        go = Event()
        self.addCleanup(go.set)
        names: set[str] = set()

        def work() -> int:
            go.wait(5)
            names.add(current_thread().name)
            return 7

        waiting = [threads(work, number, None) for number in range(MAX_WAITING)]
        self.assertIs(threads(work, "one more", None), None)
        go.set()
        for each in waiting:
            assert each is not None
            self.assertEqual(await each, 7)
        self.assertLessEqual(len(names), 2)

    async def test_whoever_leaves_frees_nothing(self) -> None:
        """A client that goes takes its password's hash not out of the queue: coming and going does not fill it beyond its bound."""
        threads = Threads(reactor)
        self.addCleanup(threads.stop)
        go = Event()
        self.addCleanup(go.set)
        waiting = [threads(lambda: go.wait(5), number, None) for number in range(MAX_WAITING)]
        for each in waiting[1:]:
            assert each is not None
            each.addErrback(lambda failure: None)
            each.cancel()
        self.assertEqual(threads.waiting, MAX_WAITING)
        self.assertIs(threads(lambda: None, "one more", None), None)
        go.set()
        assert waiting[0] is not None
        await waiting[0]
        await until(lambda: threads.waiting == 0)

    async def test_what_fails(self) -> None:
        """Its failure comes back."""
        threads = Threads(reactor)
        self.addCleanup(threads.stop)
        failing = threads(lambda: 1 // 0, "it", "192.0.2.1")
        assert failing is not None
        try:
            await failing
        except ZeroDivisionError:
            pass
        else:
            self.fail("it did not fail")
        self.assertEqual(threads.waiting, 0)

    async def test_equals_are_done_once(self) -> None:
        """A page that asks for a hundred things at once costs one hash, whoever of them leaves; a failure is everybody's."""
        threads = Threads(reactor)
        self.addCleanup(threads.stop)
        go = Event()
        self.addCleanup(go.set)
        done: list[int] = []

        def work() -> bool:
            go.wait(5)
            done.append(1)
            return True

        waiting = [threads(work, "ada's", "192.0.2.1") for _ in range(100)]
        for each in waiting[:10]:
            assert each is not None
            each.addErrback(lambda failure: None)
            each.cancel()
        self.assertEqual(threads.waiting, 1)
        go.set()
        for each in waiting[10:]:
            assert each is not None
            self.assertIs(await each, True)
        self.assertEqual((done, threads.waiting), ([1], 0))
        self.patch(aside, "MAX_TOGETHER", 2)
        go.clear()
        last = [threads(work, "ada's", "192.0.2.1") for _ in range(3)]
        self.assertEqual([each is None for each in last], [False, False, True])
        go.set()
        assert last[0] is not None
        await last[0]

    async def test_guesses_from_one_place(self) -> None:
        """They have a share of the queue, the whole /64 together; somebody else's password is checked all the same."""
        threads = Threads(reactor)
        self.addCleanup(threads.stop)
        go = Event()
        self.addCleanup(go.set)
        taken = [threads(lambda: go.wait(5), number, source_of(f"2001:db8::{number:x}")) for number in range(MAX_WAITING)]
        self.assertEqual(sum(each is not None for each in taken), MAX_WAITING // 2)     # as long as half of it is free
        self.assertGreater(MAX_WAITING // 2, MAX_FROM_ONE)
        for address in ("192.0.2.1", "2001:db8:0:1::1"):
            self.assertIsNotNone(threads(lambda: go.wait(5), address, source_of(address)))
        go.set()
        await until(lambda: threads.waiting == 0)
        self.assertIsNotNone(threads(lambda: None, "again", source_of("2001:db8::1")))
        await until(lambda: threads.waiting == 0)


class ShareTests(SynchronousTestCase):
    def test_nothing_is_left_over(self) -> None:
        """Whoever has nothing is not remembered; those whom nobody knows share nothing."""
        shares = Shares(2)
        self.assertEqual([shares.take("a", crowded=True) for _ in range(3)], [True, True, False])
        self.assertTrue(shares.take("a", crowded=False))
        self.assertEqual([shares.take(None, crowded=True) for _ in range(3)], [True] * 3)
        for source in ("a", "a", "a", None, None, None):
            shares.give_back(source)
        self.assertEqual(len(shares), 0)
