"""Long bodies through the gateway to an nginx and back, which the kernel carries; one connection for all of it."""

from __future__ import annotations

import hashlib
import http.client
import random
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, free_port, log_lines, until
from tests.integration.test_http import origin

BODY = random.Random(20).randbytes(20 << 20)
ROUNDS = 2


class LongBodyTests(SynchronousTestCase):
    def test_up_and_down_again(self) -> None:
        """20 MiB up and down, again and again: what comes back is what was sent, the log has its size, and most of it went
        through pipes.
        """
        port, folder = free_port(), Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        server = origin(self, "one", str(folder))
        gateway = Gateway(self, f"""\
gateway: {{admin: {{port: ADMIN}}, access_log: access.log}}
load_balancers:
- {{name: shop, listen: 127.0.0.1:{port}, origins: [127.0.0.1:{server.port}]}}
""")
        gateway.wait_ready()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.addCleanup(client.close)
        client.connect()
        ours = client.sock.getsockname()
        for number in range(ROUNDS):
            client.request("PUT", f"/files/{number}", BODY)
            answer = client.getresponse()
            answer.read()
            self.assertEqual(answer.status, 201)
            client.request("GET", f"/files/{number}")
            answer = client.getresponse()
            self.assertEqual((answer.status, hashlib.sha256(answer.read()).digest()), (200, hashlib.sha256(BODY).digest()))
        self.assertEqual(client.sock.getsockname(), ours)
        lines = until("the log is written", lambda: self.all_of(gateway.folder / "access.log"))
        for line in lines:
            size = int(line["req_size" if line["method"] == "PUT" else "rsp_size"])
            self.assertGreater(size, len(BODY))
            self.assertLess(size, len(BODY) + 1000)
        found = re.search(r"(?m)^voltgw_spliced_bytes_total (\S+)$", gateway.admin("/metrics").body.decode())
        assert found is not None
        self.assertGreater(float(found[1]), 2 * ROUNDS * len(BODY) * 0.9)

    def all_of(self, path: Path) -> list[dict[str, str]]:
        """The lines of the log, once there are all."""
        lines = log_lines(path)
        return lines if len(lines) == 2 * ROUNDS else []
