"""A gateway without sockets serves as the real one does, and a test can say everything that happens around it."""

from __future__ import annotations

import configparser
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import run
from typing import Any
from unittest import TestLoader, TestResult

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import server
from tests.support import open_descriptors
from voltgw.app.question import QuestionError
from voltgw.errors import ConfigErrors
from voltgw.testing import Answer, Connection, Gateway, NoAnswer, Request

ROOT = Path(__file__).parent.parent.parent
SHOP = """
load_balancers:
- name: shop
  listen: 8080
  domains: [shop.example.com]
  origins: [127.0.0.1:9001, 127.0.0.1:9002]
  health_check: /healthz
  routes: [{path: /api, to: api}, {path: /old, redirect: /new}]
- name: api
  listen: 8081
  origins: [http://api.internal:8000]
"""
ECHO = """
load_balancers:
- {name: echo, protocol: tcp, listen: 5432, origins: [127.0.0.1:5433]}
"""
ONE = """
load_balancers:
- {name: one, listen: 8080, origins: [127.0.0.1:9001]}
"""
RANDOM = """
objects:
- kind: virtual_host
  metadata: {name: one}
  spec: {domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [one], routes: [one]}
- kind: advertise_policy
  metadata: {name: one}
  spec: {protocol: TCP, port: 8080}
- {kind: route, metadata: {name: one}, spec: {routes: [{route_destination: {destinations: [{cluster: one}]}}]}}
- {kind: cluster, metadata: {name: one}, spec: {endpoints: [a, b], loadbalancer_algorithm: RANDOM}}
- {kind: endpoint, metadata: {name: a}, spec: {ip: 10.0.0.1, port: 80}}
- {kind: endpoint, metadata: {name: b}, spec: {ip: 10.0.0.2, port: 80}}
"""


class GatewayCase(SynchronousTestCase):
    """Makes gateways and closes them."""

    def gateway(self, text: str = SHOP, **named: Any) -> Gateway:
        """One that is closed when the test is over."""
        gateway = Gateway(text, **named)
        self.addCleanup(gateway.close)
        return gateway


class RequestTests(GatewayCase):
    """Requests and answers."""

    def test_there_and_back(self) -> None:
        """A server gets what the gateway makes of a request; the client gets its answer, and the record of it."""
        gateway = self.gateway()
        got: list[Request] = []

        def answer(request: Request) -> Answer:
            got.append(request)
            return Answer(201 if request.method == "POST" else 200, {"x-from": "a"}, "made")

        gateway.serve("127.0.0.1:9001", answer)
        made = gateway.request("POST", "http://shop.example.com:8080/cart?item=7", {"x-test": "1"}, "two", source="198.51.100.7")
        self.assertEqual((made.status, made.reason, made.text), (201, "Created", "made"))
        self.assertEqual(made.headers.get("x-from"), "a")
        self.assertEqual((made.virtual_host, made.route, made.endpoint, made.flag), ("default/shop", "shop/2", "127.0.0.1:9001", ""))
        request = got[-1]
        self.assertEqual((request.method, request.target, request.path, request.body),
                         ("POST", "/cart?item=7", "/cart", b"two"))
        self.assertEqual(request.headers.get("X-Test"), "1")
        self.assertEqual(request.headers.get("x-forwarded-for"), "198.51.100.7")
        self.assertTrue(request.headers.has("x-request-id"))
        self.assertEqual(gateway.records[-1].attempts, 1)

    def test_what_the_gateway_answers_itself(self) -> None:
        """Redirects, unknown hosts, and refusals."""
        gateway = self.gateway()
        moved = gateway.request("GET", "http://shop.example.com:8080/old")
        self.assertEqual((moved.status, moved.headers.get("location")), (301, "http://shop.example.com:8080/new"))
        self.assertEqual(moved.endpoint, "")
        self.assertEqual(gateway.request("GET", "http://other.example.com:8080/").status, 404)
        gone = gateway.request("GET", "http://shop.example.com:8080/")
        self.assertEqual(gone.status, 503, "nothing listens there")
        self.assertNotEqual(gone.flag, "")

    def test_bodies(self) -> None:
        """Chunked ones, those without a length, HEAD and 304."""
        gateway = self.gateway(ONE)
        origin = gateway.serve("127.0.0.1:9001", Answer(headers={"transfer-encoding": "chunked"}, body="abc"))
        self.assertEqual(gateway.request("GET", "http://a:8080/").body, b"abc")
        self.assertEqual(gateway.request("HEAD", "http://a:8080/").body, b"")
        origin.answer = lambda request: Answer(304, {"etag": '"1"'})
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 304)
        sent = b"5\r\nhello\r\n0\r\n\r\n"
        origin.answer = lambda request: Answer(body=request.body)
        echoed = gateway.request("POST", "http://a:8080/", {"transfer-encoding": "chunked"}, sent)
        self.assertEqual(echoed.body, b"hello")

    def test_names(self) -> None:
        """An endpoint that is a name has the addresses that the test gives it."""
        gateway = self.gateway(names={"api.internal": ("10.0.0.8",)})
        gateway.serve("10.0.0.8:8000", lambda request: request.host)
        found = gateway.request("GET", "http://shop.example.com:8080/api/v1")
        self.assertEqual((found.text, found.endpoint), ("shop.example.com:8080", "10.0.0.8:8000"))

    def test_tls_is_left_out(self) -> None:
        """A request to an https URL comes in as if the handshake had been."""
        folder = Path(self.mktemp())
        folder.mkdir()
        folder.joinpath("voltgw.yaml").write_text(
            "load_balancers: [{name: secure, protocol: https, listen: 443, domains: [secure.example.com], "
            "origins: [127.0.0.1:9001], tls: {cert: a.crt, key: a.key}}]", encoding="utf-8")
        pair = server("secure.example.com")
        folder.joinpath("a.crt").write_bytes(pair.certificate)
        folder.joinpath("a.key").write_bytes(pair.key)
        gateway = Gateway.of_file(folder / "voltgw.yaml")
        self.addCleanup(gateway.close)
        origin = gateway.serve("127.0.0.1:9001")
        self.assertEqual(gateway.request("GET", "https://secure.example.com/").status, 200)
        self.assertEqual(origin.requests[-1].headers.get("x-forwarded-proto"), "https")

    def test_questions_that_are_none(self) -> None:
        """They are refused with a reason."""
        gateway = self.gateway()
        self.assertRaises(QuestionError, gateway.request, "GET", "nonsense")
        error = self.assertRaises(NoAnswer, gateway.request, "GET", "http://shop.example.com:81/")
        self.assertIn("81", str(error))
        self.assertRaises(ConfigErrors, Gateway, "load_balancers: [{name: a, lisssten: 80}]")


class TimeTests(GatewayCase):
    """The clock is the test's."""

    def test_a_slow_answer(self) -> None:
        """Takes the gateway's time, and none of the test's."""
        gateway = self.gateway(ONE)
        gateway.serve("127.0.0.1:9001", Answer(after_s=20.0))
        before = gateway.now
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 200)
        self.assertTrue(20.0 <= gateway.now - before < 20.5)

    def test_no_answer(self) -> None:
        """The gateway's own deadline ends it; or the test's patience does."""
        gateway = self.gateway(ONE)
        gateway.serve("127.0.0.1:9001", lambda request: None)
        self.assertRaises(NoAnswer, gateway.request, "GET", "http://a:8080/", within_s=5.0)
        late = gateway.request("GET", "http://a:8080/")
        self.assertEqual(late.status, 504)

    def test_health(self) -> None:
        """An endpoint that fails its checks is out, and comes back."""
        gateway = self.gateway()
        good, bad = gateway.serve("127.0.0.1:9001"), gateway.serve("127.0.0.1:9002")
        self.assertEqual(gateway.healthy("shop"), ["127.0.0.1:9001", "127.0.0.1:9002"])
        bad.answer = lambda request: Answer(500)
        gateway.advance(60.0)
        self.assertEqual(gateway.healthy("shop"), ["127.0.0.1:9001"])
        why = [each["why"] for each in gateway.clusters()["default/shop"]["endpoints"] if each["port"] == 9002]
        self.assertIn("500", why[0])
        asked = len([request for request in bad.requests if request.path == "/"])
        for _ in range(4):
            self.assertEqual(gateway.request("GET", "http://shop.example.com:8080/").endpoint, "127.0.0.1:9001")
        self.assertEqual(len([request for request in bad.requests if request.path == "/"]), asked)
        bad.answer = lambda request: Answer()
        gateway.advance(60.0)
        self.assertEqual(len(gateway.healthy("shop")), 2)
        good.hearing = False
        gateway.advance(60.0)
        self.assertEqual(gateway.healthy("shop"), ["127.0.0.1:9002"])

    def test_the_same_every_time(self) -> None:
        """Chance is by the seed."""
        def shares(seed: int) -> list[str]:
            gateway = self.gateway(RANDOM, seed=seed)
            gateway.serve("10.0.0.1:80")
            gateway.serve("10.0.0.2:80")
            return [gateway.request("GET", "http://a:8080/").endpoint for _ in range(20)]

        self.assertEqual(shares(1), shares(1))
        self.assertNotEqual(shares(1), shares(2))


class ConnectionTests(GatewayCase):
    """Bytes."""

    def test_a_relay(self) -> None:
        """A TCP listener leads to a server that talks bytes."""
        gateway = self.gateway(ECHO)

        def talk(connection: Connection, data: bytes) -> None:
            connection.send(data.upper() if data else b"220 hello\r\n")

        origin = gateway.serve("127.0.0.1:5433", talk=talk)
        client = gateway.connect("tcp://127.0.0.1:5432")
        client.heard(b"220 hello\r\n")
        client.send(b"quit\r\n")
        self.assertEqual(client.heard(b"QUIT\r\n"), b"220 hello\r\nQUIT\r\n")
        self.assertEqual(len(origin.connections), 1)
        client.close()
        gateway.advance(1.0)
        self.assertEqual(len(origin.connections), 0)
        self.assertEqual((gateway.records[-1].bytes_in, gateway.records[-1].bytes_out), (6, 17))

    def test_two_requests_at_once(self) -> None:
        """A client that sends before it has an answer gets both, in order."""
        gateway = self.gateway(ONE)
        gateway.serve("127.0.0.1:9001", lambda request: request.target)
        client = gateway.connect("http://a:8080")
        client.send(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
        self.assertEqual(client.heard(b"/2").count(b"HTTP/1.1 200"), 2)

    def test_a_request_that_is_none(self) -> None:
        """It is refused, and the connection closed."""
        gateway = self.gateway(ONE)
        client = gateway.connect("http://a:8080")
        client.send(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        self.assertEqual(client.answer().status, 400)
        gateway.advance(5.0)
        self.assertTrue(client.closed)

    def test_a_server_that_resets(self) -> None:
        """What stood is reset when a server stops listening; a request on it is answered all the same."""
        gateway = self.gateway(ONE)
        origin = gateway.serve("127.0.0.1:9001")
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 200)
        origin.listening = False
        gateway.advance(0.1)
        self.assertEqual(len(origin.connections), 0)
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 502)


class ReloadTests(GatewayCase):
    """Another configuration."""

    def test_what_did_not_change_goes_on(self) -> None:
        """A cluster keeps its endpoints and its counters; a client's connection stays."""
        gateway = self.gateway()
        gateway.serve("127.0.0.1:9001")
        gateway.serve("127.0.0.1:9002")
        client = gateway.connect("http://shop.example.com:8080")
        client.send(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n")
        self.assertEqual(client.answer().status, 200)
        cluster = gateway.runtime.clusters["default/shop"]
        gateway.reload(SHOP.replace("redirect: /new", "redirect: /newer"))
        self.assertIs(gateway.runtime.clusters["default/shop"], cluster)
        client.send(b"GET /old HTTP/1.1\r\nhost: shop.example.com\r\n\r\n")
        self.assertEqual(client.answer().headers.get("location"), "http://shop.example.com/newer")

    def test_one_that_is_refused(self) -> None:
        """It changes nothing."""
        gateway = self.gateway(ONE)
        gateway.serve("127.0.0.1:9001")
        self.assertRaises(ConfigErrors, gateway.reload, "load_balancers: [{name: one}]")
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 200)

    def test_other_endpoints(self) -> None:
        """They are found and asked."""
        gateway = self.gateway(ONE)
        gateway.serve("127.0.0.1:9001")
        gateway.serve("127.0.0.1:9002")
        gateway.request("GET", "http://a:8080/")
        gateway.reload(ONE.replace("9001", "9002"))
        self.assertEqual(gateway.request("GET", "http://a:8080/").endpoint, "127.0.0.1:9002")


class ExplainTests(GatewayCase):
    """Why."""

    def test_a_decision(self) -> None:
        """The same as the command's."""
        gateway = self.gateway(names={"api.internal": ("10.0.0.8",)})
        told = gateway.explain("GET", "http://shop.example.com:8080/api/v1")
        self.assertEqual((told["virtual_host"], told["cluster"]), ("default/shop", "default/api"))
        self.assertEqual(len(gateway.records), 0)


class FilterTests(GatewayCase):
    """What a user's own filter does wrong is the test's to know."""

    def test_a_bug_is_told_at_the_end(self) -> None:
        """`close` raises what a guard has caught."""
        gateway = Gateway(ONE)

        def answer(request: Request) -> Answer:
            return Answer()

        gateway.serve("127.0.0.1:9001", answer)
        gateway.request("GET", "http://a:8080/")

        def broken(exchange: object) -> None:
            raise RuntimeError("a filter's bug")

        route = next(iter(gateway.runtime.hosts.values())).routes[0]
        route.request_filters = (broken,)
        self.assertEqual(gateway.request("GET", "http://a:8080/").status, 500)
        error = self.assertRaises(AssertionError, gateway.close)
        self.assertIn("a filter's bug", str(error))


class FootprintTests(SynchronousTestCase):
    """Nothing is opened, and nothing left."""

    def test_no_descriptor(self) -> None:
        """Serving opens none."""
        before = open_descriptors().keys()
        with Gateway(SHOP, names={"api.internal": ("10.0.0.8",)}) as gateway:
            gateway.serve("127.0.0.1:9001")
            gateway.request("GET", "http://shop.example.com:8080/")
            self.assertEqual(open_descriptors().keys() - before, set())


class ExampleTests(SynchronousTestCase):
    """The suite in the docs."""

    def test_it_passes(self) -> None:
        """Each of its tests, and there are some."""
        spec = spec_from_file_location("test_shop", ROOT / "docs/example-test/test_shop.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        suite = TestLoader().loadTestsFromTestCase(module.ShopTests)
        result = TestResult()
        suite.run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (2, [], []))


class PytestTests(SynchronousTestCase):
    """The fixture."""

    def test_it_is_found_by_its_name(self) -> None:
        """pytest takes it from the installation's entry points; a suite of a user's passes, and fails, with it."""
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        plugin = setup["options.entry_points"]["pytest11"].partition("=")[2].strip()
        folder = self.mktemp()
        os.makedirs(folder)
        Path(folder, "test_mine.py").write_text(
            f"CONFIG = '''{ONE}'''\n\n"
            "def test_it(voltgw_gateway):\n"
            "    gateway = voltgw_gateway(CONFIG)\n"
            "    gateway.serve('127.0.0.1:9001')\n"
            "    assert gateway.request('GET', 'http://a:8080/').status == 200\n\n"
            "def test_that_fails(voltgw_gateway):\n"
            "    assert voltgw_gateway(CONFIG).request('GET', 'http://a:8080/').status == 200\n", encoding="utf-8")
        environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
        ran = run([sys.executable, "-m", "pytest", "-q", "-p", plugin, "-p", "no:cacheprovider", folder],
                  capture_output=True, text=True, timeout=60, check=False, env=environ)
        self.assertIn("1 failed, 1 passed", ran.stdout, ran.stderr)
