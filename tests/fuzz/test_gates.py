"""Requests at random against a running gateway with everything that judges them: what reaches the origin, and what never may."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from typing import Any, Final
from urllib.parse import unquote

from tests.app.test_attacks import BOTH, AttackCase
from tests.fuzz.settings import _FACTOR
from tests.security.credentials import ADA, basic

_COUNT: Final = 1200
_CREDENTIALS: Final = tuple(b64encode(pair).decode() for pair in (
    b"ada:secret", b"ada:secret", b"ada:secret", b"ada:wrong", b"eve:secret", b"ada:", b":secret", b"ada", b"ada:secret\0", b"ADA:secret"))
_SEGMENTS: Final = ("a", "admin", "ADMIN", "x", ".", "..", "%2e%2e", "..%2F", "..;", "%61dmin", "admin;x", "", "%5C..", "public", "..%5Cadmin", "%2Fadmin")
_NAMES: Final = ("X-User", "x-user", "X_User", "X-Robot", "Connection", "X-Forwarded-For", "Cookie", "X-Other", "Content-Length", "Transfer-Encoding",
                 "Upgrade", "TE", "Expect", "Host", "Authorization", "Origin")
_VALUES: Final = ("root", "x-user", "close, X-User", "203.0.113.1", "a=b; a=c", "0", "chunked", "h2c", "trailers", "100-continue", "bank.example",
                  "https://evil.example", "", " root ", "Basic Zm9vOmJhcg==", "keep-alive", "5")
_METHODS: Final = ("GET", "GET", "GET", "get", "HEAD", "OPTIONS", "POST", "DELETE", "delete", "TRACE", "PUT", "REPORT")
_HOSTS: Final = ("shop.example", "shop.example", "bank.example", "BANK.example.", "shop.example:80", "bank.example..")
POLICY: Final[dict[str, Any]] = {"kind": "service_policy", "metadata": {"name": "edge"}, "spec": {"rule_list": {"rules": [
    {"metadata": {"name": "no-admin"}, "spec": {"action": "DENY", "path": {
        "prefix_values": ["/admin"], "transformers": ["NORMALIZE_PATH", "LOWER_CASE"]}}},
    {"metadata": {"name": "no-bank"}, "spec": {"action": "DENY", "domain_matcher": {"exact_values": ["bank.example"]}}},
    {"metadata": {"name": "no-writes"}, "spec": {"action": "DENY", "http_method": {"methods": ["DELETE", "PUT", "TRACE"]}}},
    {"metadata": {"name": "no-robots"}, "spec": {"action": "DENY", "headers": [{"name": "x-robot", "check_present": {}}]}},
    {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}}}


def admin(path: str) -> bool:
    """Whether some origin takes a path for /admin or below."""
    path = path.partition("?")[0]
    decoded = unquote(path)
    found = set()
    for text in (decoded, re.sub(";[^/]*", "", decoded), unquote(re.sub(";[^/]*", "", path))):
        for slashed in (text, text.replace("\\", "/")):
            kept: list[str] = []
            for segment in re.sub("/+", "/", slashed).split("/")[1:]:
                if segment == "..":
                    del kept[-1:]
                elif segment != ".":
                    kept.append(segment)
            found |= {slashed.lower(), ("/" + "/".join(kept)).lower()}
    return any(each.startswith("/admin") for each in found)


class GatesAtRandom(AttackCase):
    timeout = 120

    def asked(self, chance: random.Random) -> tuple[str, str, str, list[tuple[str, str]]]:
        """Method, path, host and fields."""
        path = "/" + "/".join(chance.choice(_SEGMENTS) for _ in range(chance.randint(0, 4)))
        fields = [("Authorization", f"{chance.choice(('Basic', 'basic', 'Basic', 'Bearer'))} {chance.choice(_CREDENTIALS)}")]
        if chance.random() < 0.1:
            fields = []
        for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
            fields.append((chance.choice(_NAMES), chance.choice(_VALUES)))
        chance.shuffle(fields)
        return chance.choice(_METHODS), path, chance.choice(_HOSTS), fields

    async def test_what_reaches_the_origin(self) -> None:
        """Only who was proven, under the name that was proven, only where rules let pass; the gateway fails on nothing."""
        await self.begin(POLICY, authentication={"basic": basic(ADA), "user_header": "x-user"},
                         active_service_policies={"policies": ["edge"]}, **BOTH)
        chance = random.Random(11 if _FACTOR == 1 else None)
        answered = 0
        for _ in range(_COUNT * _FACTOR):
            method, path, host, fields = self.asked(chance)
            if chance.random() < 0.7:
                answered += await self.version_1(method, path, host, fields)
            else:
                answered += await self.say2((":method", method), (":scheme", "http"), (":authority", host), (":path", path),
                                            *((name.lower(), value.strip()) for name, value in fields if name != "Host")) == 200
        self.assertGreater(answered, _COUNT // 40)
        self.assertEqual(len(self.heard), answered)
        for head in self.heard:
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ")
            self.assertFalse(admin(target), first)
            self.assertNotIn(method.upper(), ("DELETE", "PUT", "TRACE"))
            named = [tuple(line.lower().split(": ", 1)) for line in lines]
            self.assertEqual([value for name, value in named if name.replace("_", "-") == "x-user"], ["ada"], lines)
            self.assertEqual([name for name, _ in named if name in ("authorization", "x-robot", "upgrade", "transfer-encoding")], [], lines)
            self.assertFalse(any(name == "host" and value.partition(":")[0].rstrip(".") == "bank.example" for name, value in named), lines)
        self.assertIn("voltgw_internal_failures_total 0.0", self.exposed())

    async def version_1(self, method: str, path: str, host: str, fields: list[tuple[str, str]]) -> int:
        """Whether a request by HTTP/1.1 was answered 200."""
        peer = await self.client(self.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields), "", ""]
        peer.send("\r\n".join(lines).encode("latin-1"))
        # a body that is announced may be waited for
        peer.send(b"0\r\n\r\n" if any(name == "Transfer-Encoding" and "chunked" in value for name, value in fields) else b"")
        if any((name, value) == ("Content-Length", "5") for name, value in fields):
            peer.send(b"hello")
        await self.until(lambda: b"\r\n\r\n" in peer.received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n") or peer.lost is not None)
        final = peer.received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.close()
        return int(final.startswith(b"HTTP/1.1 200 "))
