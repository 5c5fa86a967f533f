"""Metrics: what a scraper gets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from random import Random
from types import SimpleNamespace

from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.observe.making import Cluster, Endpoint, Host, Listener, Route, View, access_log, an_exchange
from tests.servers import require
from voltgw.cluster.outlier import Ejection, OutlierDetector, OutlierRules
from voltgw.control.publish.entries import PublishCounters
from voltgw.dns.responder import DnsCounters
from voltgw.observe import endpoint_metrics
from voltgw.observe.access import INTERVAL_S
from voltgw.observe.callers import Callers
from voltgw.observe.metrics import PIECE, GatewayCollector, exposition
from voltgw.observe.names import METRICS
from voltgw.values.counters import Histogram, RouteCounters

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def published() -> SimpleNamespace:
    """What publishing in one registry has to tell."""
    counters = PublishCounters()
    counters.writes["replace"] = 6
    counters.refused["foreign"] = 2
    counters.rounds["failed"] = 3
    labels = ("system/names", "dns_update")
    return SimpleNamespace(states=lambda: {(*labels, "bound"): 4}, failing=lambda: {labels: 1},
                           synced=lambda: {labels: 1e9}, counters=lambda: {labels: counters})


def busy_view() -> View:
    """A gateway with something in every counter."""
    one, two = Endpoint(address="10.0.0.5", requests=4), Endpoint(address="2001:db8::1", ready=False, health="unhealthy")
    one.status[2] = 3
    new = Endpoint(address="10.0.0.9", health="unknown", site="lyon")
    cluster = Cluster(endpoints=(one, two, new), active=2)
    cluster.outliers = outliers = OutlierDetector(OutlierRules(), Random(0))
    outliers.found_counts[Ejection.CONSECUTIVE_5XX], outliers.ejected_counts[Ejection.CONSECUTIVE_5XX] = 3, 1
    outliers.overflow = 2
    cluster.gradient, cluster.max_requests = object(), 42
    one.watch = SimpleNamespace(ejected=True)
    cluster.counters.requests = 5
    cluster.counters.probes["default/up"] = [4, 2]
    cluster.counters.status[5] = 1
    cluster.counters.latency.observe(0.002)
    one.times = Histogram()
    one.times.observe(0.002)
    route = Route()
    route.counters.status[2] = 3
    route.counters.status[5] = 1
    route.counters.bytes_in = 100
    route.counters.local_replies["UF"] = 1
    for seconds in (0.0, 0.000064, 0.001, 100.0):
        route.counters.latency.observe(seconds)
    listener = Listener()
    listener.counters.accepted = 9
    listener.counters.tls_handshakes, listener.counters.tls_versions = 7, {"TLSv1.3": 5, "TLSv1.2": 2}
    listener.counters.tls_resumed, listener.counters.tls_timeouts = 3, 1
    listener.counters.paused_fds = 2
    datagrams = Listener("127.0.0.1:53/udp", "UDP", "UDP_PROXY", certificates=[])
    datagrams.counters.datagrams_in, datagrams.counters.datagrams_out = 8, 6
    datagrams.counters.datagrams_dropped = {"rate": 2}
    datagrams.counters.sessions_evicted = 1
    names = DnsCounters()
    names.queries["udp", "A"], names.answers["NOERROR"], names.dropped["itself an answer"] = 5, 4, 1
    names.unverified["BADKEY"], names.transfers["full"], names.notifies["sent"] = 1, 2, 3
    names.truncated, names.limited, names.slipped = 3, 2, 1
    return View(all_clusters=[cluster], all_routes=[route, Route("shop/1")], all_listeners=[listener, datagrams], dns=names,
                published=published(), traces={
                    "requests": {"sampled": 4, "error": 2, "slow": 0, "skipped": 1}, "failures": 0, "sent": 12,
                    "dropped": {"queue": 1, "rejected": 0, "unsent": 3}, "exports": {"ok": 2, "retried": 1, "failed": 0},
                    "queued": 5}, overload={
                    "now": ["new connections wait"], "resets": 3, "eased": 7, "unpooled": 5, "resources": {"open_files": {
                        "used": 970, "budget": 1000, "share": 0.97,
                        "actions": {"accept": {"from": 0.95, "now": True, "begun": 2},
                                    "refuse": {"from": 0.98, "now": False, "begun": 0}}}}})


class CollectorTests(SynchronousTestCase):
    """Values, names and labels."""

    def samples(self, collector: GatewayCollector, accept: str = "") -> dict[str, Sample]:
        """Every sample by its name and label values; the text is read back by prometheus_client."""
        _, pieces = exposition(collector, accept)
        text = b"".join(pieces).decode()
        families = (parse_openmetrics if "openmetrics" in accept else parse_text)(text)
        return {f"{sample.name}{sorted(sample.labels.items())}": sample for family in families for sample in family.samples}

    def value(
        self, name: str, labels: Mapping[str, str] | None = None, accept: str = "", view: View | None = None
    ) -> float:
        """One sample's value."""
        return self.samples(GatewayCollector(view or busy_view()), accept)[f"{name}{sorted((labels or {}).items())}"].value

    def test_datagrams(self) -> None:
        """Of UDP listeners: each way, what was dropped by its reason, and the sessions that made room."""
        key = {"listener": "127.0.0.1:53/udp", "protocol": "UDP"}
        self.assertEqual([self.value(f"voltgw_listener_{name}_total", {**key, **more}) for name, more in (
            ("datagrams", {"direction": "in"}), ("datagrams", {"direction": "out"}), ("datagrams_dropped", {"reason": "rate"}),
            ("sessions_evicted", {}))], [8, 6, 2, 1])

    def test_forward_proxies(self) -> None:
        """What policies have decided, and what was refused for which reason."""
        decided = {"proxy": "default/shop", "policy": "system/office", "rule": "good", "action": "ALLOW"}
        self.assertEqual(self.value("voltgw_forward_policy_decisions_total", decided), 5)
        self.assertEqual([self.value("voltgw_forward_refused_total", {"reason": reason}) for reason in (
            "policy", "address", "name", "silence", "login")], [3, 4, 5, 6, 7])
        self.assertEqual([self.value("voltgw_forward_tls_total", {"action": action}) for action in (
            "spliced", "peeked", "opened", "client_refused")], [8, 9, 10, 11])
        self.assertEqual([self.value("voltgw_forward_lookups_total", {"outcome": outcome}) for outcome in (
            "ok", "failed", "crowded")], [1, 13, 15])
        self.assertEqual([self.value(name) for name in (
            "voltgw_forward_tunnels_total", "voltgw_forward_captured_total", "voltgw_forward_certificates_total",
            "voltgw_forward_origins")], [1, 2, 12, 16])

    def test_overload(self) -> None:
        """How much of what is in use, what is done about it now, and how often that has begun."""
        self.assertEqual([self.value(f"voltgw_overload_{name}", {"resource": "open_files"}) for name in ("used", "budget")],
                         [970, 1000])
        for action, now, begun in (("accept", 1, 2), ("refuse", 0, 0)):
            key = {"resource": "open_files", "action": action}
            self.assertEqual((self.value("voltgw_overload_active", key), self.value("voltgw_overload_actions_total", key)),
                             (now, begun))
        self.assertEqual([self.value(f"voltgw_overload_{name}_total") for name in ("resets", "eased", "unpooled")], [3, 7, 5])

    def test_tunnels_and_copies(self) -> None:
        """What the data plane counts for itself; copies that were not sent with the reason."""
        self.assertEqual([self.value(name) for name in (
            "voltgw_tunnels_total", "voltgw_open_tunnels", "voltgw_shadows_total", "voltgw_open_shadows")], [6, 2, 9, 1])
        self.assertEqual([self.value("voltgw_shadows_skipped_total", {"reason": reason}) for reason in ("refused", "too_large")],
                         [4, 3])

    def test_values(self) -> None:
        """Counters come out where dashboards look for them."""
        endpoint = {"cluster": "default/shop", "endpoint": "10.0.0.5:9001"}
        shop = {"virtual_host": "default/shop", "route": "shop/0"}
        listener = {"listener": "127.0.0.1:8080", "protocol": "TCP"}
        for name, labels, value in (
            ("voltgw_requests_total", {**shop, "code_class": "2xx"}, 3),
            ("voltgw_requests_total", {**shop, "code_class": "none"}, 0),
            ("voltgw_request_bytes_total", shop, 100),
            ("voltgw_response_flags_total", {**shop, "flag": "UF"}, 1),
            ("voltgw_cluster_requests_total", {"cluster": "default/shop"}, 5),
            ("voltgw_cluster_health_checks_total", {"cluster": "default/shop", "health_check": "default/up", "result": "passed"}, 4),
            ("voltgw_cluster_health_checks_total", {"cluster": "default/shop", "health_check": "default/up", "result": "failed"}, 2),
            ("voltgw_cluster_responses_total", {"cluster": "default/shop", "code_class": "5xx"}, 1),
            ("voltgw_cluster_active_requests", {"cluster": "default/shop"}, 2),
            ("voltgw_cluster_endpoints", {"cluster": "default/shop", "state": "ready"}, 2),
            ("voltgw_cluster_endpoints", {"cluster": "default/shop", "state": "not_ready"}, 1),
            ("voltgw_endpoint_responses_total", {**endpoint, "code_class": "2xx"}, 3),
            ("voltgw_endpoint_ready", endpoint, 1), ("voltgw_endpoint_healthy", endpoint, 1),
            ("voltgw_endpoint_ready", {"cluster": "default/shop", "endpoint": "[2001:db8::1]:9001"}, 0),
            ("voltgw_endpoint_healthy", {"cluster": "default/shop", "endpoint": "[2001:db8::1]:9001"}, 0),
            ("voltgw_endpoint_ready", {"cluster": "default/shop", "endpoint": "10.0.0.9:9001@lyon"}, 1),
            ("voltgw_listener_connections_total", listener, 9),
            ("voltgw_listener_pauses_total", {**listener, "reason": "descriptors"}, 2),
            ("voltgw_listener_bound", {**listener, "kind": "HTTP_PROXY"}, 1),
            ("voltgw_network_present", {"network": "system/inside"}, 1),
            ("voltgw_network_losses_total", {}, 4),
            ("voltgw_vip_present", {"address": "192.0.2.10", "network": "system/inside", "interface": "eth1"}, 0),
            ("voltgw_listener_tls_handshakes_total", {**listener, "version": "TLSv1.3"}, 5),
            ("voltgw_listener_tls_resumed_total", listener, 3),
            ("voltgw_listener_tls_failures_total", {**listener, "reason": "timeout"}, 1),
            ("voltgw_http2_faults_total", {"side": "downstream", "reason": "resets"}, 30),
            ("voltgw_http2_faults_total", {"side": "upstream", "reason": "protocol"}, 48),
            ("voltgw_http2_refused_streams_total", {"side": "downstream"}, 23),
            ("voltgw_security_verdicts_total", {"virtual_host": "default/shop", "gate": "rate limits",
                                                "policy": "default/per-user", "verdict": "refused"}, 3),
            ("voltgw_auth_requests_total", {"virtual_host": "default/shop", "method": "jwt", "result": "expired"}, 2),
            ("voltgw_auth_keys", {"url": "https://id.example/keys"}, 2),
            ("voltgw_auth_keys_fetched_timestamp_seconds", {"url": "https://id.example/keys"}, 1e9),
            ("voltgw_auth_key_fetches_total", {"url": "https://id.example/keys", "outcome": "ok"}, 2),
            ("voltgw_auth_key_fetches_total", {"url": "https://id.example/keys", "outcome": "failed"}, 1),
            ("voltgw_rate_limit_users", {"virtual_host": "default/shop", "limiter": "default/per-user"}, 7),
            ("voltgw_rate_limit_users_forgotten_total", {"virtual_host": "default/shop", "limiter": "default/per-user"}, 1),
            ("voltgw_config_generation", {}, 3), ("voltgw_config_reloads_total", {"outcome": "ok"}, 2),
            ("voltgw_config_reloads_total", {"outcome": "rejected"}, 2),
            ("voltgw_config_kept_generation", {}, 12), ("voltgw_inherited_sockets", {}, 3),
            ("voltgw_hot_restarts_failed_total", {}, 1), ("voltgw_config_rolled_back", {}, 1),
            ("voltgw_config_rollbacks_total", {}, 1), ("voltgw_config_file_reloads_total", {"outcome": "ok"}, 2),
            ("voltgw_config_file_reloads_total", {"outcome": "rejected"}, 1), ("voltgw_ready", {}, 1),
            ("voltgw_loop_slow_turns_total", {}, 1), ("voltgw_loop_longest_turn_seconds", {}, 0.5),
            ("voltgw_pre_opened_connections", {}, 5), ("voltgw_pre_opened_connections_used_total", {}, 6),
            ("voltgw_spliced_bytes_total", {}, 5e6), ("voltgw_splice_pipes", {}, 3), ("voltgw_splice_refused_total", {}, 11),
            ("voltgw_open_streams", {}, 4), ("voltgw_open_streams_limit", {}, 100),
        ):
            for accept in ("", OPENMETRICS, "text/plain;version=1.0.0"):
                self.assertEqual(self.value(name, labels, accept), value, f"{name}{labels} {accept}")

    def test_outliers(self) -> None:
        """Who is ejected, how often and by what; without outlier detection there is nothing of it."""
        self.assertNotIn("voltgw_endpoint_ejected", "".join(self.samples(GatewayCollector(View(all_clusters=[
            Cluster(endpoints=(Endpoint(),))])))))
        labels, key = {"cluster": "default/shop"}, {"cluster": "default/shop", "endpoint": "10.0.0.5:9001"}
        for name, more, value in (
            ("voltgw_cluster_outliers_total", {**labels, "reason": "consecutive_5xx"}, 3),
            ("voltgw_cluster_ejections_total", {**labels, "reason": "consecutive_5xx"}, 1),
            ("voltgw_cluster_ejections_total", {**labels, "reason": "success_rate"}, 0),
            ("voltgw_cluster_ejections_overflow_total", labels, 2),
            ("voltgw_endpoint_ejected", key, 1), ("voltgw_cluster_concurrency_limit", labels, 42),
        ):
            self.assertEqual(self.value(name, more), value, name)

    def test_the_histogram(self) -> None:
        """Buckets are cumulative, the last one and the count are all values, the bounds are seconds."""
        shop = {"virtual_host": "default/shop", "route": "shop/0"}
        name = "voltgw_request_duration_seconds"
        for bound, count in (("6.4e-05", 1), ("0.000128", 2), ("0.001024", 3), ("67.108864", 3), ("+Inf", 4)):
            self.assertEqual(self.value(f"{name}_bucket", {**shop, "le": bound}), count, bound)
        self.assertEqual(self.value(f"{name}_count", shop), 4)
        self.assertAlmostEqual(self.value(f"{name}_sum", shop), 100.001064)

    def test_an_endpoint_that_was_never_probed(self) -> None:
        """Its health is absent, not 0."""
        names = self.samples(GatewayCollector(busy_view()))
        self.assertEqual([name for name in names if name.startswith("voltgw_endpoint_healthy") and "lyon" in name], [])

    def test_a_route_without_requests(self) -> None:
        """It is not there yet, so that thousands of unused routes cost nothing."""
        self.assertEqual([name for name in self.samples(GatewayCollector(busy_view())) if "shop/1" in name], [])

    def test_requests_that_no_route_took(self) -> None:
        """They are counted without names."""
        unrouted = RouteCounters()
        unrouted.status[4] = 6
        found = self.samples(GatewayCollector(View(), unrouted=unrouted))
        labels = [("code_class", "4xx"), ("route", ""), ("virtual_host", "")]
        self.assertEqual(found[f"voltgw_requests_total{labels}"].value, 6)

    def test_one_route_named_twice(self) -> None:
        """Two rows of one name would be refused by Prometheus; they are added up."""
        host = Host()
        routes = [Route("shop/0", host), Route("shop/0", host)]
        for route in routes:
            route.counters.status[2] = 2
            route.counters.latency.observe(0.001)
        view = View(all_routes=routes)
        shop = {"virtual_host": "default/shop", "route": "shop/0"}
        self.assertEqual(self.value("voltgw_requests_total", {**shop, "code_class": "2xx"}, view=view), 4)
        self.assertEqual(self.value("voltgw_request_duration_seconds_count", shop, view=view), 2)

    def test_the_access_log(self) -> None:
        """Lost lines are there by reason."""
        clock = Clock()
        log = access_log(self.mktemp(), "json", clock, clock.seconds, queue_limit=1)
        log.start()
        log.http(an_exchange())
        log.http(an_exchange())
        clock.advance(INTERVAL_S)
        found = self.samples(GatewayCollector(View(), log))
        log.close()
        self.assertEqual(found["voltgw_access_log_dropped_total[('log', ''), ('reason', 'queue')]"].value, 1)
        self.assertEqual(found["voltgw_access_log_lines_total[('log', 'access.log')]"].value, 1)
        self.assertEqual(found["voltgw_access_log_bytes_total[('log', 'access.log')]"].value, log.outputs[0].sink.bytes)

    def test_dns(self) -> None:
        """Queries by transport and type, answers by RCODE, and what was not answered; nothing where there is no DNS server."""
        for name, labels, value in (
            ("voltgw_dns_queries_total", {"transport": "udp", "type": "A"}, 5), ("voltgw_dns_answers_total", {"rcode": "NOERROR"}, 4),
            ("voltgw_dns_truncated_total", {}, 3), ("voltgw_dns_rate_limited_total", {"action": "dropped"}, 2),
            ("voltgw_dns_rate_limited_total", {"action": "truncated"}, 1),
            ("voltgw_dns_unanswered_total", {"reason": "itself an answer"}, 1),
        ):
            self.assertEqual(self.value(name, labels), value)
        self.assertFalse([name for name in self.samples(GatewayCollector(View())) if "dns" in name])

    def test_published(self) -> None:
        """Names by state, and what has been written, for each registry; nothing where nothing is published."""
        where = {"object": "system/names", "registry": "dns_update"}
        for name, labels, value in (
            ("voltgw_publish_names", {"state": "bound"}, 4), ("voltgw_publish_failing", {}, 1),
            ("voltgw_publish_synced_timestamp_seconds", {}, 1e9),
            ("voltgw_publish_writes_total", {"action": "replace"}, 6), ("voltgw_publish_refused_total", {"reason": "foreign"}, 2),
            ("voltgw_publish_rounds_total", {"result": "failed"}, 3),
        ):
            self.assertEqual(self.value(name, {**where, **labels}), value)
        self.assertFalse([name for name in self.samples(GatewayCollector(View())) if "publish" in name])

    def test_the_process_log(self) -> None:
        """What it has taken and lost."""
        self.assertEqual([self.value("voltgw_process_log_lines_total", {}),
                          self.value("voltgw_process_log_dropped_total", {"reason": "failed"})], [5, 2])

    def test_events(self) -> None:
        """So many of each kind."""
        self.assertEqual(self.value("voltgw_events_total", {"kind": "reload.applied"}), 2)

    def test_draining(self) -> None:
        """A gateway that drains is not ready."""
        view = View(draining=True)
        self.assertEqual((self.value("voltgw_ready", view=view), self.value("voltgw_draining", view=view)), (0, 1))

    def test_names_are_those_of_the_table(self) -> None:
        """`METRICS`, from which the docs are made, has every family with its type and labels, and no other."""
        clock = Clock()
        log = access_log(self.mktemp(), "json", clock, clock.seconds)
        self.addCleanup(log.close)
        table = {metric.name: metric for metric in METRICS}
        self.assertEqual(len(table), len(METRICS))
        seen = set()
        collector = GatewayCollector(busy_view(), log, RouteCounters())
        collector.callers = Callers(clock.seconds)
        for family in collector.collect():
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            seen.add(name)
            self.assertEqual(table[name].type, family.type)
            self.assertTrue(family.samples, name)
            if not name.startswith("process_"):
                self.assertEqual(family.documentation, table[name].meaning.replace("``", ""))
            for sample in family.samples:
                self.assertEqual(tuple(label for label in sample.labels if label != "le"), table[name].labels)
        self.assertEqual(seen, set(table))

    def test_exemplars_stand_in_openmetrics(self) -> None:
        """Each bucket names the latest trace that was recorded in it; the classic text, which has no place for one, does not."""
        view = busy_view()
        latency = view.all_routes[0].counters.latency
        latency.observe(0.003)
        latency.exemplify(0.003, "0af7651916cd43dd8448eb211c80319c", 1e9)
        latency.exemplify(0.0031, "00000000000000000000000000000007", 1e9 + 1)
        latency.exemplify(100.0, "00000000000000000000000000000009", 1e9 + 2)
        key = {"virtual_host": "default/shop", "route": "shop/0"}
        samples = self.samples(GatewayCollector(view), OPENMETRICS)
        shown = {sample.labels["le"]: sample.exemplar for sample in samples.values()
                 if sample.name == "voltgw_request_duration_seconds_bucket" and sample.exemplar is not None}
        self.assertEqual({bound: (one.labels, one.value, one.timestamp and float(one.timestamp)) for bound, one in shown.items()}, {
            "0.004096": ({"trace_id": "00000000000000000000000000000007"}, 0.0031, 1e9 + 1),
            "+Inf": ({"trace_id": "00000000000000000000000000000009"}, 100.0, 1e9 + 2)})
        _, pieces = exposition(GatewayCollector(view), "")
        self.assertNotIn(b"trace_id", b"".join(pieces))
        self.assertEqual(self.value("voltgw_request_duration_seconds_count", key, view=view), 5)

    def test_routes_beyond_the_bound_are_one(self) -> None:
        """The first ones have time series of their own; sums are what they would be without the bound."""
        view = busy_view()
        for number in range(2, 9):
            route = Route(f"shop/{number}")
            route.counters.status[2], route.counters.bytes_in = number, 10
            route.counters.local_replies["UF"] = 1
            route.counters.latency.observe(0.001)
            view.all_routes.append(route)

        def of(name: str) -> dict[str, float]:
            totals: dict[str, float] = {}
            for sample in self.samples(GatewayCollector(view)).values():
                if sample.name == name:
                    totals[sample.labels["route"]] = totals.get(sample.labels["route"], 0) + sample.value
            return totals

        names = ("voltgw_requests_total", "voltgw_request_bytes_total", "voltgw_response_flags_total",
                 "voltgw_request_duration_seconds_count")
        whole = {name: of(name) for name in names}
        view.most_routes = 3
        for name in names:
            found = of(name)
            self.assertEqual(set(found), {"shop/0", "shop/2", "shop/3", "_other"}, name)
            self.assertEqual(sum(found.values()), sum(whole[name].values()), name)
            self.assertEqual(found["shop/2"], whole[name]["shop/2"])

    def test_endpoints_beyond_the_bound_are_one(self) -> None:
        """Those of each cluster: their sums, also of how many are ready and healthy."""
        view = busy_view()
        view.all_clusters.append(Cluster("default/other", endpoints=tuple(
            Endpoint(cluster="default/other", address=f"10.1.0.{n}", requests=n, ready=n > 2) for n in range(1, 5))))
        view.most_endpoints = 2
        rest, other = ({"cluster": f"default/{name}", "endpoint": "_other"} for name in ("shop", "other"))
        self.assertEqual(self.value("voltgw_endpoint_requests_total", other, view=view), 10)
        self.assertEqual(self.value("voltgw_endpoint_ready", other, view=view), 2)
        self.assertEqual(self.value("voltgw_endpoint_ready", rest, view=view), 1)
        samples = self.samples(GatewayCollector(view)).values()
        self.assertEqual({sample.labels["endpoint"] for sample in samples if sample.name == "voltgw_endpoint_ready"},
                         {"10.0.0.5:9001", "[2001:db8::1]:9001", "_other"})
        self.assertEqual(self.value("voltgw_endpoint_responses_total", {**other, "code_class": "2xx"}, view=view), 0)

    def test_how_the_process_fares(self) -> None:
        """Turns and timers as histograms: how many, how long altogether."""
        view = busy_view()
        for seconds in (0.00001, 0.03):
            view.turns.observe(seconds)
        view.timers.observe(0.25)
        self.assertEqual(self.value("voltgw_loop_turn_duration_seconds_bucket", {"le": "6.4e-05"}, view=view), 1)
        self.assertEqual(self.value("voltgw_loop_turn_duration_seconds_count", view=view), 2)
        self.assertEqual(self.value("voltgw_timer_lateness_seconds_sum", view=view), 0.25)

    def test_the_cycle_collector(self) -> None:
        """Its runs by generation; nothing where nobody looks after it."""
        view = busy_view()
        view.freed = 7
        view.pauses[0].observe(0.0005)
        view.pauses[2].observe(0.25)
        found = {age: self.value("voltgw_gc_pause_seconds_sum", {"generation": age}, view=view) for age in "012"}
        self.assertEqual(found, {"0": 0.0005, "1": 0.0, "2": 0.25})
        self.assertEqual(self.value("voltgw_gc_freed_objects_total", view=view), 7)
        view.pauses = ()
        names = {family.name for family in GatewayCollector(view).collect()}
        self.assertFalse([name for name in names if name.startswith("voltgw_gc_")])

    def test_little_to_say_of_many(self) -> None:
        """A family that says nothing of most endpoints stops now and then all the same, as every family does: others wait."""
        one = busy_view()
        clusters = list(one.cluster_objects())
        endpoints = sum(len(cluster.endpoints) for cluster in clusters)
        self.patch(endpoint_metrics, "LOOKED_AT", endpoints)
        found = dict.fromkeys(("voltgw_endpoint_ejected", "voltgw_endpoint_request_duration_seconds"), (0, 0))
        for family, samples in endpoint_metrics.endpoint_families(clusters * 10, 0):
            if family.name in found:
                said = list(samples)
                found[family.name] = said.count(None), len(said) - said.count(None)
        self.assertEqual([pauses for pauses, _ in found.values()], [10, 10])

    def test_promtool_has_nothing_to_say(self) -> None:
        """Prometheus' own linter takes the text as it is."""
        promtool = require("promtool")
        _, pieces = exposition(GatewayCollector(busy_view()), "")
        ran = subprocess.run([promtool, "check", "metrics"], input=b"".join(pieces), capture_output=True, timeout=20, check=False)
        self.assertEqual((ran.returncode, ran.stdout.decode() + ran.stderr.decode()), (0, ""))

    def test_a_name_with_quotes(self) -> None:
        """Configuration names are escaped."""
        route = Route('a"b\\c\nd')
        route.counters.status[2] = 1
        labels = {"virtual_host": "default/shop", "route": 'a"b\\c\nd', "code_class": "2xx"}
        self.assertEqual(self.value("voltgw_requests_total", labels, view=View(all_routes=[route])), 1)


class ExpositionTests(SynchronousTestCase):
    """The two formats, in pieces."""

    def many(self) -> GatewayCollector:
        """A gateway with more endpoints than a piece has samples."""
        endpoints = tuple(Endpoint(address=f"10.0.{n // 250}.{n % 250}", requests=1) for n in range(PIECE * 2 + 1))
        return GatewayCollector(View(all_clusters=[Cluster(endpoints=endpoints)]))

    def test_content_types(self) -> None:
        """Prometheus' text unless OpenMetrics is asked for."""
        collector = GatewayCollector(View())
        for accept, content_type in (
            ("", "text/plain; version=0.0.4; charset=utf-8"), ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
            (OPENMETRICS + ";q=0.5,text/plain;q=0.1", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ):
            found, pieces = exposition(collector, accept)
            self.assertTrue(found.startswith(content_type), found)
            self.assertEqual(b"".join(pieces).endswith(b"# EOF\n"), "openmetrics" in content_type)

    def test_pieces_make_the_whole(self) -> None:
        """In pieces the answer is what prometheus_client renders in one go, and no piece is long."""
        view = self.many()
        _, pieces = exposition(view, "")
        parts = list(pieces)

        def ours(text: bytes) -> Iterator[bytes]:
            return (line for line in text.splitlines() if b"process_" not in line)

        self.assertEqual(list(ours(b"".join(parts))), list(ours(generate_latest(view))))
        self.assertLessEqual(max(part.count(b"\n") for part in parts), PIECE)

    def test_openmetrics_in_pieces(self) -> None:
        """One end, and each family's description once."""
        _, pieces = exposition(self.many(), OPENMETRICS)
        text = b"".join(pieces)
        self.assertEqual(text.count(b"# EOF"), 1)
        self.assertEqual(text.count(b"# HELP voltgw_endpoint_ready "), 1)
        self.assertEqual(sum(len(family.samples) for family in parse_openmetrics(text.decode())
                             if family.name == "voltgw_endpoint_ready"), PIECE * 2 + 1)
