"""Kubernetes as the control side sees it: objects, lists and watches, and what services become."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis.strategies import dictionaries, integers, lists, none, one_of, recursive, text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from voltgw.control.discovery.kubernetes import objects, reflector
from voltgw.control.discovery.kubernetes.client import KubernetesClient
from voltgw.control.discovery.kubernetes.kubeconfig import read
from voltgw.control.discovery.kubernetes.objects import Malformed, Unusable
from voltgw.control.discovery.kubernetes.reflector import MOST_PAUSE_S, PAGE, Reflector
from voltgw.control.discovery.kubernetes.transport import MOST_LINE_BYTES, Lines
from voltgw.control.discovery.registries import Standing
from voltgw.control.feed import FeedState
from voltgw.control.publish.api import Reply
from voltgw.control.publish.registrar import RegistryError, TooLarge
from voltgw.values.discovery import RegistryAccess, ServiceQuery

SERVICE = {"metadata": {"name": "shop", "namespace": "default", "labels": {"app": "shop"}}, "spec": {
    "clusterIPs": ["10.96.0.7"], "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "admin", "port": 81}]}}


def slice_(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An EndpointSlice of the shop."""
    return {"metadata": {"name": "shop-a", "namespace": "default", "labels": {"kubernetes.io/service-name": "shop"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 8081}], "endpoints": list(endpoints), **more}


class ObjectTests(SynchronousTestCase):
    """From objects to instances."""

    def of(self, *slices: dict[str, Any], port: int = 80, service: dict[str, Any] = SERVICE, pods: dict[str, dict[str, str]] | None = None) -> list[Any]:
        """Address, port and labels of the pods."""
        known = {("default", name): objects.Pod(("default", name), labels) for name, labels in (pods or {}).items()}
        found = objects.of_pods(objects.service(service), map(objects.slice_of, slices), port, known.get)
        return [(one.address, one.port, dict(one.labels), one.zone) for one in found]

    def test_pods(self) -> None:
        """By the name of the port; labels of the service, and over them the pod's; the zone; each address once."""
        one = {"addresses": ["10.0.0.1"], "zone": "z", "nodeName": "n", "targetRef": {"kind": "Pod", "name": "p"}}
        self.assertEqual(self.of(slice_(one), slice_(one), port=81, pods={"p": {"app": "other", "version": "v1"}}), [("10.0.0.1", 8081, {
            "app": "other", "version": "v1", "kubernetes.namespace": "default", "kubernetes.service": "shop", "kubernetes.node": "n",
            "kubernetes.pod": "p"}, "z")])

    def test_conditions(self) -> None:
        """Ready ones, and those of which nothing is said; where nobody is ready, those that serve while they end."""
        ready = {"addresses": ["10.0.0.1"], "conditions": {}}
        ending = {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": True, "terminating": True}}
        off = {"addresses": ["10.0.0.3"], "conditions": {"ready": False, "serving": False}}
        old = {"addresses": ["10.0.0.4"], "conditions": {"ready": False}}
        self.assertEqual([one[0] for one in self.of(slice_(ready, ending, off, old))], ["10.0.0.1"])
        self.assertEqual([one[0] for one in self.of(slice_(ending, off, old))], ["10.0.0.2"])
        self.assertEqual(self.of(slice_(off, old)), [])

    def test_slices_without_the_port(self) -> None:
        """And such as have names for addresses, or a port that is none: whoever may write slices does not spoil the lists of others."""
        one = {"addresses": ["10.0.0.1"]}
        self.assertEqual(self.of(slice_(one, ports=[{"name": "other", "port": 1}]), slice_(one, addressType="FQDN"), slice_(one, ports=None)), [])
        for port in (0, -1, 70_000, "80"):
            self.assertEqual(self.of(slice_(one, ports=[{"name": "http", "port": port}])), [])

    def test_ports(self) -> None:
        """By number; the only one need not be named."""
        for port in (0, 99):
            error = self.assertRaises(Unusable, self.of, port=port)
            self.assertIn("80, 81", str(error))
        single = {**SERVICE, "spec": {"ports": [{"port": 80}]}}
        self.assertEqual(self.of(slice_({"addresses": ["10.0.0.1"]}, ports=[{"port": 9}]), port=0, service=single)[0][:2], ("10.0.0.1", 9))

    def test_a_name_elsewhere(self) -> None:
        """ExternalName has no endpoints: it is said what to do."""
        self.assertIn("dns_name", str(self.assertRaises(Unusable, self.of, service={**SERVICE, "spec": {"type": "ExternalName"}})))

    def test_nodes(self) -> None:
        """Ready ones by the address that others can reach, on the node port; without one it is said so."""
        service = objects.service(SERVICE)
        nodes = [objects.node({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "z"}}, "status": {
            "conditions": [{"type": "Ready", "status": ready}], "addresses": [
                {"type": "InternalIP", "address": f"10.0.0.{number}"}, {"type": "Hostname", "address": name},
                *([{"type": "ExternalIP", "address": f"192.0.2.{number}"}] if number == 1 else [])]}})
            for number, (name, ready) in enumerate((("a", "True"), ("b", "True"), ("c", "False")))]
        self.assertEqual([(one.address, one.port, one.zone) for one in objects.of_nodes(service, nodes, 80)], [
            ("10.0.0.0", 30080, "z"), ("192.0.2.1", 30080, "z")])
        self.assertIn("no node port", str(self.assertRaises(Unusable, objects.of_nodes, service, nodes, 81)))
        self.assertEqual([(one.address, one.port) for one in objects.of_cluster(service, 81)], [("10.96.0.7", 81)])
        headless = objects.service({**SERVICE, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
        self.assertIn("headless", str(self.assertRaises(Unusable, objects.of_cluster, headless, 80)))

    _ANY = recursive(one_of(none(), integers(), text(max_size=5)), lambda inner: one_of(
        lists(inner, max_size=3), dictionaries(text(max_size=5) | one_of(*(text(min_size=0, max_size=0) for _ in range(1))), inner, max_size=3)), max_leaves=8)

    @examples(100)
    @given(_ANY, _ANY, _ANY)
    def test_anything(self, metadata: Any, spec: Any, rest: Any) -> None:
        """Whatever comes, it is an object or `Malformed`."""
        found = {"metadata": metadata, "spec": spec, "status": rest, "ports": rest, "endpoints": spec}
        for make in (objects.service, objects.slice_of, objects.pod, objects.node):
            try:
                make(found)
            except Malformed:
                pass


class ReflectorTests(SynchronousTestCase):
    """`Reflector`, whose transport a test is."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.loop: Any = SimpleNamespace(clock=self.clock, monotonic=self.clock.seconds)
        self.gets: list[tuple[str, Deferred[Reply]]] = []
        self.watches: list[tuple[str, Callable[[bytes], None], Deferred[Reply]]] = []
        self.changes = 0
        self.problems: list[str] = []
        self.reflector = Reflector("/pods", {"labelSelector": "a=b"}, objects.pod, self, self.loop, Random(1), self.changed, self.problems.append,
                                   lambda: None)
        self.reflector.start()
        self.addCleanup(self.reflector.stop)

    def changed(self) -> None:
        """It has."""
        self.changes += 1

    async def get(self, path: str, /) -> Reply:
        """Wait for the test."""
        answer: Deferred[Reply] = Deferred()
        self.gets.append((path, answer))
        return await answer

    async def lines(self, path: str, line: Callable[[bytes], None], begun: Callable[[], None], /) -> Reply:
        """Likewise."""
        self.begun = begun
        answer: Deferred[Reply] = Deferred()
        self.watches.append((path, line, answer))
        return await answer

    def page(self, *names: str, version: str = "5", following: str = "", status: int = 200) -> None:
        """Answer a list."""
        metadata = {"resourceVersion": version, **({"continue": following} if following else {})}
        items = [{"metadata": {"name": name, "namespace": "n"}} for name in names]
        self.gets.pop(0)[1].callback(Reply(status, {}, json.dumps({"metadata": metadata, "items": items, "message": "words"}).encode()))

    def event(self, kind: str, name: str = "", version: str = "6", **labels: str) -> None:
        """A line of the watch."""
        self.watches[0][1](json.dumps({"type": kind, "object": {"metadata": {
            "name": name, "namespace": "n", "resourceVersion": version, "labels": labels}}}).encode())

    def end(self, status: int = 200, body: bytes = b"{}") -> None:
        """The watch ends."""
        self.watches.pop(0)[2].callback(Reply(status, {}, body))

    def relisted(self) -> float:
        """It lists again; how many seconds that took."""
        before = self.clock.seconds()
        while not self.gets:
            self.clock.advance(0.25)
        return self.clock.seconds() - before

    def names(self) -> list[str]:
        """Of what is known."""
        return sorted(name for _, name in self.reflector.objects)

    def test_pages(self) -> None:
        """A list goes on until its end; the watch begins at its version and names the same selection."""
        self.assertEqual(self.gets[0][0], f"/pods?labelSelector=a%3Db&limit={PAGE}")
        self.page("a", "b", following="more/1")
        self.assertEqual((self.gets[0][0], self.changes), (f"/pods?labelSelector=a%3Db&limit={PAGE}&continue=more%2F1", 0))
        self.page("c", version="7")
        self.assertEqual((self.names(), self.changes, self.reflector.synced), (["a", "b", "c"], 1, True))
        self.assertIn("resourceVersion=7", self.watches[0][0])
        self.assertIn("labelSelector=a%3Db", self.watches[0][0])
        self.assertIn("allowWatchBookmarks=true", self.watches[0][0])

    def test_events(self) -> None:
        """Each is a change, but those that change nothing; a bookmark moves the version alone; a watch that ends goes on there."""
        self.page("a")
        self.event("ADDED", "b")
        self.event("MODIFIED", "b", "7", x="y")
        self.event("MODIFIED", "b", "8", x="y")
        self.event("DELETED", "a", "9")
        self.event("DELETED", "a", "10")
        self.event("BOOKMARK", "", "20")
        self.assertEqual((self.names(), self.changes), (["b"], 4))
        self.end()
        self.clock.advance(1)
        self.assertIn("resourceVersion=20", self.watches[0][0])
        self.assertEqual(self.gets, [])

    def test_a_version_that_is_forgotten(self) -> None:
        """By a status, by an event, or between two pages: all is listed anew; what was known stays until then, and no longer."""
        self.page("a", "b")
        for status in (410, 200):
            if status == 200:
                self.watches[0][1](b'{"type":"ERROR","object":{"code":410}}')
            self.end(status)
            self.assertEqual(self.names(), ["a", "b"])
            self.relisted()
            self.page("a", "b")
        self.end(410)
        self.relisted()
        self.page("x", following="1")
        self.page(status=410)
        self.assertEqual(self.names(), ["a", "b"])
        self.relisted()
        self.assertNotIn("continue", self.gets[0][0])
        self.page("b")
        self.assertEqual((self.names(), self.changes), (["b"], 2))

    def test_a_server_that_is_back(self) -> None:
        """All is well as soon as it watches for us again, though there is nothing new to tell."""
        self.page("a")
        self.watches.pop(0)[2].errback(RegistryError("gone"))
        self.assertEqual(self.reflector.problem, "gone")
        while not self.watches:
            self.clock.advance(0.25)
        self.assertEqual(self.reflector.problem, "gone")
        changes = self.changes
        self.begun()
        self.assertEqual((self.reflector.problem, self.changes), ("", changes + 1))

    def test_lines_that_are_none(self) -> None:
        """Half an event, another thing, an error: the rest of the watch is not believed, and all is listed anew."""
        self.page("a")
        no_name = b'{"type":"ADDED","object":{"metadata":{"name":1,"resourceVersion":"3"}}}'
        for line in (b'{"type":"ADDED","obj', b"[]", b"null", b'{"type":"ADDED","object":{"metadata":{}}}', no_name, b"\xff\xfe"):
            self.watches[0][1](line)
            self.event("DELETED", "a")
            self.assertEqual(self.names(), ["a"])
            self.end()
            self.assertIn("cannot be understood", self.problems[-1])
            while not self.gets:
                self.clock.advance(1)
            self.page("a")
            self.assertEqual(self.reflector.problem, "")
        self.watches[0][1](b'{"type":"ERROR","object":{"code":500,"message":"etcd is away"}}')
        self.end()
        self.assertIn("etcd is away", self.problems[-1])

    def test_versions_that_are_forgotten_at_once(self) -> None:
        """A server that forgets each version that it lists is listed ever more rarely, until a watch tells something."""
        self.page("a")
        waited = []
        for _ in range(16):
            self.end(410)
            waited.append(self.relisted())
            self.page("a")
        self.assertTrue(max(waited[:2]) <= 2.25 and max(waited[-8:]) > 15 and max(waited) <= MOST_PAUSE_S + 1, waited)
        self.event("BOOKMARK", "", "9")
        self.end(410)
        self.assertLess(self.relisted(), 1.5)

    def test_watches_that_end_at_once(self) -> None:
        """They are asked for once in a second; one that has lasted is taken up without delay."""
        self.page("a")
        for _ in range(5):
            self.end()
            self.clock.advance(0.9)
            self.assertEqual(self.watches, [])
            self.clock.advance(0.1)
            self.assertEqual(len(self.watches), 1)
        self.clock.advance(300)
        self.end()
        self.clock.advance(0.05)
        self.assertEqual((len(self.watches), self.problems), (1, []))

    def test_pages_that_are_too_large(self) -> None:
        """They are asked for with half as many objects, from where the list has come to; one object that is too large is a failure."""
        self.page("a", following="1")
        self.gets.pop(0)[1].errback(TooLarge("too much"))
        self.assertEqual(self.gets[0][0], f"/pods?labelSelector=a%3Db&limit={PAGE // 2}&continue=1")
        self.page("b")
        self.assertEqual((self.names(), self.problems), (["a", "b"], []))
        self.end(410)
        self.relisted()
        while not self.problems:
            self.gets.pop(0)[1].errback(TooLarge("too much"))
        self.assertEqual((self.problems, self.names()), (["too much"], ["a", "b"]))

    def test_a_list_without_end(self) -> None:
        """Is given up, and what was known stays."""
        self.reflector.stop()
        self.gets.clear()
        self.patch(reflector, "MOST_PAGES", 3)
        self.reflector.start()
        for _ in range(3):
            self.page("a", following="1")
        self.assertIn("more than 3 pages", self.problems[0])
        self.assertEqual((self.names(), self.gets, self.reflector.synced), ([], [], False))

    def test_a_bug_of_ours(self) -> None:
        """In reading an answer: it is logged and said, and all is listed anew."""
        self.page("a")
        self.watches.pop(0)[2].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("bug", self.reflector.problem)
        self.relisted()
        self.page("b")
        self.assertEqual((self.names(), self.reflector.problem), (["b"], ""))

    def test_failures(self) -> None:
        """A watch that breaks goes on from its version, with pauses that grow; what was known stays."""
        self.page("a")
        waited = []
        for _ in range(10):
            self.watches.pop(0)[2].errback(RegistryError("cut"))
            before = self.clock.seconds()
            while not self.watches:
                self.clock.advance(0.25)
            waited.append(self.clock.seconds() - before)
        self.assertTrue(waited[0] < 2 and waited[-1] > 20 and max(waited) <= MOST_PAUSE_S * 1.5 + 1, waited)
        self.assertEqual((self.gets, self.names()), ([], ["a"]))
        self.event("BOOKMARK", "", "9")
        self.assertEqual(self.reflector.problem, "")
        self.end(403, b'{"message": "pods is forbidden"}')
        self.assertIn("403: pods is forbidden", self.problems[-1])

    def test_the_end(self) -> None:
        """No timer, no request is left."""
        self.page("a")
        self.watches.pop(0)[2].errback(RegistryError("cut"))
        self.reflector.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StandingTests(SynchronousTestCase):
    """`KubernetesClient`, several of whose watches may fail."""

    def setUp(self) -> None:
        """A client; slices are forbidden."""
        self.clock = Clock()
        self.forbidden = {"endpointslices"}
        self.access = RegistryAccess("system/c", "kubernetes", "http://k")
        self.standing = Standing(self.access)
        loop: Any = SimpleNamespace(clock=self.clock, monotonic=self.clock.seconds, soon=lambda call: call())
        self.client = KubernetesClient(self.access, self.standing, loop, Random(1), self)
        self.addCleanup(self.client.close)
        self.query = ServiceQuery((self.access,), "shop", "default")

    async def get(self, path: str, /) -> Reply:
        """What may be read is empty."""
        if any(f"/{name}?" in path for name in self.forbidden):
            return Reply(403, {}, b'{"message": "it is forbidden"}')
        return Reply(200, {}, b'{"metadata": {"resourceVersion": "5"}, "items": []}')

    async def lines(self, path: str, line: Callable[[bytes], None], begun: Callable[[], None], /) -> Reply:
        """Nothing ever comes."""
        return await Deferred()

    def test_one_of_them_fails(self) -> None:
        """The state is that of the worst; it is well when all are."""
        self.client.watch(self.query, lambda instances, why: None)
        self.assertEqual((self.standing.state, "forbidden" in self.standing.last_error), (FeedState.FAILED, True))
        self.forbidden.clear()
        self.clock.advance(2)
        self.assertEqual((self.standing.state, self.standing.last_error), (FeedState.BOUND, ""))

    def test_two_that_ask_for_the_same(self) -> None:
        """As at a reload: when the first asks no more, the count of the service stays."""
        self.forbidden.clear()
        first = self.client.watch(self.query, lambda instances, why: None)
        second = self.client.watch(self.query, lambda instances, why: None)
        first()
        self.assertEqual(self.standing.services, {"shop.default": 0})
        second()
        self.assertEqual(self.standing.services, {})


class LineTests(SynchronousTestCase):
    """`Lines`."""

    def test_every_split(self) -> None:
        """Lines are the same however they come."""
        data = b'{"a":1}\n{"b":2}\n'
        for at in range(len(data) + 1):
            got: list[bytes] = []
            lines = Lines(got.append)
            lines.received(data[:at])
            lines.received(data[at:])
            lines.ended()
            self.assertEqual(got, [b'{"a":1}', b'{"b":2}'])

    def test_a_cut(self) -> None:
        """In the middle of a line is an error, and so is a line without end."""
        lines = Lines(lambda line: None)
        lines.received(b'{"a":')
        self.assertRaises(RegistryError, lines.ended)
        self.assertRaises(RegistryError, lines.received, b"x" * MOST_LINE_BYTES)


class KubeconfigTests(SynchronousTestCase):
    """`read`."""

    CONFIG = """
current-context: b
contexts:
- {name: a, context: {cluster: x, user: x}}
- {name: b, context: {cluster: k, user: u}}
clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443/", CLUSTER}}]
users: [{name: u, user: {USER}}]
"""

    def found(self, user: str = "token: t", cluster: str = "certificate-authority-data: QQ==") -> Any:
        """What is in it."""
        return read(self.CONFIG.replace("USER", user).replace("CLUSTER", cluster).encode(), self.contents)

    def contents(self, path: str) -> bytes:
        """Of a file."""
        if path == "/none":
            raise FileNotFoundError(2, "No such file or directory")
        return path.encode()

    def test_the_current_context(self) -> None:
        """Data and files, tokens and certificates."""
        found = self.found()
        self.assertEqual((found.server, found.ca, found.token), ("https://10.0.0.1:6443", b"A", "t"))
        found = self.found("client-certificate: /c, client-key-data: Qg==, tokenFile: /t", "certificate-authority: /ca, tls-server-name: k8s")
        self.assertEqual((found.ca, found.certificate, found.key, found.token_file, found.server_name), (b"/ca", b"/c", b"B", "/t", "k8s"))

    def test_what_cannot_be(self) -> None:
        """Each with its reason."""
        for user, cluster, why in (
            ("exec: {command: aws}", "a: b", "not run"), ("auth-provider: {name: gcp}", "a: b", "not run"), ("token: [x]", "a: b", "no text"),
            ("token: t", "insecure-skip-tls-verify: true", "whoever answers"), ("client-key-data: '%'", "a: b", "not base64"),
            ("client-key: /none", "a: b", "No such file"),
        ):
            self.assertIn(why, str(self.assertRaises(ValueError, self.found, user, cluster)))
        for data, why in ((b"{", "no YAML"), (b"[]", "no mapping"), (b"{}", "no context None"), (b"current-context: x", "no context 'x'"),
                          (b"contexts: 5", "no context None"), (b"[" * 100_000, "no YAML")):
            self.assertIn(why, str(self.assertRaises(ValueError, read, data, self.contents)))
