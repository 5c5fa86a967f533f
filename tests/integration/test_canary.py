"""The canary of etc/examples, as somebody tries it: two versions of a service, counted, then its share raised."""

from __future__ import annotations

import http.client
import re
from math import sqrt
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, free_port
from tests.servers import nginx

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "examples" / "canary.yaml"
_HOST: Final = "reviews.example.com"
REQUESTS: Final = 10_000
USERS: Final = 1000


def off(count: int, of: int, share: float) -> float:
    """How far `count` is from what `share` promises, in standard deviations of the binomial distribution."""
    return abs(count - of * share) / sqrt(of * share * (1 - share))


class CanaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        old, new = (nginx(self, f'location / {{ return 200 "{version}"; }}') for version in ("v10", "v11"))
        text = "gateway: {admin: {port: ADMIN}}\n" + _EXAMPLE.read_text(encoding="utf-8")
        for ours, theirs in (("port: 8080", self.port), ("port: 9001", old.port), ("port: 9002", new.port)):
            self.assertEqual(text.count(ours), 1)
            text = text.replace(ours, f"port: {theirs}")
        self.text = text

    def started(self, text: str) -> Gateway:
        gateway = Gateway(self, text)
        gateway.wait_ready()
        return gateway

    def asked(self, *headers: dict[str, str]) -> list[str]:
        """Which version answered, for one request with each of these headers, on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        versions: list[str] = []
        for each in headers:
            connection.request("GET", "/", headers={"Host": _HOST, **each})
            response = connection.getresponse()
            versions.append(response.read().decode())
            self.assertEqual(response.status, 200, versions[-1])
        connection.close()
        self.assertLessEqual(set(versions), {"v10", "v11"})
        return versions

    def test_one_in_twenty(self) -> None:
        """The new version gets 5 % of 10,000 requests, within four standard deviations, and all of those who ask for it."""
        self.started(self.text)
        self.assertLess(off(self.asked(*[{}] * REQUESTS).count("v11"), REQUESTS, 0.05), 4)
        self.assertEqual(set(self.asked(*[{"x-canary": "always"}] * 50)), {"v11"})

    def test_a_user_stays_when_the_share_grows(self) -> None:
        """Each user keeps a version, however often they come; from 5 % to 20 % users only move to the new one."""
        gateway = self.started(self.text)
        users = [{"Cookie": f"theme=dark; user=u{number}"} for number in range(USERS)]
        before = self.asked(*users)
        self.assertEqual(self.asked(*users), before)
        self.assertLess(off(before.count("v11"), USERS, 0.05), 4)
        raised = re.sub("weight: 5}", "weight: 20}", re.sub("weight: 95}", "weight: 80}", self.text))
        self.assertNotEqual(raised, self.text)
        gateway.write(raised)
        gateway.reload()
        after = self.asked(*users)
        self.assertEqual(self.asked(*reversed(users)), after[::-1])
        self.assertLess(off(after.count("v11"), USERS, 0.2), 4)
        moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        self.assertEqual(set(moved), {("v10", "v11")})
        gateway.write(self.text)
        gateway.reload()
        self.assertEqual(self.asked(*users), before)
