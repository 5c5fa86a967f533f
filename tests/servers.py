"""Real servers and clients for the integration tests: found, started on a socket of ours, stopped again.

A machine without a program skips the tests that need it, by name and with the reason; under ``CI=true`` that is a
failure, because `tools/servers` should have installed it. Each server is handed a listening socket that we bound, so
there is no race for a port and nothing to wait for: a connection made before the server is up waits in the backlog.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import free_port
from voltgw.config.issuing import Usage, issue, new_authority

#: Where Debian keeps servers although an ordinary user's PATH does not look there.
PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/systemd"))
#: Where `tools/servers` puts the servers that it has from the Python package index.
_PEERS: Final = Path(__file__).parents[1] / ".peers"
#: A server that has not ended this long (seconds) after SIGTERM is killed.
_STOP_TIMEOUT_S: Final = 5.0
#: One that binds its port itself answers within this.
_START_TIMEOUT_S: Final = 20.0


def in_ci() -> bool:
    """Whether a missing program is a failure rather than a reason to skip."""
    return os.environ.get("CI") == "true"


def missing(reason: str) -> Exception:
    """What to raise when something that a test needs is not on this machine."""
    return AssertionError(f"{reason}; under CI=true nothing may be skipped for that") if in_ci() else SkipTest(reason)


def require(program: str) -> str:
    """The path of `program`; where it is not installed, the test is skipped, or fails under ``CI=true``."""
    path = shutil.which(program, path=PATH)
    if path is None:
        raise missing(f"{program} is not installed (sh tools/servers installs it where it may)")
    return path


def envoy() -> str:
    """The path of Envoy: ``$ENVOY``, one on the PATH, or the one of `tools/servers`; `require` says what happens without."""
    named = os.environ.get("ENVOY") or shutil.which("envoy", path=PATH)
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


def quic_python() -> str:
    """A Python that has aioquic: ``$QUIC_PYTHON``, or the one of `tools/servers`; `require` says what happens without."""
    named = os.environ.get("QUIC_PYTHON")
    python = Path(named) if named else _PEERS / "quic/bin/python"
    if not python.exists():
        raise missing("aioquic is not installed (sh tools/servers installs it where it may)")
    return str(python)


def moto_python() -> str:
    """A Python that has moto and botocore: ``$MOTO_PYTHON``, or the one of `tools/servers`; `require` says what happens without."""
    named = os.environ.get("MOTO_PYTHON")
    python = Path(named) if named else _PEERS / "moto/bin/python"
    if not python.exists():
        raise missing("moto is not installed (sh tools/servers installs it where it may)")
    return str(python)


def clouds_python() -> str:
    """A Python that has google-cloud-dns and azure-mgmt-dns: ``$CLOUDS_PYTHON``, or the one of `tools/servers`."""
    named = os.environ.get("CLOUDS_PYTHON")
    python = Path(named) if named else _PEERS / "clouds/bin/python"
    if not python.exists():
        raise missing("google-cloud-dns and azure-mgmt-dns are not installed (sh tools/servers installs them where it may)")
    return str(python)


def kubernetes_python() -> str:
    """A Python that has Kubernetes' own client: ``$KUBERNETES_PYTHON``, or the one of `tools/servers`."""
    named = os.environ.get("KUBERNETES_PYTHON")
    python = Path(named) if named else _PEERS / "kubernetes/bin/python"
    if not python.exists():
        raise missing("kubernetes is not installed (sh tools/servers installs it where it may)")
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

    @property
    def folder(self) -> Path:
        """Where its log stands."""
        return self._log.parent

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


def nginx(
    test: SynchronousTestCase, server: str, *, port: int = 0, top: str = "", http: str = "", ssl: bool = False,
    http2: bool = False,
) -> Server:
    """Start nginx with one ``server`` block; `server` is what stands in it besides ``listen``. With `ssl` it speaks TLS.

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
            + f"  {http}\n  server {{ listen 127.0.0.1:{port}{' ssl' if ssl else ''}{' http2' if http2 else ''}; {server} }}\n}}\n",
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


class Pebble(Server):
    """An ACME CA that looks at every challenge: `directory` is its URL, `ca` the PEM file by which that is judged.

    Every name is 127.0.0.1 to it; it comes to `http_port` for http-01 and to `tls_port` for tls-alpn-01.
    """

    def __init__(
        self, server: Server, ca: Path, http_port: int, tls_port: int, management: int,
    ) -> None:
        super().__init__(server.name, server.port, server._process, server._log)
        self.directory = f"https://localhost:{server.port}/dir"
        self.ca = ca
        self.http_port = http_port
        self.tls_port = tls_port
        self._management = management

    def root(self) -> bytes:
        """The PEM root of what it issues; another one at every start."""
        context = ssl.create_default_context(cafile=str(self.ca))
        url = f"https://localhost:{self._management}/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=_STOP_TIMEOUT_S) as answer:
            root: bytes = answer.read()
            return root


def pebble(
    test: SynchronousTestCase, http_port: int, tls_port: int, *, validity_s: int = 86400, port: int = 0,
    environ: Mapping[str, str] | None = None, config: Mapping[str, object] | None = None,
) -> Pebble:
    """Start pebble with a DNS server of its own, and wait until it answers; `validity_s` is how long certificates live.

    It refuses some good nonces, as it does by itself. `port` 0 takes a free one. `config` is added to its configuration.
    """
    program, names = require("pebble"), require("pebble-challtestsrv")
    folder = _folder(test)
    authority = new_authority("directory", datetime.now(UTC))
    own = issue(authority, "localhost", ("localhost", "127.0.0.1"), Usage.SERVER, datetime.now(UTC))
    ca = folder / "directory-ca.pem"
    ca.write_bytes(authority.certificate)
    (folder / "cert.pem").write_bytes(own.certificate)
    (folder / "key.pem").write_bytes(own.key)
    dns, management = free_port(), free_port()
    _run(test, "challtestsrv", [
        names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "",
        "-tlsalpn01", "", "-management", f"127.0.0.1:{free_port()}"], folder, dns, {})
    port = port or free_port()
    (folder / "pebble.json").write_text(json.dumps({"pebble": {
        "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": "cert.pem", "privateKey": "key.pem", "httpPort": http_port, "tlsPort": tls_port,
        "ocspResponderURL": "", "externalAccountBindingRequired": False, "certificateValidityPeriod": validity_s,
        **(config or {})}}), encoding="utf-8")
    server = _run(test, "pebble", [program, "-config", "pebble.json", "-dnsserver", f"127.0.0.1:{dns}"], folder, port,
                  {"PEBBLE_VA_NOSLEEP": "1", **(environ or {})})
    made = Pebble(server, ca, http_port, tls_port, management)
    end = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            made.root()
            return made
        except OSError:
            if time.monotonic() > end or not server.running:
                raise AssertionError(f"pebble does not answer:\n{server.log()}") from None
            time.sleep(0.02)                # another process; there is nothing to wait on


def unbound(test: SynchronousTestCase, names: Mapping[str, Mapping[str, str]], *, proxied: bool = False) -> Server:
    """Start a DNS server that answers TXT questions from `names`: for clients of a prefix ("" = all others), text by name.

    With `proxied` each datagram must begin with a PROXY header, which says who the client is.
    """
    program = require("unbound")
    folder, port = _folder(test), free_port()
    lines = ["server:", f'  directory: "{folder}"', '  chroot: ""', '  username: ""', '  pidfile: ""', "  use-syslog: no",
             '  logfile: ""', "  do-daemonize: no", f"  interface: 127.0.0.1@{port}", "  access-control: 0.0.0.0/0 allow",
             '  module-config: "iterator"', *([f"  proxy-protocol-port: {port}"] if proxied else [])]
    lines += [f"  access-control-view: {prefix} v{number}" for number, prefix in enumerate(names) if prefix]
    for number, (prefix, texts) in enumerate(names.items()):
        if prefix:
            lines += ["view:", f"  name: v{number}"]
        lines += [line for name, text in texts.items()
                  for line in (f'  local-zone: "{name}" static', f"  local-data: '{name} 60 IN TXT \"{text}\"'")]
    lines += ["remote-control:", "  control-enable: no"]
    config = folder / "unbound.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    server = _run(test, "unbound", [program, "-d", "-c", str(config)], folder, port, {})
    _until_said(server, "start of service")
    return server


def dnsdist(test: SynchronousTestCase, backend: int) -> Server:
    """Start dnsdist in front of 127.0.0.1:`backend`, to which each query begins with a PROXY header."""
    program = require("dnsdist")
    folder, port = _folder(test), free_port()
    config = folder / "dnsdist.conf"
    config.write_text(
        f'setLocal("127.0.0.1:{port}")\nnewServer{{address="127.0.0.1:{backend}", useProxyProtocol=true}}:setUp()\n'
        "setACL({'127.0.0.0/8'})\nsetSecurityPollSuffix('')\n", encoding="utf-8")
    server = _run(test, "dnsdist", [program, "--supervised", "--disable-syslog", "-C", str(config)], folder, port, {})
    _until_said(server, "Listening on")
    return server


def named(test: SynchronousTestCase, zone: str, records: str) -> Server:
    """Start BIND as the primary server of `zone` (with its SOA and NS), over UDP and TCP; `records` are lines of its file."""
    program = require("named")
    folder = _folder(test)
    port = free_port()
    (folder / "zone").write_text(
        f"$TTL 60\n@ SOA ns.{zone}. hostmaster.{zone}. 1 3600 600 86400 60\n@ NS ns.{zone}.\nns A 127.0.0.1\n{records}\n",
        encoding="utf-8")
    config = folder / "named.conf"
    config.write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;\n'
        'pid-file none; session-keyfile none; dnssec-validation no; notify no; };\ncontrols { };\n'
        f'zone "{zone}" {{ type primary; file "zone"; }};\n', encoding="utf-8")
    server = _run(test, "named", [program, "-4", "-g", "-n", "1", "-c", str(config)], folder, port, {})
    _until_said(server, "all zones loaded")
    return server


def _until_said(server: Server, *words: str) -> None:
    """Until a server has logged one of `words`, which it does when it is up."""
    end = time.monotonic() + _START_TIMEOUT_S
    while not any(word in server.log() for word in words):
        if time.monotonic() > end or not server.running:
            raise AssertionError(f"{server.name} does not come up:\n{server.log()}")
        time.sleep(0.02)                    # another process; there is nothing to wait on


def _run(
    test: SynchronousTestCase, name: str, command: Sequence[str], folder: Path, port: int, environ: Mapping[str, str],
) -> Server:
    """Start a server that binds its port itself."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True)
    server = Server(name, port, process, log)
    test.addCleanup(server.stop)
    return server


def squid(test: SynchronousTestCase, rules: str, hosts: Mapping[str, str], *, port_options: str = "") -> Server:
    """Start Squid as a forward proxy that caches nothing; `rules` are what stands behind ``http_port`` and its housekeeping.

    `hosts` are the names that it knows beside its resolver's; `port_options` follow the port (``ssl-bump ...``).
    """
    program = require("squid")
    # It becomes another user where it is started by root, who may not look into the folders of tests.
    folder = Path(tempfile.mkdtemp(prefix="vg-squid-"))
    test.addCleanup(shutil.rmtree, folder)
    folder.chmod(0o777)
    listening = _listening_socket(0)
    port = listening.getsockname()[1]
    listening.close()                       # it can only bind its port itself
    names = folder / "hosts"
    names.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()), encoding="utf-8")
    config = folder / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port} {port_options}\nhosts_file {names}\npid_filename none\n"
        f"cache deny all\ncache_log stdio:{folder}/cache.log\naccess_log none\nshutdown_lifetime 0 seconds\n"
        f"coredump_dir {folder}\nvisible_hostname proxy.test\n{rules}\n", encoding="utf-8")
    log = folder / "squid.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "-N", "-f", str(config)], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True)
    server = Server("squid", port, process, log)
    test.addCleanup(server.stop)
    end = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return server
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"squid does not start: {server.log()}") from None
            time.sleep(0.05)                # another process decides when; there is nothing to wait on


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
