"""A Consul agent for tests, made from Consul's published HTTP API and from what a real agent was seen to answer.

It knows health, catalog and agent endpoints with blocking queries, tokens and what follows from them, and nothing of what makes
Consul a cluster. `tests.integration.test_consul` holds it to a client that others have written.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.integration.gateway import free_port

#: No query is held longer, whatever it asks for.
MOST_WAIT_S = 30.0


class Agent:
    """The agent; `services` are by id. With `token`, who does not show it sees nothing and may change nothing."""

    def __init__(self, *, token: str = "", tells: bool = True, acls: bool | None = None) -> None:
        """`tells`: answers say that something was left out for want of rights, as they do since 1.12."""
        self.token = token
        self.acls = bool(token) if acls is None else acls
        self.tells = tells
        self.index = 1
        self.services: dict[str, dict[str, Any]] = {}
        self.checks: dict[str, str] = {}
        self.ttls: set[str] = set()         # ids of services that have a TTL check
        self.asked: list[str] = []
        self.datacenter = "dc1"
        self.changed = threading.Condition()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self._broken: dict[str, tuple[int, bytes]] = {}

    # -- what a test does --------------------------------------------------------------------------------------------------

    def start(self, port: int = 0, context: ssl.SSLContext | None = None) -> Agent:
        """Serve, with `context` by TLS."""
        agent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                """A read."""
                agent.handle(self, "GET")

            def do_PUT(self) -> None:
                """A write."""
                agent.handle(self, "PUT")

            def do_POST(self) -> None:
                """A question with a body."""
                agent.handle(self, "POST")

        self.port = port or self.port or free_port()
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer nobody any more; whoever waits hears nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            self._thread.join(5)
            with self.changed:
                self.changed.notify_all()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def register(self, name: str, port: int, *, id: str = "", address: str = "127.0.0.1", tags: list[str] | None = None,
                 meta: dict[str, str] | None = None, weight: int = 1, status: str = "passing", ttl: bool = False) -> None:
        """An instance comes, or is another one now; `ttl`: it says itself that it lives."""
        with self.changed:
            id = id or f"{name}-{port}"
            self.services[id] = {"ID": id, "Service": name, "Address": address, "Port": port, "Tags": tags or [], "Meta": meta or {},
                                 "Weights": {"Passing": weight, "Warning": 1}}
            self.checks[id] = status
            (self.ttls.add if ttl else self.ttls.discard)(id)
            self._touch()

    def deregister(self, id: str) -> None:
        """An instance leaves."""
        with self.changed:
            self.services.pop(id, None)
            self.checks.pop(id, None)
            self.ttls.discard(id)
            self._touch()

    def mark(self, id: str, status: str) -> None:
        """Its check says something else."""
        with self.changed:
            self.checks[id] = status
            self._touch()

    def answer_with(self, path: str, status: int, body: bytes) -> None:
        """Something else, for every path that begins so; status 0: as ever again."""
        with self.changed:
            if status:
                self._broken[path] = (status, body)
            else:
                self._broken.pop(path, None)
            self._touch()

    def _touch(self) -> None:
        self.index += 1
        self.changed.notify_all()

    # -- what it answers ---------------------------------------------------------------------------------------------------

    def handle(self, request: BaseHTTPRequestHandler, method: str) -> None:
        """One request."""
        length = int(request.headers.get("content-length", 0))
        body = request.rfile.read(length) if length else b""
        split = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        self.asked.append(request.path)
        token = request.headers.get("x-consul-token", query.get("token", ""))
        status, answer, fields = self.answer(method, unquote(split.path), query, body, token)
        if self._server is None:
            request.close_connection = True
            return
        try:
            request.send_response(status)
            for name, value in fields.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            if answer:
                request.wfile.write(answer)
        except OSError:                     # whoever asked has heard enough
            request.close_connection = True

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, token: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and fields."""
        may = self._may(token)
        broken = next((said for begin, said in self._broken.items() if path.startswith(begin)), None)
        if broken is not None:
            return (*broken, {})
        if query.get("dc") not in (None, "", self.datacenter):
            return 500, b"No path to datacenter", {}
        if method == "GET" and path.startswith("/v1/health/service/"):
            return self._blocking(query, token, lambda: self._health(path.rpartition("/")[2], "passing" in query))
        if method == "GET" and path == "/v1/catalog/services":
            return self._blocking(query, token, self._catalog, empty={})
        if method == "GET" and path == "/v1/agent/services":
            return 200, json.dumps(self.services if may else {}).encode(), {}
        if method == "GET" and path.startswith("/v1/catalog/service/"):
            wanted = path.rpartition("/")[2]
            found = [{"Node": "node-1", "ServiceID": id, "ServiceName": one["Service"], "ServiceMeta": one["Meta"]}
                     for id, one in self.services.items() if one["Service"] == wanted]
            return 200, json.dumps(found if may else []).encode(), {}
        if method == "GET" and path == "/v1/status/leader":
            return 200, b'"127.0.0.1:8300"', {}
        if method == "POST" and path == "/v1/internal/acl/authorize":
            if not self.acls:
                return 401, b"ACL support disabled", {}
            return 200, json.dumps([{**each, "Allow": may} for each in json.loads(body)]).encode(), {}
        if method == "PUT" and path.startswith("/v1/agent/"):
            return self._write(path.removeprefix("/v1/agent/"), body) if may else (403, b"Permission denied", {})
        return 404, b"", {}

    def _may(self, token: str) -> bool:
        return not self.acls or token == self.token

    def _blocking(self, query: dict[str, str], token: str, read: Any, empty: Any = None) -> tuple[int, bytes, dict[str, str]]:
        index = int(query.get("index", 0))
        if index:
            end = time.monotonic() + min(_seconds(query.get("wait", "300s")), MOST_WAIT_S)
            with self.changed:
                while index == self.index and time.monotonic() < end and self._server is not None:
                    self.changed.wait(max(end - time.monotonic(), 0.0))
        with self.changed:
            found = read()
            fields = {"X-Consul-Index": str(self.index), "X-Consul-Knownleader": "true", "X-Consul-Lastcontact": "0",
                      "Content-Type": "application/json"}
            if not self._may(token):        # rights are looked at when it is answered, not when it was asked
                if found and self.tells:
                    fields["X-Consul-Results-Filtered-By-ACLs"] = "true"
                found = [] if empty is None else empty
            return 200, json.dumps(found).encode(), fields

    def _health(self, name: str, passing: bool) -> list[dict[str, Any]]:
        node = {"ID": "n", "Node": "node-1", "Address": "127.0.0.1", "Datacenter": self.datacenter}
        return [{"Node": node, "Service": one, "Checks": [
            {"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": f"service:{id}", "Status": self.checks[id]}]}
            for id, one in self.services.items() if one["Service"] == name and (self.checks[id] == "passing" or not passing)]

    def _catalog(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {"consul": []}
        for one in self.services.values():
            tags = found.setdefault(one["Service"], [])
            tags += [tag for tag in one["Tags"] if tag not in tags]
        return found

    def _write(self, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        said = {name.capitalize(): value for name, value in json.loads(body).items()} if body else {}     # Consul does not mind the case
        said["ID"] = said.pop("Id", None)
        if path == "service/register":
            check: dict[str, Any] = said.get("Check") or next(iter(said.get("Checks") or ()), {})
            status = "passing" if not check else {name.lower(): value for name, value in check.items()}.get("status", "critical")
            self.register(said["Name"], said.get("Port", 0), id=said.get("ID") or said["Name"], address=said.get("Address", ""),
                          tags=said.get("Tags"), meta=said.get("Meta"), weight=(said.get("Weights") or {}).get("Passing", 1),
                          status=status, ttl=bool(check) and any(name.lower() == "ttl" for name in check))
            return 200, b"", {}
        if path.startswith("service/deregister/"):
            id = path.rpartition("/")[2]
            if id not in self.services:
                return 404, f'Unknown service ID "{id}"'.encode(), {}
            self.deregister(id)
            return 200, b"", {}
        for verb, status in (("pass", "passing"), ("warn", "warning"), ("fail", "critical")):
            if path.startswith(f"check/{verb}/service:"):
                id = path.partition(":")[2]
                if id not in self.ttls:
                    return 404, f'Unknown check ID "service:{id}"'.encode(), {}
                self.mark(id, status)
                return 200, b"", {}
        return 404, b"", {}


def _seconds(text: str) -> float:
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)
