"""Tests for `voltgw.cluster.plan`."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, Generic, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.making import FakePool
from voltgw.cluster.affinity import AffinityRules
from voltgw.cluster.cluster import DEFAULT_LIMITS, NO_LIMIT, Cluster, Limits
from voltgw.cluster.gradient import GradientRules
from voltgw.cluster.outlier import OutlierRules
from voltgw.cluster.plan import CheckPlan, ClusterPlan, MemberPlan, build_cluster, home_of, plan_check, plan_cluster
from voltgw.cluster.schedulers.least_request import FullScan
from voltgw.cluster.schedulers.random import Uniform
from voltgw.cluster.schedulers.ring_hash import BoundedRing
from voltgw.cluster.slowstart import SlowStart
from voltgw.cluster.snapshot import EndpointKey, EndpointSet, EndpointState
from voltgw.cluster.spread import ZONE_LABEL, Home, SpreadRules
from voltgw.cluster.subset import SubsetRules
from voltgw.config.objects.cluster import (
    CircuitBreaker,
    ClusterSpec,
    EndpointSelectionPolicy,
    EndpointSubsetSelectorType,
    LoadbalancerAlgorithm,
    OutlierDetectionType,
    SubsetFallbackPolicy,
)
from voltgw.config.objects.cluster_extension import (
    AffinityKind,
    ClusterAffinityCookie,
    ClusterConcurrency,
    ClusterExtension,
    ClusterRetryBudget,
    ClusterSlowStart,
)
from voltgw.config.objects.cluster_outlier import OutlierExtension
from voltgw.config.objects.endpoint import DnsNameAdvancedType, EndpointExtension, EndpointSpec
from voltgw.config.objects.healthcheck import HealthcheckSpec, HttpHealthCheck, TcpHealthCheck
from voltgw.config.objects.healthcheck_extension import (
    DnsHealthCheck,
    GrpcHealthCheck,
    HealthcheckExtension,
    UdpHealthCheck,
)
from voltgw.config.objects.route import RoutingPriority
from voltgw.config.objects.secrets import ClearSecretInfoType, SecretType
from voltgw.config.values import EMPTY, FrozenMap, Secret
from voltgw.errors import ConfigErrors
from voltgw.registry import SCHEDULERS, Registry, RegistryError
from voltgw.values.defaults import CONNECT_TIMEOUT_S, DNS_REFRESH_S, UPSTREAM_IDLE_TIMEOUT_S

S = TypeVar("S")


@dataclass
class Metadata:
    """What is said about an object."""

    labels: FrozenMap[str, str] = field(default=EMPTY)
    disable: bool = False


@dataclass
class Object(Generic[S]):
    """A configured object."""

    spec: S
    name: str = "shop"
    namespace: str = "default"
    metadata: Metadata = field(default_factory=Metadata)


def endpoint(**values: Any) -> Object[EndpointSpec]:
    """An endpoint object."""
    return Object(EndpointSpec(**{"port": 80, **values}), "e")


def healthcheck(**values: Any) -> Object[HealthcheckSpec]:
    """A healthcheck object."""
    times: dict[str, Any] = {"timeout_s": 2.0, "interval_s": 5.0, "unhealthy_threshold": 3, "healthy_threshold": 2}
    return Object(HealthcheckSpec(**{**times, **values}), "h")


def plan(*endpoints: Object[EndpointSpec], checks: tuple[Object[HealthcheckSpec], ...] = (), **values: Any) -> ClusterPlan:
    """The plan of a cluster with these."""
    return plan_cluster(Object(ClusterSpec(**values)), endpoints, checks)


class PlanClusterTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """An empty cluster object has the documented defaults."""
        self.assertEqual(plan(), ClusterPlan(
            "default/shop", "round_robin", CONNECT_TIMEOUT_S, UPSTREAM_IDLE_TIMEOUT_S, DEFAULT_LIMITS, NO_LIMIT, (), ()))

    def test_settings(self) -> None:
        """What the object says is what the plan says."""
        made = plan(
            connection_timeout_s=0.5, http_idle_timeout_s=9.0, max_requests_per_connection=7,
            loadbalancer_algorithm=LoadbalancerAlgorithm.RANDOM,
            circuit_breaker=CircuitBreaker(connection_limit=5, pending_requests=6, retries=3, max_requests=8))
        self.assertEqual(made, ClusterPlan("default/shop", "random", 0.5, 9.0, Limits(5, 6, 8, 3), 7))

    def test_every_algorithm_has_a_scheduler(self) -> None:
        """Which the registry knows; one that is named takes the algorithm's place, with its options."""
        names = Registry().names(SCHEDULERS)
        for algorithm in LoadbalancerAlgorithm:
            self.assertIn(plan(loadbalancer_algorithm=algorithm).scheduler, names)
        self.assertEqual(plan(loadbalancer_algorithm=LoadbalancerAlgorithm.RING_HASH).scheduler, "ring_hash")
        made = plan(voltgw=ClusterExtension(scheduler="maglev", scheduler_options=FrozenMap({"table_size": 251})))
        self.assertEqual((made.scheduler, made.scheduler_options), ("maglev", {"table_size": 251}))

    def test_subsets(self) -> None:
        """Key sets, fallback and named expressions; a cluster that declares neither has no subsets."""
        self.assertIsNone(plan(default_subset=FrozenMap({"a": "b"})).subsets)
        made = plan(
            endpoint_subsets=(EndpointSubsetSelectorType(keys=("version",)),), fallback_policy=SubsetFallbackPolicy.ANY_ENDPOINT,
            voltgw=ClusterExtension(subset_expressions=FrozenMap({"new": "version in (11)"})))
        self.assertEqual(made.subsets, SubsetRules(
            (("version",),), SubsetFallbackPolicy.ANY_ENDPOINT, FrozenMap(), FrozenMap({"new": "version in (11)"})))

    def test_a_partial_circuit_breaker(self) -> None:
        """Absent limits keep their defaults; a breaker for high priority routes limits nobody else."""
        self.assertEqual(plan(circuit_breaker=CircuitBreaker(retries=2)).limits, Limits(retries=2))
        high = CircuitBreaker(priority=RoutingPriority.HIGH, connection_limit=1)
        self.assertEqual((plan(circuit_breaker=high).limits, plan(circuit_breaker=high).high_limits),
                         (DEFAULT_LIMITS, Limits(connections=1)))
        self.assertEqual(plan(circuit_breaker=CircuitBreaker(retries=2)).high_limits, DEFAULT_LIMITS)

    def test_members(self) -> None:
        """Addresses, names and names with an interval of their own; a service in a registry is no member here."""
        labelled = endpoint(ip="192.0.2.1", health_check_port=81, voltgw=EndpointExtension(weight=0))
        labelled.metadata.labels = FrozenMap({"v": "1"})
        made = plan(
            labelled, endpoint(dns_name="a.internal"),
            endpoint(dns_name_advanced=DnsNameAdvancedType(name="b.internal", refresh_interval_s=10.0)), endpoint())
        self.assertEqual(made.members, (
            MemberPlan("default/e", "static", "192.0.2.1", 80, health_port=81, weight=0, labels={"v": "1"}),
            MemberPlan("default/e", "dns", "a.internal", 80, refresh_s=DNS_REFRESH_S),
            MemberPlan("default/e", "dns", "b.internal", 80, refresh_s=10.0)))

    def test_checks(self) -> None:
        """HTTP and TCP checks with their own options."""
        http, tcp = HttpHealthCheck(path="/healthz"), TcpHealthCheck()
        made = plan(checks=(healthcheck(http_health_check=http, jitter_percent=20), healthcheck(tcp_health_check=tcp)))
        self.assertEqual(made.checks, (
            CheckPlan("default/h", "http", http, 5.0, 2.0, 2, 3, 20), CheckPlan("default/h", "tcp", tcp, 5.0, 2.0, 2, 3)))

    def test_disabled_objects(self) -> None:
        """What is disabled takes no part."""
        off, unchecked = endpoint(ip="192.0.2.1"), healthcheck(tcp_health_check=TcpHealthCheck())
        off.metadata.disable = unchecked.metadata.disable = True
        made = plan(off, endpoint(ip="192.0.2.2"), checks=(unchecked,))
        self.assertEqual(([member.address for member in made.members], made.checks), (["192.0.2.2"], ()))

    def test_equal_objects_make_equal_plans(self) -> None:
        """A reload can tell whether anything changed, labels and checks included."""
        def made(label: str = "1", path: str = "/") -> ClusterPlan:
            member = endpoint(ip="192.0.2.1")
            member.metadata.labels = FrozenMap({"v": label})
            return plan(member, checks=(healthcheck(http_health_check=HttpHealthCheck(path=path)),))

        self.assertEqual(made(), made())
        self.assertNotEqual(made(), made(label="2"))
        self.assertNotEqual(made(), made(path="/x"))


class CheckTests(SynchronousTestCase):
    def test_every_kind(self) -> None:
        """A health check's field, of the object model or of ours, names the probe and gives its options."""
        grpc, udp, dns = GrpcHealthCheck(service="a.B"), UdpHealthCheck(send_payload=b"x"), DnsHealthCheck(query_name="a.example")
        cases: tuple[tuple[dict[str, Any], str, object], ...] = (
            ({"http_health_check": HttpHealthCheck(path="/")}, "http", HttpHealthCheck(path="/")),
            ({"tcp_health_check": TcpHealthCheck()}, "tcp", TcpHealthCheck()),
            ({"udp_icmp_health_check": True}, "udp", UdpHealthCheck()),
            ({"voltgw": HealthcheckExtension(grpc_health_check=grpc)}, "grpc", grpc),
            ({"voltgw": HealthcheckExtension(udp_health_check=udp)}, "udp", udp),
            ({"voltgw": HealthcheckExtension(dns_query_health_check=dns)}, "dns", dns),
        )
        for spec, kind, options in cases:
            made = plan_check(healthcheck(**spec))
            assert made is not None
            self.assertEqual((made.kind, made.options, made.interval_s, made.fall), (kind, options, 5.0, 3))
            self.assertEqual((made.edge_interval_s, made.unhealthy_interval_s), (0.0, 0.0))
        made = plan_check(healthcheck(
            tcp_health_check=TcpHealthCheck(), voltgw=HealthcheckExtension(edge_interval_s=0.5, unhealthy_interval_s=30.0)))
        assert made is not None
        self.assertEqual((made.kind, made.edge_interval_s, made.unhealthy_interval_s), ("tcp", 0.5, 30.0))


class BuildClusterTests(SynchronousTestCase):
    def test_it_is_what_the_plan_says(self) -> None:
        """Name, times, limits and scheduler; `config` is the plan."""
        made = plan(
            connection_timeout_s=0.5, http_idle_timeout_s=9.0, max_requests_per_connection=7,
            loadbalancer_algorithm=LoadbalancerAlgorithm.RANDOM,
            circuit_breaker=CircuitBreaker(connection_limit=5, pending_requests=6, retries=3, max_requests=8))
        cluster = build_cluster(made, lambda _: FakePool(), Random(0), Registry())
        self.assertEqual((cluster.name, cluster.connect_timeout_s, cluster.idle_timeout_s), ("default/shop", 0.5, 9.0))
        self.assertEqual(
            (cluster.max_connections, cluster.max_pending, cluster.max_requests, cluster.max_retries), (5, 6, 8, 3))
        self.assertEqual(cluster.max_requests_per_connection, 7)
        self.assertEqual(cluster.config, made)
        key = EndpointKey("default/shop", "TCP", "", "192.0.2.1", 80)
        cluster.install(EndpointSet(1, (EndpointState(key),)))
        self.assertIsInstance(cluster.scheduler, Uniform)

    def test_an_unknown_scheduler(self) -> None:
        """A plan may name a scheduler of another package that is not there."""
        with self.assertRaises(RegistryError):
            build_cluster(ClusterPlan("default/shop", "sticky"), lambda _: FakePool(), Random(0), Registry())


    def test_options_of_a_scheduler(self) -> None:
        """They reach it; what it cannot do with is a problem of the configuration."""
        def built(name: str, options: object) -> Cluster:
            made = build_cluster(
                ClusterPlan("default/shop", name, scheduler_options=options), lambda _: FakePool(), Random(0), Registry())
            key = EndpointKey("default/shop", "TCP", "", "192.0.2.1", 80)
            made.install(EndpointSet(1, (EndpointState(key),)))
            return made

        self.assertIsInstance(built("least_request", FrozenMap({"full_scan": True})).scheduler, FullScan)
        self.assertIsInstance(built("ring_hash", FrozenMap({"bounded_load": 150})).scheduler, BoundedRing)
        for name, options in (
            ("least_request", FrozenMap({"full_scam": True})), ("least_request", FrozenMap({"full_scan": 1})),
            ("least_request", "full_scan"), ("ring_hash", FrozenMap({"bounded_load": 99})),
            ("ring_hash", FrozenMap({"bounded_load": True})), ("maglev", FrozenMap({"table_size": 65536})),
            ("maglev", FrozenMap({"table_size": 1})), ("rendezvous", FrozenMap({"x": 1})),
        ):
            with self.assertRaises(ConfigErrors, msg=(name, options)):
                built(name, options)


class SnapshotTests(SynchronousTestCase):
    def test_it_crosses_a_process_boundary(self) -> None:
        """An endpoint set is plain values: it can be pickled, and comes back equal."""
        keys = [EndpointKey("default/shop", "TCP", "", address, 80) for address in ("192.0.2.1", "2001:db8::1")]
        states = (EndpointState(keys[0], 2, FrozenMap({"v": "1"}), "a.internal", 81, False, "unhealthy", "status 500"),
                  EndpointState(keys[1]))
        made = EndpointSet(7, states)
        self.assertEqual(pickle.loads(pickle.dumps(made)), made)
        self.assertEqual(made.ready, states[1:])
        self.assertEqual([str(key) for key in keys], ["192.0.2.1:80", "[2001:db8::1]:80"])


class JudgingTests(SynchronousTestCase):
    """What becomes of outlier detection, slow start and weight labels."""

    def plan(self, **values: Any) -> ClusterPlan:
        """The plan of a cluster that says this."""
        return plan_cluster(Object(ClusterSpec(**values)), [], [])

    def test_no_outlier_detection(self) -> None:
        """Nobody is ejected where nothing asks for it."""
        self.assertIs(self.plan().outlier, None)

    def test_the_object_s_fields(self) -> None:
        """What is written counts, the rest are Envoy's defaults; a gateway failure limit that is written ejects."""
        said = OutlierDetectionType(consecutive_5xx=3, interval_s=1.0, base_ejection_time_s=2.0, max_ejection_percent=50)
        self.assertEqual(self.plan(outlier_detection=said).outlier, OutlierRules(
            consecutive_5xx=3, interval_s=1.0, base_ejection_time_s=2.0, max_ejection_percent=50))
        rules = self.plan(outlier_detection=OutlierDetectionType(consecutive_gateway_failure=2)).outlier
        self.assertEqual(rules, OutlierRules(consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=100))
        self.assertEqual(self.plan(outlier_detection=OutlierDetectionType()).outlier, OutlierRules())

    def test_finer_rules(self) -> None:
        """Those under `voltgw` go beside them."""
        more = OutlierExtension(split_external_local_origin_errors=True, success_rate_minimum_hosts=3, time_only=True,
                                enforcing_consecutive_gateway_failure=0, max_ejection_time_s=60.0)
        rules = self.plan(outlier_detection=OutlierDetectionType(consecutive_gateway_failure=2),
                          voltgw=ClusterExtension(outlier=more)).outlier
        self.assertEqual(rules, OutlierRules(
            consecutive_gateway_failure=2, split_external_local_origin_errors=True, success_rate_minimum_hosts=3,
            successful_active_health_check_uneject_host=False, max_ejection_time_s=60.0))

    def test_every_rule_can_be_set(self) -> None:
        """Each field of the rules is one of the object's, one of the extension's, or `time_only`."""
        named = {each.name for kind in (OutlierDetectionType, OutlierExtension) for each in fields(kind)}
        self.assertEqual({each.name for each in fields(OutlierRules)} - named, {"successful_active_health_check_uneject_host"})

    def test_slow_start_and_weight_label(self) -> None:
        """As written, the rest Envoy's."""
        plan = self.plan(voltgw=ClusterExtension(slow_start=ClusterSlowStart(window_s=60.0), weight_label="share"))
        self.assertEqual((plan.slow_start, plan.weight_label), (SlowStart(60.0), "share"))
        plan = self.plan(voltgw=ClusterExtension(
            slow_start=ClusterSlowStart(window_s=5.0, aggression=2.0, min_weight_percent=1.0)))
        self.assertEqual(plan.slow_start, SlowStart(5.0, 2.0, 1.0))

    def test_the_cluster_has_them(self) -> None:
        """The live cluster judges by the plan's rules, and that of high priority shares the judge."""
        plan = self.plan(outlier_detection=OutlierDetectionType(), voltgw=ClusterExtension(
            slow_start=ClusterSlowStart(window_s=60.0)))
        made = build_cluster(plan, lambda key: FakePool(), Random(0), Registry())
        assert made.outliers is not None
        self.assertIs(made.of_high_priority().outliers, made.outliers)
        self.assertEqual(made.slow_start, SlowStart(60.0))

    def test_priorities_and_localities(self) -> None:
        """From `endpoint_selection` and ours; where the gateway is comes from outside."""
        self.assertEqual((self.plan().spread, self.plan().local_only), (SpreadRules(), False))
        plan = self.plan(endpoint_selection=EndpointSelectionPolicy.LOCAL_PREFERRED, voltgw=ClusterExtension(
            overprovisioning_percent=120, locality_weights=FrozenMap({"a": 3})))
        self.assertEqual(plan.spread, SpreadRules(True, 120, FrozenMap({"a": 3})))
        self.assertTrue(self.plan(endpoint_selection=EndpointSelectionPolicy.LOCAL_ONLY).local_only)
        self.assertEqual(home_of("paris", {ZONE_LABEL: "a"}), Home("paris", "a"))
        member = plan_cluster(Object(ClusterSpec()), [endpoint(ip="192.0.2.1", voltgw=EndpointExtension(priority=2, zone="b"))], [])
        self.assertEqual((member.members[0].priority, member.members[0].zone), (2, "b"))

    def test_adaptive_concurrency(self) -> None:
        """What is not said is what Netflix has; the beginning is the least."""
        self.assertIs(self.plan().gradient, None)
        plan = self.plan(voltgw=ClusterExtension(adaptive_concurrency=ClusterConcurrency()))
        self.assertEqual(plan.gradient, GradientRules(20, 20, 200, 1.5))
        plan = self.plan(voltgw=ClusterExtension(adaptive_concurrency=ClusterConcurrency(
            min_limit=300, max_limit=900, initial_limit=400, tolerance=2.0)))
        self.assertEqual(plan.gradient, GradientRules(400, 300, 900, 2.0))
        made = build_cluster(plan, lambda key: FakePool(), Random(0), Registry())
        self.assertEqual(made.max_requests, 400)

    def test_affinity(self) -> None:
        """A cookie of a session, or what is said of it; without a key of its own it is signed with the process's."""
        self.assertEqual((self.plan().affinity, self.plan(voltgw=ClusterExtension()).affinity), (None, None))
        kind = AffinityKind.ENDPOINT_COOKIE
        self.assertEqual(self.plan(voltgw=ClusterExtension(affinity=kind)).affinity, AffinityRules())
        key = SecretType(clear_secret_info=ClearSecretInfoType(url=Secret(b"abc")))
        plan = self.plan(voltgw=ClusterExtension(affinity=kind, affinity_cookie=ClusterAffinityCookie(
            name="node", key=key, max_age_s=60.0, secure=True)))
        self.assertEqual(plan.affinity, AffinityRules("node", b"abc", 60, True))
        values = []
        for made_key in (b"one", b"two"):
            for each in (plan, self.plan(voltgw=ClusterExtension(affinity=kind))):
                made = build_cluster(each, lambda key: FakePool(), Random(0), Registry(), made_key=made_key)
                assert made.affinity is not None
                values.append(made.affinity.value(EndpointKey("c", "TCP", "", "192.0.2.1", 80)))
        self.assertEqual((values[0] == values[2], values[1] == values[3]), (True, False))

    def test_retry_budget_and_age(self) -> None:
        """As written; the usual ones are 20 % with a floor of 3, and no age."""
        self.assertEqual((self.plan().retry_budget, self.plan().max_age_s), (None, 0.0))
        plan = self.plan(voltgw=ClusterExtension(retry_budget=ClusterRetryBudget(percent=50.0, least=0), max_connection_age_s=600.0))
        made = build_cluster(plan, lambda key: FakePool(), Random(0), Registry())
        self.assertEqual((made.max_age_s, made.of_high_priority().max_age_s), (600.0, 600.0))
        made.install(EndpointSet(1, tuple(EndpointState(EndpointKey("c", "TCP", "", "192.0.2.1", port)) for port in range(1, 21))))
        self.assertFalse(made.may_retry())
        made.active = 10
        made.retries = 4
        self.assertTrue(made.may_retry())
        made.retries = 5
        self.assertFalse(made.may_retry())
        none = build_cluster(self.plan(voltgw=ClusterExtension(retry_budget=ClusterRetryBudget(percent=0.0, least=1))),
                             lambda key: FakePool(), Random(0), Registry())
        none.active = 1000
        self.assertTrue(none.may_retry())
        none.retries = 1
        self.assertFalse(none.may_retry())
