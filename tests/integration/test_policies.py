"""The service policies of etc/examples, as somebody tries them: curl asks, and a real origin says what reached it."""

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

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "examples" / "policies.yaml"


class PolicyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.origin_log = Path(self.mktemp()).resolve()
        origin = nginx(self, f'access_log {self.origin_log} combined; location / {{ return 200 "origin"; }}')
        self.access_log = Path(self.mktemp()).resolve()
        text = f"gateway: {{admin: {{port: ADMIN}}, access_log: {{path: {self.access_log}}}}}\n" + _EXAMPLE.read_text(encoding="utf-8")
        for ours, theirs in (("port: 8080\n", f"port: {self.port}\n"), ("port: 8080}", f"port: {self.port}}}"),
                             ("port: 9001", f"port: {origin.port}")):
            text = text.replace(ours, theirs)
        self.gateway = Gateway(self, text)
        self.gateway.wait_ready()

    def curl(self, target: str, *options: str) -> tuple[int, str]:
        """Status and body; the path goes out as it is written."""
        done = subprocess.run(
            ["curl", "-sS", "--path-as-is", "-w", "\n%{http_code}", *options, f"http://127.0.0.1:{self.port}{target}"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def logged(self, request_id: str, field: str) -> list[str]:
        """What the access log says of a request, once for each line."""
        if not self.access_log.exists():
            return []
        lines = log_lines(self.access_log)
        return [line[field] for line in lines if line["req_id"] == request_id]

    def test_the_origin_sees_nothing_of_what_is_refused(self) -> None:
        """403 with a request id and no name of a policy; what is allowed reaches the origin, and nothing else does."""
        refused = ("/admin", "/x/../admin", "/%61dmin/y", "//admin", "/ADMIN", "/x/..%2Fadmin", "/admin;x=1")
        for target in refused:
            status, body = self.curl(target)
            self.assertEqual(status, 403, target)
            told = json.loads(body)
            self.assertEqual(told["flag"], "SP", target)
            self.assertTrue(told["request_id"])
            self.assertNotIn("no-admin", body)
        self.assertEqual(self.curl("/seen", "-X", "DELETE")[0], 403)
        self.assertEqual(self.curl("/seen", "-d", "x", "-H", "X-Forwarded-For: 10.0.0.1")[0], 403)
        self.assertEqual(self.curl("/health"), (200, "ok\n"))
        self.assertEqual(self.curl("/allowed"), (200, "origin"))
        self.assertEqual(self.curl("/partner", "-d", "x", "-H", "X-Partner: 1")[0], 200)
        seen = [line.split('"')[1] for line in self.origin_log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(seen, ["GET /allowed HTTP/1.1", "POST /partner HTTP/1.1"])

    def test_the_origin_sees_nothing_of_what_a_rule_finds_too_much(self) -> None:
        """Three searches reach the origin, the fourth is 429; whatever another rule lets pass is not counted."""
        said = [self.curl("/search?q=1") for _ in range(4)]
        self.assertEqual(([status for status, _ in said], self.curl("/other")[0]), ([200, 200, 200, 429], 200))
        request_id = json.loads(said[3][1])["request_id"]
        self.assertEqual(until("the line is written", lambda: self.logged(request_id, "rate_limit")), ["default/searches 127.0.0.1"])
        self.assertEqual(self.logged(request_id, "policy"), ["default/edge/searching"])
        why = subprocess.run(
            [sys.executable, "-m", "voltgw.cli.main", "why", "--admin", f"127.0.0.1:{self.gateway.admin_port}", request_id],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "PYTHONPATH": str(_EXAMPLE.parents[2])})
        self.assertEqual((why.returncode, why.stderr), (0, ""))
        self.assertIn("rate_limiter default/searches 127.0.0.1: 3 in 60 s", why.stdout)
        self.assertIn("default/edge/searching", why.stdout)
        seen = [line.split('"')[1] for line in self.origin_log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(seen, ["GET /search?q=1 HTTP/1.1"] * 3 + ["GET /other HTTP/1.1"])
        metrics = self.gateway.admin("/metrics").body.decode("utf-8")
        self.assertIn('policy="default/searches",verdict="refused",virtual_host="default/shop"} 1.0', metrics)

    def test_which_policy_denied_me(self) -> None:
        """By the request id of the answer: the log and `voltgw why` name the rule, its place and what it has looked at."""
        _, body = self.curl("/x/../Admin/keys")
        request_id = json.loads(body)["request_id"]
        self.assertEqual(until("the line is written", lambda: self.logged(request_id, "policy")), ["default/edge/no-admin"])
        said = subprocess.run(
            [sys.executable, "-m", "voltgw.cli.main", "why", "--admin", f"127.0.0.1:{self.gateway.admin_port}", request_id],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
            env={**os.environ, "PYTHONPATH": str(_EXAMPLE.parents[2])}).stdout
        self.assertIn("rule default/edge/no-admin", said)
        self.assertIn("(path '/admin/keys')", said)
        line = 1 + self.gateway.file.read_text(encoding="utf-8").splitlines().index("      - metadata: {name: no-admin}")
        self.assertIn(f"voltgw.yaml:{line}", said)
        metrics = self.gateway.admin("/metrics").body.decode("utf-8")
        self.assertIn('voltgw_security_verdicts_total{gate="service policies",policy="default/edge",verdict="refused",'
                      'virtual_host="default/shop"} 1.0', metrics)
