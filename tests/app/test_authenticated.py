"""A gateway that asks for credentials, from the client's bytes to what the origin, the log and the metrics have of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.app.running import OK, GatewayCase
from tests.security.credentials import basic, credential, tokens
from tests.security.tokens import ec, jwks, rsa, signed
from tests.support import Origin, Peer
from voltgw.app.service import GatewayService
from voltgw.observe.metrics import GatewayCollector, exposition
from voltgw.security import jwt

BCRYPT = "ada:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
LASTING = {"sub": "ada", "exp": 4_000_000_000}


def served(body: bytes, status: str = "200 OK", *lines: str) -> bytes:
    """A whole answer."""
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *lines))
    return head.encode() + b"\r\n\r\n" + body


class AuthenticatedCase(GatewayCase):
    """`serve` starts a gateway whose host asks for something; `get` asks it."""

    def serve(self, origin: Origin, authentication: dict[str, Any] | None = None, *more: dict[str, Any], **spec: Any) -> GatewayService:
        """Serve; `more` are further objects, of which ``guard`` may be a cluster."""
        if authentication is not None:
            spec["voltgw"] = {"authentication": authentication}
        forward = {"route_destination": {"destinations": [{"cluster": [{"name": "shop"}]}]}}
        objects = [
            {"kind": "virtual_host", "metadata": {"name": "h"}, "spec": {
                "domains": ["*"], "advertise_policies": ["p"], "routes": ["r"], **spec}},
            {"kind": "advertise_policy", "metadata": {"name": "p"}, "spec": {"address": "127.0.0.1", "port": self.port}},
            {"kind": "route", "metadata": {"name": "r"}, "spec": {"routes": [forward]}},
            *cluster("shop", origin.port), *more,
        ]
        self.write()
        text = json.dumps({"gateway": {"admin": {"port": 0}, "access_log": {"path": "access.log"}}, "objects": objects})
        self.file.write_text(text, encoding="utf-8")
        made = self.make()
        made.privilegedStartService()
        made.startService()
        return made

    async def get(self, *lines: str, target: str = "/", peer: Peer | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body of the answer to a request with these lines."""
        peer = peer if peer is not None else await self.client(self.port)
        peer.send("\r\n".join((f"GET {target} HTTP/1.1", "Host: shop.example", *lines)).encode() + b"\r\n\r\n")
        head = (await peer.heard(b"\r\n\r\n")).decode("latin-1")
        length = int(re.findall(r"(?i)content-length: (\d+)", head)[0])
        await self.until(lambda: len(peer.received) >= length)
        body, peer.received = peer.received[:length], peer.received[length:]
        start, *rest = head.strip().split("\r\n")
        return int(start.split()[1]), {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in rest}, body

    async def lines(self, count: int) -> list[dict[str, Any]]:
        """The access log, once it has so many lines."""
        file = self.folder / "access.log"
        await self.until(lambda: file.exists() and file.read_text().count("\n") >= count)
        return [json.loads(line) for line in file.read_text().splitlines()]

    def exposed(self) -> str:
        """All metrics."""
        return b"".join(exposition(GatewayCollector(self.gateway), "")[1]).decode()

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of a metric."""
        text = self.exposed()
        return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2])
                for line in text.splitlines() if line.startswith(name)}


def cluster(name: str, port: int) -> list[dict[str, Any]]:
    """A cluster of one endpoint."""
    return [{"kind": "cluster", "metadata": {"name": name}, "spec": {"endpoints": [name]}},
            {"kind": "endpoint", "metadata": {"name": name}, "spec": {"ip": "127.0.0.1", "port": port}}]


def hearing(answer: bytes | Callable[[bytes], bytes], heard: list[bytes]) -> Callable[[Peer, bytes], None]:
    """An origin that keeps each request head and answers it."""
    def say(peer: Peer, data: bytes) -> None:
        while b"\r\n\r\n" in peer.received:
            head, _, peer.received = peer.received.partition(b"\r\n\r\n")
            heard.append(head)
            peer.send(answer if isinstance(answer, bytes) else answer(head))

    return say


class TokenTests(AuthenticatedCase):
    async def test_what_the_origin_gets(self) -> None:
        """The claims in headers of ours and nothing that the client made up; without a token it gets nothing at all."""
        heard: list[bytes] = []
        self.serve(self.origin(hearing(OK, heard)), jwt_validation=tokens(voltgw={
            "claims_to_headers": [{"claim": "sub", "header": "x-user"}], "drop_token": True}))
        await self.warm()
        token = signed(LASTING)
        status, fields, body = await self.get("X-User: root")
        self.assertEqual((status, fields["www-authenticate"]), (401, 'Bearer realm="h"'))
        self.assertEqual(json.loads(body)["request_id"], fields["x-request-id"])
        self.assertEqual(heard, [])
        self.assertEqual((await self.get("X-User: root", f"Authorization: Bearer {token}"))[0], 200)
        head = heard[0].lower()
        self.assertIn(b"\r\nx-user: ada\r\n", head + b"\r\n")
        self.assertNotIn(b"root", head)
        self.assertNotIn(b"authorization", head)
        refused, good = await self.lines(2)
        self.assertEqual((refused["auth"], refused["auth_user"], refused["response_flags"], refused["rsp_code_details"]),
                         ("jwt missing", "", "AU", "authentication: jwt missing"))
        self.assertEqual((good["auth"], good["auth_user"], good["rsp_code"]), ("jwt", "ada", "200"))
        self.assertEqual(self.metrics("voltgw_auth_requests_total"), {
            '{method="jwt",result="accepted",virtual_host="default/h"}': 1.0,
            '{method="jwt",result="missing",virtual_host="default/h"}': 1.0})

    async def test_keys_from_a_url(self) -> None:
        """They are fetched; a token of a key that is new is verified as soon as the issuer shows it; a slow issuer holds up
        only those who need it."""
        self.patch(jwt, "REFUSED_S", 0.0)   # a refused token is remembered for a moment, by the wall clock
        shown = [jwks(rsa())]
        asked: list[bytes] = []
        issuer = self.origin(hearing(lambda head: served(shown[0]), asked))
        self.serve(self.origin(OK), jwt_validation={"voltgw": {"jwks_url": f"http://127.0.0.1:{issuer.port}/keys", "refetch_pause": 1}})
        await self.warm()
        self.assertEqual((await self.get(f"Authorization: Bearer {signed(LASTING)}"))[0], 200)
        await self.until(lambda: len(asked) == 1)
        self.assertIn(b"GET /keys HTTP/1.1", asked[0])
        new = f"Authorization: Bearer {signed(LASTING, ec(), 'ES256')}"
        self.assertEqual((await self.get(new))[0], 401)
        shown[0] = jwks(rsa(), ec())
        self.advance(1)
        self.assertEqual((await self.get(new))[0], 200)
        self.assertEqual(len(asked), 2)
        self.assertEqual((await self.get(f"Authorization: Bearer {signed(LASTING)}"))[0], 200)
        self.assertEqual(self.metrics("voltgw_auth_keys")[f'{{url="http://127.0.0.1:{issuer.port}/keys"}}'], 2.0)
        self.assertEqual(self.gateway.verifying.facts()[0]["failures"], 0)

    async def test_a_reload(self) -> None:
        """Keys whose URL stays are kept, and not fetched again; those of a URL that nobody names any more are forgotten."""
        heard: dict[str, list[bytes]] = {"first": [], "second": []}
        issuers = {name: self.origin(hearing(served(jwks(rsa())), asked)) for name, asked in heard.items()}
        urls = {name: f"http://127.0.0.1:{issuer.port}/keys" for name, issuer in issuers.items()}
        self.serve(self.origin(OK), jwt_validation={"voltgw": {"jwks_url": urls["first"]}})
        await self.warm()
        line = f"Authorization: Bearer {signed(LASTING)}"
        self.assertEqual((await self.get(line))[0], 200)
        text = self.file.read_text()
        for change, fetched in (((" ", " "), ["first"]), (('"voltgw": {"jwks_url"', '"voltgw": {"realm": "x", "jwks_url"'), ["first"]),
                                ((urls["first"], urls["second"]), ["second"])):
            text = text.replace(*change)
            self.file.write_text(text)
            self.assertTrue((await self.gateway.reload())["ok"])
            self.assertEqual((await self.get(line))[0], 200)
            self.assertEqual([each["url"] for each in self.gateway.verifying.facts()], [urls[name] for name in fetched])
        self.assertEqual({name: len(asked) for name, asked in heard.items()}, {"first": 1, "second": 1})
        self.assertEqual(self.metrics("voltgw_auth_requests_total")['{method="jwt",result="accepted",virtual_host="default/h"}'], 4.0)

    async def test_an_issuer_that_is_gone(self) -> None:
        """Nobody can be judged: 503 at once when the keys cannot be had, not a 401 that throws good tokens away."""
        port = self.closed_port()
        self.serve(self.origin(OK), jwt_validation={"voltgw": {"jwks_url": f"http://127.0.0.1:{port}/keys"}})
        await self.warm()
        await self.until(lambda: self.gateway.verifying.facts()[0]["failures"] > 0)
        status, fields, _ = await self.get(f"Authorization: Bearer {signed(LASTING)}")
        self.assertEqual((status, fields["retry-after"], "www-authenticate" in fields), (503, "5", False))
        self.assertEqual((await self.get())[0], 401)
        self.assertEqual((await self.lines(2))[0]["auth"], "jwt no_keys")


class PasswordTests(AuthenticatedCase):
    async def test_hashes_are_worked_out_aside(self) -> None:
        """A slow hash holds up nobody else, is worked out once for many requests, and its verdict reaches the origin."""
        heard: list[bytes] = []
        self.serve(self.origin(hearing(OK, heard)), {"basic": basic(BCRYPT), "user_header": "x-auth-user"})
        await self.warm()
        for password, status in (("secret", 200), ("wrong", 401), ("secret", 200)):
            self.assertEqual((await self.get(credential("ada", password)))[0], status)
        self.assertEqual([b"x-auth-user: ada" in head for head in heard], [True, True])
        self.assertNotIn(b"uthorization", b"".join(heard))
        self.assertIn('{method="basic",result="wrong_password",virtual_host="default/h"}', self.metrics("voltgw_auth_requests_total"))

    async def test_a_client_that_leaves_meanwhile(self) -> None:
        """Its verdict comes to nobody, and breaks nothing."""
        self.serve(self.origin(OK), {"basic": basic(BCRYPT)})
        await self.warm()
        peer = await self.client(self.port)
        peer.send(f"GET / HTTP/1.1\r\nHost: x\r\n{credential('ada', 'secret')}\r\n\r\n".encode())
        peer.reset()
        self.assertEqual((await self.get(credential("ada", "secret")))[0], 200)
        self.assertEqual(self.gateway.loop.failures, 0)


class SecretTests(AuthenticatedCase):
    async def test_nothing_secret_is_told(self) -> None:
        """Neither log, metrics, pages, errors, `why` nor the effective configuration have a password, key, hash or token."""
        token, key = signed(LASTING), "sesame-sesame-sesame"
        self.serve(self.origin(OK), {"satisfy": "ANY", "basic": basic(BCRYPT), "api_key": {"query": "k", "keys": [
            {"name": "robot", "key": "string:///c2VzYW1lLXNlc2FtZS1zZXNhbWU="}]}, "jwt": tokens(voltgw={"places": [{"query": "t"}]})})
        await self.warm()
        texts: list[str] = []
        ids: list[str] = []
        for target, lines in (("/", [credential("ada", "secret-one")]), (f"/?k={key}&a=1", []), (f"/?k={key}x", []), (f"/?t={token}", []),
                              (f"/?t={token}x", []), ("/", [credential("ada", "secret")])):
            status, fields, body = await self.get(*lines, target=target)
            texts.append(body.decode() + repr(fields))
            ids.append(fields.get("x-request-id", ""))
            texts.append(json.dumps(self.gateway.explain("GET", f"http://shop.example:{self.port}{target}", lines), default=str))
        await self.lines(6)
        decisions = [self.gateway.why(each) for each in ids if each]
        self.assertEqual(len([each for each in decisions if each]), 3)
        texts.append(json.dumps(decisions, default=str))
        texts.append((self.folder / "access.log").read_text())
        texts += [self.exposed(), json.dumps(self.gateway.effective_config(), default=str),
                  json.dumps(list(self.gateway.virtual_hosts()), default=str)]
        told = "\n".join(texts)
        for secret in ("secret-one", key, token.split(".")[2], token.split(".")[1], BCRYPT[4:], "c2VzYW1l", "YWRhOnNlY3JldA"):
            at = told.find(secret)
            self.assertEqual(at, -1, told[max(0, at - 200):at + 200])
        self.assertTrue(all(word in told for word in ("robot", "api_key unknown_key", "basic wrong_password")))
