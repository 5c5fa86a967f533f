"""Whom a hello leads to, and which hosts a connection may ask for then."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import host, policy, route, runtime
from tests.app.planes import idle_plane
from tests.app.test_tls import CA, OBJECTS, secure
from tests.certificates import NOW, authority, client, inline, server, shown
from tests.support import interpreted_only
from voltgw.app.build import ListenerPlan, Runtime
from voltgw.app.dry import dry_build
from voltgw.app.explain import Explainer
from voltgw.app.lint import lint
from voltgw.app.listening import serve_http
from voltgw.app.question import read_question
from voltgw.app.tls_table import UNRECOGNIZED_NAME, TlsTable
from voltgw.config.issuing import revoke
from voltgw.errors import ConfigErrors
from voltgw.net.sniff import Refuse, Terminate, Turned
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.relay import Relay
from voltgw.proxy.tcp import TcpFactory
from voltgw.values.counters import ListenerCounters
from voltgw.values.tls import Handshake
from voltgw.wire.clienthello import ClientHello

PLAIN = f"common_params: {{{shown(server('a.example', '*.example', 'who.example'))}}}"
STRICT = f"client_certificate_required: {{}}, common_params: {{{shown(server('a.example'))}, {CA}}}"
PEER = ("192.0.2.1", 50000)


def hello(sni: str = "") -> ClientHello:
    """A client that asks for a name."""
    return ClientHello(0x0303, b"", b"", (), (), sni)


class _Connection:
    """A client's connection."""

    handshake = None
    drained = False

    def drain(self) -> None:
        """The group is no more."""
        self.drained = True


class _Relayed(Relay):
    """A connection without requests, such as a WebSocket."""

    def __init__(self, peer: tuple[bytes, ...] = ()) -> None:
        self.closed = False
        self.handshake = Handshake("TLSv1.3", "x", peer=peer)

    def close(self) -> None:
        """It ends at once."""
        self.closed = True


class TableCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.records: list[Any] = []
        self.table: TlsTable = TlsTable(idle_plane(self.records.append), "127.0.0.1:8443", "127.0.0.1", ListenerCounters(), serve_http)
        self.made: Runtime | None = None

    def serve(self, *hosts: str) -> ListenerPlan:
        """Serve these hosts, from a configuration that follows the last one."""
        self.made = runtime(OBJECTS + "".join(hosts), self.made)
        (plan,) = self.made.listeners.values()
        self.table.serve(plan)
        return plan

    def chosen(self, name: str = "") -> str:
        """The first name in the certificate that a client gets, or "" when it is refused."""
        found = self.table.choose(hello(name), PEER)
        if isinstance(found, Refuse):
            self.assertEqual(found.alert, UNRECOGNIZED_NAME)
            return ""
        assert isinstance(found, Terminate)
        host_of = self.table.host_for(hello(name))
        assert host_of is not None
        return host_of.name

    def factory(self, name: str) -> HttpFactory:
        """That of a client that asks for a name."""
        found = self.table.choose(hello(name), PEER)
        assert isinstance(found, Terminate) and isinstance(found.factory, HttpFactory)
        return found.factory


class ChoosingTests(TableCase):
    def test_names(self) -> None:
        """Exact, then the longest wildcard; unknown names and none are refused."""
        self.serve(secure("a", PLAIN, domains="[a.example]"), secure("w", PLAIN, domains='["*.example"]'),
                   secure("ww", PLAIN, domains='["*.b.example"]'))
        for name, expected in (("a.example", "a"), ("c.example", "w"), ("x.b.example", "ww"), ("other.test", ""), ("", "")):
            self.assertEqual(self.chosen(name), expected, name)

    def test_the_default(self) -> None:
        """It takes what nobody has; a second one is an error."""
        more = ", default_loadbalancer: {}"
        self.serve(secure("a", PLAIN, domains="[a.example]"), secure("d", PLAIN, domains="[d.example]", more=more))
        self.assertEqual([self.chosen(name) for name in ("a.example", "x.test", "")], ["a", "d", "d"])
        with self.assertRaises(ConfigErrors) as caught:
            self.serve(secure("a", PLAIN, domains="[a.example]", more=more), secure("d", PLAIN, domains="[d.example]", more=more))
        self.assertEqual([problem.code for problem in caught.exception.problems], ["VG0202"])

    def test_any_name(self) -> None:
        """The lone star means no name as well."""
        self.serve(secure("h", PLAIN, domains='["*"]'))
        self.assertEqual([self.chosen(name) for name in ("a.example", "")], ["h", "h"])

    def test_what_is_not_tls(self) -> None:
        """Nobody here speaks anything else."""
        self.serve(secure("h", PLAIN, domains='["*"]'))
        self.assertIsInstance(self.table.choose(None, PEER), Refuse)

    def test_several_certificates(self) -> None:
        """Of one kind of key the name chooses."""
        both = f"common_params: {{{shown(server('a.example'), server('b.example', '*.c.example'))}}}"
        self.serve(secure("h", both, domains='[a.example, b.example, "*.c.example"]'))
        chains = {}
        for name in ("a.example", "b.example", "x.c.example"):
            found = self.table.choose(hello(name), PEER)
            assert isinstance(found, Terminate)
            chains[name] = found.context.config.certificates[0].chain
        self.assertEqual(chains["b.example"], chains["x.c.example"])
        self.assertNotEqual(chains["a.example"], chains["b.example"])

    @interpreted_only
    def test_relays(self) -> None:
        """One that is alone takes every name; those that share go by name, beside HTTPS."""
        self.serve(host("t", domains="[t.example]", proxy="TLS_TCP_PROXY", more=f", tls_parameters: {{{PLAIN}}}"))
        self.assertEqual([self.chosen(name) for name in ("t.example", "x.test", "")], ["t", "t", "t"])
        self.serve(secure("a", PLAIN, domains="[a.example]"),
                   host("t", domains="[t.example]", proxy="TLS_TCP_PROXY_WITH_SNI", more=f", tls_parameters: {{{PLAIN}}}"))
        found = self.table.choose(hello("t.example"), PEER)
        assert isinstance(found, Terminate)
        self.assertIsInstance(found.factory, TcpFactory)
        self.assertEqual([self.chosen(name) for name in ("a.example", "x.test")], ["a", ""])
        misdirected = self.factory("a.example").table.choose(b"t.example", None, 8443)
        assert misdirected is not None and misdirected.only is not None
        self.assertIsNotNone(misdirected.only.answer)       # its requests are not HTTP's

    def test_what_came_to_nothing(self) -> None:
        """It has a line in the access log."""
        self.table.turned(Turned(PEER, ("127.0.0.1", 8443), "a.example", "no shared cipher", "tls_handshake_failed", 1.0, 1.5, 10, 7))
        (record,) = self.records
        self.assertEqual((record.flag, record.detail, record.client.sni, record.client.peer_address, record.bytes_in),
                         ("TLS", "tls_handshake_failed: no shared cipher", "a.example", "192.0.2.1", 10))


class AdmissionTests(TableCase):
    def test_groups(self) -> None:
        """Hosts that ask the same share connections; one that asks for certificates does not share with one that does not."""
        self.serve(secure("a", PLAIN, domains="[a.example]"), secure("b", PLAIN, domains="[b.example]"),
                   secure("s", STRICT, domains="[s.example]"))
        self.assertIs(self.factory("a.example"), self.factory("b.example"))
        self.assertIsNot(self.factory("a.example"), self.factory("s.example"))
        names = [table.choose(b"s.example", None, 8443) for table in (self.factory("a.example").table, self.factory("s.example").table)]
        self.assertEqual([found is not None and found.only is not None and found.only.answer is not None for found in names],
                         [True, False])

    def test_another_ca_by_a_reload(self) -> None:
        """What let the old connections in counts no longer: they end, and can ask for nothing more."""
        self.serve(secure("s", STRICT, domains="[s.example]"))
        old = self.factory("s.example")
        connection: Any = _Connection()
        old.connections.add(connection)
        self.serve(secure("s", STRICT.replace(inline(authority().certificate), inline(authority("new").certificate)),
                          domains="[s.example]"))
        self.assertIsNot(self.factory("s.example"), old)
        self.assertTrue(old.draining and connection.drained)
        self.assertEqual(self.table.connections, {connection})
        found = old.table.choose(b"s.example", None, 8443)
        assert found is not None and found.only is not None
        self.assertIsNotNone(found.only.answer)

    @interpreted_only
    def test_a_new_list(self) -> None:
        """Those whom it names end, relayed ones at once; the others do not notice."""
        alice, bob = client("alice"), client("bob")
        listed = STRICT.replace("client_certificate_required: {}", "client_certificate_required: {}, crl: [l]")
        crl = "- {{kind: crl, metadata: {{name: l}}, spec: {{voltgw: {{crl: '{}'}}}}}}\n"
        self.serve(secure("s", listed, domains="[s.example]"), crl.format(inline(revoke(authority(), (), None, NOW))))
        factory = self.factory("s.example")
        relayed = [_Relayed((ssl.PEM_cert_to_DER_cert(one.certificate.decode()),)) for one in (alice, bob)]
        for each in relayed:
            factory.connections.add(each)       # type: ignore[arg-type]  # it stands for a tunnel
        self.serve(secure("s", listed, domains="[s.example]"),
                   crl.format(inline(revoke(authority(), [alice.certificate], None, NOW))))
        self.assertIs(self.factory("s.example"), factory)
        self.assertEqual([each.closed for each in relayed], [True, False])
        self.assertEqual(self.table.revoked, 1)
        self.serve(secure("s", PLAIN, domains="[s.example]"))
        self.assertEqual([each.closed for each in relayed], [True, True])       # they were let in by what is no more

    def test_another_certificate_by_a_reload(self) -> None:
        """Connections do not notice."""
        self.serve(secure("a", PLAIN, domains="[a.example]"))
        old = self.factory("a.example")
        self.serve(secure("a", f"common_params: {{{shown(server('a.example', 'new.example'))}}}", domains="[a.example]"))
        self.assertIs(self.factory("a.example"), old)
        self.assertFalse(old.draining)

    def test_handshakes_are_what_endpoints_hear_of(self) -> None:
        """A factory knows what its group tells."""
        self.serve(secure("s", STRICT + ", xfcc_header_elements: [XFCC_SUBJECT]", domains="[s.example]"))
        self.assertEqual(self.factory("s.example").certified(Handshake("TLSv1.3", "x")), b"")
        self.assertEqual(self.factory("s.example").tells.xfcc, ("XFCC_SUBJECT",))


class ExplainTests(TableCase):
    def explained(self, url: str, *headers: str) -> dict[str, Any]:
        """What explain says, plain."""
        assert self.made is not None
        return Explainer(self.made).explain(read_question("GET", url, headers)).plain()

    def test_the_way_in(self) -> None:
        """Which host by which name, its certificate, what is asked of clients, and a 421."""
        self.serve(secure("a", PLAIN, domains="[a.example]"), secure("s", STRICT, domains="[s.example]"))
        found = self.explained("https://s.example:8443/")
        self.assertEqual(found["virtual_host"], "default/s")
        self.assertIn("required", str(found["decisions"]))
        found = self.explained("https://a.example:8443/", "Host: s.example")
        self.assertEqual((found["status"], found["virtual_host"]), (421, "default/s"))
        self.assertIn("client certificates", str(found["decisions"]))
        self.assertEqual(self.explained("https://x.test:8443/")["outcome"], "refused")
        self.assertEqual(self.explained("https://x.test:8443/", "Host: a.example")["outcome"], "refused")

    def test_towards_endpoints(self) -> None:
        """Who is asked for and how they are judged; and loudly if they are not."""
        text = ("load_balancers:\n- {name: a, listen: '127.0.0.1:8080', origins: ['https://192.0.2.7:8443']}\n")
        self.made = dry_build(runtime(text).config)
        found = next(each for each in self.explained("http://a.example:8080/")["decisions"] if each["about"] == "TLS to endpoints")
        self.assertIn("the system's roots", str(found))
        self.assertIn("the endpoint's own name", str(found))

    def test_strict(self) -> None:
        """The server name of the question is that of its URL."""
        self.serve(secure("w", PLAIN, domains='["*.example"]', more=", enable_strict_sni_host_header_check: {}"))
        self.assertEqual(self.explained("https://a.example:8443/", "Host: b.example")["status"], 421)
        self.assertNotEqual(self.explained("https://a.example:8443/")["status"], 421)


class LintTests(SynchronousTestCase):
    def test_weak_tls(self) -> None:
        """Nobody verified, and old versions, each a warning."""

        text = ("objects:\n" + policy("p", "address: 127.0.0.1, port: 8443") + route("r")
                + "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [], tls_parameters: {voltgw: "
                "{skip_server_verification: true}, common_params: {minimum_protocol_version: TLSv1_1}}}}\n"
                + secure("a", f"common_params: {{{shown(server('a.example'))}, minimum_protocol_version: TLSv1_0}}", domains="[a.example]"))
        made = runtime(text)
        found = [problem.code for problem in lint(made.config, made, datetime.now(UTC))]
        self.assertEqual([found.count(code) for code in ("VG0411", "VG0412")], [1, 2])

