"""Asking a gateway that runs: what becomes of a request, why one of the past was answered so, and whether that is true."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tests.app.making import balancer
from tests.app.running import OK, GatewayCase
from tests.support import Peer


class LiveCase(GatewayCase):
    def admin_port(self) -> int:
        """Where the admin interface is."""
        return int(self.gateway.admin.addresses[0].rpartition(":")[2])

    async def page(self, path: str, accept: str = "application/json") -> tuple[int, str]:
        """Status and body of a page of the admin interface."""
        peer = await self.client(self.admin_port())
        peer.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode())
        await peer.ended()
        head, _, body = peer.received.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode()

    async def explained(self, url: str, *headers: str, method: str = "GET") -> dict[str, Any]:
        """What /explain says."""
        asked = [("method", method), ("url", url), *(("header", each) for each in headers)]
        status, body = await self.page(f"/explain?{urlencode(asked)}")
        self.assertEqual(status, 200, body)
        facts: dict[str, Any] = json.loads(body)
        return facts

    async def answered(self, data: bytes) -> bytes:
        """The answer's head to a request."""
        peer = await self.client(self.port)
        peer.send(data)
        return (await peer.heard(b"\r\n\r\n"))[:-4]

    def decision(self, facts: dict[str, Any], about: str) -> dict[str, Any]:
        """One of the decisions."""
        found = [each for each in facts["decisions"] if each["about"] == about]
        self.assertEqual(len(found), 1, facts["decisions"])
        decision: dict[str, Any] = found[0]
        return decision


class ExplainLiveTests(LiveCase):
    async def test_what_the_origin_gets_is_what_was_explained(self) -> None:
        """The head that /explain shows is, field by field, the head that the origin receives."""
        got: list[bytes] = []

        def say(peer: Peer, data: bytes) -> None:
            got.append(data)
            peer.send(OK)

        origin = self.origin(say)
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"))
        await self.warm()
        for method, target, fields in (
            ("GET", "/a/./b?c=%20d", ("X-A: 1", "Connection: close, x-b", "X-B: 2")),
            ("POST", "//x", ("Content-Length: 0", "X-Forwarded-For: 198.51.100.1", "Accept: */*")),
            ("OPTIONS", "/", ("Cookie: a=b",)),
        ):
            facts = await self.explained(f"http://shop.example:{self.port}{target}", *fields, method=method)
            lines = [f"{method} {target} HTTP/1.1", f"Host: shop.example:{self.port}", *fields, "", ""]
            await self.answered("\r\n".join(lines).encode())
            start, *received = got[-1].decode().partition("\r\n\r\n")[0].split("\r\n")
            self.assertEqual(start, facts["sent"]["start"])
            shown = [f"{name}: {value}" for name, value in facts["sent"]["fields"]]
            hidden = ("x-forwarded-for", "x-real-ip", "x-request-id", "cookie")     # the client's address differs; secrets
            self.assertEqual([line for line in received if not line.startswith(hidden)],
                             [line for line in shown if not line.startswith(hidden)])
            self.assertEqual([line.partition(":")[0] for line in received], [line.partition(":")[0] for line in shown])

    async def test_health_and_why_each_endpoint_is_a_candidate(self) -> None:
        """The endpoints are told as they are at this moment, with the sentence of the admin page."""
        dead = self.closed_port()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ok_origin().port}", f"127.0.0.1:{dead}", more=(
            ", health_check: {path: /, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}")))
        await self.warm()
        facts = await self.explained(f"http://shop.example:{self.port}/")
        well, ill = self.decision(facts, "action")["steps"][0]["steps"]
        self.assertEqual((well["outcome"], ill["outcome"]), ("100.0%", "0.0%"))
        self.assertTrue(well["why"].startswith("receives traffic"), well)
        self.assertTrue(ill["why"].startswith("receives no traffic"), ill)

    async def test_asking_changes_nothing(self) -> None:
        """No request is counted, no endpoint connected to, and the turn of the endpoints goes on as if nobody had asked."""
        names: list[str] = []

        def named(name: str) -> Any:
            def say(peer: Peer, data: bytes) -> None:
                names.append(name)
                peer.send(OK)
            return say

        ports = [self.origin(named(name)).port for name in "ab"]
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", *(f"127.0.0.1:{port}" for port in ports)))
        await self.warm()
        for _ in range(4):
            await self.explained(f"http://shop.example:{self.port}/")
            await self.ask()
        self.assertEqual(len(names), 4)
        self.assertNotEqual(names[0], names[1])
        self.assertEqual(names[:2], names[2:])
        cluster = gateway.runtime.clusters["default/shop"]
        self.assertEqual((cluster.counters.requests, sum(each.requests for each in cluster.endpoints)), (4, 4))

    async def test_for_a_browser(self) -> None:
        """The same decisions as on the command line, escaped."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ok_origin().port}"))
        status, body = await self.page(f"/explain?url=http://x:{self.port}/%3Cb%3E", "text/html")
        self.assertEqual(status, 200)
        self.assertIn("<li>listener: <strong>", body)
        self.assertNotIn("<b>", body)

    async def test_a_question_that_cannot_be_understood(self) -> None:
        """400 with the reason; without a URL with the way to ask."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        for query, words in (("", "/explain?url="), ("?url=nowhere", "is not a URL"), ("?url=http://x/&from=me", "IP address"),
                             ("?url=dns://x:1", "not a question of DNS")):
            status, body = await self.page(f"/explain{query}")
            self.assertEqual(status, 400)
            self.assertIn(words, json.loads(body)["error"])


class WhyTests(LiveCase):
    async def why(self, request_id: str) -> tuple[int, dict[str, Any]]:
        """What /why says, once the gateway has got around to it."""
        await self.until(lambda: self.gateway.journal.find(request_id) is not None or self.gateway.journal.failures)
        status, body = await self.page(f"/why?id={request_id}")
        return status, json.loads(body)

    async def errors(self, more: str = "") -> None:
        """The id in an error page leads to the rules that were tried."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1", more=", domains: [shop.example]"), gateway=more)
        await self.warm()
        head = await self.answered(b"GET /cart?token=abc HTTP/1.1\r\nHost: other.example\r\n\r\n")
        request_id = head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        status, facts = await self.why(request_id)
        self.assertEqual((status, facts["kind"], facts["status"], facts["flag"]), (200, "error", 404, "NR"))
        self.assertEqual(facts["target"], "/cart?token=***")
        self.assertIn("no domain", self.decision(facts, "virtual host")["why"])

    async def test_without_an_access_log(self) -> None:
        """What went wrong is remembered though no line of it is written anywhere."""
        await self.errors()

    async def test_with_an_access_log(self) -> None:
        """The access log hands its records on."""
        await self.errors(f"access_log: {self.folder / 'access.log'}")

    async def test_an_endpoint_that_fails(self) -> None:
        """Who was tried, by which route, with which outcome."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.closed_port()}"))
        await self.warm()
        head = await self.answered(b"GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        status, facts = await self.why(head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode())
        self.assertEqual((status, facts["status"], facts["flag"], facts["route"]), (200, 502, "UF", "shop/0"))
        self.assertEqual(self.decision(facts, "route")["steps"][-1]["outcome"], "matches")
        self.assertEqual((facts["cluster"], facts["answered_by"]), ("default/shop", "the gateway"))

    async def test_the_sample_in_the_access_log(self) -> None:
        """With `explain: 1` every JSON line says which rules were tried."""
        log = self.folder / "access.log"
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.ok_origin().port}"),
                   gateway=f"access_log: {{path: {log}, explain: 1}}")
        await self.warm()
        await self.ask()
        await self.until(lambda: log.exists() and log.read_bytes())
        record = json.loads(log.read_bytes())
        self.assertIn("rule shop/0 matches: it takes every request", record["explain"])
        self.assertEqual(list(record)[-1], "explain")

    async def test_a_request_that_nobody_knows(self) -> None:
        """404 with the reasons that there may be; without an id with the way to ask."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        status, body = await self.page("/why?id=none")
        self.assertEqual(status, 404)
        self.assertIn("nothing is known", json.loads(body)["error"])
        self.assertEqual((await self.page("/why"))[0], 400)
