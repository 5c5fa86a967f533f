"""Exchanges, records and a gateway for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogPublisher

from voltgw.app.access_logs import About, lines_of
from voltgw.cluster.snapshot import EndpointKey
from voltgw.config.logs import AccessLog as Wanted
from voltgw.config.logs import LogFormat
from voltgw.observe.access import AccessLog, Explain
from voltgw.observe.events import EventRing
from voltgw.observe.outputs import FileSink, Output
from voltgw.observe.sink import WriteTo
from voltgw.security.authentication import Row
from voltgw.values.counters import ClusterCounters, Histogram, ListenerCounters, RouteCounters
from voltgw.values.exchange import Exchange, HostLabels
from voltgw.values.head import Field, RequestHead, ResponseHead
from voltgw.values.proxyheader import ProxyHeader
from voltgw.values.record import ConnectionRecord
from voltgw.values.telemetry import Telemetry
from voltgw.values.tls import ClientTls, Handshake

#: 2022-03-28T23:09:53.748Z is so many seconds after the epoch; the monotonic clock of the tests is then at `START`.
WALL = 1648508993.748
START = 1000.0


#: What a forward proxy counts; the values are these places, from 1.
FORWARD = ("tunnels", "captured", "denied", "guarded", "disagreements", "unheard", "logins_refused", "spliced", "peeked", "opened",
           "handshakes_failed", "minted", "lookup_failures", "lookups", "lookups_crowded", "origins")


@dataclass(eq=False)
class Client:
    """A `ClientSide`."""

    peer_address: str = "203.0.113.10"
    peer_port: int = 63826
    local_address: str = "127.0.0.1"
    local_port: int = 8080
    scheme: bytes = b"http"
    sni: str = ""
    tls_version: str = ""
    tls_cipher: str = ""
    handshake: Handshake | None = None
    certified: bytes = b""
    connected_wall: float = WALL - 0.25
    listener: str = "127.0.0.1:8080"
    announced: ProxyHeader | None = None
    came_to: tuple[str, int] = ("127.0.0.1", 8080)


class Store:
    """Of a rate limit: so many users."""

    evicted = 1

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


@dataclass(eq=False)
class Host:
    """A `HostLabels`."""

    name: str = "shop"
    namespace: str = "default"
    app_type: str = "shop-app"
    proxy: str = "HTTP_PROXY"
    guard: Any = field(default_factory=lambda: SimpleNamespace(rows=lambda: [("default/edge", "no-admin", "DENY", 2)]))
    egress: Any = field(default_factory=lambda: SimpleNamespace(rows=lambda: [("system/office", "good", "ALLOW", 5)]))
    gates: Any = field(default_factory=lambda: (SimpleNamespace(
        name="rate limits", verdicts=lambda: [("default/per-user", "refused", 3)], results=SimpleNamespace(rows=lambda: [
            Row("jwt", "expired", 2)]),
        all=(SimpleNamespace(name="default/per-user", store=Store(7)),)),))


@dataclass(eq=False)
class Route:
    """A `RouteLabels`."""

    name: str = "shop/0"
    host: HostLabels = field(default_factory=Host)
    counters: RouteCounters = field(default_factory=RouteCounters)


@dataclass(eq=False)
class Endpoint:
    """An `EndpointLabels`, and what metrics read of an endpoint."""

    cluster: str = "default/shop"
    address: str = "10.0.0.5"
    port: int = 9001
    site: str = ""
    ready: bool = True
    health: str = "healthy"
    requests: int = 0
    connect_failures: int = 0
    active: int = 0
    connections: int = 0
    status: list[int] = field(default_factory=lambda: [0] * 6)
    pool: list[object] = field(default_factory=list)
    watch: Any = None
    times: Histogram | None = None

    @property
    def key(self) -> EndpointKey:
        """Its identity."""
        return EndpointKey(self.cluster, "TCP", self.site, self.address, self.port)


@dataclass(eq=False)
class Cluster:
    """What metrics and pages read of a cluster."""

    name: str = "default/shop"
    endpoints: tuple[Endpoint, ...] = ()
    counters: ClusterCounters = field(default_factory=ClusterCounters)
    active: int = 0
    pending: int = 0
    connections: int = 0
    any_ready: bool = True
    tls: Any = field(default_factory=lambda: SimpleNamespace(config=ClientTls()))
    outliers: Any = None
    gradient: Any = None
    max_requests: int = 1 << 30


@dataclass(eq=False)
class Listener:
    """A `ListenerView`."""

    name: str = "127.0.0.1:8080"
    protocol: str = "TCP"
    kind: str = "HTTP_PROXY"
    bound: bool = True
    problem: str = ""
    counters: ListenerCounters = field(default_factory=ListenerCounters)
    network: str = ""
    hosts: list[str] = field(default_factory=lambda: ["default/shop"])
    certificates: list[dict[str, Any]] = field(default_factory=lambda: [
        {"names": ["shop.example"], "ends": WALL + 86400, "fingerprint": "0f" * 32, "virtual_hosts": ["default/shop"]}])
    limits: dict[str, int] = field(default_factory=dict)
    certificates_pending: list[dict[str, str]] = field(default_factory=list)


@dataclass(eq=False)
class Logs:
    """What is asked of the logs; what was done stands in `done`."""

    problems: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """The level."""
        return {"level": "info", "levels": {"voltgw.<control>": "debug"}, "ordered": bool(self.done),
                "process_log": {"lines": 5, "dropped": {"blocked": 1, "failed": 2}}}

    def reopen(self) -> dict[str, Any]:
        """Note it."""
        self.done.append("reopen")
        return {"ok": not self.problems, "problems": self.problems}

    def set_level(self, level: str, logger: str = "") -> dict[str, Any]:
        """Note it; ``loud`` is no level."""
        if level == "loud":
            raise ValueError("'loud' is no level")
        self.done.append(f"{logger} {level}".strip())
        return self.view()

    def reset(self) -> dict[str, Any]:
        """Note it."""
        self.done.append("reset")
        return self.view()


def a_ring() -> EventRing:
    """A ring that has counted two events of a kind, and keeps none."""
    ring = EventRing(lambda: WALL, LogPublisher())
    ring.counts["reload.applied"] = 2
    return ring


@dataclass(eq=False)
class View:
    """A `GatewayView`; what was asked of it stands in `asked`."""

    version: str = "0.1.0"
    started_wall: float = WALL
    generation: int = 3
    reloads_rejected: int = 2
    last_reload_error: str = ""
    draining: bool = False
    missing: list[str] = field(default_factory=list)
    all_clusters: list[Cluster] = field(default_factory=list)
    all_listeners: list[Listener] = field(default_factory=lambda: [Listener()])
    all_routes: list[Route] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=lambda: {
        "timers": 12.0, "deadlines": 34.0, "turns": 7.0, "slow_turns": 1.0, "longest_turn_s": 0.5, "failures": 0.0,
        "spliced_bytes": 5e6, "splice_pipes": 3.0, "splice_refused": 11.0, "pre_opened": 5.0, "pre_opened_used": 6.0, "open_streams": 4.0, "open_limit": 100.0,
        "config_wall": WALL, "kept_generation": 12, "inherited_sockets": 3, "hot_restarts_failed": 1, "rolled_back": True, "rollbacks": 1, "file_reloads": 3.0, "file_reloads_refused": 1.0, "probes": 8.0, "probe_failures": 2.0,
        "journal_records": 3.0, "journal_bytes": 4000.0, "journal_failures": 0.0,
        **{f"forward_{name}": value for value, name in enumerate(FORWARD, 1)},
        "tunnels": 6.0, "tunnels_open": 2.0, "shadows": 9.0, "shadows_open": 1.0, "shadows_refused": 4.0, "shadows_too_large": 3.0,
        **{f"http2_{side}_{name}": number + at for side, number in (("downstream", 20.0), ("upstream", 40.0))
           for at, name in enumerate((
               "connections", "streams", "malformed", "refused_streams", "resets_received", "resets_sent", "goaways_received",
               "goaways_sent", "fault_protocol", "fault_other", "fault_resets"))}, "grpc_0": 5.0, "grpc_14": 1.0, "acme_orders_total_issued": 2.0, "acme_certificates_valid": 1.0})
    reloaded: Deferred[dict[str, Any]] = field(default_factory=lambda: succeed({"ok": True, "changed": ["route shop"]}))
    asked: list[str] = field(default_factory=list)
    dns: Any = None
    published: Any = None
    turns: Histogram = field(default_factory=Histogram)
    timers: Histogram = field(default_factory=Histogram)
    pauses: tuple[Histogram, ...] = field(default_factory=lambda: (Histogram(), Histogram(), Histogram()))
    freed: int = 0
    traces: dict[str, Any] | None = None
    most_routes: int = 5000
    most_endpoints: int = 10_000
    overload: dict[str, Any] = field(default_factory=lambda: {"now": [], "resources": {}, "resets": 0, "eased": 0, "unpooled": 0})
    events: EventRing = field(default_factory=a_ring)
    logs: Logs = field(default_factory=Logs)
    objects: Any = None

    def ready(self) -> tuple[bool, list[str]]:
        """Whether nothing is missing."""
        return not self.missing, self.missing

    def cluster_objects(self) -> Iterable[Any]:
        """The live clusters."""
        return iter(self.all_clusters)

    def clusters(self) -> list[dict[str, Any]]:
        """The clusters for the page."""
        return [{
            "cluster": each.name, "any_ready": True, "panic": False, "warm": True, "ready": len(each.endpoints), "active": 0,
            "pending": 0, "scheduler": "round_robin", "checks": [], "events": [
                {"ago_s": 1.0, "endpoint": "10.0.0.5:80", "state": "<added>", "reason": "found"}] if each is self.all_clusters[0] else [],
            "counters": dict.fromkeys(("requests", "connect_failures", "retries", "overflow"), 0),
            "endpoints": [{
                "endpoint": f"{e.address}:80", "address": e.address, "hostname": "", "ready": e.ready, "health": "healthy",
                "why": "<why>", "requests": 0, "status": {"5xx": 0}, "active": 0, "connections": 0, "weight": 1, "order": None}
                for e in each.endpoints]} for each in self.all_clusters]

    def listeners(self) -> list[Any]:
        """The listeners."""
        return self.all_listeners

    def route_objects(self) -> Iterable[Any]:
        """The live routes."""
        return iter(self.all_routes)

    def virtual_hosts(self) -> list[dict[str, Any]]:
        """The hosts for the page."""
        return [{
            "name": "<shop>", "namespace": "default", "proxy": "HTTP_PROXY", "domains": ["shop.example.com"], "listeners": [],
            "place": "voltgw.yaml:7:3", "routes": [
                {"name": "shop/0", "place": "voltgw.yaml:9:5", "requests": 3, "clusters": ["default/shop", None]}]}]

    def certificates(self) -> list[dict[str, Any]]:
        """The certificates that are fetched."""
        return [{"names": ["shop.example"], "state": "pending"}]

    def effective_config(self) -> Mapping[str, Any]:
        """The configuration."""
        return {"gateway": {"site": "paris"}}

    def network_facts(self) -> dict[str, Any]:
        """One network that is there, with a VIP that is not."""
        return {"networks": [{"network": "system/inside", "present": True}], "losses": 4,
                "vips": [{"address": "192.0.2.10", "network": "system/inside", "interface": "eth1", "present": False}]}

    def key_facts(self) -> list[dict[str, Any]]:
        """Keys that came twice in three fetches."""
        return [{"url": "https://id.example/keys", "keys": 2, "problem": "gone", "fetches": 3, "failures": 1, "fetched_wall": 1e9}]

    def names(self) -> dict[str, Any]:
        """One name in one zone."""
        return {"zones": [{"zone": "apps.example"}], "listens": [], "names": iter([{"name": "shop.apps.example"}])}

    def dns_counters(self) -> Any:
        """Those of a server that was asked once."""
        return self.dns

    def discoveries(self) -> list[dict[str, Any]]:
        """One."""
        return [{"discovery": "system/consul", "kind": "consul", "state": "bound", "requests": 3, "failures": 1, "turned_away": 2,
                 "services": {"shop": 2}, "age_s": 4.0}]

    def workers_view(self) -> list[dict[str, Any]]:
        return [{"worker": 1, "state": "ready", "pid": 7, "respawns": 2, "connections_accepted": 5, "connections_open": 3}]

    def rollouts_view(self) -> list[dict[str, Any]]:
        """One at its second step."""
        tally = {"requests": 120, "failures": 2, "retried": 0, "error_percent": 1.6667, "error_percent_bounds": [0.46, 5.88],
                 "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0}}
        return [{
            "rollout": "default/shop", "phase": "ramping", "why": "<holds>", "step": 2, "steps": [5.0, 25.0],
            "weight_percent": 25.0, "baseline": "default/shop?version=v1", "candidate": "default/shop?version=v2",
            "routes": ["default/shop: shop/0"], "step_lasted_s": 3.0, "finding": "unsure", "found": "<holds>", "looks": 2,
            "counted": {"candidate": tally, "baseline": tally}, "totals": {"baseline": [2000, 3], "candidate": [120, 2]},
            "events": [{"time": "2026-01-01T00:00:00+00:00", "event": "begins at 5 %"}], "not_kept": ""}]

    def rollout_order(self, act: str, name: str, /) -> dict[str, Any]:
        """Note it; there is no rollout called ``nobody``."""
        if name == "nobody":
            raise ValueError("there is no rollout 'nobody'")
        self.asked.append(f"rollout {act} {name}")
        return {"act": act, **self.rollouts_view()[0]}

    def geo(self) -> dict[str, Any] | None:
        """One database."""
        return {"databases": [{"path": "/x.mmdb", "type": "Test-City", "built": 7}], "problem": "", "taken": 0}

    def telemetry(self) -> Telemetry:
        """What a test has put here."""
        return Telemetry(
            self.turns, self.timers, self.traces, self.most_routes, self.most_endpoints, self.pauses, self.freed)

    def publishing(self) -> Any:
        """What a test has put here."""
        return self.published

    def config_places(self) -> list[dict[str, Any]]:
        """One object."""
        return [{"name": 'route "<shop>"', "place": "voltgw.yaml:7:3", "values": [("routes", "[]", "voltgw.yaml:9:5")]}]

    def process(self) -> dict[str, float]:
        """Numbers of the process."""
        return self.numbers

    def overload_facts(self) -> dict[str, Any]:
        """What a test has put here."""
        return self.overload

    def rollback(self, number: int, /) -> Deferred[dict[str, Any]]:
        """Note that it was asked for."""
        self.asked.append(f"rollback {number}")
        return succeed({"ok": number != 99, "problems": ["there is no generation 99"]})

    def published_objects(self) -> Any:
        """What a test has put here."""
        return self.objects

    def generations_view(self) -> dict[str, Any]:
        """Two, the older of which serves."""
        return {"current": 11, "rolled_back": True, "differs": ["/etc/voltgw/voltgw.yaml"], "problem": "", "generations": [
            {"number": number, "wall": WALL, "digest": "d", "files": 1, "main": "voltgw.yaml"} for number in (12, 11)]}

    def reload(self) -> Deferred[dict[str, Any]]:
        """Note that it was asked for."""
        self.asked.append("reload")
        return self.reloaded

    def explain(
        self, method: str, url: str, headers: Sequence[str], source: str, listener: str, /,
    ) -> dict[str, Any]:
        """Tell the question back; a URL of ``?`` is none."""
        if url == "?":
            raise ValueError("'?' is not a URL")
        about = " ".join((method, url, *headers, source, listener))
        return {"outcome": "answered", "decisions": [{"about": "question", "outcome": about}]}

    def recent(self, most: int) -> list[dict[str, Any]]:
        """One request."""
        return [{"request_id": "f282", "method": "GET", "target": "/<b>", "status": 503}][:most]

    def why(self, request_id: str, /) -> dict[str, Any] | None:
        """One request is known."""
        if request_id != "f282":
            return None
        return {"request_id": request_id, "decisions": [{"about": "route", "outcome": "<shop>", "why": "because"}]}

    def order(self, act: str, endpoint: str, cluster: str, value: str, /) -> dict[str, Any]:
        """Note it; there is no endpoint called ``nobody``."""
        if endpoint == "nobody":
            raise ValueError("no cluster has an endpoint 'nobody'")
        self.asked.append(f"{act} {endpoint} {cluster} {value}".strip())
        return {"act": act, "endpoints": [{"cluster": cluster, "endpoint": endpoint}]}

    def drain(self) -> None:
        """Note that it was asked for."""
        self.asked.append("drain")
        self.draining = True


def access_log(
    path: str | int, format: str, clock: Any, wall: Callable[[], float], *, site: str = "local", hostname: str = "",
    write: WriteTo | None = None, explain: Explain | None = None, explain_share: float = 0.0, **more: Any,
) -> AccessLog:
    """An access log of one file, as `voltgw.app.access_logs` makes them."""
    about = About(site, hostname, explain)
    lines = lines_of(Wanted(format=LogFormat(format), explain=explain_share if format == "json" else 0.0), about)
    return AccessLog([Output("access.log", lines, FileSink(path, write=write))], clock, wall, **more)


def an_exchange(
    target: bytes = b"/cart", path: bytes | None = None, *, fields: list[Field] | None = None, client: Client | None = None,
    method: bytes = b"GET", authority: bytes = b"shop.example.com",
) -> Exchange:
    """An exchange that went well: 200 after 1.460 ms, at the first try."""
    before, mark, query = target.partition(b"?")
    request = RequestHead(method, target, before if path is None else path, query if mark else None, 1, authority,
                          authority, None, [(b"user-agent", b"curl/8.5.0")] if fields is None else fields, 0, True)
    exchange = Exchange(client or Client(), request, b"f282cd42-4c86-4fd8-8d57-f90e43e1c9a5", START, 717)
    exchange.route = Route()
    exchange.endpoint = Endpoint()
    exchange.response = ResponseHead(200, b"OK", 1, [], 128, True)
    exchange.response_code = 200
    exchange.attempts = 1
    exchange.bytes_out = 223
    exchange.t_upstream_first_tx = exchange.t_upstream_last_tx = START + 0.000123
    exchange.t_upstream_first_rx = exchange.t_upstream_last_rx = START + 0.001456
    exchange.t_downstream_first = exchange.t_downstream_last = START + 0.00146
    return exchange


def a_connection() -> ConnectionRecord:
    """A relayed connection that lived for 2.5 s."""
    route = Route("db/0", Host("db", "default", "", "TCP_PROXY"))
    record = ConnectionRecord(Client(), route, START)
    record.endpoint = Endpoint("default/db", "10.0.0.7", 5432)
    record.attempts = 1
    record.bytes_in = 1000
    record.bytes_out = 2000
    record.t_upstream_connected = START + 0.00031
    record.t_end = START + 2.5
    return record
