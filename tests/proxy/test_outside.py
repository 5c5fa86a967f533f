"""What a forward proxy remembers of the outside: names, destinations, logins."""

from __future__ import annotations

import base64
from collections.abc import Callable
from ipaddress import ip_address
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.support import SteppedLoopCase
from voltgw.proxy.forward import logins, lookup, origins
from voltgw.proxy.forward.logins import Logins
from voltgw.proxy.forward.lookup import AGAIN_S, BAD_S, GOOD_S, LOOKUP_TIMEOUT_S, SEEN_S, Lookup
from voltgw.proxy.forward.origins import MAX_TRIES, Asked, Origins
from voltgw.proxy.forward.outside import TOLD_S, Outside
from voltgw.security.htpasswd import Htpasswd
from voltgw.values.network import Network

HOME = Network("outside")
LAB = Network("lab", netns="lab")


class Resolver:
    """An `IHostnameResolver` that answers when it is told to; `asked` are its questions."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.cancelled: list[str] = []
        self.broken = False

    def resolveHostName(self, receiver: Any, name: str, *args: Any) -> None:
        if self.broken:
            raise RuntimeError("no resolver today")
        self.asked.append((name, receiver))
        receiver.resolutionBegan(_Resolution(self, name))

    def answer(self, number: int, *addresses: str) -> None:
        receiver = self.asked[number][1]
        for address in addresses:
            kind = IPv6Address if ip_address(address).version == 6 else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


class _Resolution:
    def __init__(self, resolver: Resolver, name: str) -> None:
        self._resolver = resolver
        self.name = name

    def cancel(self) -> None:
        self._resolver.cancelled.append(self.name)


class LookupTests(SteppedLoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.resolvers = {HOME: Resolver(), LAB: Resolver()}
        self.home = self.resolvers[HOME]
        self.lookup = Lookup(self.loop, self.resolvers.__getitem__)

    def ask(self, name: bytes, network: Network = HOME) -> list[tuple[str, ...]]:
        heard: list[tuple[str, ...]] = []
        self.lookup.ask(network, name).addCallback(heard.append)
        return heard

    def test_one_question_for_all_who_ask(self) -> None:
        """Addresses in the order of the answer, each once; a v4-mapped one is the IPv4 address that it is."""
        first, second = self.ask(b"a.test"), self.ask(b"a.test")
        self.home.answer(0, "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.1", "192.0.2.2")
        expected = ("192.0.2.2", "2001:db8::1", "192.0.2.1")
        self.assertEqual((first, second, len(self.home.asked)), ([expected], [expected], 1))
        self.assertEqual(self.lookup.known(HOME, b"a.test"), expected)

    def test_how_long_it_is_remembered(self) -> None:
        """Names without an address for a shorter time; another network has its own answers."""
        self.ask(b"a.test")
        self.ask(b"b.test")
        self.home.answer(0, "192.0.2.1")
        self.home.answer(1)
        self.assertEqual((self.lookup.known(HOME, b"b.test"), self.lookup.known(LAB, b"a.test")), ((), None))
        self.advance(BAD_S)
        self.assertEqual((self.lookup.known(HOME, b"a.test"), self.lookup.known(HOME, b"b.test")), (("192.0.2.1",), None))
        self.advance(GOOD_S - BAD_S)
        self.assertIsNone(self.lookup.known(HOME, b"a.test"))
        self.assertEqual((self.lookup.questions, self.lookup.failures), (2, 1))

    def test_whether_a_name_leads_somewhere(self) -> None:
        """Its addresses take turns, so one that it had a while ago counts; for another one the name is asked for anew, not too often."""
        def leads(address: str) -> Any:
            return self.lookup.leads_to(HOME, b"a.test", address)

        first = leads("192.0.2.1")
        self.home.answer(0, "192.0.2.1")
        self.assertIs(self.successResultOf(first), True)
        self.assertEqual((leads("192.0.2.1"), leads("192.0.2.2")), (True, False))
        self.advance(AGAIN_S)
        again = leads("192.0.2.2")
        self.home.answer(1, "192.0.2.2")
        self.assertIs(self.successResultOf(again), True)
        self.assertEqual((self.lookup.known(HOME, b"a.test"), leads("192.0.2.1")), (("192.0.2.2",), True))
        self.advance(SEEN_S)
        late = leads("192.0.2.1")
        self.home.answer(2)
        self.assertIs(self.successResultOf(late), False)
        self.assertEqual(len(self.home.asked), 3)

    def test_so_many_addresses_of_a_name_are_remembered(self) -> None:
        """The newest ones."""
        self.patch(lookup, "MAX_SEEN", 2)
        for number in range(3):
            self.lookup.ask(HOME, b"a.test")
            self.home.answer(number, f"192.0.2.{number}")
        self.assertEqual([self.lookup.leads_to(HOME, b"a.test", f"192.0.2.{number}") for number in range(3)], [False, True, True])

    def test_a_resolver_that_never_answers(self) -> None:
        """It is told to stop; what it says after all changes nothing."""
        heard = self.ask(b"a.test")
        self.advance(LOOKUP_TIMEOUT_S + 0.5)
        self.assertEqual((heard, self.home.cancelled), ([()], ["a.test"]))
        self.home.answer(0, "192.0.2.1")
        self.assertEqual(self.lookup.known(HOME, b"a.test"), ())

    def test_a_resolver_that_fails(self) -> None:
        """Its exception is logged, and the name has no address."""
        self.home.broken = True
        self.assertEqual(self.ask(b"a.test"), [()])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_one_who_leaves(self) -> None:
        """The others still hear the answer."""
        leaving = self.lookup.ask(HOME, b"a.test")
        leaving.addErrback(lambda failure: None)
        staying = self.ask(b"a.test")
        leaving.cancel()
        self.home.answer(0, "192.0.2.1")
        self.assertEqual(staying, [("192.0.2.1",)])

    def test_bounds(self) -> None:
        """So many names are remembered, the oldest goes first; so many are asked for at a time."""
        self.patch(lookup, "MAX_NAMES", 2)
        self.patch(lookup, "MAX_ASKED", 3)
        heard = [self.ask(b"%d.test" % number) for number in range(4)]
        self.assertEqual((heard[3], self.lookup.crowded), ([()], 1))
        for number in range(3):
            self.home.answer(number, "192.0.2.1")
        self.assertEqual([self.lookup.known(HOME, b"%d.test" % number) for number in range(3)],
                         [None, ("192.0.2.1",), ("192.0.2.1",)])

    def test_names_that_are_never_answered(self) -> None:
        """Whoever asks for many of them, from however many addresses of a network, leaves room for others."""
        self.patch(lookup, "MAX_ASKED", 2 * lookup.MAX_FROM_ONE)
        for number in range(lookup.MAX_FROM_ONE + 5):
            self.lookup.ask(HOME, b"%d.slow" % number, f"2001:db8::{number:x}")
        self.assertEqual((self.lookup.crowded, self.lookup.questions), (5, lookup.MAX_FROM_ONE))
        others = [self.lookup.ask(HOME, b"a.test", "192.0.2.1"), self.lookup.ask(HOME, b"0.slow", "2001:db8::1")]
        self.assertFalse(any(each.called for each in others), "the same question is asked once")
        self.home.answer(lookup.MAX_FROM_ONE, "192.0.2.7")
        self.assertEqual(self.successResultOf(others[0]), ("192.0.2.7",))
        self.home.answer(0, "192.0.2.8")
        self.assertFalse(self.lookup.ask(HOME, b"more.slow", "2001:db8::1").called)
        self.assertEqual(self.lookup.crowded, 5)
        self.lookup.stop()
        self.assertEqual(len(self.lookup._shares), 0)

    def test_the_end(self) -> None:
        """Everybody hears that there is no address."""
        heard = self.ask(b"a.test")
        self.lookup.stop()
        self.assertEqual(heard, [()])


def asked(name: bytes = b"a.test", addresses: tuple[str, ...] = ("192.0.2.1", "192.0.2.2"), **fields: Any) -> Asked:
    """A destination."""
    return Asked(**{"owner": "system/out", "scheme": "http", "name": name, "port": 80, "addresses": addresses, "rounds": 1,
                    "timeout_s": 1.0, "network": HOME, **fields})


class OriginsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origins = Origins(Random(1), lambda: 0.0)

    def cluster(self, which: Asked) -> Any:
        cluster = self.origins.cluster(self.origins.number(which))
        assert cluster is not None
        return cluster

    def test_one_for_each_set_of_addresses(self) -> None:
        """Equal questions have one pool; another address, port or network is another destination."""
        first = self.origins.number(asked())
        self.assertEqual(self.origins.number(asked()), first)
        others = {self.origins.number(each) for each in (
            asked(addresses=("192.0.2.1",)), asked(port=81), asked(scheme="tunnel"), asked(network=LAB))}
        self.assertEqual((len(others | {first}), len(self.origins)), (5, 5))

    def test_addresses_in_order_and_in_rounds(self) -> None:
        """Those that failed least, and of these the first of the answer; each stands there once per round."""
        cluster = self.cluster(asked(rounds=2, network=LAB))
        self.assertEqual([(each.address, each.network) for each in cluster.endpoints],
                         [("192.0.2.1", LAB), ("192.0.2.2", LAB)] * 2)
        picked = []
        for _ in range(4):
            endpoint = cluster.scheduler.pick(None)
            picked.append(endpoint.address)
            endpoint.failed_in_a_row += 1
        self.assertEqual(picked, ["192.0.2.1", "192.0.2.2"] * 2)
        many = self.cluster(asked(b"many.test", tuple(f"192.0.2.{number}" for number in range(1, 41)), rounds=9))
        self.assertEqual(len(many.endpoints), MAX_TRIES)

    def test_the_oldest_idle_one_is_forgotten(self) -> None:
        """One that serves somebody stays; asking again makes one young."""
        self.patch(origins, "MAX_ORIGINS", 3)
        numbers = [self.origins.number(asked(b"%d.test" % number)) for number in range(3)]
        self.cluster(asked(b"1.test")).active += 1
        self.origins.number(asked(b"0.test"))
        self.origins.number(asked(b"2.test"))
        self.origins.number(asked(b"3.test"))           # 1 is the oldest, and at work
        self.assertEqual([self.origins.destination(number) is not None for number in numbers], [False, True, True])
        self.assertEqual((len(self.origins), self.origins.forgotten), (3, 1))
        self.cluster(asked(b"1.test")).active -= 1

    def test_all_are_let_go(self) -> None:
        """At the end."""
        number = self.origins.number(asked())
        self.origins.close()
        self.assertEqual((len(self.origins), self.origins.destination(number)), (0, None))


class ToldTests(SynchronousTestCase):
    def test_a_line_a_second(self) -> None:
        """The next one says how many there were."""
        now = 0.0
        plane: Any = SimpleNamespace(monotonic=lambda: now, loop=None)
        outside = Outside(plane, Random(1), Resolver, Deferred, lambda config: None)    # type: ignore[arg-type,return-value]
        self.assertEqual([outside.told() for _ in range(3)], ["", None, None])
        now = TOLD_S
        self.assertEqual(outside.told(), " (and 2 more since the last such line)")
        now = 2 * TOLD_S
        self.assertEqual(outside.told(), "")


class LoginsTests(SynchronousTestCase):
    USERS = Htpasswd.parse(b"ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")         # secret

    def setUp(self) -> None:
        self.now = 0.0
        self.threads: list[tuple[Callable[[], bool], Deferred[Any]]] = []
        self.logins = Logins(b"key", lambda: self.now, self.in_thread)

    def in_thread(self, function: Any, *args: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        self.threads.append((lambda: bool(function(*args)), result))
        return result

    def run_thread(self) -> None:
        function, result = self.threads.pop(0)
        result.callback(function())

    def check(self, pair: bytes, scope: bytes = b"1") -> Any:
        return self.logins.check(self.USERS, b"Basic " + base64.b64encode(pair), scope)

    def test_a_thread_computes_and_the_verdict_is_kept(self) -> None:
        """For a while; of another file nothing is known."""
        first, second = self.check(b"ann:secret"), self.check(b"ann:secret")
        self.assertEqual(len(self.threads), 1)
        self.run_thread()
        self.assertEqual([self.successResultOf(each) for each in (first, second)], ["ann", "ann"])
        self.assertEqual(self.check(b"ann:secret"), "ann")
        self.assertIsInstance(self.check(b"ann:secret", b"2"), Deferred)
        self.now = logins.GOOD_S
        self.assertIsInstance(self.check(b"ann:secret"), Deferred)
        self.assertEqual((self.logins.good, self.logins.bad), (3, 0))

    def test_a_wrong_one(self) -> None:
        """It is remembered for a shorter time; an unknown user is computed for as well."""
        for pair in (b"ann:wrong", b"bob:secret"):
            answer = self.check(pair)
            self.run_thread()
            self.assertIsNone(self.successResultOf(answer))
            self.assertIsNone(self.check(pair))
        self.now = logins.BAD_S
        self.assertIsInstance(self.check(b"ann:wrong"), Deferred)
        self.assertEqual(self.logins.bad, 4)

    def test_what_is_no_login(self) -> None:
        """None at all is not even counted."""
        for credentials in (None, b"Bearer abc", b"Basic !!!", b"Basic " + base64.b64encode(b"ann"), b"Basic", b"",
                            b"Basic " + base64.b64encode(b":secret")):
            self.assertIsNone(self.logins.check(self.USERS, credentials, b"1"))
        self.assertEqual((self.logins.bad, self.threads), (6, []))

    def test_a_crowd(self) -> None:
        """So many hashes are under way; who comes then is refused."""
        self.patch(logins, "MAX_UNDER_WAY", 2)
        answers = [self.check(b"ann:%d" % number) for number in range(3)]
        self.assertEqual((answers[2], self.logins.crowded, len(self.threads)), (None, 1, 2))
        self.run_thread()
        self.assertIsInstance(self.check(b"ann:secret"), Deferred)

    def test_who_leaves(self) -> None:
        """A client that is gone is told nothing; a thread that fails admits nobody."""
        answer = self.check(b"ann:secret")
        answer.addErrback(lambda failure: None)
        answer.cancel()
        self.run_thread()
        answer = self.check(b"ann:other")
        result = self.threads.pop(0)[1]
        result.errback(RuntimeError("no thread"))
        self.assertIsNone(self.successResultOf(answer))
        self.failureResultOf(result, RuntimeError)
