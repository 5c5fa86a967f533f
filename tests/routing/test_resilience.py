"""Retries, copies, whole bodies, upgrades: what a route gets from its own policy and its host's."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Clusters, build, prefix
from tests.routing.test_table import rule, to
from voltgw.config.objects.extensions import HostExtension, RouteExtension
from voltgw.config.objects.headers import HeaderTransformationType
from voltgw.config.objects.policies import BufferConfigType, RetryBackOff, RetryPolicyType
from voltgw.config.objects.route import (
    Denominator,
    FractionalPercent,
    MirrorPolicyType,
    RouteSpec,
    RouteType,
    RoutingPriority,
    SpdyConfigType,
    WebsocketConfigType,
)
from voltgw.config.objects.virtual_host import HttpProtocolOptions, HttpV1Options, ProxyType, VirtualHostSpec
from voltgw.config.values import Ref
from voltgw.routing.problems import BuildErrors
from voltgw.routing.route import Route
from voltgw.values.compiling import slots_of
from voltgw.values.retry import SAFE_CONDITIONS, RetryPlan


def route(host: Mapping[str, object] | None = None, rule_: Mapping[str, object] | None = None, **fields: object) -> Route:
    """The one route of a host with these fields, whose destination list has those."""
    spec = VirtualHostSpec(domains=("*",), **(host or {}))  # type: ignore[arg-type]  # the caller's fields
    return build(rule(to_=to("c", **fields), **(rule_ or {})), spec=spec).routes[0]


class NothingTests(SynchronousTestCase):
    """A route that uses none of it."""

    def test_defaults(self) -> None:
        """Everything is absent, so that the data plane pays nothing."""
        plain = route()
        self.assertEqual(
            (plain.retry, plain.mirror, plain.upgrades, plain.buffer_bytes, plain.buffer_time_s, plain.hash_key, plain.share,
             plain.priority_high),
            (None, None, frozenset(), 0, 0.0, None, None, False))
        self.assertEqual((plain.host.header_case, plain.host.via, plain.host.proxy_status), (None, False, False))

    def test_a_variant_has_all_of_it(self) -> None:
        """Routes of one rule differ in their rewriting alone."""
        host = build(rule(prefix("/a/"), prefix("/bb/"), to_=to(
            "c", prefix_rewrite="/", retry_policy=RetryPolicyType(num_retries=5), priority=RoutingPriority.HIGH,
            buffer_policy=BufferConfigType(max_request_bytes=7), web_socket_config=WebsocketConfigType(use_websocket=True),
            mirror_policy=MirrorPolicyType(cluster=(Ref(None, "m"),)))))
        first, second = (target for _, target in host.rules[0].clauses)
        self.assertIsNot(first, second)
        for name in set(slots_of(Route)) - {"rewrite"}:
            self.assertEqual(getattr(first, name), getattr(second, name), name)

    def test_kinds_that_relay_connections(self) -> None:
        """A TCP proxy has no requests to try again, copy or hold."""
        relay = build(rule(to_=to("c", retry_policy=RetryPolicyType(), buffer_policy=BufferConfigType())),
                      spec=VirtualHostSpec(proxy=ProxyType.TCP_PROXY)).routes[0]
        self.assertEqual((relay.retry, relay.buffer_bytes), (None, 0))


class RetryTests(SynchronousTestCase):
    """`Route.retry`."""

    def test_every_field(self) -> None:
        """Conditions of both spellings, times in seconds."""
        plan = route(retry_policy=RetryPolicyType(
            retry_on="5xx", retry_condition=("reset", "retriable-status-codes"), num_retries=3, per_try_timeout_s=0.2,
            retriable_status_codes=(418, 429), back_off=RetryBackOff(base_interval_s=0.1, max_interval_s=0.4))).retry
        self.assertEqual(plan, RetryPlan(
            frozenset(("5xx", "reset", "retriable-status-codes")), 3, 0.2, frozenset((418, 429)), 0.1, 0.4))

    def test_what_is_absent(self) -> None:
        """One further try, 25 ms growing tenfold; without conditions only what is safe (objects.md 3.6)."""
        plan = route(retry_policy=RetryPolicyType()).retry
        self.assertEqual(plan, RetryPlan(frozenset(("connect-failure", "refused-stream")), 1, 0.0, frozenset(), 0.025, 0.25))
        plan = route(retry_policy=RetryPolicyType(back_off=RetryBackOff(base_interval_s=0.05))).retry
        assert plan is not None
        self.assertEqual((plan.base_s, plan.max_s), (0.05, 0.5))

    def test_no_retries(self) -> None:
        """A zero is a zero: it switches off even the safe ones."""
        plan = route(retry_policy=RetryPolicyType(num_retries=0)).retry
        assert plan is not None
        self.assertEqual(plan.retries, 0)

    def test_the_route_wins(self) -> None:
        """A route's policy stands in the place of its host's; nothing of the two is mixed."""
        of_host = {"retry_policy": RetryPolicyType(retry_condition=("5xx",), num_retries=8)}
        inherited = route(of_host).retry
        own = route(of_host, retry_policy=RetryPolicyType(retry_condition=("reset",))).retry
        assert inherited is not None and own is not None
        self.assertEqual((inherited.conditions, inherited.retries), (frozenset(("5xx",)), 8))
        self.assertEqual((own.conditions, own.retries), (frozenset(("reset",)), 1))

    def test_what_extensions_permit(self) -> None:
        """On the rule, on its object or on the host; without a policy there is nothing to permit."""
        policy = RetryPolicyType(retry_condition=("5xx",))
        careless, hedging = RouteExtension(retry_non_idempotent=True), RouteExtension(hedge_on_per_try_timeout=True)
        for made, wanted in (
            (route(retry_policy=policy), (False, False)),
            (route(rule_={"voltgw": careless}, retry_policy=policy), (True, False)),
            (route(rule_={"voltgw": hedging}, retry_policy=policy), (False, True)),
            (route({"voltgw": HostExtension(retry_non_idempotent=True)}, {"voltgw": hedging}, retry_policy=policy), (True, True)),
        ):
            assert made.retry is not None
            self.assertEqual((made.retry.non_idempotent, made.retry.hedge), wanted)
        self.assertIsNone(route(rule_={"voltgw": careless}).retry)
        spec = RouteSpec(routes=(rule(to_=to("c", retry_policy=policy)),), voltgw=careless)
        plan = build(*spec.routes, object_=spec).routes[0].retry
        assert plan is not None
        self.assertTrue(plan.non_idempotent)


class GrpcTests(SynchronousTestCase):
    """Codes of gRPC that ask for another try."""

    def test_the_nearest_one_says_which(self) -> None:
        """A rule's codes take the place of its host's; they stand beside the conditions of a policy, or alone beside the safe ones."""
        made = route({"voltgw": HostExtension(retry_grpc=("internal",))})
        self.assertEqual(made.retry, RetryPlan(SAFE_CONDITIONS | {"internal"}, grpc=True))
        made = route({"voltgw": HostExtension(retry_grpc=("internal",))}, {"voltgw": RouteExtension(retry_grpc=("unavailable",))},
                     retry_policy=RetryPolicyType(retry_condition=("reset",), num_retries=3))
        assert made.retry is not None
        self.assertEqual((made.retry.conditions, made.retry.retries, made.retry.grpc), ({"reset", "unavailable"}, 3, True))


class MirrorTests(SynchronousTestCase):
    """`Route.mirror`."""

    def mirror(self, **fields: object) -> MirrorPolicyType:
        return MirrorPolicyType(cluster=(Ref(None, "m"),), **fields)  # type: ignore[arg-type]  # the caller's fields

    def test_shares(self) -> None:
        """All where no share is said; none at all costs nothing."""
        for percent, wanted in (
            (None, (1, 1)), (FractionalPercent(numerator=5), (5, 100)),
            (FractionalPercent(numerator=5, denominator=Denominator.MILLION), (5, 1_000_000)),
            (FractionalPercent(numerator=3, denominator=Denominator.TEN_THOUSAND), (3, 10_000)),
        ):
            plan = route(mirror_policy=self.mirror(percent=percent)).mirror
            assert plan is not None
            self.assertEqual((plan.cluster.name, plan.numerator, plan.denominator), ("default/m", *wanted))
        self.assertIsNone(route(mirror_policy=self.mirror(percent=FractionalPercent())).mirror)

    def test_a_cluster_that_does_not_exist(self) -> None:
        """It must (objects.md 22.18): copies that vanish unseen would deceive whoever looks at them."""
        error = self.assertRaises(BuildErrors, build, rule(to_=to("c", mirror_policy=self.mirror())), clusters=Clusters("m"))
        self.assertEqual([problem.place.file for problem in error.problems],
                         ["r.yaml:routes.0.route_destination.mirror_policy.cluster.0"])


class BufferTests(SynchronousTestCase):
    """`Route.buffer_bytes` and `buffer_time_s`."""

    def test_the_route_wins(self) -> None:
        """The message itself switches it on; a route may switch off what its host asked for."""
        large = BufferConfigType(max_request_bytes=5000, max_request_time_s=9.0)
        for of_host, own, wanted in (
            (None, None, (0, 0.0)), (large, None, (5000, 9.0)), (None, BufferConfigType(), (1024 * 1024, 0.0)),
            (large, BufferConfigType(max_request_bytes=1), (1, 0.0)), (large, BufferConfigType(disabled=True), (0, 0.0)),
        ):
            made = route({"buffer_policy": of_host}, buffer_policy=own)
            self.assertEqual((made.buffer_bytes, made.buffer_time_s), wanted)


class OtherTests(SynchronousTestCase):
    """Upgrades, priority, and how a host writes."""

    def test_upgrades(self) -> None:
        """Only those that are asked for."""
        web, spdy = WebsocketConfigType(use_websocket=True), SpdyConfigType(use_spdy=True)
        for fields, wanted in (({"web_socket_config": web}, {b"websocket"}), ({"spdy_config": spdy}, {b"spdy/3.1"}),
                               ({"web_socket_config": web, "spdy_config": spdy}, {b"websocket", b"spdy/3.1"}),
                               ({"web_socket_config": WebsocketConfigType()}, set())):
            self.assertEqual(route(**fields).upgrades, wanted)

    def test_priority(self) -> None:
        """HIGH has pools and limits of its own."""
        self.assertTrue(route(priority=RoutingPriority.HIGH).priority_high)
        self.assertFalse(route(priority=RoutingPriority.DEFAULT).priority_high)

    def test_names_in_proper_case(self) -> None:
        """By either of the two fields; the newer one wins where it says something."""
        proper = HeaderTransformationType(proper_case_header_transformation=True)
        lower = HeaderTransformationType(default_header_transformation=True)

        def newer(case: HeaderTransformationType) -> HttpProtocolOptions:
            return HttpProtocolOptions(http_protocol_enable_v1_only=HttpV1Options(header_transformation=case))

        for fields, wanted in (({"header_transformation_type": proper}, True), ({"http_protocol_options": newer(proper)}, True),
                               ({"header_transformation_type": lower}, False),
                               ({"header_transformation_type": proper, "http_protocol_options": newer(lower)}, False)):
            case = route(fields).host.header_case
            self.assertEqual(None if case is None else case(b"x-a"), b"X-A" if wanted else None)

    def test_fields_of_the_gateway_s_own(self) -> None:
        """Via and Proxy-Status are sent where the host asks for them."""
        host = route({"voltgw": HostExtension(via=True, proxy_status=True)}).host
        self.assertEqual((host.via, host.proxy_status), (True, True))
        host = build(RouteType(route_destination=to("c")), spec=VirtualHostSpec(
            domains=("*",), voltgw=HostExtension(via=True)))
        self.assertEqual((host.via, host.proxy_status), (True, False))
