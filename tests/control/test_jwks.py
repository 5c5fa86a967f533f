"""Keys that are fetched: rotated, slow, huge, empty, gone; `tests.control.test_fetching` has the sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.security.tokens import SECRET, ec, jwks, rsa
from voltgw.control.fetching import CannotFetch
from voltgw.control.jwks import MAX_WAITING, Keys
from voltgw.security.jwt import KeySource, KeyTerms

TERMS = KeyTerms("https://id.example/keys", b"ca", 300.0, 30.0, 5.0)


class KeysTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A source whose first fetch is under way."""
        self.clock = Clock()
        self.asked: list[tuple[str, bytes | None]] = []
        self.fetches: list[Deferred[bytes]] = []
        self.cancelled = 0
        self.keys = Keys(self.fetch, self.clock, self.clock.seconds, lambda: 0.0, lambda: 1e9 + self.clock.seconds())
        self.source = KeySource(TERMS.url, fetched=TERMS)
        self.keys.follow([self.source])

    def tearDown(self) -> None:
        """It leaves no timer, and asks nobody any more."""
        self.keys.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIs(self.source.refresh(), None)

    def fetch(self, url: str, ca: bytes | None) -> Deferred[bytes]:
        """A fetch that the test ends."""
        self.asked.append((url, ca))
        self.fetches.append(Deferred(self._cancelled))
        return self.fetches[-1]

    def _cancelled(self, deferred: Deferred[bytes]) -> None:
        self.cancelled += 1

    def kids(self) -> list[str | None]:
        """The keys that serve."""
        return [] if self.source.keys is None else [key.kid for key in self.source.keys.keys]

    def fact(self, name: str) -> Any:
        """What is told of it."""
        (facts,) = self.keys.facts()
        return facts[name]

    def test_they_are_fetched_again_and_again(self) -> None:
        """At the start and every interval; the same ones change nothing, others are another version."""
        self.assertEqual(self.asked, [(TERMS.url, b"ca")])
        self.fetches[0].callback(jwks(rsa()))
        self.assertEqual((self.kids(), self.source.version), (["r"], 1))
        self.clock.advance(300)
        self.fetches[1].callback(jwks(rsa()))
        self.assertEqual(self.source.version, 1)
        self.clock.advance(300)
        self.fetches[2].callback(jwks(rsa("r2")))
        self.assertEqual((self.kids(), self.source.version), (["r2"], 2))
        self.assertEqual((self.fact("fetches"), self.fact("failures"), self.fact("fetched_wall")), (3, 0, 1e9 + 600))

    def test_the_last_good_ones_serve(self) -> None:
        """Whatever comes instead: nothing, no JSON, no key, a secret, too much, or an error."""
        self.fetches[0].callback(jwks(rsa()))
        for bad, words in ((b"", "not JSON"), (b"<html>", "not JSON"), (b'{"keys": []}', "no key"), (jwks(SECRET), "no key"),
                           (b" " * (2 << 20), "larger"), (CannotFetch("it was answered with 503"), "answered with 503")):
            self.clock.advance(300)
            fetch = self.fetches[-1]
            fetch.errback(bad) if isinstance(bad, Exception) else fetch.callback(bad)
            self.assertEqual((self.kids(), self.source.version), (["r"], 1))
            self.assertIn(words, self.source.problem)
        self.clock.advance(300)
        self.fetches[-1].callback(jwks(rsa()))
        self.assertEqual((self.source.problem, self.fact("failures")), ("", 6))

    def test_slow_ones_are_given_up(self) -> None:
        """After their time; the connection is cut, and they are asked for again soon, then less and less often."""
        self.clock.advance(5)
        self.assertEqual((self.cancelled, self.source.problem), (1, "they were not here in 5 s"))
        self.clock.advance(1)
        self.assertEqual(len(self.fetches), 2)
        pauses = []
        for _ in range(11):
            self.fetches[-1].errback(CannotFetch("no"))
            count, began = len(self.fetches), self.clock.seconds()
            while len(self.fetches) == count:
                self.clock.advance(0.5)
            pauses.append(self.clock.seconds() - began)
        self.assertEqual(pauses, [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0])

    def test_an_unknown_key_asks_at_once_but_not_often(self) -> None:
        """All who ask while a fetch is under way wait for that one; the next is at most one in 30 s."""
        waiting = self.source.refresh()
        assert waiting is not None
        self.fetches[0].callback(jwks(rsa()))
        self.successResultOf(waiting)
        self.clock.advance(29)
        self.assertIs(self.source.refresh(), None)
        self.clock.advance(1)
        first, second = self.source.refresh(), self.source.refresh()
        assert first is not None and second is not None
        self.assertEqual(len(self.fetches), 2)
        self.fetches[1].callback(jwks(rsa(), ec()))
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.kids(), ["r", "e"])
        self.clock.advance(299)             # the interval begins anew
        self.assertEqual(len(self.fetches), 2)
        self.clock.advance(1)
        self.assertEqual(len(self.fetches), 3)

    def test_those_who_wait_are_bounded_and_may_leave(self) -> None:
        """A flood of invented key ids holds no more than so many requests; one whose client leaves is forgotten."""
        waiting = [self.source.refresh() for _ in range(MAX_WAITING)]
        self.assertIs(self.source.refresh(), None)
        gone = waiting[0]
        assert gone is not None
        gone.addErrback(lambda failure: None)
        gone.cancel()
        self.assertIsNot(self.source.refresh(), None)
        self.fetches[0].callback(jwks(rsa()))
        self.assertEqual(self.kids(), ["r"])

    def test_a_source_that_nobody_names_any_more(self) -> None:
        """Its fetch is cut, whoever waits goes on, and nothing is installed later."""
        waiting = self.source.refresh()
        assert waiting is not None
        other = KeySource("https://other.example/keys", fetched=TERMS._replace(url="https://other.example/keys"))
        self.keys.follow([other])
        self.successResultOf(waiting)
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.kids(), [])
        self.assertEqual(self.fact("url"), "https://other.example/keys")
        self.keys.follow([other])
        self.assertEqual(len(self.fetches), 2)

    def test_a_fetch_that_cannot_even_begin(self) -> None:
        """It is a failure like others: the last good keys serve, and it is tried again."""
        self.fetches[0].callback(jwks(rsa()))
        tried: list[str] = []

        def broken(url: str, ca: bytes | None) -> Deferred[bytes]:
            tried.append(url)
            raise UnicodeError("no such label")

        keys = Keys(broken, self.clock, self.clock.seconds, lambda: 0.0, lambda: 1e9)
        other = KeySource("https://in_house/keys", fetched=TERMS._replace(url="https://in_house/keys"))
        keys.follow([other])
        self.clock.pump([1.0] * 4)
        self.assertEqual((len(tried), other.problem, other.keys), (3, "no such label", None))
        keys.stop()
        self.assertEqual(self.kids(), ["r"])
