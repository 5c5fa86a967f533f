"""The admin interface over real sockets."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import socket
import stat
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, LoopingCall
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.observe.making import Cluster, Endpoint, Listener, Route, View, access_log
from voltgw.observe import site as site_module
from voltgw.observe.admin import AdminAddressError, AdminService, AdminTls
from voltgw.observe.callers import READ, Callers
from voltgw.observe.contents import Pages
from voltgw.observe.metrics import GatewayCollector

_HOW_TO = Path(__file__).parents[2] / "docs" / "howto" / "admin.rst"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@dataclass(frozen=True)
class At:
    """Where a site is to listen."""

    address: str = "127.0.0.1"
    port: int = 0
    unix: str | None = None
    names: tuple[str, ...] = ()
    tls: AdminTls | None = None
    tokens: tuple[tuple[str, bytes, int], ...] = ()
    clients: tuple[tuple[str, int], ...] = ()
    users: tuple[tuple[int, int], ...] = ()
    anonymous: int = READ

    def callers(self, now: Callable[[], float]) -> Callers:
        """Who may do what."""
        return Callers(now, self.tokens, self.clients, self.users, self.anonymous)


@dataclass(frozen=True)
class Config:
    """The part of the gateway's section that is read."""

    admin: At | None = At()
    monitor: At | None = None


class Asking(Protocol):
    """Sends bytes and keeps what comes until the connection ends."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.got = b""
        self.over: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Connected."""
        assert self.transport is not None
        self.transport.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        """A piece of the answer."""
        self.got += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The end."""
        self.over.callback(self.got)


@dataclass
class Answered:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class AdminCase(TestCase):
    """A gateway with an admin interface; each test ends it."""

    def setUp(self) -> None:
        """Something to show."""
        route = Route()
        route.counters.status[2] = 1
        self.view = View(all_clusters=[Cluster(endpoints=(Endpoint(),))], all_routes=[route])

    def serve(self, config: Config | None = None, **options: Any) -> AdminService:
        """A service that runs until the test is over."""
        service = AdminService(self.view, config or Config(), reactor, Clock().seconds, **options)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def socket_path(self) -> str:
        """A short path for a unix socket."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return os.path.join(folder, "admin.sock")

    async def send(self, address: str, request: bytes) -> bytes:
        """Bytes there, bytes back."""
        endpoint: Any
        if address.startswith("/"):
            endpoint = UNIXClientEndpoint(reactor, address)
        else:
            host, _, port = address.rpartition(":")
            endpoint = TCP4ClientEndpoint(reactor, host, int(port))
        asking = Asking(request)
        await connectProtocol(endpoint, asking)
        return await asking.over

    async def ask(self, address: str, path: str, method: str = "GET", body: bytes = b"", host: str = "localhost",
                  **fields: str) -> Answered:
        """One request and its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        got = await self.send(address, "\r\n".join([*lines, "", ""]).encode() + body)
        head, _, rest = got.partition(b"\r\n\r\n")
        status, *header_lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in header_lines)}
        if headers.get("transfer-encoding") == "chunked":
            rest = unchunked(rest)
        return Answered(int(status.split()[1]), headers, rest)


def unchunked(data: bytes) -> bytes:
    """The body without its framing; raises ValueError when its end is missing."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return body
        body += data[:length]
        data = data[length + 2:]


class QuestionTests(AdminCase):
    """What is answered over TCP."""

    async def test_ready(self) -> None:
        """200 when it may be sent traffic, else 503 with what is missing; draining counts as not ready."""
        address = self.serve().addresses[0]
        answer = await self.ask(address, "/ready")
        self.assertEqual((answer.status, answer.json), (200, {"ready": True, "missing": []}))
        self.view.missing = ["cluster default/shop: first probes"]
        answer = await self.ask(address, "/ready")
        self.assertEqual((answer.status, answer.json["missing"]), (503, ["cluster default/shop: first probes"]))
        self.view.missing = []
        self.view.draining = True
        self.assertEqual((await self.ask(address, "/ready")).status, 503)
        self.assertEqual((await self.ask(address, "/live")).status, 200)

    async def test_every_page_as_json_and_as_html(self) -> None:
        """JSON unless a browser asks; both without errors."""
        address = self.serve().addresses[0]
        for path, key in (("/", "version"), ("/ready", "ready"), ("/live", "live"), ("/clusters", "clusters"),
                          ("/listeners", "listeners"), ("/virtual_hosts", "virtual_hosts"),
                          ("/certificates", "certificates"), ("/config", "gateway")):
            answer = await self.ask(address, path, Accept="*/*")
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/json"))
            self.assertIn(key, answer.json)
            page = await self.ask(address, path, Accept=BROWSER)
            self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"))
            self.assertTrue(page.body.startswith(b"<!doctype html>") and page.body.endswith(b"</html>\n"), path)

    async def test_contents(self) -> None:
        """The pages show what the gateway has."""
        log = access_log(self.mktemp(), "json", Clock(), Clock().seconds)
        self.addCleanup(log.close)
        service = self.serve(access=log)
        address = service.addresses[0]
        overview = (await self.ask(address, "/")).json
        self.assertEqual(overview["clusters"], {"all": 1, "with_ready_endpoints": 1})
        self.assertEqual(overview["started"], "2022-03-28T23:09:53Z")
        self.assertEqual(overview["access_log"]["dropped"]["queue"], 0)
        service.access = None
        self.assertNotIn("access_log", (await self.ask(address, "/")).json)
        self.assertNotIn(b"voltgw_access_log", (await self.ask(address, "/metrics")).body)
        listener = (await self.ask(address, "/listeners")).json["listeners"][0]
        self.assertEqual((listener["name"], listener["counters"]["accepted"]), ("127.0.0.1:8080", 0))
        cluster = (await self.ask(address, "/clusters")).json["clusters"][0]
        self.assertEqual(cluster["endpoints"][0]["address"], "10.0.0.5")
        hosts = await self.ask(address, "/virtual_hosts", Accept=BROWSER)
        self.assertIn(b"default/&lt;shop&gt;", hosts.body)

    async def test_certificates(self) -> None:
        """People see those of listeners by when they end, and how much time that is; each once, however many listeners show it."""
        def one(name: str, ends: float) -> dict[str, Any]:
            return {"names": [name], "ends": ends, "fingerprint": name * 3, "virtual_hosts": ["default/<shop>"]}

        late, soon = one("late.example", 100 * 86400.0), one("soon.example", 5 * 86400.0)
        over = one("over.example", -1.0)
        self.view.all_listeners = [Listener(name="127.0.0.1:1", certificates=[late, soon]),
                                   Listener(name="127.0.0.1:2", certificates=[late, over])]
        text = (await self.ask(self.serve(wall=lambda: 0.0).addresses[0], "/certificates", Accept=BROWSER)).body.decode()
        rows = re.findall(r"<tr><td>(.*?)</tr>", text)
        self.assertEqual([re.findall(r"(\w+)\.example<", row)[0] for row in rows[:3]], ["over", "soon", "late"])
        for row, words in zip(rows, ("bad\">has ended", "warn\">5 days", "good\">100 days"), strict=False):
            self.assertIn(words, row)
        self.assertIn("127.0.0.1:1", rows[2])
        self.assertIn("127.0.0.1:2", rows[2])
        self.assertIn("default/&lt;shop&gt;", rows[2])

    async def test_events(self) -> None:
        """What is asked for by number and kind; a number that is none is refused with words."""
        address = self.serve().addresses[0]
        log = Logger(namespace="x", observer=self.view.events)
        for kind in ("reload.applied", "endpoint.health", "reload.refused"):
            log.info("<{number}>", number=7, event=kind)
        answer = (await self.ask(address, "/events?since=1&kind=reload&kind=no.such")).json
        self.assertEqual([(each["id"], each["kind"], each["fields"]) for each in answer["events"]], [
            (3, "reload.refused", {"number": 7})])
        self.assertEqual(answer["next"], 3)
        for wrong in ("x", "-1", "1" * 30, "%D9%A1"):
            refused = await self.ask(address, f"/events?since={wrong}")
            self.assertEqual(refused.status, 400)
            self.assertIn("since is a number", refused.json["error"])
        page = await self.ask(address, "/events", Accept=BROWSER)
        self.assertIn(b"&lt;7&gt;", page.body)

    async def test_logs(self) -> None:
        """Levels are shown to everybody and changed over the socket; what cannot be done is said."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        self.assertEqual((await self.ask(path, "/logs")).json["levels"], {"voltgw.<control>": "debug"})
        for asked in ("level?level=warn", "level?level=debug&logger=voltgw.app", "level?level=reset", "reopen"):
            self.assertEqual((await self.ask(path, f"/logs/{asked}", "POST")).status, 200)
        self.assertEqual(self.view.logs.done, ["warn", "voltgw.app debug", "reset", "reopen"])
        refused = await self.ask(path, "/logs/level?level=loud", "POST")
        self.assertEqual((refused.status, refused.json), (400, {"error": "'loud' is no level"}))
        self.assertEqual((await self.ask(path, "/logs/level", "POST")).status, 400)
        self.view.logs.problems = ["no"]
        failed = await self.ask(path, "/logs/reopen", "POST")
        self.assertEqual((failed.status, failed.json["problems"]), (422, ["no"]))
        self.assertEqual((await self.ask(path, "/logs/reopen")).status, 405)

    async def test_explain(self) -> None:
        """The question is read from the query, and told back with the decisions; a browser gets them as text."""
        address = self.serve().addresses[0]
        asked = "/explain?method=POST&url=http://x/a%3Fb&header=a:%20b&header=c:%20d&from=::1&listener=80"
        answer = await self.ask(address, asked)
        self.assertEqual((answer.status, answer.json), (200, {
            "question": {"method": "POST", "url": "http://x/a?b"}, "outcome": "answered",
            "decisions": [{"about": "question", "outcome": "POST http://x/a?b a: b c: d ::1 80"}]}))
        page = await self.ask(address, "/explain?url=http://x/%3Cb%3E", Accept=BROWSER)
        self.assertIn(b"<li>question: <strong>GET http://x/&lt;b&gt;", page.body)
        form = await self.ask(address, "/explain", Accept=BROWSER)
        self.assertIn(b'<form action="/explain">', form.body)
        for path, words in (("/explain", "ask /explain?url="), ("/explain?url=?", "'?' is not a URL")):
            answer = await self.ask(address, path)
            self.assertEqual(answer.status, 400)
            self.assertIn(words, answer.json["error"])

    async def test_why(self) -> None:
        """A request that is known, one that is not, and none."""
        address = self.serve().addresses[0]
        self.assertEqual((await self.ask(address, "/why?id=f282")).json["request_id"], "f282")
        page = await self.ask(address, "/why?id=f282", Accept=BROWSER)
        self.assertIn(b'route: <strong>&lt;shop&gt;</strong> <span class="soft">because</span> because', page.body)
        self.assertEqual((await self.ask(address, "/why?id=f283")).status, 404)
        self.assertEqual((await self.ask(address, "/recent")).json["requests"][0]["request_id"], "f282")
        self.assertEqual((await self.ask(address, "/recent?most=1001")).status, 400)
        self.assertEqual((await self.ask(address, "/why")).status, 400)

    async def test_metrics(self) -> None:
        """Prometheus' text, and OpenMetrics on demand; a browser gets text too."""
        address = self.serve().addresses[0]
        for accept, content_type in (("", "text/plain; version=0.0.4"), (BROWSER, "text/plain; version=0.0.4"),
                                     ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0")):
            answer = await self.ask(address, "/metrics", Accept=accept)
            self.assertTrue(answer.headers["content-type"].startswith(content_type))
            self.assertIn(b"voltgw_config_generation 3.0", answer.body)
        text = (await self.ask(address, "/metrics")).body.decode()
        self.assertIn("voltgw_requests", [family.name for family in text_string_to_metric_families(text)])

    async def test_headers_of_every_answer(self) -> None:
        """Nothing is cached, sniffed, framed or run; neither Twisted nor a version is named."""
        address = self.serve().addresses[0]
        for path, method in (("/", "GET"), ("/metrics", "GET"), ("/nowhere", "GET"), ("/drain", "POST"), ("/", "PUT")):
            headers = (await self.ask(address, path, method)).headers
            self.assertEqual(headers["cache-control"], "no-store")
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertIn("default-src 'none'", headers["content-security-policy"])
            self.assertEqual(headers["server"], "voltgw")
            self.assertFalse([name for name in headers if name.startswith("access-control")])

    async def test_the_style_is_the_one_that_the_policy_allows(self) -> None:
        """The page's only style and script have their hashes in the header, and there is no outside address."""
        answer = await self.ask(self.serve().addresses[0], "/", Accept=BROWSER)
        policy = answer.headers["content-security-policy"]
        for element in (b"style", b"script"):
            (text,) = re.findall(b"<%b>(.*?)</%b>" % (element, element), answer.body, re.DOTALL)
            self.assertIn(f"{element.decode()}-src 'sha256-{b64encode(sha256(text).digest()).decode()}'", policy)
        for word in (b'"http://', b"https://", b"src=", b" style=", b" onclick="):
            self.assertNotIn(word, answer.body.replace(b'placeholder="http://', b""))

    async def test_head(self) -> None:
        """Like GET, without the body."""
        address = self.serve().addresses[0]
        for path in ("/", "/metrics", "/clusters"):
            answer = await self.ask(address, path, "HEAD")
            self.assertEqual((answer.status, answer.body), (200, b""))

    async def test_a_long_answer(self) -> None:
        """Thousands of endpoints come whole, in many writes."""
        self.view.all_clusters = [Cluster(f"default/c{n}", tuple(Endpoint(address=f"10.0.{n}.{m}") for m in range(20)))
                                  for n in range(100)]
        address = self.serve().addresses[0]
        answer = await self.ask(address, "/clusters")
        self.assertEqual(sum(len(cluster["endpoints"]) for cluster in answer.json["clusters"]), 2000)
        text = (await self.ask(address, "/metrics")).body
        self.assertEqual(text.count(b"\nvoltgw_endpoint_ready{"), 2000)
        self.view.all_clusters.append(Cluster("default/zoo", (Endpoint(address="10.1.0.1"),)))
        html = (await self.ask(address, "/clusters", Accept=BROWSER)).body
        self.assertEqual(html.count(b'<td class="m">10.0.'), 2001)     # one of them in an event
        self.assertIn(b'<a href="/clusters?q=&amp;page=1">more</a>', html)
        for path in ("/clusters?page=1", "/clusters?q=zoo"):
            html = (await self.ask(address, path, Accept=BROWSER)).body
            self.assertEqual((html.count(b'<td class="m">10.'), html.count(b"10.1.0.1")), (1, 1), path)


class EstateTests(AdminCase):
    """Ten thousand hosts."""

    async def test_pages_of_a_long_list(self) -> None:
        """A page has a hundred of them, says where the others are, and finds one by its text; the list is not held at once."""
        made = 0

        def hosts() -> Iterator[dict[str, Any]]:
            nonlocal made
            for number in range(10_000):
                made += 1
                yield {"name": f"h{number}", "namespace": "default", "proxy": "HTTP_PROXY", "domains": [f"h{number}.example"],
                       "place": f"a.yaml:{number}", "listeners": ["127.0.0.1:80"], "routes": []}

        self.patch(self.view, "virtual_hosts", hosts)
        address = self.serve().addresses[0]

        async def names(query: str) -> list[str]:
            page = (await self.ask(address, f"/virtual_hosts{query}", Accept=BROWSER)).body
            return re.findall(r"default/(h\d+)<", page.decode())

        first = await self.ask(address, "/virtual_hosts", Accept=BROWSER)
        self.assertEqual(await names(""), [f"h{number}" for number in range(100)])
        self.assertIn(b'href="/virtual_hosts?q=&amp;page=1"', first.body)
        self.assertLess(len(first.body), 100_000)
        self.assertLess(made, 300, "those behind the page are not made")
        self.assertEqual(await names("?page=99"), [f"h{number}" for number in range(9900, 10_000)])
        self.assertEqual(await names("?q=H9999.example"), ["h9999"])
        self.assertEqual(await names("?q=no%20such%3C"), [])
        for page in ("x", "-1", "9" * 9, "%D9%A1" * 9):
            self.assertEqual(await names(f"?page={page}&q=h77.example"), ["h77"], page)


class DocumentationTests(SynchronousTestCase):
    """What a reader is told of the addresses."""

    def test_every_address_is_told(self) -> None:
        """None is missing in the how-to, and none is there that is not."""
        told = re.findall(r"^   \* - ``(?:GET|POST) (/[^`?]*)", _HOW_TO.read_text(encoding="utf-8"), re.MULTILINE)
        view: Any = View()
        pages = Pages(view, GatewayCollector(view), lambda: 0.0)
        self.assertEqual(sorted(told), sorted({path.decode() for path in pages.all}))


class ProtectionTests(AdminCase):
    """What is refused."""

    async def test_foreign_hosts_and_pages(self) -> None:
        """DNS rebinding and cross-site requests are refused on every page, in words."""
        address = self.serve().addresses[0]
        cases: tuple[dict[str, Any], ...] = (
            {"host": "evil.example:9901"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
        )
        for fields in cases:
            for path in ("/", "/config", "/metrics", "/ready", "/nowhere"):
                answer = await self.ask(address, path, **fields)
                self.assertEqual(answer.status, 403, f"{fields} {path}")
                self.assertIn("error", answer.json)

    async def test_our_own_pages(self) -> None:
        """A browser that was sent here by its user, or by our own page, is answered."""
        address = self.serve().addresses[0]
        cases: tuple[dict[str, Any], ...] = (
            {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin", "Origin": f"http://{address}"})
        for fields in cases:
            self.assertEqual((await self.ask(address, "/", host=address, **fields)).status, 200)

    async def test_acts_over_tcp(self) -> None:
        """Every user of the machine can connect, so nothing is done; the answer names the ways that there are."""
        address = self.serve().addresses[0]
        for path in ("/reload", "/rollback", "/drain", "/endpoints/drain", "/endpoints/weight", "/rollouts/promote?name=shop"):
            answer = await self.ask(address, path, "POST")
            self.assertEqual(answer.status, 403)
            self.assertIn("unix", answer.json["error"])
            self.assertIn("SIGHUP", answer.json["error"])
        self.assertEqual(self.view.asked, [])

    async def test_other_methods(self) -> None:
        """405 with the methods that there are."""
        address = self.serve().addresses[0]
        for path, method, allowed in (("/ready", "POST", "GET, HEAD"), ("/", "DELETE", "GET, HEAD"),
                                      ("/metrics", "OPTIONS", "GET, HEAD"), ("/reload", "GET", "POST"),
                                      ("/drain", "HEAD", "POST"), ("/config", "PUT", "GET, HEAD")):
            answer = await self.ask(address, path, method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed), path)

    async def test_no_such_page(self) -> None:
        """404, for whatever is not exactly a page."""
        address = self.serve().addresses[0]
        for path in ("/nowhere", "/ready/", "/ready/x", "//ready", "/READY", "/%72eady", "http://localhost/ready", "/../ready"):
            self.assertEqual((await self.ask(address, path)).status, 404, path)
        answer = await self.ask(address, "/<b>", Accept=BROWSER)
        self.assertNotIn(b"<b>", answer.body)

    async def test_a_long_body(self) -> None:
        """Nobody may fill our memory or disk: the connection is cut."""
        address = self.serve().addresses[0]
        got = await self.send(address, b"POST /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"
                              + b"x" * 200_000)
        self.assertEqual(got, b"")

    async def test_a_short_body(self) -> None:
        """A body that nobody wants does no harm, of whatever type it is."""
        address = self.serve().addresses[0]
        for kind in ("application/x-www-form-urlencoded", "text/plain"):
            self.assertEqual((await self.ask(address, "/ready", body=b"a=b", Content_Type=kind)).status, 200)

    async def test_a_bug_in_a_page(self) -> None:
        """500 without details to the client, the traceback in the log."""
        address = self.serve().addresses[0]
        self.view.effective_config = mock.Mock(side_effect=RuntimeError("boom"))  # type: ignore[method-assign]
        answer = await self.ask(address, "/config")
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"boom", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_a_bug_in_the_middle_of_an_answer(self) -> None:
        """The connection is cut, so that half an answer does not pass for a whole one."""
        address = self.serve().addresses[0]
        self.view.clusters = lambda: [{"name": "a"}, {b"bytes": 1}]  # type: ignore[method-assign, dict-item]
        got = await self.send(address, b"GET /clusters HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertFalse(got.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    async def test_a_request_that_comes_byte_by_byte(self) -> None:
        """It has its time from the first byte on, whether the rest trickles or not; the next one has its own."""
        self.patch(site_module, "REQUEST_TIMEOUT_S", 0.3)
        address, port = self.serve().addresses[0].split(":")
        endpoint = TCP4ClientEndpoint(reactor, address, int(port))
        asking = Asking(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await connectProtocol(endpoint, asking)
        began = reactor.seconds()
        assert asking.transport is not None

        def trickle() -> None:
            assert asking.transport is not None
            asking.transport.write(b"G")

        trickling = LoopingCall(trickle)
        self.addCleanup(lambda: trickling.stop() if trickling.running else None)
        trickling.start(0.05)
        got = await asking.over
        self.assertIn(b" 200 ", got.partition(b"\r\n")[0])
        self.assertLess(reactor.seconds() - began, site_module.IDLE_TIMEOUT_S / 3)

    async def test_too_many_connections(self) -> None:
        """Beyond the bound they are closed at once; those that are there are served."""
        self.patch(site_module, "MAX_CONNECTIONS", 2)
        address = self.serve().addresses[0]
        host, _, port = address.rpartition(":")
        kept = [socket.create_connection((host, int(port))) for _ in range(2)]
        for sock in kept:
            self.addCleanup(sock.close)
        self.assertEqual(await self.send(address, b""), b"")
        kept[0].close()
        for _ in range(100):
            got = await self.send(address, b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if got:
                break
        self.assertTrue(got.startswith(b"HTTP/1.1 200"))


class UnixSocketTests(AdminCase):
    """The socket that may also act."""

    async def test_only_its_owner_may_open_it(self) -> None:
        """Its mode is 0600, whatever the process's mask, which stays as it was."""
        old = os.umask(0)
        try:
            path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
            self.assertEqual(os.umask(0), 0)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual((await self.ask(path, "/live", host="anything")).status, 200)

    async def test_orders_for_an_endpoint(self) -> None:
        """Drain, undrain, eject and weight reach the gateway with what was asked; what it refuses is a 422 with its words."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        for act, value in (("drain", ""), ("undrain", ""), ("eject", "30s"), ("weight", "7")):
            asked = f"/endpoints/{act}?endpoint=10.0.0.5:80&cluster=shop&value={value}"
            answer = await self.ask(path, asked, "POST")
            self.assertEqual((answer.status, answer.json["endpoints"]), (200, [{"cluster": "shop", "endpoint": "10.0.0.5:80"}]))
            self.assertEqual(self.view.asked[-1], f"{act} 10.0.0.5:80 shop {value}".strip())
        answer = await self.ask(path, "/endpoints/drain?endpoint=nobody", "POST")
        self.assertEqual((answer.status, answer.json), (422, {"error": "no cluster has an endpoint 'nobody'"}))
        self.assertEqual((await self.ask(path, "/endpoints/drain", "POST")).status, 400)

    async def test_orders_for_a_rollout(self) -> None:
        """Each reaches the gateway, and the answer says how it is then; what it refuses is a 422 with its words."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        for act in ("approve", "pause", "resume", "rollback", "promote", "restart"):
            answer = await self.ask(path, f"/rollouts/{act}?name=shop", "POST")
            self.assertEqual((answer.status, answer.json["phase"]), (200, "ramping"))
            self.assertEqual(self.view.asked[-1], f"rollout {act} shop")
        answer = await self.ask(path, "/rollouts/pause?name=nobody", "POST")
        self.assertEqual((answer.status, answer.json), (422, {"error": "there is no rollout 'nobody'"}))
        self.assertEqual((await self.ask(path, "/rollouts/pause", "POST")).status, 400)
        self.assertEqual((await self.ask(path, "/rollouts/pause?name=shop")).status, 405)
        (found,) = (await self.ask(path, "/rollouts")).json["rollouts"]
        self.assertEqual((found["rollout"], found["weight_percent"]), ("default/shop", 25.0))

    async def test_reload(self) -> None:
        """The answer is the result: 200, or 422 when the configuration was refused."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        answer = await self.ask(path, "/reload", "POST")
        self.assertEqual((answer.status, answer.json), (200, {"ok": True, "changed": ["route shop"]}))
        self.view.reloaded = Deferred()
        waiting = Deferred.fromCoroutine(self.ask(path, "/reload", "POST"))
        while len(self.view.asked) < 2:
            await turn()
        self.view.reloaded.callback({"ok": False, "errors": ["voltgw.yaml:1:1: error"]})
        answer = await waiting
        self.assertEqual((answer.status, answer.json["errors"]), (422, ["voltgw.yaml:1:1: error"]))

    async def test_generations(self) -> None:
        """Those that are kept with their times; going back to one by its number, which is an act and nothing else."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        facts = (await self.ask(path, "/generations")).json
        self.assertEqual((facts["current"], [each["number"] for each in facts["generations"]]), (11, [12, 11]))
        self.assertRegex(facts["generations"][0]["time"], r"^\d{4}-\d\d-\d\dT.*Z$")
        for query, number, status in (("", 0, 200), ("?number=11", 11, 200), ("?number=99", 99, 422)):
            self.assertEqual((await self.ask(path, f"/rollback{query}", "POST")).status, status)
            self.assertEqual(self.view.asked[-1], f"rollback {number}")
        for said in ("x", "-1", "0", "1" * 10, "%D9%A1"):
            self.assertEqual((await self.ask(path, f"/rollback?number={said}", "POST")).status, 400)
        self.assertEqual((await self.ask(path, "/rollback")).status, 405)

    async def test_a_client_that_does_not_wait_for_the_reload(self) -> None:
        """The reload goes on; that nobody hears of its result is no error."""
        service = self.serve(Config(At(unix=self.socket_path())))
        self.view.reloaded = Deferred()
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(service.addresses[0])
        sock.sendall(b"POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not self.view.asked:
            await turn()
        sock.close()
        while service._open[0][1].protocols:
            await turn()
        self.view.reloaded.callback({"ok": True})
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_a_reload_that_fails_although_it_never_does(self) -> None:
        """500, and the reason stands in the log."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        self.view.reloaded = Deferred()
        self.view.reloaded.errback(RuntimeError("bug"))
        self.assertEqual((await self.ask(path, "/reload", "POST")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    async def test_drain(self) -> None:
        """202: it has begun."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        answer = await self.ask(path, "/drain", "POST", body=b"{}")
        self.assertEqual((answer.status, answer.json, self.view.asked), (202, {"draining": True}, ["drain"]))

    async def test_a_page_in_a_browser(self) -> None:
        """Even here a request that says it comes from a page is refused."""
        path = self.serve(Config(At(unix=self.socket_path()))).addresses[0]
        self.assertEqual((await self.ask(path, "/drain", "POST", Origin="http://evil.example")).status, 403)
        self.assertEqual(self.view.asked, [])

    async def test_a_socket_that_a_dead_process_left(self) -> None:
        """It is replaced; it is gone when we stop."""
        path = self.socket_path()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        service = AdminService(self.view, Config(At(unix=path)), reactor, Clock().seconds)
        service.startService()
        self.assertEqual((await self.ask(path, "/live")).status, 200)
        await service.stopService()
        self.assertFalse(os.path.exists(path))

    def test_a_socket_that_somebody_serves(self) -> None:
        """It is left alone, and the error says so."""
        path = self.socket_path()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(path)
            other.listen()
            error = self.assertRaises(AdminAddressError, self.serve, Config(At(unix=path)))
            self.assertIn("another process listens there", str(error))
            self.assertTrue(os.path.exists(path))

    def test_a_file_that_is_no_socket(self) -> None:
        """It is not removed."""
        path = self.socket_path()
        with open(path, "wb") as file:
            file.write(b"precious")
        self.assertIn("no socket", str(self.assertRaises(AdminAddressError, self.serve, Config(At(unix=path)))))
        self.assertEqual(os.path.getsize(path), 8)

    def test_paths_that_cannot_be(self) -> None:
        """Too long, or in no folder: the error names the path."""
        for path in ("/tmp/" + "x" * 120, "/nowhere/at/all/admin.sock"):
            self.assertIn(path, str(self.assertRaises(AdminAddressError, self.serve, Config(At(unix=path)))))

    async def test_somebody_removed_the_socket(self) -> None:
        """Stopping works all the same."""
        service = AdminService(self.view, Config(At(unix=self.socket_path())), reactor, Clock().seconds)
        service.startService()
        os.unlink(service.addresses[0])
        await service.stopService()
        self.assertEqual(self.flushLoggedErrors(), [])


class PlaceTests(AdminCase):
    """Where it listens."""

    def test_a_port_that_is_taken(self) -> None:
        """A clear error, and nothing stays open."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            error = self.assertRaises(AdminAddressError, self.serve, Config(monitor=At(port=port)))
            self.assertEqual(str(error), f"gateway.monitor: 127.0.0.1:{port} cannot be used: Address already in use; is "
                             "another gateway running?")

    def test_an_address_that_others_can_reach(self) -> None:
        """The admin interface is refused there, and the error names the monitor."""
        for address in ("0.0.0.0", "::", "192.0.2.1"):
            error = self.assertRaises(AdminAddressError, self.serve, Config(At(address)))
            self.assertIn("gateway.monitor", str(error))

    async def test_the_monitor(self) -> None:
        """It has three pages, for any Host, and no other."""
        service = self.serve(Config(None, At("0.0.0.0")))
        address = service.addresses[0].replace("0.0.0.0", "127.0.0.1")
        for path in ("/ready", "/live", "/metrics"):
            self.assertEqual((await self.ask(address, path, host="gw.example.com")).status, 200)
        for path in ("/", "/config", "/clusters", "/listeners", "/virtual_hosts", "/certificates"):
            self.assertEqual((await self.ask(address, path)).status, 404)
        for path in ("/reload", "/drain"):
            self.assertEqual((await self.ask(address, path, "POST")).status, 404)
        self.assertEqual(self.view.asked, [])

    def test_no_admin_interface(self) -> None:
        """None of both is possible."""
        self.assertEqual(self.serve(Config(None)).addresses, [])

    async def test_stopping_with_connections(self) -> None:
        """Idle connections are closed; nothing is left behind."""
        service = AdminService(self.view, Config(), reactor, Clock().seconds)
        service.startService()
        host, _, port = service.addresses[0].rpartition(":")
        sock = socket.create_connection((host, int(port)))
        self.addCleanup(sock.close)
        while not service._open[0][1].protocols:
            await turn()
        await service.stopService()
        self.assertEqual(sock.recv(1), b"")

    async def test_questions_are_not_logged(self) -> None:
        """The process log does not hear of every scrape."""
        address = self.serve().addresses[0]
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        try:
            await self.ask(address, "/metrics")
        finally:
            globalLogPublisher.removeObserver(events.append)  # type: ignore[arg-type]
        self.assertEqual([event["log_format"] for event in events if "Protocol" not in str(event)], [])


def turn() -> Deferred[None]:
    """One turn of the reactor."""
    done: Deferred[None] = Deferred()
    reactor.callLater(0, done.callback, None)
    return done
