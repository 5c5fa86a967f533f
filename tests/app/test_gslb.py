"""What DNS answers and where the load balancer sends requests agree, in forty cases and whatever the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from random import Random
from unittest.mock import Mock

import dns.message
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from tests.dns.gslb import CASES, Case, Step
from tests.dns.test_gslb import question, unlike
from voltgw.app.build import Runtime
from voltgw.app.dns import DnsSide
from voltgw.app.zones import Delegated
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.routing.route import VirtualHost
from voltgw.routing.zone import Zones

OWN = "paris"
DELEGATED = ("- {{kind: discovery, metadata: {{name: {}, namespace: system}}, spec: {{where: {{}}, voltgw: {{dns_delegation: "
             "{{zone: {}, {}}}}}}}}}\n")


def vip(name: str, domain: str, policy: str, cluster: str, more: str = "") -> str:
    """A virtual host with a policy, a route and a cluster of its own, all by its name; the cluster has an endpoint."""
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: ['{domain}'], advertise_policies: [{name}], routes: [{name}]{more}}}}}\n"
            f"- {{kind: advertise_policy, metadata: {{name: {name}}}, spec: {{{policy}}}}}\n"
            f"- {{kind: route, metadata: {{name: {name}}}, spec: {{routes: [{{route_destination: {{destinations: {cluster}}}}}]}}}}\n"
            + service(name))


def service(name: str) -> str:
    """A cluster with one endpoint."""
    return (f"- {{kind: cluster, metadata: {{name: {name}}}, spec: {{endpoints: [{name}]}}}}\n"
            f"- {{kind: endpoint, metadata: {{name: {name}}}, spec: {{ip: 192.0.2.1, port: 80}}}}\n")


def configuration(case: Case) -> str:
    """A case as objects: VIP n is that of the virtual host, the policy and the cluster "vn"."""
    sites = "".join(
        f"- {{kind: site, metadata: {{name: {'local' if site == OWN else site}, namespace: system}}, spec: {{site_type: CUSTOMER_EDGE}}}}\n"
        for site in dict.fromkeys(each.site for each in case.vips) | {OWN: None})
    made = ["objects:\n", sites, DELEGATED.format("zone", case.zone, (
        f"order: {case.order.value}, when_down: {'serve_all' if case.serve_down else 'nodata'}, ttl: 30"))]
    for number, each in enumerate(case.vips, 1):
        site = "local" if each.site == OWN else each.site
        terms = f"weight: {each.weight}, priority: {each.priority}, client_prefixes: {list(each.clients)}"
        made.append(vip(f"v{number}", f"{case.owner}.{case.zone}", (
            f"where: {{site: {{ref: [system/{site}]}}}}, address: '{case.address(number)}', port: 80, voltgw: {{dns: {{{terms}}}}}"),
            f"[{{cluster: [v{number}]}}]"))
    return "".join(made)


def health(made: Runtime, up: Mapping[str, bool]) -> None:
    """Clusters by name have a ready endpoint, or one that is down."""
    for name, ready in up.items():
        cluster = made.clusters[f"default/{name}"]
        state = EndpointState(EndpointKey(cluster.name, "TCP", "", "192.0.2.1", 80), ready=ready)
        cluster.install(EndpointSet(cluster.version + 1, (state,)))


def side() -> DnsSide:
    """It knows the health of every cluster."""
    return DnsSide(Mock(wall=lambda: 0.0), lambda cluster: True)


def look(made: Runtime) -> Delegated:
    """The one zone, as it answers once health was looked at."""
    assert made.delegations is not None
    (delegated,) = made.delegations.all
    for name in delegated.names.values():
        delegated.zone.set_host(name.host(side().up, delegated.spec))
    return delegated


def asked(delegated: Delegated, name: str, step: Step) -> dns.message.Message:
    """The answer to one question."""
    query, peer = question(name, step)
    answer = Responder(Zones([delegated.zone]), Cookies(bytes(16), lambda: 0.0)).respond(query.to_wire(), peer)
    return dns.message.from_wire(answer or b"")


def served(host: VirtualHost, draws: int = 40) -> bool:
    """Whether the load balancer finds an endpoint for a request, for some at least."""
    random = Random(5)
    for route in host.routes:
        clusters = [route.cluster] if route.split is None else [route.split(random.random()).cluster for _ in range(draws)]
        if any(cluster is not None and cluster.pick(None) is not None for cluster in clusters):
            return True
    return False


class AgreementTests(SynchronousTestCase):
    """Zones of a whole configuration beside its listeners and clusters."""

    def test_cases(self) -> None:
        """An address that is answered is one where a request is served, as long as there is one; and it is the table's."""
        wrong = []
        for case in CASES:
            made = runtime(configuration(case))
            for index, step in enumerate(case.steps):
                up = case.up(step)
                health(made, {f"v{number}": number in up for number in range(1, len(case.vips) + 1)})
                delegated = look(made)
                (name,) = delegated.names.values()
                serving = {offer.address for offer in name.offers if served(offer.host)}
                times = 1200 if step.shares else 2 * max(1, len(step.given))
                answers = [asked(delegated, f"{case.asked}.{case.zone}", step) for _ in range(times)]
                found = unlike(case, step, answers)
                given = {ip_address(rdata.to_text()) for answer in answers for rrset in answer.answer for rdata in rrset}
                if serving and not given <= serving:
                    found.append(f"{given - serving} would not serve")
                if not serving and not case.serve_down and given:
                    found.append("given, but nobody serves")
                found += [f"nobody listens at {offer.address}" for offer in name.offers
                          if offer.site == "local" and offer.address in given and not self.listens(made, offer.address, offer.host)]
                wrong += [f"{case.number} {case.title!r}, step {index}: {words}" for words in found]
        self.maxDiff = None
        self.assertEqual(wrong, [])

    def listens(self, made: Runtime, address: object, host: VirtualHost) -> bool:
        """Whether a listener at an address leads to the host."""
        return any(host in plan.hosts for key, plan in made.listeners.items() if key.address == str(address))

    def test_destinations_that_get_no_request(self) -> None:
        """A cluster of weight 0 beside another one, or one that does not exist, keeps no address up; a stand-by one does."""
        for destinations, other, up in (
            ("[{cluster: [v1], weight: 10}, {cluster: [other], weight: 0}]", True, False),
            ("[{cluster: [v1], weight: 10}, {cluster: [other], weight: 1}]", True, True),
            ("[{cluster: [v1], priority: 1, weight: 1}, {cluster: [other], priority: 2, weight: 1}]", True, True),
            ("[{cluster: [v1], weight: 10}, {cluster: [other], weight: 1}]", False, False),
            ("[{cluster: [other], weight: 0}]", True, True),
        ):
            made = runtime("objects:\n" + DELEGATED.format("zone", "apps.example", "when_down: nodata") + service("other") + vip(
                "v1", "shop.apps.example", "address: 192.0.2.7, port: 80", destinations))
            health(made, {"v1": False, "other": other})
            (host,) = made.hosts.values()
            self.assertEqual((side().up(host), served(host)), (up, up), destinations)
            self.assertEqual(len(asked(look(made), "shop.apps.example", Step()).answer), up)

    def test_one_address_by_several_policies(self) -> None:
        """On two ports it is one VIP, up while one of them is served; what a policy says of DNS holds, whichever comes last."""
        terms = ", voltgw: {dns: {priority: 3}}"
        for first, second in (("", terms), (terms, ""), (terms, ", voltgw: {dns: {priority: 5}}")):
            made = runtime("objects:\n" + DELEGATED.format("zone", "apps.example", "order: priority, when_down: nodata") + "".join(
                vip(name, "shop.apps.example", f"address: {address}, port: {port}{more}", f"[{{cluster: [{name}]}}]")
                for name, address, port, more in (("v1", "192.0.2.1", 80, first), ("v2", "192.0.2.1", 81, second),
                                                  ("v3", "192.0.2.2", 80, ", voltgw: {dns: {priority: 1}}"))))
            for up, given in ((("v1", "v2", "v3"), ["192.0.2.2"]), (("v1",), ["192.0.2.1"]), (("v2",), ["192.0.2.1"]), ((), [])):
                health(made, {name: name in up for name in ("v1", "v2", "v3")})
                answer = asked(look(made), "shop.apps.example", Step())
                self.assertEqual([rdata.to_text() for rrset in answer.answer for rdata in rrset], given)

    def test_hints_of_https_records(self) -> None:
        """They name no address that the client would not be given: not one that is down, nor one of several choices."""
        for order, up, hints in (
            ("round_robin", (1, 2), {"192.0.2.1", "192.0.2.2"}), ("round_robin", (2,), {"192.0.2.2"}),
            ("priority", (1, 2), {"192.0.2.1"}), ("priority", (2,), {"192.0.2.2"}), ("weighted", (1, 2), set()),
            ("weighted", (2,), {"192.0.2.2"}), ("client_subnet", (1, 2), set()), ("round_robin", (), None),
        ):
            made = runtime("objects:\n" + DELEGATED.format("zone", "apps.example", f"order: {order}, when_down: nodata") + "".join(
                vip(f"v{number}", "shop.apps.example", f"address: 192.0.2.{number}, port: 443, voltgw: {{dns: {{priority: {number}, "
                    f"client_prefixes: {['10.0.0.0/8'] if number == 1 else []}}}}}", f"[{{cluster: [v{number}]}}]")
                for number in (1, 2)))
            assert made.delegations is not None
            for name in made.delegations.all[0].names.values():
                for offer in name.offers:
                    offer_tls(offer)
            health(made, {f"v{number}": number in up for number in (1, 2)})
            answer = asked(look(made), "shop.apps.example", Step(kind="HTTPS"))
            if hints is None:
                self.assertEqual(answer.answer, [])
            else:
                shown = answer.answer[0][0].params.get(4)
                self.assertEqual(set(shown.addresses) if shown else set(), hints, (order, up))


def offer_tls(offer: object) -> None:
    """Its host ends TLS."""
    object.__setattr__(offer, "tls", True)
