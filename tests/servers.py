"""Real servers and clients for the integration tests: found, started on a socket of ours, stopped again.

A machine without a program skips the tests that need it, by name and with the reason; under ``CI=true`` that is a
failure, because `tools/servers` should have installed it. Each server is handed a listening socket that we bound, so
there is no race for a port and nothing to wait for: a connection made before the server is up waits in the backlog.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

#: Where Debian keeps servers although an ordinary user's PATH does not look there.
_PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
#: Where `tools/servers` puts the servers that it has from the Python package index.
_PEERS: Final = Path(__file__).parents[1] / ".peers"
#: A server that has not ended this long (seconds) after SIGTERM is killed.
_STOP_TIMEOUT_S: Final = 5.0


def in_ci() -> bool:
    """Whether a missing program is a failure rather than a reason to skip."""
    return os.environ.get("CI") == "true"


def missing(reason: str) -> Exception:
    """What to raise when something that a test needs is not on this machine."""
    return AssertionError(f"{reason}; under CI=true nothing may be skipped for that") if in_ci() else SkipTest(reason)


def require(program: str) -> str:
    """The path of `program`; where it is not installed, the test is skipped, or fails under ``CI=true``."""
    path = shutil.which(program, path=_PATH)
    if path is None:
        raise missing(f"{program} is not installed (sh tools/servers installs it where it may)")
    return path


def envoy() -> str:
    """The path of Envoy: ``$ENVOY``, one on the PATH, or the one of `tools/servers`; `require` says what happens without."""
    named = os.environ.get("ENVOY") or shutil.which("envoy", path=_PATH)
    # the package's program is a wrapper that downloads, unless the wheel has brought the real one
    found = [Path(named)] if named else sorted(_PEERS.glob("envoy/lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise missing("envoy is not installed (sh tools/servers installs it where it may)")
    return str(found[0])


def grpc_python() -> str:
    """A Python that has grpcio: ``$GRPC_PYTHON``, or the one of `tools/servers`; `require` says what happens without."""
    named = os.environ.get("GRPC_PYTHON")
    python = Path(named) if named else _PEERS / "grpc/bin/python"
    if not python.exists():
        raise missing("grpcio is not installed (sh tools/servers installs it where it may)")
    return str(python)


class Server:
    """A real server in a process of its own, listening on 127.0.0.1:`port`. The test that started it stops it."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.port = port
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process.poll() is None

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it as a crash would: at once, with its workers; the kernel closes or resets its connections."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it if it runs."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()


def nginx(test: SynchronousTestCase, server: str, *, port: int = 0, top: str = "", http: str = "") -> Server:
    """Start nginx with one ``server`` block; `server` is what stands in it besides ``listen``.

    `top` and `http` go into the main and the http context; the current folder of the configuration is one of its own,
    where it may write. `port` 0 takes a free one; giving it again after `Server.kill` is a restart.
    """
    program = require("nginx")
    folder = _folder(test)
    listening = _listening_socket(port)
    with listening:
        port = listening.getsockname()[1]
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;\n{top}\n"
            "events { worker_connections 512; }\n"
            "http {\n"
            "  access_log off; default_type text/plain; keepalive_requests 1000000;\n"
            + "".join(f"  {kind}_temp_path {folder}/{kind};\n"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"  {http}\n  server {{ listen 127.0.0.1:{port}; {server} }}\n}}\n",
            encoding="utf-8",
        )
        # How nginx hands its sockets to a new binary, documented as on-the-fly upgrade: NGINX holds the descriptors.
        return _start(test, "nginx", [program, "-e", "stderr", "-p", str(folder), "-c", str(config)], folder, listening,
                      {"NGINX": f"{listening.fileno()};"})


def haproxy(test: SynchronousTestCase, frontend: str, *, sections: str = "", mode: str = "http") -> Server:
    """Start HAProxy with one frontend, `frontend` being what stands in it besides ``bind``; `sections` follow it."""
    program = require("haproxy")
    folder = _folder(test)
    with _listening_socket(0) as listening:
        config = folder / "haproxy.cfg"
        config.write_text(
            f"global\n  maxconn 500\ndefaults\n  mode {mode}\n"
            "  timeout connect 2s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend ours\n  bind fd@{listening.fileno()}\n{frontend}\n{sections}\n",
            encoding="utf-8",
        )
        return _start(test, "haproxy", [program, "-db", "-f", str(config)], folder, listening, {})


def _folder(test: SynchronousTestCase) -> Path:
    folder = Path(test.mktemp()).absolute()
    folder.mkdir(parents=True)
    return folder


def _listening_socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(512)
    return sock


def _start(
    test: SynchronousTestCase, name: str, command: Sequence[str], folder: Path, listening: socket.socket,
    environ: Mapping[str, str],
) -> Server:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, pass_fds=(listening.fileno(),),
            start_new_session=True,         # a group of its own, so that `kill` reaches its workers
        )
    server = Server(name, listening.getsockname()[1], process, log)
    test.addCleanup(server.stop)
    return server
