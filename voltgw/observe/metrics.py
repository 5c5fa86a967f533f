"""Plain counters, read when Prometheus asks.

The collector goes over the live objects and gives one family after another, each sample as it is asked for. `exposition`
renders them with prometheus_client in pieces, so that a scrape of ten thousand endpoints is many short turns of the
reactor and not one long one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from voltgw.observe.endpoint_metrics import endpoint_families
from voltgw.observe.families import OTHER, Family, Row, Times, histograms
from voltgw.observe.families import family as _family
from voltgw.observe.names import METRICS, MetricName
from voltgw.observe.process_metrics import process_families, trace_families
from voltgw.values.compiling import build
from voltgw.values.counters import CLASSES, RouteCounters

if TYPE_CHECKING:
    from voltgw.interfaces import GatewayView
    from voltgw.observe.access import AccessLog
    from voltgw.observe.callers import Callers

__all__ = ["METRICS", "GatewayCollector", "MetricName", "exposition"]

#: Samples in one piece of an answer: 1 ms of work, twice that for OpenMetrics.
PIECE: Final = 250
#: Routes and clusters that are looked at in one piece, likewise.
ROUTES: Final = 1000
CLUSTERS: Final = 500

#: Label and word of each phase of a rollout (`voltgw.cluster.rollout.Phase`).
_PHASES: Final = (("ramping", "ramping"), ("approval", "waits for approval"), ("paused", "paused"),
                  ("rolled_back", "rolled back"), ("promoted", "promoted"))

RouteRow = tuple[tuple[str, str], list[RouteCounters]]


class GatewayCollector(Collector):
    """Metrics of one gateway; `collect` gives them all at once, `families` piece by piece.

    `access` may be replaced while it runs. `unrouted` counts the requests that no route took.
    """

    def __init__(
        self, view: GatewayView, access: AccessLog | None = None, unrouted: RouteCounters | None = None
    ) -> None:
        self._view = view
        self.access = access
        self._unrouted = unrouted
        self.callers: Callers | None = None     # of the admin interface, once it is bound
        self._process = ProcessCollector(registry=None)
        self._build = (view.version, platform.python_version(), version("twisted"), build())

    def collect(self) -> Iterator[Metric]:
        """Every family with all its samples, as prometheus_client's registries ask for them."""
        for family in self.families():
            if family is not None:
                metric, samples = family
                metric.samples.extend(sample for sample in samples if sample is not None)
                yield metric

    def families(self) -> Iterator[Family | None]:
        """Every family, still empty, with its samples, which are read from the counters as they are taken; None = a pause."""
        yield from self._gateway()
        yield from self._listeners()
        yield from self._networks()
        yield from self._routes()
        yield from self._clusters()
        telemetry = self._view.telemetry()
        yield from endpoint_families(list(self._view.cluster_objects()), telemetry.most_endpoints)
        yield from self._geo()
        yield from self._discoveries()
        yield from self._rollouts()
        yield from self._workers()
        yield from self._dns()
        yield from self._published()
        yield from self._access_log()
        yield from trace_families(telemetry)
        yield from process_families(telemetry)
        for metric in self._process.collect():
            samples, metric.samples = metric.samples, []
            yield metric, iter(samples)

    # -- families --------------------------------------------------------------------------------------------------

    def _gateway(self) -> Iterator[Family]:
        view = self._view
        process = view.process()
        ready, _ = view.ready()
        yield _family("voltgw_build_info", [(self._build, 1)])
        yield _family("voltgw_start_time_seconds", [((), view.started_wall)])
        yield _family("voltgw_ready", [((), ready and not view.draining)])
        yield _family("voltgw_draining", [((), view.draining)])
        yield _family("voltgw_config_generation", [((), view.generation)])
        yield _family("voltgw_config_reloads_total",
                      [(("ok",), max(view.generation - 1, 0)), (("rejected",), view.reloads_rejected)])
        if "file_reloads" in process:
            yield _family("voltgw_config_file_reloads_total", [
                (("ok",), process["file_reloads"] - process["file_reloads_refused"]),
                (("rejected",), process["file_reloads_refused"])])
        for name, key in _FROM_PROCESS:
            if key in process:
                yield _family(name, [((), process[key])])
        if self.callers is not None:
            yield _family("voltgw_admin_refused_total", [((reason,), count) for reason, count in self.callers.refused.items()])
        yield from _overload(view.overload_facts())
        if "shadows_refused" in process:
            yield _family("voltgw_shadows_skipped_total", [
                (("refused",), process["shadows_refused"]), (("too_large",), process["shadows_too_large"])])

        if "forward_tunnels" in process:
            yield from _forward(process)
        for name in ("orders_total", "certificates"):
            known = f"acme_{name}_"
            yield _family(f"voltgw_acme_{name}", [
                ((key.removeprefix(known),), value) for key, value in process.items() if key.startswith(known)])
        if "http2_downstream_streams" in process:
            yield from _http2(process)
            yield _family("voltgw_grpc_responses_total", [
                ((key.removeprefix("grpc_"),), value) for key, value in process.items() if key.startswith("grpc_")])

    def _listeners(self) -> Iterator[Family]:
        listeners = list({(each.name, each.protocol): each for each in self._view.listeners()}.items())
        yield _family("voltgw_listener_bound", (((*key, each.kind), each.bound) for key, each in listeners))
        for name, attribute in _OF_LISTENER:
            yield _family(name, _attributes(attribute, ((key, each.counters) for key, each in listeners)))
        yield _family("voltgw_listener_pauses_total", (
            row for key, each in listeners for row in (((*key, "limit"), each.counters.paused_limit),
                                                       ((*key, "rate"), each.counters.paused_rate),
                                                       ((*key, "overload"), each.counters.paused_overload),
                                                       ((*key, "descriptors"), each.counters.paused_fds))))
        yield _family("voltgw_listener_paced_total", ((key, each.counters.paced) for key, each in listeners))
        yield _family("voltgw_listener_refused_total", (
            row for key, each in listeners for row in (((*key, "source"), each.counters.refused_source),
                                                       ((*key, "proxy_header"), each.counters.proxy_refused))))
        yield _family("voltgw_listener_bytes_total", (
            row for key, each in listeners for row in (((*key, "in"), each.counters.bytes_in),
                                                       ((*key, "out"), each.counters.bytes_out))))

        streams = [(key, each.counters) for key, each in listeners if each.protocol == "TCP"]
        yield _family("voltgw_listener_tls_handshakes_total", (
            ((*key, version), count) for key, counted in streams for version, count in counted.tls_versions.items()))
        yield _family("voltgw_listener_tls_resumed_total", _attributes("tls_resumed", streams))
        yield _family("voltgw_listener_tls_failures_total", (
            row for key, counted in streams if counted.tls_handshakes or counted.tls_refused or counted.tls_failures
            or counted.tls_timeouts or counted.tls_crowded
            for row in (((*key, "refused"), counted.tls_refused), ((*key, "failed"), counted.tls_failures),
                        ((*key, "timeout"), counted.tls_timeouts), ((*key, "crowded"), counted.tls_crowded))))
        datagrams = [(key, each.counters) for key, each in listeners if each.protocol == "UDP"]
        yield _family("voltgw_listener_datagrams_total", (
            row for key, counted in datagrams for row in (((*key, "in"), counted.datagrams_in),
                                                          ((*key, "out"), counted.datagrams_out))))
        yield _family("voltgw_listener_datagrams_dropped_total", (
            ((*key, reason), count) for key, counted in datagrams for reason, count in counted.datagrams_dropped.items()))
        yield _family("voltgw_listener_sessions_evicted_total", (
            (key, counted.sessions_evicted) for key, counted in datagrams))
        yield _family("voltgw_listener_sessions_moved_total", (
            (key, counted.sessions_moved) for key, counted in datagrams))
        yield _family("voltgw_certificate_expiry_timestamp_seconds", (
            ((*key, one["names"][0] if one["names"] else "", one["fingerprint"][:16]), one["ends"])
            for key, each in listeners for one in each.certificates))

    def _networks(self) -> Iterator[Family]:
        facts = self._view.network_facts()
        yield _family("voltgw_network_present", [((each["network"],), each["present"]) for each in facts["networks"]])
        yield _family("voltgw_network_losses_total", [((), facts["losses"])])
        yield _family("voltgw_vip_present", [
            ((each["address"], each["network"], each["interface"]), each["present"]) for each in facts["vips"]])

    def _routes(self) -> Iterator[Family | None]:
        routes: list[RouteRow] = []
        hosts: dict[int, Any] = {}          # those that say something besides
        for found in self._used_routes(hosts):
            if found is None:
                yield None
            else:
                routes = found
        yield _family("voltgw_requests_total", (
            ((*key, CLASSES[index]), sum(each.status[index] for each in counters))
            for key, counters in routes for index in range(len(CLASSES))))
        yield _family("voltgw_request_bytes_total",
                      ((key, sum(each.bytes_in for each in counters)) for key, counters in routes))
        yield _family("voltgw_response_bytes_total",
                      ((key, sum(each.bytes_out for each in counters)) for key, counters in routes))
        yield _family("voltgw_service_policy_hits_total", _judged(hosts.values()))
        yield _family("voltgw_forward_policy_decisions_total", _egress(hosts.values()))
        gated = [(f"{host.namespace}/{host.name}", gate) for host in hosts.values() for gate in host.gates]
        yield _family("voltgw_security_verdicts_total", (
            ((host, gate.name, policy, verdict), count)
            for host, gate in gated for policy, verdict, count in gate.verdicts()))
        yield _family("voltgw_auth_requests_total", (
            ((host, row.method, row.result), row.requests)
            for host, gate in gated if hasattr(gate, "results") for row in gate.results.rows()))
        keys = self._view.key_facts()
        yield _family("voltgw_auth_keys", (((each["url"],), each["keys"]) for each in keys))
        yield _family("voltgw_auth_keys_fetched_timestamp_seconds", (((each["url"],), each["fetched_wall"]) for each in keys))
        yield _family("voltgw_auth_key_fetches_total", (
            ((each["url"], outcome), count) for each in keys for outcome, count in (
                ("ok", each["fetches"] - each["failures"]), ("failed", each["failures"]))))
        limiters = [(host, limiter) for host, gate in gated for limiter in getattr(gate, "all", ())]
        yield _family("voltgw_rate_limit_users", (((host, each.name), len(each.store)) for host, each in limiters))
        yield _family("voltgw_rate_limit_users_forgotten_total", (
            ((host, each.name), each.store.evicted) for host, each in limiters))
        yield histograms("voltgw_request_duration_seconds", (
            (key, [each.latency for each in counters]) for key, counters in routes))
        yield _family("voltgw_response_flags_total", (
            ((*key, flag), sum(each.local_replies.get(flag, 0) for each in counters))
            for key, counters in routes
            for flag in sorted({flag for each in counters for flag in each.local_replies})))

    def _clusters(self) -> Iterator[Family]:
        clusters: list[Any] = list({each.name: each for each in self._view.cluster_objects()}.values())
        for name, attribute in _CLUSTER_COUNTERS:
            yield _family(name, _attributes(attribute, (((each.name,), each.counters) for each in clusters)))
        yield histograms("voltgw_cluster_request_duration_seconds", _durations(clusters))
        yield _family("voltgw_cluster_responses_total", (
            ((each.name, CLASSES[index]), each.counters.status[index])
            for each in clusters for index in range(len(CLASSES))))
        for name, attribute in _CLUSTER_GAUGES:
            yield _family(name, _attributes(attribute, (((each.name,), each) for each in clusters)))
        yield _family("voltgw_cluster_tls_unverified", (
            ((each.name,), not each.tls.config.verify) for each in clusters if each.tls is not None))
        yield _family("voltgw_cluster_endpoints", _members(clusters))
        yield _family("voltgw_cluster_health_checks_total", (
            ((each.name, name, result), count) for each in clusters for name, counts in each.counters.probes.items()
            for result, count in zip(("passed", "failed"), counts, strict=True)))
        yield _family("voltgw_cluster_concurrency_limit", (
            ((each.name,), each.max_requests) for each in clusters if each.gradient is not None))
        judged = [(each.name, each.outliers) for each in clusters if each.outliers is not None]
        yield _family("voltgw_cluster_outliers_total", (
            ((name, kind.value), count) for name, outliers in judged for kind, count in outliers.found_counts.items()))
        yield _family("voltgw_cluster_ejections_total", (
            ((name, kind.value), count) for name, outliers in judged for kind, count in outliers.ejected_counts.items()))
        yield _family("voltgw_cluster_ejections_overflow_total", (
            ((name,), outliers.overflow) for name, outliers in judged))

    def _discoveries(self) -> Iterator[Family]:
        found = self._view.discoveries()
        yield _family("voltgw_discovery_state", [
            ((each["discovery"], state), each["state"] == state) for each in found for state in ("pending", "bound", "failed")])
        yield _family("voltgw_discovery_requests_total", [((each["discovery"],), each["requests"]) for each in found])
        yield _family("voltgw_discovery_failures_total", [((each["discovery"],), each["failures"]) for each in found])
        yield _family("voltgw_discovery_turned_away_total", [((each["discovery"],), each["turned_away"]) for each in found])
        yield _family("voltgw_discovery_instances", [
            ((each["discovery"], name), count) for each in found for name, count in each["services"].items()])

    def _rollouts(self) -> Iterator[Family]:
        found = self._view.rollouts_view()
        if not found:
            return
        yield _family("voltgw_rollout_weight_percent", [
            ((each["rollout"],), each["weight_percent"]) for each in found if each["weight_percent"] is not None])
        yield _family("voltgw_rollout_step", [((each["rollout"],), each["step"]) for each in found])
        yield _family("voltgw_rollout_state", [
            ((each["rollout"], phase), each["phase"] == word)
            for each in found for phase, word in _PHASES])
        for name, place in (("voltgw_rollout_requests_total", 0), ("voltgw_rollout_failures_total", 1)):
            yield _family(name, [((each["rollout"], version), totals[place])
                                 for each in found for version, totals in each["totals"].items()])
        yield _family("voltgw_rollout_kept", [((each["rollout"],), not each["not_kept"]) for each in found])

    def _workers(self) -> Iterator[Family]:
        found = self._view.workers_view()
        yield _family("voltgw_workers", [((), len(found))])
        yield _family("voltgw_worker_up", [((str(each["worker"]),), each["state"] == "ready") for each in found])
        for name, key in (("respawns_total", "respawns"), ("connections_total", "connections_accepted"),
                          ("open_connections", "connections_open")):
            yield _family(f"voltgw_worker_{name}", [((str(each["worker"]),), each[key]) for each in found])

    def _geo(self) -> Iterator[Family]:
        geo = self._view.geo()
        if geo is not None:
            yield _family("voltgw_geo_database_built_timestamp_seconds", [
                ((each["type"],), each["built"]) for each in geo["databases"]])
            yield _family("voltgw_geo_database_problem", [((), bool(geo["problem"]))])

    def _dns(self) -> Iterator[Family]:
        counted = self._view.dns_counters()
        if counted is None:
            return
        yield _family("voltgw_dns_queries_total", list(counted.queries.items()))
        yield _family("voltgw_dns_answers_total", [((rcode,), count) for rcode, count in counted.answers.items()])
        yield _family("voltgw_dns_truncated_total", [((), counted.truncated)])
        yield _family("voltgw_dns_rate_limited_total", [
            (("dropped",), counted.limited), (("truncated",), counted.slipped)])
        yield _family("voltgw_dns_unanswered_total", [((reason,), count) for reason, count in counted.dropped.items()])
        yield _family("voltgw_dns_unverified_total", [((error,), count) for error, count in counted.unverified.items()])
        yield _family("voltgw_dns_signatures_total", [((), counted.signatures)])
        yield _family("voltgw_dns_transfers_total", [((result,), count) for result, count in counted.transfers.items()])
        yield _family("voltgw_dns_notifies_total", [((result,), count) for result, count in counted.notifies.items()])

    def _published(self) -> Iterator[Family]:
        publishing = self._view.publishing()
        if publishing is None:
            return
        yield _family("voltgw_publish_names", list(publishing.states().items()))
        yield _family("voltgw_publish_failing", list(publishing.failing().items()))
        yield _family("voltgw_publish_synced_timestamp_seconds", list(publishing.synced().items()))
        counted = list(publishing.counters().items())
        for family, what in (("voltgw_publish_writes_total", "writes"), ("voltgw_publish_refused_total", "refused"),
                             ("voltgw_publish_rounds_total", "rounds")):
            yield _family(family, [((*labels, word), count) for labels, each in counted
                                   for word, count in getattr(each, what).items()])

    def _access_log(self) -> Iterator[Family]:
        yield _family("voltgw_events_total", [((kind,), count) for kind, count in list(self._view.events.counts.items())])
        process_log = self._view.logs.view()["process_log"]
        if process_log is not None:
            yield _family("voltgw_process_log_lines_total", [((), process_log["lines"])])
            yield _family("voltgw_process_log_dropped_total", [
                ((reason,), count) for reason, count in process_log["dropped"].items()])
        access = self.access
        if access is None:
            return
        outputs = access.outputs
        yield _family("voltgw_access_log_lines_total", [((each.name,), each.sink.lines) for each in outputs])
        yield _family("voltgw_access_log_bytes_total", [((each.name,), each.sink.bytes) for each in outputs])
        yield _family("voltgw_access_log_left_out_total", [((each.name,), each.left_out) for each in outputs])
        yield _family("voltgw_access_log_queued", [((), access.queued)])
        yield _family("voltgw_access_log_dropped_total", [
            (("", "queue"), access.dropped_queue),
            *(row for each in outputs for row in (((each.name, "blocked"), each.sink.dropped_blocked),
                                                  ((each.name, "failed"), each.sink.dropped_failed),
                                                  ((each.name, "format"), each.dropped_format)))])

    def _used_routes(self, hosts: dict[int, Any]) -> Iterator[list[RouteRow] | None]:
        """At last the counters of every route that took a request; one that a host names twice is one route. None = a pause.

        Virtual hosts that judge requests or look up endpoints are put into `hosts`, by their ids.

        Beyond so many as may have time series of their own they are added up, for good: what is added is not looked at again.
        """
        most = self._view.telemetry().most_routes
        routes: dict[tuple[str, str], list[RouteCounters]] = {}
        rest: RouteCounters | None = None
        for count, route in enumerate(self._view.route_objects(), 1):
            if count % ROUTES == 0:
                yield None
            host = route.host
            if host.gates or host.guard is not None or host.egress is not None:
                hosts[id(host)] = host
            counters = route.counters
            if not any(counters.status):
                continue
            key = (f"{host.namespace}/{host.name}", route.name)
            if key in routes or len(routes) < most:
                routes.setdefault(key, []).append(counters)
                continue
            rest = RouteCounters() if rest is None else rest
            rest.add(counters)
        if rest is not None:
            routes[OTHER, OTHER] = [rest]
        if self._unrouted is not None and any(self._unrouted.status):
            routes.setdefault(("", ""), []).append(self._unrouted)
        yield list(routes.items())


def exposition(collector: GatewayCollector, accept: str) -> tuple[str, Iterator[bytes]]:
    """The content type that `accept` asks for, and the metrics in it, in pieces of at most `PIECE` samples."""
    encode, content_type = choose_encoder(accept)
    return content_type, _pieces(collector, encode)


class _One(Collector):
    """A registry of one family: what prometheus_client's encoders take."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """The family."""
        return (self._metric,)


def _pieces(collector: GatewayCollector, encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
    end = b""
    for family in collector.families():
        if family is None:
            yield b""
            continue
        metric, samples = family
        head = encode(_One(metric))         # the family is still empty: its HELP and TYPE
        if head.endswith(b"# EOF\n"):       # OpenMetrics ends a whole answer so, and the encoder takes this for one
            end = b"# EOF\n"
        head = head.removesuffix(end)
        yield head
        over = False
        while not over:
            metric.samples, over = _piece(samples)
            yield encode(_One(metric)).removesuffix(end)[len(head):] if metric.samples else b""
    yield end


def _piece(samples: Iterator[Sample | None]) -> tuple[list[Sample], bool]:
    """The next samples, at most `PIECE` and up to a pause, and whether they were the last ones."""
    found: list[Sample] = []
    for sample in samples:
        if sample is None:
            return found, False
        found.append(sample)
        if len(found) == PIECE:
            return found, False
    return found, True


def _egress(hosts: Iterable[Any]) -> Iterator[Row]:
    """What the policies of each forward proxy have decided."""
    for host in hosts:
        if host.egress is not None:
            for policy, rule, action, hits in host.egress.rows():
                yield (f"{host.namespace}/{host.name}", policy, rule, action), hits


def _forward(process: Mapping[str, float]) -> Iterator[Family]:
    """What forward proxies have done."""
    def of(name: str) -> float:
        return process[f"forward_{name}"]

    yield _family("voltgw_forward_tunnels_total", [((), of("tunnels"))])
    yield _family("voltgw_forward_captured_total", [((), of("captured"))])
    yield _family("voltgw_forward_refused_total", [
        ((reason,), of(name)) for reason, name in (
            ("policy", "denied"), ("address", "guarded"), ("name", "disagreements"), ("silence", "unheard"),
            ("login", "logins_refused"))])
    yield _family("voltgw_forward_tls_total", [
        ((action,), of(name)) for action, name in (
            ("spliced", "spliced"), ("peeked", "peeked"), ("opened", "opened"), ("client_refused", "handshakes_failed"))])
    yield _family("voltgw_forward_certificates_total", [((), of("minted"))])
    yield _family("voltgw_forward_lookups_total", [
        (("ok",), of("lookups") - of("lookup_failures")), (("failed",), of("lookup_failures")),
        (("crowded",), of("lookups_crowded"))])
    yield _family("voltgw_forward_origins", [((), of("origins"))])


def _judged(hosts: Iterable[Any]) -> Iterator[Row]:
    """What the rules of service policies have decided, by virtual host; rules of one name are one."""
    for host in hosts:
        if host.guard is None:
            continue
        counts: dict[tuple[str, str, str], int] = {}
        for policy, rule, action, hits in host.guard.rows():
            counts[policy, rule, action] = counts.get((policy, rule, action), 0) + hits
        for key, hits in counts.items():
            yield (f"{host.namespace}/{host.name}", *key), hits


def _attributes(attribute: str, keyed: Iterable[tuple[tuple[str, ...], Any]]) -> Iterator[Row]:
    """One row for each object. A function of its own, because a generator expression would see `attribute` change."""
    for key, each in keyed:
        yield key, getattr(each, attribute)


def _durations(clusters: list[Any]) -> Iterator[Times | None]:
    """How long requests of each cluster took that had some."""
    for count, each in enumerate(clusters, 1):
        if any(each.counters.latency.buckets):
            yield (each.name,), [each.counters.latency]
        if count % CLUSTERS == 0:
            yield None


def _members(clusters: list[Any]) -> Iterator[Row]:
    for cluster in clusters:
        ready = sum(endpoint.ready for endpoint in cluster.endpoints)
        yield (cluster.name, "ready"), ready
        yield (cluster.name, "not_ready"), len(cluster.endpoints) - ready


def _overload(facts: Mapping[str, Any]) -> Iterator[Family]:
    resources = facts["resources"].items()
    actions = [((name, action), said) for name, each in resources for action, said in each["actions"].items()]
    yield _family("voltgw_overload_used", [((name,), each["used"]) for name, each in resources])
    yield _family("voltgw_overload_budget", [((name,), each["budget"]) for name, each in resources])
    yield _family("voltgw_overload_active", [(key, said["now"]) for key, said in actions])
    yield _family("voltgw_overload_actions_total", [(key, said["begun"]) for key, said in actions])
    yield _family("voltgw_overload_resets_total", [((), facts["resets"])])
    yield _family("voltgw_overload_eased_total", [((), facts["eased"])])
    yield _family("voltgw_overload_unpooled_total", [((), facts["unpooled"])])


def _http2(process: Mapping[str, float]) -> Iterator[Family]:
    for name, key in _OF_HTTP2:
        yield _family(name, [((side,), process[f"http2_{side}_{key}"]) for side in _SIDES])
    for name, key in (("voltgw_http2_resets_total", "resets"), ("voltgw_http2_goaways_total", "goaways")):
        yield _family(name, [((side, way), process[f"http2_{side}_{key}_{done}"])
                             for side in _SIDES for way, done in (("in", "received"), ("out", "sent"))])
    faults = [(side, f"http2_{side}_fault_") for side in _SIDES]
    yield _family("voltgw_http2_faults_total", [
        ((side, key.removeprefix(prefix)), value)
        for side, prefix in faults for key, value in process.items() if key.startswith(prefix)])


_SIDES: Final = ("downstream", "upstream")
#: Metric and the end of its keys.
_OF_HTTP2: Final = (
    ("voltgw_http2_connections_total", "connections"),
    ("voltgw_http2_streams_total", "streams"),
    ("voltgw_http2_malformed_total", "malformed"),
    ("voltgw_http2_refused_streams_total", "refused_streams"),
)
#: Metric and key of `GatewayView.process`.
_FROM_PROCESS: Final = (
    ("voltgw_inherited_sockets", "inherited_sockets"),
    ("voltgw_hot_restarts_failed_total", "hot_restarts_failed"),
    ("voltgw_config_last_success_timestamp_seconds", "config_wall"),
    ("voltgw_config_kept_generation", "kept_generation"),
    ("voltgw_config_rolled_back", "rolled_back"),
    ("voltgw_config_rollbacks_total", "rollbacks"),
    ("voltgw_open_streams", "open_streams"),
    ("voltgw_open_streams_limit", "open_limit"),
    ("voltgw_timers", "timers"),
    ("voltgw_deadlines", "deadlines"),
    ("voltgw_loop_turns_total", "turns"),
    ("voltgw_loop_slow_turns_total", "slow_turns"),
    ("voltgw_loop_longest_turn_seconds", "longest_turn_s"),
    ("voltgw_spliced_bytes_total", "spliced_bytes"),
    ("voltgw_splice_pipes", "splice_pipes"),
    ("voltgw_splice_refused_total", "splice_refused"),
    ("voltgw_pre_opened_connections", "pre_opened"),
    ("voltgw_pre_opened_connections_used_total", "pre_opened_used"),
    ("voltgw_internal_failures_total", "failures"),
    ("voltgw_journal_records", "journal_records"),
    ("voltgw_journal_bytes", "journal_bytes"),
    ("voltgw_journal_failures_total", "journal_failures"),
    ("voltgw_tunnels_total", "tunnels"),
    ("voltgw_open_tunnels", "tunnels_open"),
    ("voltgw_shadows_total", "shadows"),
    ("voltgw_open_shadows", "shadows_open"),
    ("voltgw_probes_total", "probes"),
    ("voltgw_probe_failures_total", "probe_failures"),
)
#: Metric and attribute of `ListenerCounters`.
_OF_LISTENER: Final = (
    ("voltgw_listener_connections_total", "accepted"),
    ("voltgw_listener_open_connections", "open"),
    ("voltgw_listener_bad_requests_total", "bad_requests"),
    ("voltgw_listener_timeouts_total", "timeouts"),
)
#: Metric and attribute of `ClusterCounters`, and of the cluster itself.
_CLUSTER_COUNTERS: Final = (
    ("voltgw_cluster_requests_total", "requests"),
    ("voltgw_cluster_connects_total", "connects"),
    ("voltgw_cluster_connect_failures_total", "connect_failures"),
    ("voltgw_cluster_no_endpoint_total", "no_endpoint"),
    ("voltgw_cluster_overflows_total", "overflow"),
    ("voltgw_cluster_resets_total", "resets"),
    ("voltgw_cluster_retries_total", "retries"),
    ("voltgw_cluster_timeouts_total", "timeouts"),
)
_CLUSTER_GAUGES: Final = (
    ("voltgw_cluster_active_requests", "active"),
    ("voltgw_cluster_pending_requests", "pending"),
    ("voltgw_cluster_open_connections", "connections"),
)
