"""Logs as an operator meets them: rotated under load, asked from the command line, shown more and less of."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.integration.gateway import PATIENCE_S, Gateway, free_port, short_socket, until

#: Answers without an origin, so that the load is the gateway's alone.
_CONFIG = """
gateway:
  admin: {{unix: {socket}}}
  access_log: access.log
objects:
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r]}}
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {port}}}}}
- kind: route
  metadata: {{name: r}}
  spec: {{routes: [{{match: [{{path: {{prefix: /}}}}], route_direct_response: {{response_code: 200, response_body: ok}}}}]}}
"""


class Load(threading.Thread):
    """Requests one after another on one connection, until told to stop."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.mark = name
        self.sent = 0
        self.over = False
        self.problem = ""

    def run(self) -> None:
        """Until `over`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            while not self.over:
                connection.request("GET", f"/{self.mark}/{self.sent}")
                if connection.getresponse().read() != b"ok":
                    raise ValueError("another answer")
                self.sent += 1
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.problem = repr(error)
        finally:
            connection.close()


class RotationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.socket = short_socket(self)
        self.gateway = Gateway(self, _CONFIG.format(port=self.port, socket=self.socket))
        until("it is ready", lambda: os.path.exists(self.socket) and run(["status", "--admin", self.socket]).status == 0)

    def paths(self, *files: Path) -> list[str]:
        """The paths of the requests whose lines stand in some files."""
        return [json.loads(line)["req_path"] for file in files for line in file.read_text().splitlines()]

    def test_renamed_under_load(self) -> None:
        """Every request has one line, in the file of before or in the new one, however often the log is rotated: by SIGUSR1
        and by ``voltgw reopen-logs``.
        """
        loads = [Load(self.port, f"c{number}") for number in range(3)]
        for load in loads:
            load.start()
        live = self.gateway.folder / "access.log"
        files = []
        for turn in range(6):
            until("there are lines", lambda: live.stat().st_size)
            files.append(live.rename(live.with_suffix(f".{turn}")))
            if turn % 2:
                done = run(["reopen-logs", "--admin", self.socket])
                self.assertEqual((done.status, done.out), (0, "the logs are open by their names\n"), done.err)
            else:
                self.gateway.process.send_signal(signal.SIGUSR1)
            until("there is a new file", live.exists)
        for load in loads:
            load.over = True
            load.join(PATIENCE_S)
        self.assertEqual([load.problem for load in loads], ["", "", ""])
        self.gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.gateway.wait_exit(), 0)
        asked = sorted(f"/{load.mark}/{number}" for load in loads for number in range(load.sent))
        self.assertEqual(sorted(self.paths(*files, live)), asked)
        self.assertTrue(all(self.paths(file) for file in files))

    def test_events_and_levels(self) -> None:
        """What happens is told by ``voltgw events``; ``voltgw log-level`` shows more of one part, and takes it back."""
        seen = run(["events", "--admin", self.socket, "--json"])
        kinds = [json.loads(line)["kind"] for line in seen.out.splitlines()]
        self.assertEqual((seen.status, sorted(kinds)), (0, ["gateway.ready", "gateway.serving"]))
        last = json.loads(seen.out.splitlines()[-1])["id"]

        self.gateway.write("nonsense: 1\n")
        self.gateway.process.send_signal(signal.SIGHUP)
        asked = ["events", "--admin", self.socket, "--since", str(last), "--kind", "reload"]
        told = until("it is refused", lambda: run(asked).out)
        self.assertRegex(told, r"\A +\d+ \d{4}-\S+Z error +reload\.refused +generation 1 serves on\n\Z")
        self.assertEqual(run([*asked[:3], "--since", "x"]).status, 2)
        self.assertEqual(run(["events", "--admin", self.socket, "--kind", "no.such"]).out, "")

        level = ["log-level", "--admin", self.socket]
        self.assertEqual(run(level).out, "everything: info\n")
        self.assertEqual(run([*level, "voltgw.app", "error"]).out,
                         "everything: info\nvoltgw.app: error\n(not as the configuration has it)\n")
        written = len(self.gateway.output)
        self.gateway.process.send_signal(signal.SIGHUP)
        until("it is refused again", lambda: run([*asked, "--json"]).out.count("\n") == 2)
        self.assertIn("reload refused", self.gateway.output[written:])
        run([*level, "critical"])
        run([*level, "voltgw.app", "critical"])
        written = len(self.gateway.output)
        self.gateway.process.send_signal(signal.SIGHUP)
        until("it is refused once more, and the ring knows", lambda: run([*asked, "--json"]).out.count("\n") == 3)
        self.assertEqual(self.gateway.output[written:], "")
        self.assertEqual(run([*level, "reset"]).out, "everything: info\n")
        self.assertEqual([run([*level, *words]).status for words in (["loud"], ["a", "b", "info"], ["no-name!", "info"])], [2, 2, 1])
        self.assertEqual(json.loads(run(["events", "--admin", self.socket, "--kind", "log", "--json"]).out.splitlines()[-1])[
            "fields"], {"logger": "everything", "level_wanted": "reset"})


class ProcessLogTests(SynchronousTestCase):
    def test_where_it_goes(self) -> None:
        """To a file as JSON, by a reload to another one as text; a place that cannot be opened is told of, and nothing is lost."""
        socket = short_socket(self)
        config = _CONFIG.format(port=free_port(), socket=socket).replace("access_log: access.log", "log: LOG")
        gateway = Gateway(self, config.replace("LOG", "{path: first.log, format: json}"))
        until("it is ready", lambda: os.path.exists(socket) and run(["status", "--admin", socket]).status == 0)
        first, second = gateway.folder / "first.log", gateway.folder / "second.log"
        lines = [json.loads(line) for line in first.read_text().splitlines()]
        (serving,) = (each for each in lines if each.get("event") == "gateway.serving")
        self.assertEqual((serving["level"], serving["generation"], serving["logger"]), ("info", 1, "voltgw.app.service.GatewayService"))
        gateway.write(config.replace("LOG", "second.log"))
        self.assertEqual(run(["reload", "--admin", socket]).status, 0)
        self.assertIn("generation 2 serves", second.read_text())
        self.assertNotIn("generation 2 serves", first.read_text())
        gateway.write(config.replace("LOG", "no/such.log"))
        self.assertEqual(run(["reload", "--admin", socket]).status, 0)
        self.assertIn("generation 3 serves", second.read_text())
        (told,) = run(["events", "--admin", socket, "--kind", "log.not_opened"]).out.splitlines()
        self.assertIn("no/such.log cannot be written: No such file or directory", told)
        second.rename(second.with_suffix(".1"))
        self.assertEqual(run(["reopen-logs", "--admin", socket]).status, 0)
        gateway.process.send_signal(signal.SIGTERM)
        self.assertEqual(gateway.wait_exit(), 0)
        self.assertIn("draining", second.read_text())

    def test_a_daemon(self) -> None:
        """twistd as a daemon writes no log of its own where the configuration says where it goes."""
        gateway = Gateway(self, _CONFIG.format(port=free_port(), socket=short_socket(self)).replace(
            "access_log: access.log", "log: own.log"), command=[
            "-c", "from twisted.scripts.twistd import run; run()", "--pidfile=pid", "voltgw", "--config", "voltgw.yaml"])
        self.assertEqual(gateway.wait_exit(), 0, gateway.output)
        pid = int((gateway.folder / "pid").read_text())
        own = gateway.folder / "own.log"
        until("it serves", lambda: own.exists() and "ready" in own.read_text())
        os.kill(pid, signal.SIGTERM)
        until("it has stopped", lambda: not (gateway.folder / "pid").exists())
        self.assertIn("stopped", own.read_text())
        self.assertFalse((gateway.folder / "twistd.log").exists())
