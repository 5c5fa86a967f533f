"""Names for registries of others as a configuration has them, and publishers over reloads, changes of health, and the end."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, runtime
from tests.control.publish.making import FakeRegistrar, Registry
from voltgw.app import registries
from voltgw.app.build import Runtime
from voltgw.app.dry import dry_build
from voltgw.app.explain import Explainer
from voltgw.app.lint import lint
from voltgw.app.publishing import Publishing
from voltgw.app.question import read_question
from voltgw.errors import ConfigErrors

ROUTE = "objects:\n- {kind: route, metadata: {name: r}, spec: {routes: [{route_direct_response: {response_code: 200}}]}}\n"
UPDATE = "zone: apps.example, address: 192.0.2.53, tsig: {name: k, secret: 'string:///c2VjcmV0'}"


def discovery(name: str = "names", update: str = UPDATE, publish: str = "owner: edge-1", more: str = "where: {}") -> str:
    """An object that publishes in a zone."""
    return (f"- {{kind: discovery, metadata: {{name: {name}, namespace: system}}, spec: {{{more}, voltgw: "
            f"{{publish: {{{publish}}}, dns_update: {{{update}}}}}}}}}\n")


def host(name: str, policies: str = "one", domains: str = "", more: str = "") -> str:
    """A virtual host."""
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: [{domains or name + '.apps.example'}], "
            f"advertise_policies: [{policies}], routes: [r]{more}}}}}\n")


def policy(name: str, spec: str) -> str:
    """An advertise policy."""
    return f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n"


ONE = policy("one", "address: 192.0.2.1, port: 80")


def names(made: Runtime, of: int = 0) -> dict[str, tuple[str, ...]]:
    """What a registry should hold while all is well."""
    publication = made.publications[of]
    return {name.text: publication.wanted(name, lambda host: True).addresses for name in publication.names.values()}


class PublicationTests(SynchronousTestCase):
    """`publications`."""

    def test_names(self) -> None:
        """Domains in the zone with the VIPs of their policies; wildcards; what cannot be is left out with the reason."""
        long = "x" * 60 + "." + "y" * 60 + "." + "z" * 60 + "." + "w" * 46 + ".apps.example"
        made = runtime(ROUTE + discovery() + ONE + policy("two", "address: '2001:db8::1', port: 81") + policy(
            "unix", "port: 0, voltgw: {unix: /tmp/x}") + host("a", "one, two") + host(
            "b", domains="'b.apps.example:80', '*.w.apps.example', elsewhere.example, apps.example, '*-x.apps.example'") + host(
            "c", more=", disable_dns_resolve: true") + host("d", "unix") + host("e", domains=long))
        self.assertEqual(names(made), {
            "a.apps.example": ("192.0.2.1", "2001:db8::1"), "b.apps.example": ("192.0.2.1",), "*.w.apps.example": ("192.0.2.1",),
            "apps.example": ("192.0.2.1",)})
        self.assertEqual(dict(made.publications[0].left_out), {
            "*-x.apps.example": "a wildcard of DNS is a whole label",
            "d.apps.example": 'virtual_host "d" has no address that is known here',
            long: "with its mark it would be longer than a name may be (236 characters)"})

    def test_zones_of_one_server(self) -> None:
        """A name goes to the deepest of them; zones of different servers are independent."""
        made = runtime(ROUTE + discovery() + discovery("upper", UPDATE.replace("apps.example", "example")) + discovery(
            "other", UPDATE.replace("apps.example", "example").replace(".53", ".54")) + ONE + host("a") + host(
            "b", domains="b.example"))
        self.assertEqual([list(names(made, of)) for of in range(3)], [
            ["a.apps.example"], ["b.example"], ["a.apps.example", "b.example"]])

    def test_some_domains(self) -> None:
        """`domains` says which."""
        made = runtime(ROUTE + discovery(publish="owner: edge-1, domains: [b.apps.example]") + ONE + host("a") + host("b"))
        self.assertEqual(list(names(made)), ["b.apps.example"])
        self.assertEqual(made.publications[0].left_out, [])

    def test_the_api_written_out(self) -> None:
        """The URL of a cloud's API that is said and is the usual one makes no other registry."""
        for kind, spec, url in (
                ("route53", "zone: apps.example, hosted_zone_id: Z1", "https://route53.amazonaws.com"),
                ("google_dns", "zone: apps.example, project: p, managed_zone: m", "https://dns.googleapis.com/"),
                ("azure_dns", "zone: apps.example, subscription_id: 11111111-1111-1111-1111-111111111111, resource_group: g",
                 "https://management.azure.com")):
            made = [runtime(ROUTE + discovery().replace("dns_update: {" + UPDATE, f"{kind}: {{{spec}{more}")).publications[0].registry
                    for more in ("", f", endpoint: '{url}'", ", endpoint: 'https://other.example'")]
            self.assertEqual(made[0].identity, made[1].identity)
            self.assertEqual(made[0].server, made[1].server)
            self.assertNotEqual(made[0].identity, made[2].identity)

    def test_elsewhere(self) -> None:
        """Objects for another site, and disabled ones, publish nothing here."""
        site = "- {kind: site, metadata: {name: lyon, namespace: system}, spec: {site_type: CUSTOMER_EDGE}}\n"
        made = runtime(ROUTE + site + discovery(more="where: {site: {ref: [system/lyon]}}") + ONE + host("a"))
        self.assertEqual(made.publications, [])

    def test_what_cannot_be(self) -> None:
        """Two objects with one owner in one zone; publishing without an owner; an owner with blanks."""
        with self.assertRaises(ConfigErrors) as raised:
            runtime(ROUTE + discovery("one") + discovery("two"))
        (problem,) = raised.exception.problems
        self.assertEqual(problem.code, "VG0231")
        self.assertIn("the two would take each other's out", problem.message)
        runtime(ROUTE + discovery("one") + discovery("two", publish="owner: edge-2"))
        with self.assertRaises(ConfigErrors) as raised:
            runtime("gateway: {dns: [{address: 192.0.2.53, port: 53}]}\n" + ROUTE + discovery())
        self.assertIn("this gateway's own DNS server", raised.exception.problems[0].message)
        for text, reason in ((discovery().replace("publish: {owner: edge-1}, ", ""), "needs an owner"),
                             (discovery(publish="owner: 'edge 1'"), "only letters, digits")):
            with self.assertRaises(ConfigErrors) as raised:
                runtime(ROUTE + text)
            self.assertIn(reason, raised.exception.problems[0].message)

    def test_without_asking_the_host(self) -> None:
        """What is looked at on another machine, or before it serves, has addresses that nobody knows there: no error, no warning."""
        zone = discovery("d").replace("dns_update: {" + UPDATE + "}", "dns_delegation: {zone: d.example}")
        made = dry_build(config("gateway: {dns: [{address: 0.0.0.0, port: 53}]}\n" + ROUTE + discovery() + zone + host("a", "every") + host(
            "b", "some", domains="b.apps.example, b.d.example") + policy("every", "port: 80, voltgw: {any_address: true}") + policy("some", "port: 81")))
        self.assertEqual({name: each[0] for name, each in names(made).items()}, {"a.apps.example": "0.0.0.0", "b.apps.example": "0.0.0.0"})
        self.assertEqual(lint(made.config, made, datetime(2024, 1, 1, tzinfo=UTC)), ())
        explained = Explainer(made).explain(read_question("-", "dns:a.apps.example/A", (), "", ""))
        self.assertIn("an address of this host", str(explained.plain()))

    def test_explained(self) -> None:
        """Which registry is to have a name, by what owner, and with which VIPs; also one that a wildcard covers."""
        made = runtime(ROUTE + discovery(publish="owner: edge-1, dry_run: true") + ONE + host("a", domains="a.apps.example, '*.w.apps.example'")
                       + host("d", "unix") + policy("unix", "port: 0, voltgw: {unix: /tmp/x}"))
        for name, outcome, words in (
            ("a.apps.example", "published", "a.apps.example is kept there as owner edge-1; nothing is written: dry run"),
            ("x.y.w.apps.example", "published", "*.w.apps.example is kept there"), ("b.apps.example", "refused", "no virtual host"),
            ("d.apps.example", "refused", "left out: virtual_host \"d\" has no address"), ("b.example", "refused", "no zone"),
        ):
            explained = Explainer(made).explain(read_question("-", f"dns:{name}/A", (), "", ""))
            self.assertEqual(explained.outcome, outcome, name)
            self.assertIn(words, str(explained.plain()), name)


class ClusterDnsTests(SynchronousTestCase):
    """Zones that the DNS server of a cluster delegates to us."""

    def made(self, subdomain: str = "subdomain: shop.apps.example", listens: str = "address: 192.0.2.53, port: 53", zone: str = "apps.example",
             servers: str = "", more: str = "") -> Runtime:
        """A configuration with one of them."""
        return runtime(
            f"gateway: {{dns: [{{{listens}}}]}}\n" + ROUTE + ONE + host("a") + more + "- {kind: discovery, metadata: {name: k, namespace: system}, spec: "
            "{where: {}, discovery_k8s: {access_info: {connection_info: {api_server: '192.0.2.9:6443'}}, publish_info: {dns_delegation: "
            f"{{{subdomain}, dns_mode: CORE_DNS}}}}}}, voltgw: {{dns_delegation: {{zone: {zone}{servers}}}}}}}}}\n")

    def test_where_we_answer(self) -> None:
        """At the addresses that listen; where one listens on all, at those of the zone's name servers; whatever domains there are."""
        ns = ", name_servers: [{name: ns1.apps.example, addresses: [192.0.2.7, '2001:db8::7']}]"
        for listens, servers, wanted in (
                ("address: 192.0.2.53, port: 53", ns, ["192.0.2.53"]), ("address: 0.0.0.0, port: 53", ns, ["192.0.2.7"]),
                ("address: '::', port: 53", ns, ["192.0.2.7", "2001:db8::7"])):
            made = self.made(listens=listens, servers=servers)
            (publication,) = made.publications
            (name,) = publication.names.values()
            self.assertEqual((name.text, publication.registry.kind), ("shop.apps.example", "cluster_dns"))
            self.assertEqual(sorted(publication.wanted(name, lambda host: False).addresses), wanted)
        explained = Explainer(made).explain(read_question("-", "dns:a.shop.apps.example/A", (), "", ""))
        self.assertIn("the cluster's DNS server asks this gateway for names in shop.apps.example", str(explained.plain()))

    def test_what_cannot_be(self) -> None:
        """A zone that nobody here answers, none at all, an address that nobody knows; two with one owner."""
        for more, reason in (({"zone": "other.example"}, "no zone of this gateway has shop.apps.example"), ({"subdomain": ""}, "which `subdomain`"),
                             ({"listens": "address: 0.0.0.0, port: 53"}, "nobody knows at which address"),
                             ({"listens": "address: 192.0.2.53, port: 0"}, "nobody knows at which address")):
            with self.assertRaises(ConfigErrors) as raised:
                self.made(**{"subdomain": "subdomain: shop.apps.example", **more} if more.get("subdomain") != "" else {"subdomain": "subdomain: null"})
            self.assertEqual([each.code for each in raised.exception.problems], ["VG0231"])
            self.assertIn(reason, raised.exception.problems[0].message)


class LintTests(SynchronousTestCase):
    """What ``voltgw check`` says of registries."""

    def said(self, *parts: str) -> list[str]:
        """Of them."""
        made = runtime(ROUTE + ONE + "".join(parts))
        return [problem.message for problem in lint(made.config, made, datetime(2024, 1, 1, tzinfo=UTC)) if problem.code == "VG0414"]

    def test_in_vain(self) -> None:
        """A registry without a name, and a name that leads others to themselves."""
        self.assertEqual(self.said(discovery(), host("a")), [])
        (said,) = self.said(discovery(), host("a", domains="a.example"))
        self.assertIn("dns_update of discovery \"system/names\" gets no name: no virtual host that it could have has a domain in apps.example", said)
        (said,) = self.said(discovery(), host("a", "here"), policy("here", "address: 127.0.0.1, port: 80"), host("b", "here"))
        self.assertIn("a.apps.example is published with 127.0.0.1, by which others do not reach this host", said)


class RegistrarOf(FakeRegistrar):
    """One that remembers for what it was made."""

    def __init__(self, far: Registry, spec: Any, owner: str) -> None:
        super().__init__(far, owner)
        self.spec = spec


class PublishingTests(SynchronousTestCase):
    """`Publishing`, with a registry in memory in place of each zone."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.far: dict[str, Registry] = {}
        self.down: set[str] = set()
        self.made: list[RegistrarOf] = []
        deps: Any = SimpleNamespace(reactor=None, wall=self.clock.seconds, random=SimpleNamespace(random=lambda: 0.5))
        self.publishing = Publishing(deps, self.clock, lambda host: host.name not in self.down)

        def registrar(described: registries.DnsUpdate, reactor: Any, clock: Any, wall: Any) -> RegistrarOf:
            made = RegistrarOf(self.far.setdefault(described.spec.zone, Registry()), described.spec, described.owner)
            self.made.append(made)
            return made

        self.patch(registries.DnsUpdate, "registrar", registrar)
        self.addCleanup(self._end)

    def _end(self) -> None:
        self.publishing.abandon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def serve(self, *parts: str) -> None:
        """A configuration."""
        self.publishing.install(runtime(ROUTE + ONE + "".join(parts)).publications)
        self.pass_by(1.0)

    def pass_by(self, seconds: float) -> None:
        """As the gateway does: names are looked at each second."""
        for _ in range(int(seconds)):
            for _ in self.publishing.look():
                pass
            self.clock.pump([0.25] * 4)

    def held(self, zone: str = "apps.example") -> dict[str, tuple[str, ...]]:
        """What a registry holds."""
        return {name: addresses for name, (_, addresses) in self.far[zone].names.items()}

    def test_other_terms_and_credentials(self) -> None:
        """A reload with another key, TTL or interval keeps the names where they are; what is the same is not made anew."""
        self.serve(discovery(), host("a"))
        registry = self.far["apps.example"]
        used = self.made[-1]
        self.serve(discovery(), host("a"), host("b"))
        self.assertIs(self.publishing.registries()[0]["state"], "bound")
        self.assertEqual(registry.writes, [("create", "a.apps.example"), ("create", "b.apps.example")])
        for update, publish in ((UPDATE.replace("c2VjcmV0", "b3RoZXI="), "owner: edge-1"), (UPDATE + ", ttl: 99", "owner: edge-1"),
                                (UPDATE + ", ttl: 99", "owner: edge-1, interval: 5s")):
            self.serve(discovery(update=update, publish=publish), host("a"), host("b"))
        self.assertEqual(len(registry.writes), 2)
        self.assertGreater(used.closed, 0)
        looks = registry.looks
        self.pass_by(21.0)
        self.assertIn(registry.looks - looks, (3, 4, 5))                # every five seconds from now on
        self.assertEqual(self.made[-1].spec.ttl_s, 99)

    def test_another_owner(self) -> None:
        """The names of the one before go, and are taken as soon as they have."""
        self.serve(discovery(), host("a"))
        self.far["apps.example"].refuses["a.apps.example"] = "not now"
        self.serve(discovery(publish="owner: edge-2"), host("a"))
        self.assertEqual([each["state"] for each in self.publishing.names(10)], ["foreign", "failed"])
        self.far["apps.example"].refuses = {}
        self.pass_by(5.0)
        self.assertEqual(self.far["apps.example"].names, {"a.apps.example": ("edge-2", ("192.0.2.1",))})
        self.assertEqual(len(self.publishing.registries()), 1)

    def test_gone_and_back(self) -> None:
        """A registry that is not configured any more is emptied, also if it is away for a while; one that is back is filled."""
        self.serve(discovery(), host("a"))
        registry = self.far["apps.example"]
        registry.error = OSError("away")
        self.serve(host("a"))
        self.pass_by(3.0)
        self.assertEqual([each["state"] for each in self.publishing.registries()], ["retiring"])
        self.assertEqual([each["state"] for each in self.publishing.names(10)], ["removing"])
        self.flushLoggedErrors(OSError)
        registry.error = None
        self.serve(discovery(), host("a"))
        self.pass_by(3.0)
        self.assertEqual((self.held(), self.publishing.registries()[0]["state"]), ({"a.apps.example": ("192.0.2.1",)}, "bound"))
        self.serve(host("a"))
        self.pass_by(3.0)
        self.assertEqual((self.held(), self.publishing.registries()), ({}, []))

    def test_two_registries(self) -> None:
        """One that fails holds up no other."""
        self.far["b.example"] = Registry()
        self.far["b.example"].error = OSError("away")
        self.serve(discovery(), discovery("other", UPDATE.replace("apps.example", "b.example")), host("a"), host("b", domains="b.example"))
        self.pass_by(2.0)
        self.flushLoggedErrors(OSError)
        self.assertEqual(self.held(), {"a.apps.example": ("192.0.2.1",)})
        self.assertEqual(self.publishing.failing(), {("system/names", "dns_update"): 0, ("system/other", "dns_update"): 1})
        self.assertEqual(self.publishing.states()["system/other", "dns_update", "failed"], 1)

    def flap(self, publish: str, seconds: int) -> int:
        """A service that comes and goes each second; how many writes that makes."""
        self.serve(discovery(publish=publish), host("a"))
        before = len(self.far["apps.example"].writes)
        for second in range(seconds):
            self.down = {"a"} if second % 2 == 0 else set()
            self.pass_by(1.0)
        return len(self.far["apps.example"].writes) - before

    def test_flapping(self) -> None:
        """It writes once at once, then once in `hold_down`; in the end what is true is published."""
        writes = self.flap("owner: edge-1, when_down: nodata", 120)
        self.assertTrue(1 < writes <= 5, writes)
        self.down = set()
        self.pass_by(35.0)
        self.assertEqual(self.held(), {"a.apps.example": ("192.0.2.1",)})
        self.down = {"a"}
        self.pass_by(35.0)
        self.assertEqual(self.held(), {"a.apps.example": ()})

    def test_back_at_once(self) -> None:
        """A service that was away for a second is published again when the time is up, though nothing has changed since."""
        self.serve(discovery(publish="owner: edge-1, when_down: nodata"), host("a"))
        self.down = {"a"}
        self.pass_by(1.0)
        self.down = set()
        self.pass_by(20.0)
        self.assertEqual((self.held(), self.publishing.registries()[0]["held_back"]), ({"a.apps.example": ()}, 1))
        self.pass_by(15.0)
        self.assertEqual((self.held(), self.publishing.registries()[0]["held_back"]), ({"a.apps.example": ("192.0.2.1",)}, 0))

    def test_flapping_that_is_not_held(self) -> None:
        """Without `hold_down` each change is written."""
        self.assertEqual(self.flap("owner: edge-1, when_down: nodata, hold_down: 0", 20), 20)

    def test_health_that_is_not_believed(self) -> None:
        """By default a name keeps its addresses when nobody is up; of several addresses those that are down are left out."""
        self.serve(discovery(), policy("two", "address: 192.0.2.2, port: 80"), host("a"),
                   host("b", "two", domains="b.apps.example"), host("c", "one", domains="c.apps.example"), host("d", "two", domains="c.apps.example"))
        self.down = {"a", "d"}
        self.pass_by(2.0)
        self.assertEqual(self.held(), {"a.apps.example": ("192.0.2.1",), "b.apps.example": ("192.0.2.2",), "c.apps.example": ("192.0.2.1",)})

    def test_many_names(self) -> None:
        """They are looked at in steps, none of which has more than a few hundred."""
        domains = ", ".join(f"n{count}.apps.example" for count in range(33))
        self.publishing.install(runtime(ROUTE + ONE + discovery() + "".join(
            host(f"h{of}", domains=domains.replace("apps", f"h{of}.apps")) for of in range(40))).publications)
        self.assertGreater(sum(1 for _ in self.publishing.look()), 6)
        self.assertEqual(sum(1 for _ in self.publishing.look()), 0)     # nothing has come or gone
        self.pass_by(60.0)
        self.assertEqual(len(self.held()), 33 * 40)

    def test_the_end(self) -> None:
        """Names that are to be removed are before it is over; nothing is installed or told afterwards."""
        self.serve(discovery(publish="owner: edge-1, on_shutdown: remove"), host("a"))
        ended: list[object] = []
        self.publishing.withdraw().addCallback(ended.append)
        self.pass_by(2.0)
        self.assertEqual((len(ended), self.held()), (1, {}))
        self.serve(discovery(), host("a"))
        self.assertEqual(self.held(), {})

