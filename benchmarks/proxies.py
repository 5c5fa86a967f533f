"""What all proxies under test have in common, and the proof that each one does the same work.

A proxy is started once per comparison and stays up through all its rounds. Before anything is measured, `Proxy.prove`
sends it one request and checks what the origin saw and what came back; a feature that is missing stops the run, because a
proxy that does less would otherwise win.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness import PROXY_CPU, START_S, BenchmarkError, Cpu, Proc, free_ports, tail
from origin import SEEN_PATH, SMALL

#: The Host of every request, and the name of the one virtual host that every proxy has.
HOST: Final = "shop.example.com"
#: What wrk calls the server in its TLS hello: it takes the name from the URL, and this one needs no resolver.
TLS_NAME: Final = "localhost"
REQUEST_EDIT: Final = ("X-Bench-Request", "one")
RESPONSE_EDIT: Final = ("X-Bench-Response", "two")

#: Timeouts that all proxies are given, seconds.
CONNECT_S: Final = 2
REQUEST_HEAD_S: Final = 10
RESPONSE_HEAD_S: Final = 30
KEEP_ALIVE_S: Final = 120
BODY_IDLE_S: Final = 300
TUNNEL_IDLE_S: Final = 3600
#: Of UDP sessions: short, so that those that nobody uses any more go within a run.
UDP_IDLE_S: Final = 10
#: Where a proxy buffers its log, it is told to write it this often, so that a round pays for its own lines.
LOG_FLUSH_MS: Final = 250
#: With `Setup.full`: so many routes; the last one takes everything that the others do not. The rest is for `Setup.ten`.
ROUTES: Final = 1000
ANSWER_S: Final = 30
CORS_ORIGIN: Final = "https://app.example.com"
STICKY_COOKIE: Final = "benchsid"
#: Client connections that all proxies are told to allow. HAProxy derives two descriptors and more from each.
MAX_CONNECTIONS: Final = 7000


@dataclass(frozen=True, slots=True)
class Setup:
    """What is to be configured, the same for every proxy.

    `mode` is ``http``, ``tcp``, ``udp``, or ``sni``: TLS that passes through, chosen by the name in its hello.
    `features`: access log, request id, two header edits. `big_buffers`: 256 KiB to 1 MiB
    where a proxy can be told so, else each proxy's own default. `full`: beside the features a retry policy and a time for the
    whole answer (metrics all of them have always). `routes`: so many, by prefix. `ten`: beside all of it a cookie that keeps a
    client at its endpoint and CORS, in each proxy as far as it has them. `endpoints` are addresses and ports;
    `probe_interval_s` > 0 asks for an HTTP health check of each of them. `version_2`: clients speak HTTP/2, without
    TLS by prior knowledge. `certificate` is a PEM file with a key: clients speak TLS, which ends at the proxy. `websocket`:
    connections may be upgraded to it. `compiled`: the interpreter that has voltgw's compiled build; empty: none.
    """

    mode: str
    features: bool
    big_buffers: bool
    endpoints: tuple[tuple[str, int], ...]
    directory: Path
    python: str
    nice: int = 0
    probe_interval_s: int = 0
    version_2: bool = False
    certificate: Path | None = None
    ten: bool = False
    full: bool = False
    routes: int = 1
    websocket: bool = False
    compiled: str = ""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Of the routes before the one that takes everything."""
        return tuple(f"/service-{number}/" for number in range(self.routes - 1))


class Proxy:
    """One proxy under test. Subclasses write its configuration and know its command line."""

    name = ""
    #: Where a run says something about how this proxy is set up that a reader of the figures must know.
    note = ""
    #: How long it may take to open its port.
    start_s = START_S

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.port, self.admin_port = free_ports(2)
        self.directory = setup.directory / self.name
        self.directory.mkdir()
        self.access_log = self.directory / "access.log"
        self.process: Proc | None = None
        self.config_text = ""

    # -- for subclasses --------------------------------------------------------------------------------------------

    def write_config(self) -> str:
        """Write the configuration into `self.directory`; return its text, for the record."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def version(self) -> str:
        """The version, as the program itself tells it."""
        raise NotImplementedError

    def environment(self) -> dict[str, str] | None:
        """Of the process; None = ours."""
        return None

    def standard_output(self) -> Path | None:
        """A file for standard output; None = with the errors."""
        return None

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.config_text = self.write_config().replace(str(self.setup.directory), "WORK")
        self.process = Proc(self.name, self.command(), PROXY_CPU, self.directory / "process.log",
                            stdout=self.standard_output(), environment=self.environment(), directory=self.directory,
                            nice=self.setup.nice)
        if self.setup.mode != "udp":
            self.process.wait_for_port(self.port, self.start_s)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def cpu(self) -> Cpu:
        """What its process tree has used so far."""
        assert self.process is not None
        self.process.check()
        return self.process.cpu()

    def take_log_lines(self) -> int:
        """How many access-log lines were written since the last call; empties the log."""
        try:
            with self.access_log.open("rb") as log:
                lines = sum(block.count(b"\n") for block in iter(lambda: log.read(1 << 20), b""))
        except FileNotFoundError:
            return 0
        with self.access_log.open("r+b") as log:
            log.truncate()
        return lines

    # -- proof -----------------------------------------------------------------------------------------------------

    def prove(self) -> None:
        """Raise `BenchmarkError` unless it forwards and does everything that `Setup` asks for."""
        if self.setup.mode == "udp":
            self._prove_echo()
            return
        give_up = time.monotonic() + 10
        while True:
            try:
                answer = self.fetch("/")
                if answer.status == 200 or time.monotonic() > give_up:
                    break
            except OSError as error:
                if time.monotonic() > give_up:
                    raise BenchmarkError(f"{self.name} does not answer: {error}\n{self._log_tail()}") from error
            time.sleep(0.1)
        wrong = [] if (answer.status, answer.body) == (200, SMALL.encode()) else [f"answered {answer.status}, {answer.body!r}"]
        if not wrong and self.setup.mode == "http" and self.process is not None:
            wrong = self._missing_features()
        if wrong:
            raise BenchmarkError(f"{self.name} does not do what the others do: {'; '.join(wrong)}\n{self._log_tail()}")

    def _prove_echo(self) -> None:
        assert self.process is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self.port))
            sock.settimeout(0.2)
            give_up = time.monotonic() + START_S
            while time.monotonic() < give_up:
                self.process.check()
                try:
                    sock.send(b"prove")
                    if sock.recv(100) == b"prove":
                        return
                except TimeoutError:
                    pass
                except ConnectionRefusedError:
                    time.sleep(0.1)
        raise BenchmarkError(f"{self.name} does not bring a datagram there and back\n{self._log_tail()}")

    def fetch(self, path: str) -> Answer:
        """One GET, in the version that is measured. Raises OSError when there is no HTTP answer."""
        if self.setup.version_2 and self.process is not None:
            return fetch_2(self.port, path, "https" if self.setup.certificate is not None else "http")
        if self.setup.mode == "sni" or (self.setup.certificate is not None and self.process is not None):
            return fetch_tls(self.port, path)
        return fetch(self.port, path)

    def _missing_features(self) -> list[str]:
        answer = self.fetch(SEEN_PATH)
        try:
            seen = json.loads(answer.body)
        except ValueError:
            return [f"{SEEN_PATH} gave {answer.status}, {answer.body!r}"]
        wrong = []
        if seen["host"] != HOST:
            wrong.append(f"the origin saw Host {seen['host']!r}")
        if seen["protocol"] != "HTTP/1.1" or seen["connection"].lower() == "close":
            wrong.append("no keep-alive to the origin")
        if not self.setup.features:
            return wrong
        if not seen["xff"]:                         # which address it is differs: Envoy names its own for a loopback client
            wrong.append(f"the origin saw X-Forwarded-For {seen['xff']!r}")
        if len(seen["id"]) < 16:
            wrong.append(f"the origin saw X-Request-ID {seen['id']!r}")
        if seen["edit"] != REQUEST_EDIT[1]:
            wrong.append(f"the request header edit gave {seen['edit']!r}")
        if answer.headers.get(RESPONSE_EDIT[0].lower()) != RESPONSE_EDIT[1]:
            wrong.append("the response header edit is missing")
        return wrong

    def _log_tail(self) -> str:
        return tail(self.process.log) if self.process is not None else ""


class Direct(Proxy):
    """No proxy: what the origin and the load generator manage on their own CPU."""

    name = "direct"

    def start(self) -> None:
        """Nothing to start."""
        self.port = self.setup.endpoints[0][1]

    def cpu(self) -> Cpu:
        """Nobody's."""
        return Cpu(0.0, 0.0)

    def version(self) -> str:
        """None."""
        return ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response read whole."""

    status: int
    headers: dict[str, str]
    body: bytes


def fetch(port: int, path: str, host: str = HOST) -> Answer:
    """One GET over a connection of its own; `headers` have lowercase names. Raises OSError when there is no HTTP answer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {error!r}") from error


def fetch_2(port: int, path: str, scheme: str, host: str = HOST) -> Answer:
    """The same over HTTP/2, without TLS by prior knowledge (RFC 9113 3.3); the certificate is not looked at."""
    done = subprocess.run(
        ["curl", "-sik", "--max-time", "5", "--http2-prior-knowledge" if scheme == "http" else "--http2",
         "--connect-to", f"::127.0.0.1:{port}", f"{scheme}://{host}{path}"],
        capture_output=True, check=False)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if done.returncode or not first.startswith("HTTP/2 "):
        raise OSError(f"not HTTP/2: curl ended with {done.returncode}")
    return Answer(int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines if ": " in line), body)


def fetch_tls(port: int, path: str, host: str = HOST) -> Answer:
    """One GET over TLS in HTTP/1.1; the certificate is not looked at. Raises OSError when there is no HTTP answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection(host, port)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname=host) as sock:
        connection.sock = sock
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except http.client.HTTPException as error:
            raise OSError(f"not HTTP: {error!r}") from error


def first_line(command: list[str]) -> str:
    """The first line that a program prints about itself; raises when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        raise BenchmarkError(f"cannot run {command[0]}: {error}") from error
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")
