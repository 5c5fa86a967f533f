"""A gateway with a forward proxy, for tests that use it as clients do: its names are ours, and so are the origins."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
from hashlib import sha1
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, log_lines, until
from tests.servers import require

#: Runs the gateway with a resolver that knows the names of `HOSTS` and no others: a list of answers is given in turn, the last
#: one again and again. It takes the place of the C library's before Twisted sees that.
_RESOLVING: Final = """
import socket, sys
hosts = {table!r}
asked = {{}}
def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    answers = hosts.get(host)
    if answers is None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    turn = asked[host] = asked.get(host, -1) + 1
    found = answers[min(turn, len(answers) - 1)]
    return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]
socket.getaddrinfo = getaddrinfo
import voltgw.proxy.forward.lookup as lookup
lookup.GOOD_S = {good_s!r}
from twisted.scripts.twistd import run
sys.argv = ["twistd", "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"]
run()
"""


def sha_line(user: str, password: str) -> str:
    """A line of an htpasswd file."""
    return f"{user}:{{SHA}}{base64.b64encode(sha1(password.encode(), usedforsecurity=False).digest()).decode()}"


def site(connector: str, policies: dict[str, str] | None = None, *, more: str = "", gateway: str = "") -> str:
    """A configuration: `connector` is the spec of the only one (YAML in one line), `policies` are specs by name, in order.

    Without policies (None) no firewall is attached.
    """
    names = "" if policies is None else ", ".join(f"{{name: {name}}}" for name in policies)
    firewall = "" if policies is None else "network_firewall: [{name: egress}]"
    text = f"""
gateway: {{site: paris, admin: {{port: ADMIN}}, access_log: access.log, {gateway}}}
objects:
- kind: site
  metadata: {{name: paris, namespace: system, labels: {{ves.io/fleet: edge}}}}
  spec: {{site_type: CUSTOMER_EDGE}}
- kind: fleet
  metadata: {{name: edge, namespace: system}}
  spec: {{fleet_label: edge, network_connectors: [{{name: out}}], {firewall}}}
- kind: network_connector
  metadata: {{name: out, namespace: system}}
  spec: {connector}
"""
    if policies is not None:
        text += f"""
- kind: network_firewall
  metadata: {{name: egress, namespace: system}}
  spec: {{active_forward_proxy_policies: {{forward_proxy_policies: [{names}]}}}}
"""
    for name, spec in (policies or {}).items():
        text += f"\n- kind: forward_proxy_policy\n  metadata: {{name: {name}, namespace: system}}\n  spec: {spec}\n"
    return text + more


def connector(port: int, *, voltgw: str = "", explicit: str = "", proxy: str = "no_interception: {}",
              allowed: str = "127.0.0.0/8") -> str:
    """The spec of a connector with an explicit proxy at `port`; loopback is allowed, since origins of tests are there."""
    return (f"{{sli_to_slo_snat: {{interface_ip: {{}}}}, enable_forward_proxy: {{{proxy}}}, voltgw: {{"
            f"explicit_proxy: {{address: 127.0.0.1, port: {port}, {explicit}}}, allowed_prefixes: [{allowed}], {voltgw}}}}}")


def upgrading(test: SynchronousTestCase, context: ssl.SSLContext | None = None) -> int:
    """The port of an origin that takes every request for the upgrade to WebSocket, and then answers in capitals."""
    listening = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(listening.close)

    def answer(raw: socket.socket) -> None:
        try:
            with raw, raw if context is None else context.wrap_socket(raw, server_side=True) as one:
                one.settimeout(PATIENCE_S)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    piece = one.recv(1)
                    if not piece:
                        return
                    head += piece
                one.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                while data := one.recv(4096):
                    one.sendall(data.upper())
        except OSError:
            pass                            # the proxy has closed a connection that it does not need

    def serve() -> None:
        while True:
            try:
                raw = listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=answer, args=(raw,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def upgrade(client: socket.socket, target: str, host: str) -> bytes:
    """What comes of asking for such an upgrade, and of a word behind it."""
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        piece = client.recv(4096)
        if not piece:
            return got
        got += piece
    if not got.startswith(b"HTTP/1.1 101 "):
        return got
    client.sendall(b"word")
    return client.recv(4096)


def tunnelled(port: int, host: str) -> socket.socket:
    """A connection through a proxy, its CONNECT answered."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    client.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        if not piece:
            break
        got += piece
    assert got.startswith(b"HTTP/1.1 200 "), got
    return client


class Proxied:
    """A gateway, and curl that asks it."""

    def __init__(
        self, test: SynchronousTestCase, config: str, port: int, hosts: dict[str, list[str] | list[list[str]]],
        good_s: float = 30.0,
    ) -> None:
        table = {name: answers if answers and isinstance(answers[0], list) else [answers] for name, answers in hosts.items()}
        self.port = port
        self.gateway = Gateway(test, config, command=["-c", _RESOLVING.format(table=table, good_s=good_s)])
        self.gateway.wait_ready()

    def curl(self, *arguments: str, proxy: str | None = None) -> tuple[int, int, str]:
        """Status of the answer (0 = none), status of CONNECT (0 = none), and the body or curl's complaint."""
        done = subprocess.run(
            [require("curl"), "-sS", "-m", "10", "-x", proxy or f"http://127.0.0.1:{self.port}", "--path-as-is", "-o", "-",
             "-w", "\n%{http_code} %{http_connect}", *arguments],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        body, _, codes = done.stdout.rpartition("\n")
        status, connect = codes.split()
        return int(status), int(connect), body or done.stderr

    def status(self, *arguments: str) -> int:
        """The status that the client is told in the end: the origin's, or the proxy's own; 0 where a tunnel came to nothing."""
        status, connect, _ = self.curl(*arguments)
        return status or (0 if connect == 200 else connect)

    def metric(self, line: str) -> float | None:
        """The value of a line of the metrics; None if it is not there."""
        found = [each for each in self.gateway.admin("/metrics").body.decode().splitlines() if each.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else None

    def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """What the proxy says to these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as client:
            client.sendall(data)
            got = b""
            while True:
                try:
                    piece = client.recv(65536)
                except ConnectionResetError:
                    return got
                got += piece
                if not piece or (not until_closed and b"\r\n\r\n" in got):
                    return got

    def records(self, count: int) -> list[dict[str, Any]]:
        """The first `count` lines of the access log, once they are there."""
        log = self.gateway.folder / "access.log"
        until(f"{count} lines in the access log", lambda: len(log_lines(log)) >= count)
        return log_lines(log)
