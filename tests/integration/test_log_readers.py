"""Logs in Combined before a reader of Apache's logs: goaccess takes every line, and counts what was asked."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, free_port
from tests.integration.test_logs import _CONFIG
from tests.servers import require

#: What clients may call themselves; each tries to end the value, the line, or the field before its time.
_AGENTS: Final = (b"curl/8.5.0", b'"', b"\\", b'\\" 200 1 "-" "-', b"a\tb", b"\xff\xfe", b"'; DROP TABLE--", b'" 500 9 "x" "forged"', b"%s%n")


class CombinedTests(SynchronousTestCase):
    def test_goaccess(self) -> None:
        """No agent, referrer or path makes a line that it cannot read, or that says something else."""
        goaccess = require("goaccess")
        port = free_port()
        gateway = Gateway(self, _CONFIG.format(port=port, socket="SOCKET").replace("access.log", "{path: access.log, format: combined}")
                          .replace("admin: {unix: SOCKET}", "admin: {port: ADMIN}"))
        gateway.wait_ready()
        for number, agent in enumerate(_AGENTS):
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as peer:
                peer.sendall(b"GET /page/%d?q=%%22&token=geheim HTTP/1.1\r\nHost: shop\r\nUser-Agent: %s\r\nReferer: http://a.example/%s\r\n"
                             b"Connection: close\r\n\r\n" % (number, agent, agent))
                while peer.recv(4096):
                    pass
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        log = gateway.folder / "access.log"
        self.assertNotIn("geheim", log.read_text())
        done = subprocess.run([goaccess, str(log), "--log-format=COMBINED", "--no-global-config", "-o", "json"], timeout=30, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        found = json.loads(done.stdout)
        statuses = {each["data"]: each["hits"]["count"] for each in found["status_codes"]["data"]}
        accepted = sum(b"400" not in line for line in log.read_bytes().splitlines())
        self.assertEqual((found["general"]["failed_requests"], found["general"]["valid_requests"]), (0, len(_AGENTS)))
        self.assertEqual(statuses["2xx Success"], accepted)
        self.assertEqual(set(statuses) - {"2xx Success", "4xx Client Errors"}, set())
