"""Exit statuses: each one that the documentation names is one that a command ends with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.cli.test_main import ROOT
from tests.integration.gateway import free_port
from voltgw.cli.exits import ASKING, EXITS, ORDERING, exits_of
from voltgw.cli.main import COMMANDS, INTERRUPTED_STATUS

#: What commands want besides options.
WORDS: Final[dict[str, list[str]]] = {
    "drain": ["192.0.2.1:80"], "eject": ["192.0.2.1:80"], "undrain": ["192.0.2.1:80"], "weight": ["192.0.2.1:80", "3"],
    "rollout": ["pause", "r"], "why": ["0123456789abcdef"], "log-level": ["debug"], "top": ["--once", "--interval", "0.1"]}
GATEWAY: Final = "load_balancers:\n- {name: shop, listen: '127.0.0.1:8080', origins: ['127.0.0.1:1']}\n"


class Refusing(BaseHTTPRequestHandler):
    """An admin interface that refuses everything."""

    status = 404

    def do_GET(self) -> None:
        """The same for every request."""
        body = b'{"error": "not here"}'
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class TableTests(SynchronousTestCase):
    def test_every_command_is_known(self) -> None:
        """The table names commands that exist, no status of one twice, and 0 and 2 of all of them."""
        for each in EXITS:
            self.assertLessEqual(set(each.commands), set(COMMANDS))
        for name in COMMANDS:
            self.assertLessEqual({0, 2, INTERRUPTED_STATUS}, {each.status for each in exits_of(name)}, name)

    def test_what_the_help_says(self) -> None:
        """A status that a command's help names is in the table."""
        for name in COMMANDS:
            said = run([name, "--help"]).out.partition("Exit status: ")[2]
            for status in (1, 3):
                if f"; {status} " in said:
                    self.assertIn(status, [each.status for each in exits_of(name)], name)


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def file(self, name: str, text: str) -> str:
        """Its path."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def check(self, status: int, *commands: Sequence[str]) -> None:
        """All of them end so."""
        for arguments in commands:
            done = run(arguments)
            self.assertEqual(done.status, status, f"{arguments}: {done.err}{done.out[-500:]}")
            self.assertIn(status, [each.status for each in exits_of(arguments[0])], arguments)

    def test_a_wrong_command_line(self) -> None:
        """2, whatever the command."""
        self.check(2, *([name, "--no-such-option"] for name in COMMANDS))

    def test_nobody_answers(self) -> None:
        """3, of all that ask a gateway."""
        nobody = ["--admin", f"127.0.0.1:{free_port()}"]
        self.check(3, *([name, *WORDS.get(name, []), *nobody] for name in (*ASKING, *ORDERING)),
                   ["explain", "--live", "GET", "http://a/", *nobody],
                   ["plan", self.file("voltgw.yaml", GATEWAY), "--live", *nobody])

    def test_what_answers_refuses(self) -> None:
        """1, of all that ask a gateway."""
        server = HTTPServer(("127.0.0.1", 0), Refusing)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        there = ["--admin", f"127.0.0.1:{server.server_port}"]
        self.check(1, *([name, *WORDS.get(name, []), *there] for name in (*ASKING, *ORDERING)))

    def test_files(self) -> None:
        """0 and 2 of all that read some; 1 where there is more to say."""
        good, bad = self.file("good.yaml", GATEWAY), self.file("bad.yaml", "nonsense: 1\n")
        other = self.file("other.yaml", GATEWAY.replace("127.0.0.1:1'", "127.0.0.1:2'").replace("name: shop", "name: shoe"))
        log = self.file("access.log", json.dumps({
            "scheme": "http", "method": "GET", "original_authority": "a", "original_path": "/", "req_params": "",
            "user_agent": "",
            "src_ip": "192.0.2.7", "listener": "127.0.0.1:8080"}) + "\n")
        cases = self.file("cases.yaml", "cases:\n- {request: GET http://127.0.0.1:8080/, expect: {cluster: shop}}\n")
        wrong = self.file("wrong.yaml", "cases:\n- {request: GET http://127.0.0.1:8080/, expect: {cluster: other}}\n")
        scenario = self.file("scenario.yaml", "{duration: 1s, traffic: [{request: GET http://127.0.0.1:8080/, rate: 1}]}\n")
        nginx = self.file("nginx.conf", "http { server { listen 80; location / { root /; } } }\n")
        self.check(0, ["check", good], ["config", "show", good], ["explain", good, "GET", "http://127.0.0.1:8080/"],
                   ["plan", good, other],
                   ["replay", log, good, good], ["rules", good], ["simulate", good, scenario], ["test", good, cases],
                   ["schema"],
                   ["import", "nginx", nginx], ["completion", "bash"], ["pki", "init", str(self.folder / "pki")])
        self.check(1, ["import", "nginx", nginx, "--strict"], ["replay", log, good, other], ["test", good, wrong])
        self.check(2, ["check", bad], ["config", "show", bad], ["explain", bad, "GET", "http://a/"], ["plan", bad, good],
                   ["replay", log, bad, good], ["rules", bad], ["simulate", bad, scenario], ["test", bad, cases],
                   ["schema", "no-such-kind"], ["import", "nginx", "/no/such/file"], ["pki", "init", str(self.folder / "pki")],
                   ["blame", bad, "GET", "http://a/"])
        code = "from voltgw.cli.main import main; raise SystemExit(main())"          # it takes the log over: a process of its own
        done = subprocess.run([sys.executable, "-c", code, "run", bad], cwd=ROOT, capture_output=True, check=False, timeout=30)
        self.assertEqual(done.returncode, 2)

    def test_interrupted(self) -> None:
        """130, as shells show it."""
        code = ("import os, signal, threading; from voltgw.cli.main import main\n"
                "signal.signal(signal.SIGINT, signal.default_int_handler)\n"        # a shell's background jobs ignore it
                "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
                "raise SystemExit(main(['check', '-']))")
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.wait(20)
        self.assertEqual(process.returncode, INTERRUPTED_STATUS)
