"""A gateway in a process of its own, as an operator runs it, for tests that talk to it from outside."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

#: Ports of tests come from below the range in which the kernel picks source ports itself, so that nothing takes them.
_PORTS: Final = range(20_000, 32_000)
#: Runs of the tests that stand side by side (`tools/test` has so many) take turns among them, so that none takes a port that
#: another has found free and not bound yet. In one run no port comes again before all others.
_LANES: Final = 4
_lane = int(os.environ.get("VOLTGW_TEST_LANE") or random.randrange(_LANES))
_ours = count(random.randrange(len(_PORTS)))        # not seeded, since others may run in our lane, too
#: Nothing that a test waits for takes longer than this (seconds), unless something is wrong.
PATIENCE_S: Final = 20.0
#: All of these tests can be run with gateways of so many workers.
WORKERS: Final = os.environ.get("VOLTGW_TEST_WORKERS", "")
_ROOT: Final = Path(__file__).resolve().parents[2]
_TWISTD: Final = "from twisted.scripts.twistd import run; run()"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    while True:
        port = _PORTS[(next(_ours) * _LANES + _lane) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(what: str, true: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Look until `true()` is true and return what it gave; AssertionError, naming `what`, when that takes too long."""
    end = time.monotonic() + patience_s
    while True:
        result = true()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"after {patience_s:g} s still not: {what}")
        time.sleep(0.01)                    # another process decides when; there is nothing to wait on


def short_socket(test: SynchronousTestCase) -> str:
    """A path for a Unix socket, whose name may have 107 bytes: trial's folders are deeper than that in some checkouts."""
    folder = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, folder)
    return f"{folder}/s"


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of an access log in JSON, none where there is no file yet; a line of which not all was written does not count."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class Response:
    """An answer, read whole."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(port: int, path: str = "/", method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None,
        host: str | None = None) -> Response:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        sent = dict(headers or {})
        if host is not None:
            sent["Host"] = host
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())
    finally:
        connection.close()


class Gateway:
    """``twistd -n voltgw --config FILE`` (or another command line); the test that started it stops it."""

    def __init__(self, test: SynchronousTestCase, config: str, *, command: list[str] | None = None, netns: str = "",
                 rights: str | None = None) -> None:
        """`netns` is the network namespace that it runs in, "" = that of the tests; `rights` are the only capabilities that it
        has, as setpriv(1) has them ("+net_admin,+net_raw"), None = those of the tests.
        """
        folder = Path(test.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.folder = folder
        self.file = folder / "voltgw.yaml"
        self.admin_port = free_port()
        self.write(config)
        self._output = folder / "output"
        if command is None:
            command = ["-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"]
            if WORKERS:
                command += ["--workers", WORKERS]
        there = ["ip", "netns", "exec", netns] if netns else []
        if rights is not None:
            there += ["setpriv", "--bounding-set", f"-all,{rights}".rstrip(","), "--"]
        self._command = [*there, sys.executable, *command]
        self.start()
        test.addCleanup(self.stop)

    def start(self) -> None:
        """Start its process, which is not there (any more)."""
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"},
            )

    def write(self, config: str) -> None:
        """Put another configuration in its file; ``ADMIN`` stands for the port of the admin interface."""
        self.file.write_text(config.replace("ADMIN", str(self.admin_port)), encoding="utf-8")

    @property
    def output(self) -> str:
        """What it has written to its standard output and error so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def admin(self, path: str) -> Response:
        """Ask the admin interface."""
        return ask(self.admin_port, path)

    def wait_ready(self) -> None:
        """Until ``/ready`` says so."""
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.output}")
            try:
                return self.admin("/ready").status == 200
            except OSError:
                return False

        until("the gateway is ready", ready)

    def cluster(self, name: str) -> dict[str, Any]:
        """What the admin interface says of one cluster."""
        found: dict[str, Any] = next(each for each in self.admin("/clusters").json["clusters"] if each["cluster"] == name)
        return found

    def reload(self) -> None:
        """SIGHUP, and wait until it has been dealt with, either way."""
        def count() -> int:
            facts = self.admin("/").json
            return int(facts["generation"]) + int(facts["reloads_rejected"])

        before = count()
        self.process.send_signal(signal.SIGHUP)
        until("the reload is over", lambda: count() > before)

    def wait_exit(self) -> int:
        """Until it has ended; its exit status."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        """End it if it runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
