"""What origins really get, held against a second opinion (`tests.reference_matcher`) and against `explain`.

Configurations and requests are generated from seeds; a gateway in a process of its own serves each configuration. What the three
disagree on is settled by the text of the object model, or, where it says nothing, written down beside the reference's choice.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Final, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, free_port
from tests.integration.threaded import ThreadedServer
from tests.reference_matcher import Answer, Request, Spec, answer
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer, Explanation
from voltgw.app.load import TextLoader, at_once
from voltgw.app.question import read_question

SEEDS: Final = range(8)       # of configurations
REQUESTS: Final = 1250        # to each
EXPLAINED: Final = 125        # of those
CLUSTERS: Final = ("red", "green", "blue")

_OTHER_PORT: Final = 8081     # one that stands in domains and in Host, though nobody listens there
_DOMAINS: Final = ("a.test", "b.a.test", "c.test", "d.test", "A.Upper.test", "*.a.test", "*.b.a.test", "*-x.a.test", "*-x.a.test:PORT", "*-y.c.test", "*.c.test",
                   "*.test", "*.upper.test", "c.test:PORT", "*.d.test:PORT", f"d.test:{_OTHER_PORT}", "*")
_HOSTS: Final = ("a.test", "b.a.test", "c.b.a.test", "q-x.a.test", "-x.a.test", "r.q-x.a.test", "z-y.c.test", "c.test", "z.c.test", "d.test", "y.d.test", "test",
                 "other", "A.TEST", "a.test.", "a.upper.test", "B.upper.Test")
_REGEXES: Final = ("/users/[0-9]+(/.*)?", "/(api|old)/v[0-9]+", ".*[.]png", "/api/?", "/[a-z]*")
_LITERALS: Final = ("/", "/api", "/api/", "/api/v1", "/users/", "/old", "/old/new", "/new", "/apix")
_SEGMENTS: Final = ("api", "apix", "api", "v1", "users", "old", "new", "12", "a.png", "", ".", "..", "%61pi", "%2e%2e", "a%2fb", "x~y")
_NAMES: Final = ("x-a", "x-b", "x-c", "x-d")
_VALUES: Final = ("1", "22", "abc", "on")
_VALUE_REGEXES: Final = ("[0-9]+", "a.*", "1|on", "[0-9]")
_METHODS: Final = ("GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")


# -- the generator -----------------------------------------------------------------------------------------------------

class World(NamedTuple):
    """A configuration as the reference reads it; `hosts` by the port of their listener."""

    text: str
    hosts: dict[int, list[Spec]]
    routes: dict[str, list[Spec]]


def make_world(chance: Random, ports: tuple[int, int], origins: dict[str, int]) -> World:
    """Hosts, routes and clusters from `chance`; each host is offered at one of `ports` or at both."""
    domains = [each.replace("PORT", str(ports[0])) for each in chance.sample(_DOMAINS, len(_DOMAINS) - 2)]
    routes: dict[str, list[Spec]] = {f"r{number}": [_rule(chance, ports) for _ in range(chance.randint(2, 7))]
                                     for number in range(8)}
    hosts: dict[int, list[Spec]] = {port: [] for port in ports}
    objects: list[dict[str, Any]] = []
    for number in range(6):
        at = chance.choice((ports[:1], ports[1:], ports, ports))
        spec: dict[str, Any] = {
            "domains": domains[number * 2:number * 2 + 2], "proxy": "HTTP_PROXY", "routes": chance.sample(sorted(routes), 3),
            "advertise_policies": [f"p{ports.index(port)}" for port in at], **_edits(chance)}
        if chance.random() < 0.3:
            spec["disable_path_normalize"] = {}
        objects.append({"kind": "virtual_host", "metadata": {"name": f"h{number}"}, "spec": spec})
        for port in at:
            hosts[port].append(spec)
    for index, port in enumerate(ports):
        objects.append({"kind": "advertise_policy", "metadata": {"name": f"p{index}"},
                        "spec": {"address": "127.0.0.1", "protocol": "TCP", "port": port}})
    objects += [{"kind": "route", "metadata": {"name": name}, "spec": {"routes": rules}} for name, rules in routes.items()]
    for name, port in origins.items():
        objects.append({"kind": "cluster", "metadata": {"name": name}, "spec": {"endpoints": [name]}})
        objects.append({"kind": "endpoint", "metadata": {"name": name}, "spec": {"ip": "127.0.0.1", "port": port}})
    return World(f"gateway: {{admin: {{port: ADMIN}}}}\nobjects: {json.dumps(objects)}\n", hosts, routes)


def _rule(chance: Random, ports: tuple[int, int]) -> Spec:
    rule: dict[str, Any] = {"match": [_match(chance, ports) for _ in range(chance.choice((1, 1, 2, 3)))], **_edits(chance)}
    kind = chance.random()
    if kind < 0.12:
        rule["route_direct_response"] = {"response_code": chance.choice((200, 403, 418)),
                                         "response_body": chance.choice(("fine", "no"))}
    elif kind < 0.25:
        rule["route_redirect"] = _redirect(chance)
    else:
        rule["route_destination"] = _destination(chance)
    return rule


def _match(chance: Random, ports: tuple[int, int]) -> Spec:
    kind = chance.choice(("prefix", "prefix", "path", "regex"))
    match: dict[str, Any] = {"path": {kind: chance.choice(_REGEXES if kind == "regex" else _LITERALS)}}
    if chance.random() < 0.35:
        name = chance.choice(_NAMES) if chance.random() < 0.85 else "Host"
        condition: dict[str, Any] = {"name": name} | chance.choice((
            {"exact": chance.choice(_HOSTS if name == "Host" else _VALUES)}, {"presence": True},
            {"regex": ".*[.]a[.]test" if name == "Host" else chance.choice(_VALUE_REGEXES)}))
        if chance.random() < 0.3:
            condition["invert_match"] = True
        match["headers"] = [condition]
    if chance.random() < 0.2:
        match["query_params"] = [{"key": chance.choice("km")} | chance.choice((
            {"exact": chance.choice(_VALUES)}, {"regex": chance.choice(_VALUE_REGEXES)}))]
    if chance.random() < 0.25:
        match["http_method"] = chance.choice(("ANY", *_METHODS))
    if chance.random() < 0.15:
        port = chance.choice(ports)
        match["incoming_port"] = chance.choice(({"port": port}, {"port_ranges": f"{port - 1}-{port}"}, {"no_port_match": {}}))
    return match


def _destination(chance: Random) -> Spec:
    weights = [0, 3, 1][:chance.choice((1, 1, 1, 2, 3))]
    action: dict[str, Any] = {"destinations": [
        {"cluster": [name], "weight": weight} for name, weight in zip(chance.sample(CLUSTERS, 3), weights, strict=False)]}
    kind = chance.random()
    if kind < 0.3:
        action["prefix_rewrite"] = chance.choice(("/", "/in", "/in/"))
    elif kind < 0.45:
        action["regex_rewrite"] = chance.choice((
            {"pattern": "^/(api|old)/(.*)$", "substitution": "/\\2/\\1"}, {"pattern": "[0-9]+", "substitution": "n"}))
    if chance.random() < 0.2:
        action["host_rewrite"] = chance.choice(("inner.test", "inner.test:81"))
    if chance.random() < 0.3:
        action["query_params"] = chance.choice(({"retain_all_params": {}}, {"remove_all_params": {}}, {"replace_params": "new=1"}))
    return action


def _redirect(chance: Random) -> Spec:
    """What a redirect does to the port of Host is left open by the text: the host is always given here."""
    redirect: dict[str, Any] = {"host_redirect": chance.choice(("to.test", "to.test:444"))}
    redirect |= chance.choice(({}, {"path_redirect": "/there"}, {"prefix_rewrite": "/there/"}))
    redirect |= chance.choice(({}, {"proto_redirect": "https"}, {"proto_redirect": "incoming-proto"}))
    redirect |= chance.choice(({}, {"response_code": 308}, {"response_code": 302}))
    return redirect | chance.choice(({}, {"retain_all_params": {}}, {"remove_all_params": {}}, {"replace_params": "q=2"}))


def _edits(chance: Random) -> dict[str, Any]:
    edits: dict[str, Any] = {}
    if chance.random() < 0.3:
        edits["request_headers_to_add"] = [
            {"name": name, "value": chance.choice(("new", "newer")), "append": chance.random() < 0.5}
            for name in chance.sample(_NAMES, chance.choice((1, 1, 2)))]
    if chance.random() < 0.2:
        edits["request_headers_to_remove"] = chance.sample(_NAMES, 1)
    return edits


def make_request(chance: Random, port: int) -> Request:
    """A request that has a fair chance to meet the conditions of `make_world`."""
    host = chance.choice(_HOSTS) + chance.choice(("", "", f":{port}", f":{_OTHER_PORT}"))
    if chance.random() < 0.4:
        path = chance.choice(_LITERALS) + chance.choice(("", "", "x", "/", "12", "/y"))
    else:
        path = "/" + "/".join(chance.choices(_SEGMENTS, k=chance.randint(1, 4)))
    query = "&".join(f"{key}={chance.choice(_VALUES)}" for key in chance.sample("kmz", chance.choice((0, 0, 1, 2))))
    target = f"{path}?{query}" if query else path + chance.choice(("", "", "", "?"))
    fields = tuple((name, chance.choice(_VALUES)) for name in chance.sample(_NAMES, chance.choice((0, 1, 2, 3))))
    method = chance.choice(_METHODS)
    return Request(method, target, host, fields, b"abc" if method in ("POST", "PUT") else b"")


# -- the two ends ------------------------------------------------------------------------------------------------------

class Message(NamedTuple):
    """A message as it came over the wire; the names of `fields` in lower case."""

    start: str
    fields: list[tuple[str, str]]
    body: bytes

    def value(self, name: str) -> str | None:
        """The first field of this name."""
        return next((value for each, value in self.fields if each == name), None)

    def named(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The fields whose names the generator uses, as `Answer` has them."""
        return _named(self.fields)


def _named(fields: list[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = sorted({name for name, _ in fields if name in _NAMES})
    return tuple((name, tuple(part.strip() for each, value in fields if each == name for part in value.split(",")))
                 for name in names)


class Stream:
    """Messages, one after the other, on a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""

    def read(self, bodiless: bool = False) -> Message | None:
        """The next message, None at the end; `bodiless` says that Content-Length does not count."""
        while b"\r\n\r\n" not in self._rest:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        message = Message(start, [(name.lower(), value.strip()) for name, _, value in pairs], b"")
        length = 0 if bodiless else int(message.value("content-length") or 0)
        while len(self._rest) < length:
            self._rest += self.sock.recv(65536)
        body, self._rest = self._rest[:length], self._rest[length:]
        return message._replace(body=body)


class Origin(ThreadedServer):
    """Notes every request in `seen` before it answers; a thread serves each connection."""

    def __init__(self, name: str, seen: list[tuple[str, Message]]) -> None:
        self._name = name
        self._seen = seen
        super().__init__()

    def serve(self, sock: socket.socket) -> None:
        """One connection."""
        stream = Stream(sock)
        try:
            while (message := stream.read()) is not None:
                self._seen.append((self._name, message))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            return                                  # `stop`, or the gateway ended


class Client:
    """One connection that is kept alive, and opened again where the gateway closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stream: Stream | None = None

    def ask(self, request: Request) -> Message:
        """The answer to `request`."""
        if self._stream is None:
            sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._stream = Stream(sock)
        lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: {request.host}",
                 *(f"{name}: {value}" for name, value in request.fields)]
        if request.body:
            lines.append(f"Content-Length: {len(request.body)}")
        self._stream.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
        message = self._stream.read(request.method == "HEAD")
        if message is None:
            raise AssertionError(f"closed without an answer: {request}")
        if message.value("connection") == "close":
            self.close()
        return message

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.sock.close()
            self._stream = None


# -- the comparison ----------------------------------------------------------------------------------------------------

def compared(expected: Answer, request: Request, got: Message, seen: list[tuple[str, Message]]) -> Iterator[str]:
    """Where what happened is not what the reference says."""
    if not expected.clusters:
        yield from _differ("requests at origins", len(seen), 0)
        yield from _differ("status", int(got.start.split(" ")[1]), expected.status)
        yield from _differ("location", got.value("location"), expected.location)
        if expected.body is not None and request.method != "HEAD":
            yield from _differ("body", got.body, expected.body)
        return
    yield from _differ("status", int(got.start.split(" ")[1]), 200)
    yield from _differ("requests at origins", len(seen), 1)
    for name, message in seen:
        if name not in expected.clusters:
            yield f"cluster: {name!r}, the reference says one of {sorted(expected.clusters)}"
        yield from _differ("request line", message.start, f"{request.method} {expected.target} HTTP/1.1")
        yield from _differ("host", message.value("host"), expected.host)
        yield from _differ("fields", message.named(), expected.fields)
        yield from _differ("body at the origin", message.body, request.body)


def explained(expected: Answer, request: Request, said: Explanation) -> Iterator[str]:
    """Where `explain` does not say what the reference says."""
    if not expected.clusters:
        yield from _differ("explain: status", said.status, expected.status)
        told = {} if said.told is None else {name.lower(): value for name, value in said.told.fields}
        yield from _differ("explain: location", told.get("location"), expected.location)
        return
    names = frozenset(name.rpartition("/")[2] for name, share in said.shares.items() if share > 0)
    yield from _differ("explain: clusters", names, expected.clusters)
    if said.sent is None:
        yield "explain: nothing is sent"
        return
    fields = [(name.lower(), value) for name, value in said.sent.fields]
    yield from _differ("explain: request line", said.sent.start, f"{request.method} {expected.target} HTTP/1.1")
    yield from _differ("explain: host", dict(fields).get("host"), expected.host)
    yield from _differ("explain: fields", _named(fields), expected.fields)


def _differ(what: str, got: object, wanted: object) -> Iterator[str]:
    if got != wanted:
        yield f"{what}: {got!r}, the reference says {wanted!r}"


class DifferentialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seen: list[tuple[str, Message]] = []
        self.origins: dict[str, int] = {}
        for name in CLUSTERS:
            origin = Origin(name, self.seen)
            self.addCleanup(origin.stop)
            self.origins[name] = origin.port
        self.kinds: Counter[str] = Counter()

    def run_config(self, seed: int) -> None:
        """Serve the configuration of `seed` and compare all requests; fails with the first disagreements."""
        chance = Random(seed)
        ports = (free_port(), free_port())
        world = make_world(chance, ports, self.origins)
        gateway = Gateway(self, world.text)
        explainer = Explainer(dry_runtime(at_once(TextLoader(gateway.file.read_text(encoding="utf-8"), "voltgw.yaml"))))
        gateway.wait_ready()
        clients = {port: Client(port) for port in ports}
        for client in clients.values():
            self.addCleanup(client.close)
        disagreements: list[str] = []
        for number in range(REQUESTS):
            port = chance.choice(ports)
            request = make_request(chance, port)
            expected = answer(world.hosts[port], world.routes, port, request)
            self.seen.clear()
            found = list(compared(expected, request, clients[port].ask(request), self.seen))
            if number % (REQUESTS // EXPLAINED) == 0:
                question = read_question(
                    request.method, request.target, [f"Host: {request.host}", *(f"{name}: {value}" for name, value in request.fields),
                                                     *([f"Content-Length: {len(request.body)}"] if request.body else [])],
                    "127.0.0.1", f"127.0.0.1:{port}")
                found += explained(expected, request, explainer.explain(question))
                self.kinds["explained"] += 1
            if found:
                disagreements.append("\n  ".join([f"seed {seed}, port {port}: {request}", *found]))
            self.kinds["forwarded" if expected.clusters else str(expected.status)] += 1
        gateway.stop()
        if disagreements:
            self.fail(f"{len(disagreements)} disagreements, of which:\n" + "\n".join(disagreements[:5]) + f"\nin\n{world.text}")

    def test_generated_requests(self) -> None:
        """Cluster, request line, Host, header fields and body at the origin, and own answers, are the reference's."""
        for seed in SEEDS:
            self.run_config(seed)
        self.assertEqual(self.kinds["explained"], len(SEEDS) * EXPLAINED)
        for kind, least in {"forwarded": 3000, "404": 500, "301": 50, "302": 50, "308": 20, "200": 20, "403": 20, "418": 20}.items():
            self.assertGreaterEqual(self.kinds[kind], least, self.kinds)
