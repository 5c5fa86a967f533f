"""A Kubernetes API server for tests, made from the API's published concepts: lists in pages, watches that go on from a version,
bookmarks, versions that are forgotten (410), selectors, tokens, and nothing of what runs pods. `tests.integration.test_kubernetes`
holds it to ``kubectl``.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.gateway import free_port
from voltgw.config.labels import selector

#: Resource -> (group and version, kind, whether it is in a namespace).
RESOURCES = {
    "services": ("v1", "Service", True), "pods": ("v1", "Pod", True), "nodes": ("v1", "Node", False), "namespaces": ("v1", "Namespace", False),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice", True), "configmaps": ("v1", "ConfigMap", True),
}


class ApiServer:
    """The server; with `token`, only who shows it is answered."""

    def __init__(self, *, token: str = "") -> None:
        self.token = token
        self.version = 10
        self.objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {name: {} for name in RESOURCES}
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []      # version, resource, type, object
        self.forgotten = 0                  # versions up to this one cannot be watched from
        self.asked: list[str] = []
        self.forbidden: set[str] = set()
        self.mangle: Callable[[bytes], bytes] | None = None                 # what becomes of a line of a watch
        self.watch_s = 1000.0               # watches end after so long
        self.changed = threading.Condition()
        self.port = 0
        self._epoch = 0
        self._server: ThreadingHTTPServer | None = None

    # -- what a test does --------------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> ApiServer:
        """Serve."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                """A read."""
                server.handle(self)

            def do_POST(self) -> None:
                """An object is made."""
                server.write(self, "POST")

            def do_PUT(self) -> None:
                """One is replaced."""
                server.write(self, "PUT")

            def do_DELETE(self) -> None:
                """One goes."""
                server.write(self, "DELETE")

        self.port = port or self.port or free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer nobody any more; watches are cut."""
        server, self._server = self._server, None
        if server is not None:
            self.cut()
            server.shutdown()
            server.server_close()
            self._thread.join(5)

    def cut(self) -> None:
        """End every watch that is under way."""
        with self.changed:
            self._epoch += 1
            self.changed.notify_all()

    def put(self, resource: str, name: str, namespace: str = "default", labels: dict[str, str] | None = None, **rest: Any) -> None:
        """An object comes, or is another one now."""
        version, kind, inside = RESOURCES[resource]
        key = (namespace if inside else "", name)
        with self.changed:
            known = key in self.objects[resource]
            self.version += 1
            metadata: dict[str, Any] = {"name": name, "uid": f"{resource}-{namespace}-{name}", "resourceVersion": str(self.version),
                                        "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels or {}}
            if inside:
                metadata["namespace"] = namespace
            made = {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}
            self.objects[resource][key] = made
            self._note(resource, "MODIFIED" if known else "ADDED", made)

    def delete(self, resource: str, name: str, namespace: str = "default") -> None:
        """An object goes."""
        with self.changed:
            made = self.objects[resource].pop((namespace if RESOURCES[resource][2] else "", name))
            self.version += 1
            self._note(resource, "DELETED", {**made, "metadata": {**made["metadata"], "resourceVersion": str(self.version)}})

    def forget(self) -> None:
        """No watch can go on from a version before this one; those that are under way are told so."""
        with self.changed:
            self.forgotten = self.version
            self.version += 1
            self.history.clear()
            self._epoch += 1
            self.changed.notify_all()

    def service(self, name: str, namespace: str = "default", labels: dict[str, str] | None = None, *, port: int = 80, kind: str = "ClusterIP",
                node_port: int = 0, ip: str = "10.96.0.7", ports: list[dict[str, Any]] | None = None) -> None:
        """A service."""
        one: dict[str, Any] = {"name": "http", "port": port, "protocol": "TCP"}
        if node_port:
            one["nodePort"] = node_port
        self.put("services", name, namespace, labels, spec={"type": kind, "clusterIP": ip, "clusterIPs": [ip], "ports": ports or [one]})

    def slice(self, name: str, *endpoints: tuple[str, bool] | dict[str, Any], namespace: str = "default", port: int = 80, part: str = "a") -> None:
        """A part of a service's endpoints: (address, ready), or the whole of one."""
        self.put("endpointslices", f"{name}-{part}", namespace, {"kubernetes.io/service-name": name}, addressType="IPv4",
                 ports=[{"name": "http", "port": port, "protocol": "TCP"}], endpoints=[
                     each if isinstance(each, dict) else {"addresses": [each[0]], "conditions": {"ready": each[1]}} for each in endpoints])

    def _note(self, resource: str, kind: str, made: dict[str, Any]) -> None:
        self.history.append((self.version, resource, kind, made))
        self.changed.notify_all()

    # -- what it answers ---------------------------------------------------------------------------------------------------

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        split = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(split.query).items()}
        self.asked.append(request.path)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            self._say(request, 401, _status(401, "Unauthorized", "Unauthorized"))
            return
        fixed = _fixed(split.path)
        if fixed is not None:
            self._say(request, 200, fixed)
            return
        parts = split.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = parts[1] if parts[:1] == ["namespaces"] and len(parts) > 2 else ""
        rest = parts[2:] if namespace else parts
        if not rest or rest[0] not in RESOURCES:
            self._say(request, 404, _status(404, "NotFound", "the server could not find the requested resource"))
        elif rest[0] in self.forbidden:
            self._say(request, 403, _status(403, "Forbidden", f'{rest[0]} is forbidden: User "x" cannot list resource'))
        elif len(rest) == 2:
            found = self.objects[rest[0]].get((namespace, rest[1]))
            self._say(request, 200 if found else 404, found or _status(404, "NotFound", f'{rest[0]} "{rest[1]}" not found'))
        elif query.get("watch") in ("1", "true"):
            self._watch(request, rest[0], namespace, query)
        else:
            self._list(request, rest[0], namespace, query)

    def write(self, request: BaseHTTPRequestHandler, method: str) -> None:
        """One request that changes something."""
        length = int(request.headers.get("content-length", 0))
        said = json.loads(request.rfile.read(length)) if length else {}
        self.asked.append(f"{method} {request.path}")
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            self._say(request, 401, _status(401, "Unauthorized", "Unauthorized"))
            return
        parts = urlsplit(request.path).path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace, resource = parts[1], parts[2]
        name = parts[3] if len(parts) > 3 else said["metadata"]["name"]
        if resource in self.forbidden:
            self._say(request, 403, _status(403, "Forbidden", f'{resource} is forbidden: User "x" cannot change resource'))
            return
        with self.changed:
            known = self.objects[resource].get((namespace, name))
            version = known["metadata"]["resourceVersion"] if known is not None else ""
            if method == "POST" and known is not None:
                answer = 409, _status(409, "AlreadyExists", f'{resource} "{name}" already exists')
            elif method != "POST" and known is None:
                answer = 404, _status(404, "NotFound", f'{resource} "{name}" not found')
            elif (method == "PUT" and said["metadata"].get("resourceVersion", version) != version
                  or method == "DELETE" and (said.get("preconditions") or {}).get("resourceVersion", version) != version):
                answer = 409, _status(409, "Conflict", "the object has been modified")
            elif method == "DELETE":
                gone = self.objects[resource][namespace, name]
                self.delete(resource, name, namespace)
                answer = 200, gone if resource == "services" else {**_status(200, "", ""), "status": "Success"}
            else:
                rest = {key: value for key, value in said.items() if key not in ("metadata", "apiVersion", "kind")}
                self.put(resource, name, namespace, said["metadata"].get("labels"), **rest)
                self.objects[resource][namespace, name]["metadata"]["annotations"] = said["metadata"].get("annotations") or {}
                answer = 201 if method == "POST" else 200, self.objects[resource][namespace, name]
        self._say(request, *answer)

    def _list(self, request: BaseHTTPRequestHandler, resource: str, namespace: str, query: dict[str, str]) -> None:
        version, kind, _ = RESOURCES[resource]
        with self.changed:
            now, start = self.version, 0
            if query.get("continue"):
                at, _, place = query["continue"].partition(":")
                if int(at) <= self.forgotten:
                    self._say(request, 410, _status(410, "Expired", "The provided continue parameter is too old"))
                    return
                now, start = int(at), int(place)
            items = [one for key, one in sorted(self.objects[resource].items()) if _chosen(one, namespace, query)]
        limit = int(query.get("limit", 0)) or len(items)
        metadata: dict[str, Any] = {"resourceVersion": str(now)}
        if start + limit < len(items):
            metadata["continue"] = f"{now}:{start + limit}"
        self._say(request, 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": items[start:start + limit]})

    def _watch(self, request: BaseHTTPRequestHandler, resource: str, namespace: str, query: dict[str, str]) -> None:
        at = int(query.get("resourceVersion", 0) or 0)
        with self.changed:
            epoch = self._epoch
            if at and at <= self.forgotten:
                self._say(request, 410, _status(410, "Expired", "too old resource version"))
                return
            if not at:
                at = self.version
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        end = time.monotonic() + min(float(query.get("timeoutSeconds", 1e9)), self.watch_s)
        bookmarks = query.get("allowWatchBookmarks") == "true"
        try:
            while time.monotonic() < end:
                with self.changed:
                    events = [(each, kind, one) for each, name, kind, one in self.history if each > at and name == resource
                              and _chosen(one, namespace, query)]
                    newest = self.version
                    if not events and self._epoch == epoch:
                        self.changed.wait(0.05)
                    if self._epoch != epoch:
                        if self.forgotten >= at:
                            _chunk(request, json.dumps({"type": "ERROR", "object": _status(410, "Expired", "too old resource version")}).encode() + b"\n")
                            break
                        request.close_connection = True
                        return              # cut: not even the end of the stream is said
                for each, kind, one in events:
                    line = json.dumps({"type": kind, "object": one}).encode() + b"\n"
                    _chunk(request, line if self.mangle is None else self.mangle(line))
                    at = each
                if bookmarks and newest > at:
                    kind = RESOURCES[resource][1]
                    _chunk(request, json.dumps({"type": "BOOKMARK", "object": {
                        "kind": kind, "apiVersion": RESOURCES[resource][0], "metadata": {"resourceVersion": str(newest)}}}).encode() + b"\n")
                    at = newest
            _chunk(request, b"")
        except OSError:
            request.close_connection = True

    def _say(self, request: BaseHTTPRequestHandler, status: int, what: Any) -> None:
        data = json.dumps(what).encode()
        try:
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            request.close_connection = True


def _chunk(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
    request.wfile.flush()


def _chosen(one: dict[str, Any], namespace: str, query: dict[str, str]) -> bool:
    metadata = one["metadata"]
    if namespace and metadata.get("namespace") != namespace:
        return False
    for term in query.get("fieldSelector", "").split(","):
        name, _, value = term.partition("=")
        if term and metadata.get(name.removeprefix("metadata.")) != value.lstrip("="):
            return False
    return not query.get("labelSelector") or selector([query["labelSelector"]]).matches(metadata["labels"])


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}


def _fixed(path: str) -> Any:
    """What tells a client which API there is."""
    if path == "/version":
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": "discovery.k8s.io", "versions": [version], "preferredVersion": version}]}
    short = {"services": "svc", "pods": "po", "nodes": "no", "namespaces": "ns", "configmaps": "cm"}
    for prefix, group in (("/api/v1", "v1"), ("/apis/discovery.k8s.io/v1", "discovery.k8s.io/v1")):
        if path.rstrip("/") == prefix:
            return {"kind": "APIResourceList", "groupVersion": group, "resources": [
                {"name": name, "singularName": kind.lower(), "namespaced": inside, "kind": kind, "verbs": ["get", "list", "watch"],
                 **({"shortNames": [short[name]]} if name in short else {})}
                for name, (version, kind, inside) in RESOURCES.items() if version == group]}
    return None
