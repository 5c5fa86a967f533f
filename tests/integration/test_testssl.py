"""What a scanner of TLS servers has to say of the defaults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Final

from tests.integration.test_https import HttpsCase, host, policy, upstream
from tests.servers import require

#: Findings above LOW that are not the gateway's, by id.
ACCEPTED: Final = {
    "cert_revocation": "the test's CA publishes no list and answers no OCSP",
    "security_headers": "they are the application's to send",
}
_TIMEOUT_S: Final = 300.0


class ScannerTests(HttpsCase):
    def test_the_defaults(self) -> None:
        """Nothing above LOW: protocols, suites, forward secrecy, certificate, known attacks."""
        scanner = require("testssl")
        self.server("a.example", days=200)
        self.gateway(policy(), host("a", "a.example", "a.example"), upstream(self.origin()))
        report = Path(self.mktemp()).absolute()
        subprocess.run(
            [scanner, "--quiet", "--color", "0", "--add-ca", str(self.pki / "ca.crt"), "--ip", "127.0.0.1", "--warnings", "off",
             "--jsonfile", str(report), f"https://a.example:{self.port}/"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
        findings = {one["id"]: one for one in json.loads(report.read_text(encoding="utf-8"))}
        for protocol, offered in (("TLS1_2", "offered"), ("TLS1_3", "offered"), ("TLS1", "not offered"), ("SSLv3", "not offered")):
            self.assertTrue(findings[protocol]["finding"].startswith(offered), findings[protocol])
        bad = {name: one["finding"] for name, one in findings.items() if one["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")}
        self.assertEqual({name: why for name, why in bad.items() if name not in ACCEPTED}, {})
