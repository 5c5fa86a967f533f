"""Real daemons that keep logs: what rsyslog and systemd's journal have of requests, and of the process log."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, log_lines, until
from tests.servers import require

_CONFIG: Final = """
gateway:
  admin: {{address: 127.0.0.1, port: ADMIN}}
  log: {log}
  access_log:
{logs}
objects:
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r]}}
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {port}}}}}
- kind: route
  metadata: {{name: r}}
  spec:
    routes:
    - {{match: [{{path: {{prefix: /bad}}}}], route_direct_response: {{response_code: 503, response_body: bad}}}}
    - {{match: [{{path: {{prefix: /}}}}], route_direct_response: {{response_code: 200, response_body: ok}}}}
"""
_RSYSLOG: Final = """
global(workDirectory="{folder}")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="{udp}")
input(type="imtcp" address="127.0.0.1" port="{tcp}")
input(type="imuxsock" Socket="{folder}/log")
template(name="json" type="list") {{
  constant(value="{{") property(name="inputname" format="jsonf") constant(value=",")
  property(name="pri-text" format="jsonf") constant(value=",") property(name="programname" format="jsonf") constant(value=",")
  property(name="msgid" format="jsonf") constant(value=",") property(name="msg" format="jsonf") constant(value="}}\\n") }}
action(type="omfile" file="{folder}/all" template="json")
"""


class RsyslogTests(SynchronousTestCase):
    def test_every_way_to_it(self) -> None:
        """UDP, TCP and the local socket: each request once by each, with facility, severity and tag, and the process log, too."""
        folder = Path(mkdtemp(prefix="vg", dir="/tmp"))
        self.addCleanup(shutil.rmtree, folder)
        udp, tcp = free_port(), free_port()
        (folder / "conf").write_text(_RSYSLOG.format(folder=folder, udp=udp, tcp=tcp))
        daemon = subprocess.Popen([require("rsyslogd"), "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")])
        self.addCleanup(daemon.wait, 10)
        self.addCleanup(daemon.terminate)
        until("it listens", (folder / "log").exists)
        port = free_port()
        gateway = Gateway(self, _CONFIG.format(port=port, log=f"{{syslog: {{unix: {folder}/log, tag: edge}}}}", logs="\n".join((
            f"  - {{syslog: {{address: 127.0.0.1, port: {udp}, facility: local3}}, format: combined}}",
            f"  - {{syslog: {{address: 127.0.0.1, port: {tcp}, transport: tcp, facility: local4}}}}",
            f"  - {{syslog: {{unix: {folder}/log, facility: local5}}, template: '{{rsp_code}} {{target}}'}}"))))
        gateway.wait_ready()
        for number in range(200):
            ask(port, f"/{number}")
        ask(port, "/bad")
        everything = until("all has come", lambda: self.complete(folder / "all"))
        for name, facility in (("imudp", "local3"), ("imtcp", "local4"), ("imuxsock", "local5")):
            of_it = [each for each in everything if each["pri-text"].startswith(facility)]
            self.assertEqual({each["inputname"] for each in of_it}, {name})
            self.assertEqual(len(of_it), 201)
            self.assertEqual({each["programname"] for each in of_it}, {"voltgw"})
            self.assertEqual([each["pri-text"] for each in of_it if each["pri-text"] != f"{facility}.info"], [f"{facility}.warning"])
        whole = [json.loads(each["msg"]) for each in everything if each["pri-text"].startswith("local4")]
        self.assertEqual([each["req_path"] for each in whole], [*(f"/{number}" for number in range(200)), "/bad"])
        self.assertEqual({each["msgid"] for each in everything if each["inputname"] != "imuxsock"}, {"access"})
        self.assertEqual([each["msg"].strip() for each in everything if each["pri-text"].startswith("local5")][-1], "503 /bad")
        self.assertTrue(any(each["programname"] == "edge" and "generation 1 serves" in each["msg"] for each in everything))
        facts = gateway.admin("/logs").json
        self.assertEqual([(each["problem"], each["lines"]) for each in facts["access_log"]["logs"]], [("", 201)] * 3)

    def complete(self, path: Path) -> list[dict[str, Any]]:
        """All messages, once they are there."""
        found = log_lines(path)
        return found if sum(each["pri-text"].startswith("local") for each in found) >= 603 else []


class JournaldTests(SynchronousTestCase):
    def test_fields_can_be_searched(self) -> None:
        """``journalctl VOLTGW_STATUS=503`` finds the request, and ``VOLTGW_EVENT`` events of the process log."""
        journald = require("systemd-journald")
        journalctl = require("journalctl")
        if os.getuid() != 0:
            self.skipTest("only root can give journald a /run of its own")
        made = subprocess.Popen(
            [require("unshare"), "-m", "sh", "-c", (
                "mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal && exec " + journald)],
            stderr=subprocess.DEVNULL)
        self.addCleanup(made.wait, 10)
        self.addCleanup(made.send_signal, signal.SIGTERM)
        root = f"/proc/{made.pid}/root"
        place = f"{root}/run/systemd/journal/socket"
        until("it listens", lambda: os.path.exists(place))
        port = free_port()
        gateway = Gateway(self, _CONFIG.format(
            port=port, log=f"{{journald: {{socket: {place}}}}}", logs=f"  - {{journald: {{socket: {place}, tag: edge}}}}"))
        gateway.wait_ready()
        for path in ("/one", "/bad", "/two"):
            ask(port, path)

        def journal(*matches: str) -> list[dict[str, Any]]:
            done = subprocess.run([journalctl, "-D", f"{root}/run/log/journal", "-o", "json", "--no-pager", "-q", *matches],
                                  stdout=subprocess.PIPE, check=False, timeout=20)
            return [json.loads(line) for line in done.stdout.splitlines()]

        (bad,) = until("the request is there", lambda: journal("VOLTGW_STATUS=503"))
        self.assertEqual((bad["PRIORITY"], bad["SYSLOG_IDENTIFIER"], bad["VOLTGW_VIRTUAL_HOST"], bad["VOLTGW_LOG"]),
                         ("4", "edge", "default/shop", "access"))
        self.assertEqual(json.loads(bad["MESSAGE"])["req_path"], "/bad")
        self.assertEqual(len(until("all are there", lambda: journal("VOLTGW_LOG=access", "VOLTGW_ROUTE=r/1"))), 2)
        (serves,) = journal("VOLTGW_EVENT=gateway.serving")
        self.assertEqual((serves["VOLTGW_GENERATION"], serves["PRIORITY"], serves["SYSLOG_IDENTIFIER"]), ("1", "6", "voltgw"))
