"""The rate limits of etc/examples, as somebody tries them: curl asks, a real origin says what reached it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, free_port, log_lines, until
from tests.servers import nginx

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "examples" / "rate-limits.yaml"


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.origin_log = Path(self.mktemp()).resolve()
        origin = nginx(self, f'access_log {self.origin_log} combined; location / {{ return 200 "origin"; }}')
        self.access_log = Path(self.mktemp()).resolve()
        text = f"gateway: {{admin: {{port: ADMIN}}, access_log: {{path: {self.access_log}}}}}\n" + _EXAMPLE.read_text(encoding="utf-8")
        for ours, theirs in (("port: 8080}", f"port: {self.port}}}"), ("port: 9001", f"port: {origin.port}")):
            text = text.replace(ours, theirs)
        self.gateway = Gateway(self, text)
        self.gateway.wait_ready()

    def curl(self, target: str, *options: str) -> tuple[int, dict[str, str], str]:
        """Status, fields and body."""
        done = subprocess.run(
            ["curl", "-sS", "-i", *options, f"http://127.0.0.1:{self.port}{target}"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        head, _, body = done.stdout.partition("\n\n")
        lines = head.splitlines()
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}, body

    def test_the_origin_sees_nothing_of_what_is_too_much(self) -> None:
        """Five logins pass; the sixth is 429 with a request id and when to come again, and everything says why."""
        passed = [self.curl("/login") for _ in range(5)]
        self.assertEqual([status for status, _, _ in passed], [200] * 5)
        self.assertRegex(passed[0][1]["ratelimit"], r'^"everybody";r=\d+;t=\d+$')
        status, fields, body = self.curl("/login", "-H", "X-Api-Key: another")
        told = json.loads(body)
        self.assertEqual((status, told["status"], told["flag"]), (429, 429, "RL"))
        self.assertEqual(told["request_id"], fields["x-request-id"])
        self.assertEqual(fields["ratelimit-policy"], '"login";q=5;w=60')
        self.assertIn(int(fields["retry-after"]), range(100, 121))
        self.assertNotIn("default", body)
        self.assertEqual(self.curl("/login")[0], 429)
        self.assertEqual([self.curl("/other")[0], self.curl("/health")[0]], [200, 200])
        seen = [line.split('"')[1] for line in self.origin_log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(seen, ["GET /login HTTP/1.1"] * 5 + ["GET /other HTTP/1.1"])

        metrics = self.gateway.admin("/metrics").body.decode("utf-8")
        self.assertIn('voltgw_security_verdicts_total{gate="rate limits",policy="default/login",verdict="refused",'
                      'virtual_host="default/shop"} 2.0', metrics)
        self.assertIn('voltgw_rate_limit_users{limiter="default/login",virtual_host="default/shop"} 1.0', metrics)
        def logged() -> list[str]:
            return [line["rate_limit"] for line in log_lines(self.access_log) if line["req_id"] == told["request_id"]]

        self.assertEqual(until("the line is written", logged), ["default/login 127.0.0.1"])
        why = subprocess.run(
            [sys.executable, "-m", "voltgw.cli.main", "why", "--admin", f"127.0.0.1:{self.gateway.admin_port}", told["request_id"]],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "PYTHONPATH": str(_EXAMPLE.parents[2])})
        self.assertEqual((why.returncode, why.stderr), (0, ""))
        self.assertIn("rate_limiter default/login 127.0.0.1: 5 in 60 s", why.stdout)
        self.assertRegex(why.stdout, r"voltgw.yaml:\d+")
