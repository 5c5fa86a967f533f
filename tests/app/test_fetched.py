"""Hosts whose certificate is fetched: before it is there, when it comes, and what the configuration must say."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, policy, route
from tests.app.planes import idle_plane
from tests.app.test_tls import secure
from tests.certificates import server, shown
from tests.support import interpreted_only
from voltgw.app.build import Makings, Runtime, build
from voltgw.app.challenges import Challenges
from voltgw.app.dry import dry_build
from voltgw.app.explain import Explainer
from voltgw.app.listening import serve_http
from voltgw.app.question import read_question
from voltgw.app.tls_table import INTERNAL_ERROR, TlsTable
from voltgw.errors import ConfigErrors
from voltgw.net.sniff import Refuse, Terminate
from voltgw.net.tls.context import server_context
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry, RegistryError
from voltgw.values.counters import ListenerCounters
from voltgw.values.tls import KeyPair
from voltgw.wire.clienthello import ClientHello

ACME = "data_dir: /nowhere, acme: {directory: 'https://ca.example/dir', agree_to_terms: true}"
AUTO = "voltgw: {auto_cert: true}"
PEER = ("192.0.2.1", 50000)
NAMES = ("shop.example", "www.shop.example")
OBJECTS = ("objects:\n" + policy("p", "address: 127.0.0.1, port: 8443") + policy("q", "address: 127.0.0.1, port: 8080") + route("r")
           + "- {kind: cluster, metadata: {name: c}, spec: {endpoints: []}}\n")


class Store:
    """A `Fetched`."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[str, ...], KeyPair] = {}

    def pair(self, folder: str, names: tuple[str, ...]) -> KeyPair | None:
        """What there is."""
        return self.pairs.get(names)

    def reason(self, names: tuple[str, ...]) -> str:
        """Why there is nothing."""
        return f"certificate pending: {names[0]} is waited for"

    def issue(self, *names: str, ca: str = "lab") -> None:
        """There it is."""
        pair = server(*names, ca=ca)
        self.pairs[names] = KeyPair(pair.certificate, pair.key)


def hello(sni: str, *alpn: bytes) -> ClientHello:
    """A client that asks for a name."""
    return ClientHello(0x0303, b"", b"", (), (), sni, alpn=alpn)


class FetchedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Store()
        self.makings = Makings(lambda key: Pool(), Random(0), Registry(), lambda kind, network: "192.0.2.10", fetched=self.store)
        self.table = TlsTable(idle_plane(), "127.0.0.1:8443", "127.0.0.1", ListenerCounters(), serve_http)
        self.made: Runtime | None = None

    def build(self, *hosts: str, gateway: str = ACME) -> Runtime:
        """Build from what these say, after what was built before."""
        self.made = build(config(f"gateway: {{{gateway}}}\n" + OBJECTS + "".join(hosts)), self.made, self.makings)
        return self.made

    def again(self) -> Runtime:
        """Build from the same configuration."""
        assert self.made is not None
        self.made = build(self.made.config, self.made, self.makings)
        return self.made

    def serve(self) -> None:
        """The TLS listener serves it."""
        assert self.made is not None
        self.table.serve(next(plan for plan in self.made.listeners.values() if plan.tls))

    def refused(self, *hosts: str, gateway: str = ACME) -> str:
        """The message with which it is refused."""
        with self.assertRaises(ConfigErrors) as caught:
            self.build(*hosts, gateway=gateway)
        (problem,) = caught.exception.problems
        self.assertEqual(problem.code, "VG0410")
        return f"{problem.message}; {problem.hint}"


class BuildTests(FetchedCase):
    hosts = (secure("h", AUTO, domains="[shop.example, 'WWW.shop.example:8443']"),
             secure("other", f"common_params: {{{shown(server('other.example'))}}}", domains="[other.example]"))

    def test_before_it_is_there(self) -> None:
        """Its handshakes are refused with the reason; the other host of the listener serves."""
        made = self.build(*self.hosts)
        self.assertEqual(made.fetched(), {NAMES: ("default/h",)})
        self.assertEqual(self.again().fetched(), {NAMES: ("default/h",)})       # taken over, without a look at it
        self.serve()
        found = self.table.choose(hello("shop.example"), PEER)
        self.assertEqual(found, Refuse(INTERNAL_ERROR, "certificate pending: shop.example is waited for"))
        self.assertIsInstance(self.table.choose(hello("other.example"), PEER), Terminate)

    def test_when_it_comes(self) -> None:
        """The same configuration built anew shows it: the host, its group and its connections are the same."""
        first = self.build(*self.hosts)
        self.serve()
        groups = dict(self.table.factories)
        self.store.issue(*NAMES)
        second = self.again()
        self.serve()
        self.assertIs(second.hosts["default/h"], first.hosts["default/h"])
        self.assertEqual(self.table.factories, groups)
        found = self.table.choose(hello("www.shop.example"), PEER)
        assert isinstance(found, Terminate)
        self.assertEqual(found.context.config.certificates, (self.store.pairs[NAMES],))
        self.store.issue(*NAMES, ca="other")
        third = self.again()
        self.serve()
        again = self.table.choose(hello("shop.example"), PEER)
        assert isinstance(again, Terminate)
        self.assertIsNot(again.context, found.context)
        self.assertIs(again.factory, found.factory)
        self.assertIs(self.again().sources["default/h"], third.sources["default/h"])        # nothing came: nothing is looked into
        self.assertIs(third.sources["default/other"], first.sources["default/other"])

    def test_what_is_shown(self) -> None:
        """Its names and its end, as of any other certificate."""
        self.store.issue(*NAMES)
        made = self.build(*self.hosts)
        (plan,) = made.listeners.values()
        door = plan.doors[made.hosts["default/h"]]
        self.assertEqual(([one.names for one in door.certificates], door.pending), ([NAMES], None))

    def test_explained(self) -> None:
        """Whoever asks is told that it is pending, and until when what happens."""
        made = self.build(*self.hosts)
        said = str(Explainer(made, live=True, registry=Registry(), wall=lambda: 0.0).explain(
            read_question("GET", "https://shop.example/", (), "", "127.0.0.1:8443")).plain())
        self.assertIn("certificate pending: shop.example is waited for; until then the handshake fails (internal_error)", said)

    def test_checking(self) -> None:
        """A check reads nothing and asks nobody."""
        made = dry_build(config(f"gateway: {{{ACME}}}\n" + OBJECTS + "".join(self.hosts)))
        (plan,) = made.listeners.values()
        door = plan.doors[made.hosts["default/h"]]
        assert door.pending is not None
        self.assertEqual(door.pending(), "certificate pending: the gateway fetches it while it runs")

    @interpreted_only
    def test_a_relay(self) -> None:
        """TLS is ended with a fetched certificate in front of other protocols, too."""
        balancer = ("- {kind: tcp_loadbalancer, metadata: {name: t}, spec: {domains: [broker.example], listen_port: 8883, "
                    "tls_tcp_auto_cert: {}, origin_pools_weights: [{cluster: c}], advertise_on_public_default_vip: {}}}\n")
        made = self.build(balancer)
        self.assertEqual(list(made.fetched()), [("broker.example",)])
        self.serve()
        self.assertIsInstance(self.table.choose(hello("broker.example"), PEER), Refuse)
        self.store.issue("broker.example")
        self.again()
        self.serve()
        found = self.table.choose(hello("broker.example"), PEER)
        assert isinstance(found, Terminate)
        self.assertEqual((found.context.config.alpn, type(found.factory).__name__), ((), "TcpFactory"))

    def test_a_short_form(self) -> None:
        """Ten lines serve."""
        text = (f"gateway: {{{ACME}}}\nload_balancers: [{{name: s, protocol: https, listen: '127.0.0.1:8443', domains: [shop.example], "
                "tls: {auto_cert: true}, origins: ['127.0.0.1:1']}]\n")
        self.assertEqual(build(config(text), None, self.makings).fetched(), {("shop.example",): ("default/s",)})


class ConfigurationTests(FetchedCase):
    def test_what_must_be_said(self) -> None:
        """From whom, and where it is kept."""
        one = secure("h", AUTO)
        self.assertIn("nothing says from whom; say `gateway: {acme:", self.refused(one, gateway=""))
        self.assertIn("no folder to keep it in", self.refused(one, gateway=ACME.replace("data_dir: /nowhere, ", "")))

    def test_names_that_cannot_be_fetched(self) -> None:
        """Wildcards and addresses."""
        for domains, told in (("['*.shop.example']", "for a wildcard by tls-alpn-01"), ("['*']", "for a wildcard"),
                              ("['192.0.2.7']", "for the address"), ("['[2001:db8::1]']", "for the address")):
            self.assertIn(told, self.refused(secure("h", AUTO, domains=domains)))

    def test_with_a_certificate_beside_it(self) -> None:
        """One of the two is meant."""
        for text in (f"{AUTO}, common_params: {{{shown(server('shop.example'))}}}",):
            with self.assertRaises(ConfigErrors) as caught:
                self.build(secure("h", text))
            self.assertEqual([one.code for one in caught.exception.problems], ["VG0106"])

    def test_the_account(self) -> None:
        """Terms that nobody agreed to, an address that is none, a CA without TLS, keys that are none: errors of the file."""
        for acme, code in (
            ("{directory: 'https://ca.example/dir'}", "VG0105"), ("{directory: 'http://ca.example/dir', agree_to_terms: true}", "VG0110"),
            ("{agree_to_terms: true}", "VG0105"),
            ("{directory: 'https://ca.example/dir', agree_to_terms: true, contacts: [me]}", "VG0110"),
            ("{directory: 'https://ca.example/dir', agree_to_terms: true, trusted_ca: 'string:///AAAA'}", "VG0110"),
            ("{directory: 'https://ca.example/dir', agree_to_terms: true, key_type: dsa}", "VG0104"),
            ("{directory: 'https://ca.example/dir', agree_to_terms: true, external_account: {key_id: k, hmac_key: 'string:///ISEh'}}",
             "VG0110"),
            ("{directory: 'https://ca.example/dir', agree_to_terms: true, challenge_options: {a: b}}", "VG0106"),
        ):
            with self.assertRaises(ConfigErrors) as caught:
                self.build(gateway=f"acme: {acme}")
            self.assertEqual([one.code for one in caught.exception.problems], [code], acme)

    def test_a_challenge_that_nobody_offers(self) -> None:
        """The ones that there are are named."""
        with self.assertRaises(RegistryError) as caught:
            self.build(gateway=ACME.replace("true}", "true, challenge: dns-01}"))
        self.assertIn("there is no 'dns-01'", str(caught.exception))


class ChallengesTests(FetchedCase):
    def test_tls_listeners(self) -> None:
        """A hello that speaks nothing but acme-tls/1 gets the certificate of the challenge, as long as there is one."""
        self.build(*BuildTests.hosts)
        self.serve()
        bound: Any = SimpleNamespace(factory=self.table, plan=None)
        challenges = Challenges(server_context, lambda: [bound])
        pair = server("shop.example")
        challenges.answer_tls("shop.example", KeyPair(pair.certificate, pair.key))
        found = self.table.choose(hello("shop.example", b"acme-tls/1"), PEER)
        assert isinstance(found, Terminate)
        self.assertEqual(found.context.config.alpn, (b"acme-tls/1",))
        self.assertEqual(challenges.names, {"shop.example": "tls-alpn-01"})
        for sni, alpn in (("shop.example", (b"h2",)), ("shop.example", ()), ("shop.example", (b"acme-tls/1", b"h2")),
                          ("www.shop.example", (b"acme-tls/1",))):
            self.assertIsInstance(self.table.choose(hello(sni, *alpn), PEER), Refuse)
        challenges.answer_tls("shop.example", None)
        self.assertIsInstance(self.table.choose(hello("shop.example", b"acme-tls/1"), PEER), Refuse)

    def test_plain_listeners(self) -> None:
        """Their table is another one only as long as there is a challenge, and the listener's own after that."""
        made = self.build(host("plain", "[q]"))
        (plan,) = made.listeners.values()
        assert plan.table is not None
        factory = HttpFactory(idle_plane(), "x", "127.0.0.1", 8080, plan.table, ListenerCounters())
        bound: Any = SimpleNamespace(factory=factory, plan=plan)
        challenges = Challenges(server_context, lambda: [bound])
        challenges.answer_http("a.example", "t1", b"t1.x")
        challenges.answer_http("a.example", "t2", b"t2.x")
        challenges.answer_http("a.example", "t1", None)
        self.assertIsNot(factory.table, plan.table)
        self.assertNotIn(b"a.example", factory.table.exact)
        self.assertEqual(challenges.names, {"a.example": "http-01"})
        challenges.answer_http("a.example", "t2", None)
        self.assertIs(factory.table, plan.table)
