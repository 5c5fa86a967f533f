"""The gateway under test: built as `twistd voltgw` builds it, in a world without sockets and waiting."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address

from voltgw.app.authenticating import Surroundings
from voltgw.app.build import Makings, build
from voltgw.app.explain import Explainer
from voltgw.app.find import find_listener
from voltgw.app.listening import serve_http
from voltgw.app.load import Loader, TextLoader, at_once
from voltgw.app.question import read_question
from voltgw.app.simulation.names import KnownNames
from voltgw.app.simulation.probing import StandIn
from voltgw.app.simulation.world import World
from voltgw.config.collector import without_collector
from voltgw.control.build import build_membership
from voltgw.control.discovery.sources import Sources
from voltgw.control.probes.prober import Prober
from voltgw.errors import ConnectFailed
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.proxy.tcp import TcpFactory
from voltgw.registry import Registry
from voltgw.testing.client import Client, NoAnswer
from voltgw.testing.messages import Answer, Fields, GivenFields, Request
from voltgw.testing.server import Answering, Server, Talking
from voltgw.values.address import where
from voltgw.values.counters import ListenerCounters
from voltgw.values.tls import Handshake

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan, Runtime
    from voltgw.app.question import Question
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.plan import CheckPlan
    from voltgw.control.membership import Membership
    from voltgw.control.probes.target import Check

#: Finished requests and connections that are kept.
MOST_RECORDS: Final = 10_000
#: How long a gateway may take to find and probe its endpoints before a test begins; it begins all the same.
_WARM_S: Final = 60.0
#: The wall clock at the beginning: 2026-01-01, in every test.
_WALL_S: Final = 1_767_225_600.0
#: Kinds of endpoints that a test can have servers for.
_KINDS: Final = ("static", "dns")
_REFUSED: Final = "no server of the test listens there"


class _Plane(Plane):
    """A plane whose connections lead to the servers of the test."""

    dial_to: Callable[..., Any]

    def dial(
        self, endpoint: Endpoint, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], tls: Any = None,
        first: bytes = b"",
    ) -> Any:
        """Connect `protocol`; TLS is left out."""
        return self.dial_to(endpoint.key.address, endpoint.key.port, protocol, timeout_s, failed, first)


class _Records:
    """An access log that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: deque[Any] = deque(maxlen=MOST_RECORDS)
        self.ended: Callable[[Any], None] = lambda record: None

    def http(self, exchange: Any, /) -> None:
        """An exchange is over."""
        self.kept.append(exchange)
        self.ended(exchange)

    def connection(self, record: Any, /) -> None:
        """So is a relayed connection."""
        self.kept.append(record)


class Gateway:
    """A gateway that serves the configuration `text`, without a socket, on a clock that the test turns.

    Addresses at which the test has put no server refuse connections, as a host does where nothing listens. Names of endpoints
    have the addresses of `names`. TLS is left out on both sides: a request to an ``https`` URL comes in as if the handshake had
    been; endpoints are spoken to in HTTP/1.1. UDP, DNS and forward proxies have no part here.

    Raises `voltgw.errors.ConfigErrors`, with every problem and its place.
    """

    def __init__(
        self, text: str, *, names: Mapping[str, tuple[str, ...]] | None = None, seed: int = 0, name: str = "voltgw.yaml",
    ) -> None:
        self._begin(TextLoader(text, name), names, seed)

    @classmethod
    def of_file(
        cls, path: str | os.PathLike[str], *, names: Mapping[str, tuple[str, ...]] | None = None, seed: int = 0,
    ) -> Gateway:
        """A gateway of a configuration file, with what it includes; ``${VAR}`` are those of the environment."""
        gateway = cls.__new__(cls)
        gateway._begin(Loader(os.fspath(path), os.environ), names, seed)
        return gateway

    def _begin(self, loader: Loader | TextLoader, names: Mapping[str, tuple[str, ...]] | None, seed: int) -> None:
        self._world = World()
        self._seed = seed
        self._random = Random(f"{seed} gateway")
        self._registry = Registry()
        self._records = _Records()
        self._servers: dict[tuple[str, int], Server] = {}
        self._factories: dict[Any, tuple[ListenerPlan, HttpFactory | TcpFactory]] = {}
        self._memberships: dict[str, Membership] = {}
        self._ports = 0
        self._plane = _Plane(self._world, self._records, self._wall, self._random.random)
        self._plane.dial_to = self._dial
        self._prober = Prober(self._world, Random(f"{seed} prober"), self._probe)
        self._sources = Sources(self._world, Random(f"{seed} feeds"), KnownNames(dict(names or {})))
        self._loader = loader
        self.runtime = self._build(loader, None)
        self._started = False

    # -- what a test says --------------------------------------------------------------------------------------------------

    def serve(self, address: str, answer: Answering | Answer | None = None, *, talk: Talking | None = None) -> Server:
        """Put a server at ``address:port``.

        `answer` is called with each request and gives an `Answer`, a body alone, or None to say nothing, ever; or it is the
        answer to all of them (absent: 200 without a body). With `talk` the server is none of HTTP: `talk(connection, data)` is
        called when a connection was made (`data` is b"") and with all that comes.
        """
        if answer is None or isinstance(answer, Answer):
            answer = partial(_always, answer or Answer())
        host, _, port = address.rpartition(":")
        host = str(ip_address(host.removeprefix("[").removesuffix("]")))
        server = self._servers[host, int(port)] = Server(self._world, address, answer, talk)
        return server

    def request(
        self, method: str, url: str, headers: GivenFields = (), body: bytes | str = b"", *, source: str = "",
        listener: str = "", within_s: float = 600.0,
    ) -> Answer:
        """Send a request on a connection of its own, and give the answer.

        `source` is the client's address, `listener` where it connects to (absent: found by the URL). The clock of the gateway
        goes on until the answer is there, by `within_s` seconds at most. Raises `NoAnswer`, and
        `voltgw.app.question.QuestionError` (a ValueError) for a URL that is none.
        """
        raw = body.encode() if isinstance(body, str) else body
        fields = Fields(headers)
        if raw and not fields.has("content-length") and not fields.has("transfer-encoding"):
            fields.append(("content-length", str(len(raw))))
        question = read_question(method, url, [f"{name}: {value}" for name, value in fields], source, listener)
        client = self._connect(question)
        mine: list[Any] = []
        self._records.ended = mine.append
        try:
            client.send(question.head + raw)
            answer = client.answer(within_s)
            while answer.status < 200 and answer.status != 101:
                answer = client.answer(within_s)
            self._settle(lambda: bool(mine), 1.0)
        finally:
            self._records.ended = lambda record: None
            if not client.closed:
                client.close()
        answer.record = mine[-1] if mine else None
        return answer

    def connect(self, url: str, *, source: str = "", listener: str = "") -> Client:
        """A connection on which the test says what it likes: to an HTTP listener (``http://shop.example.com``), or to one that
        relays (``tcp://127.0.0.1:5432``).
        """
        relayed = url.startswith("tcp:")
        return self._connect(read_question("-" if relayed else "GET", url, (), source, listener))

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._warm()
        self._settle(lambda: False, seconds)

    def reload(self, text: str | None = None) -> None:
        """Serve another configuration, or the file as it stands now, as SIGHUP has it done.

        What did not change goes on: health, connections, counters. Raises `ConfigErrors`; then nothing has happened.
        """
        self._warm()
        loader = self._loader if text is None else TextLoader(text, "voltgw.yaml")
        runtime = self._build(loader, self.runtime)
        self._loader = loader
        for name, membership in list(self._memberships.items()):
            if runtime.clusters.get(name) is not membership.cluster:
                del self._memberships[name]
                membership.stopService()
        self.runtime = runtime
        self._start()
        self._settle(self._is_warm, _WARM_S)
        for key, (plan, factory) in list(self._factories.items()):
            new = runtime.listeners.get(key)
            if new is None or new.kind is not plan.kind:
                del self._factories[key]
                factory.drain()
            else:
                self._factories[key] = new, _served(factory, new)

    # -- what a test asks --------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds; only differences mean something."""
        return self._world.now

    @property
    def records(self) -> list[Any]:
        """What the access log would have said: `voltgw.values.exchange.Exchange`, and for relayed connections
        `voltgw.values.record.ConnectionRecord`; the last `MOST_RECORDS`.
        """
        return list(self._records.kept)

    def clusters(self) -> dict[str, dict[str, Any]]:
        """Every cluster as the admin interface shows it, by ``namespace/name``: its endpoints, who is out, and why."""
        self._warm()
        return {name: membership.describe() for name, membership in sorted(self._memberships.items())}

    def healthy(self, cluster: str) -> list[str]:
        """The endpoints of a cluster (``name`` or ``namespace/name``) that may be picked, as ``address:port``."""
        self._warm()
        name = cluster if "/" in cluster else f"default/{cluster}"
        return [where(each.address, each.port) for each in self.runtime.clusters[name].endpoints if each.ready]

    def explain(
        self, method: str, url: str, headers: GivenFields = (), *, source: str = "", listener: str = "",
    ) -> dict[str, Any]:
        """What ``voltgw explain --live --json`` says of a request; nothing is sent."""
        self._warm()
        lines = [f"{name}: {value}" for name, value in Fields(headers)]
        question = read_question(method, url, lines, source, listener)
        return Explainer(self.runtime, live=True, registry=self._registry, wall=self._wall).explain(question).plain()

    def close(self) -> None:
        """Stop. Raises AssertionError where a guard of the gateway has caught an exception meanwhile: a bug, perhaps of a
        filter under test.
        """
        for membership in self._memberships.values():
            membership.stopService()
        if self._started:
            self._prober.stopService()
        failures, self._world.failures = self._world.failures, []
        if failures:
            owner, error = failures[0]
            raise AssertionError(f"{owner} failed, and {len(failures) - 1} more: {error!r}") from error

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _wall(self) -> float:
        return _WALL_S + self._world.now

    def _build(self, loader: Loader | TextLoader, previous: Runtime | None) -> Runtime:
        surroundings = Surroundings()
        surroundings.monotonic = self._world.monotonic
        with without_collector():
            runtime = build(at_once(loader), previous, Makings(
                lambda key: Pool(), self._random, self._registry, lambda kind, network: "192.0.2.2", wall=self._wall,
                affinity_key=f"{self._seed:032d}".encode(), surroundings=surroundings))
        for cluster in runtime.clusters.values():
            cluster.http2 = cluster.by_alpn = False
        return runtime

    def _warm(self) -> None:
        """Have the endpoints found and probed, when servers stand; the first thing that a test does with them comes here."""
        if self._started:
            return
        self._started = True
        with without_collector():
            self._prober.startService()
            self._start()
            self._settle(self._is_warm, _WARM_S)

    def _is_warm(self) -> bool:
        return all(membership.warm for membership in self._memberships.values())

    def _start(self) -> None:
        for name, cluster in self.runtime.clusters.items():
            if name in self._memberships:
                continue
            plan = self.runtime.plans[name]
            for member in plan.members:
                if member.kind not in _KINDS:
                    raise ValueError(f"endpoint {member.name} of {name} is found by {member.kind}, which has no part here")
            membership = build_membership(cluster, plan, self._prober, self._sources, self._registry)
            membership.checks = tuple(map(_asked, membership.checks, plan.checks))
            self._memberships[name] = membership
            membership.startService()

    def _settle(self, done: Callable[[], bool], seconds: float) -> None:
        """Let time pass until `done`; what is due now happens in any case."""
        self._world.run(self._world.now + seconds, done)

    def _dial(
        self, address: str, port: int, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None],
        first: bytes = b"",
    ) -> Any:
        server = self._servers.get((address, port))
        if server is None:
            server = Server(self._world, f"{where(address, port)} ({_REFUSED})", None, None)
            server.listening = False
        return server.dial(protocol, timeout_s, failed, first)

    def _probe(
        self, loop: object, address: str, port: int, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None],
        **more: object,
    ) -> Any:
        return self._dial(address, port, protocol, timeout_s, failed)

    def _connect(self, question: Question) -> Client:
        self._warm()
        plan, reason = find_listener(self.runtime, question, None)
        if plan is None:
            raise NoAnswer(f"nothing listens for {question.url}: {reason.why}")
        known = self._factories.get(plan.key)
        if known is None:
            known = self._factories[plan.key] = plan, self._factory(plan)
        self._ports = self._ports % 64_000 + 1
        peer = (question.source, 1024 + self._ports)
        factory = known[1]
        protocol: Any = (factory.serve(peer) if isinstance(factory, HttpFactory)
                         else factory.buildProtocol(IPv4Address("TCP", *peer)))
        shake = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", sni=question.host) if plan.tls else None
        return Client(self._world, protocol, shake, self._settle)

    def _factory(self, plan: ListenerPlan) -> HttpFactory | TcpFactory:
        name, address = str(plan.key), plan.key.address or "0.0.0.0"
        if plan.table is not None and plan.kind.http:
            factory = HttpFactory(self._plane, name, address, plan.port, plan.table, ListenerCounters())
            factory.only_2 = False
            return _served(factory, plan)
        if plan.table is None and plan.forward is None and not plan.tls:
            return _served(TcpFactory(
                self._plane, name, address, plan.port, plan.hosts[0].routes[0], ListenerCounters()), plan)
        raise ValueError(f"{name} is a {plan.kind.value} listener, which has no part here")


def _always(answer: Answer, request: Request) -> Answer:
    """What a server says that says always the same."""
    return answer


def _served(factory: HttpFactory | TcpFactory, plan: ListenerPlan) -> HttpFactory | TcpFactory:
    """Have `factory` serve by `plan`."""
    if isinstance(factory, HttpFactory):
        assert plan.table is not None
        serve_http(factory, plan, plan.table)
        factory.only_2 = False
    else:
        host = plan.hosts[0]
        factory.route = host.routes[0]
        factory.set_idle_timeout(host.idle_timeout_s)
    return factory


def _asked(check: Check, plan: CheckPlan) -> Check:
    """The check as it is made: in HTTP/1.1 or TCP by the real probe, in any other protocol as a plain request."""
    if plan.kind == "tcp" or (plan.kind == "http" and not plan.options.use_http2):
        return check
    return replace(check, probe=StandIn())
