"""Virtual hosts and routes built from configuration: once per configuration, and a request only reads.

Whatever can be wrong is found while building, all of it at once (`voltgw.routing.problems.BuildErrors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from voltgw.config.objects.extensions import Balance
from voltgw.config.objects.route import RoutingPriority
from voltgw.registry import Registry
from voltgw.routing.actions import direct_response, host_rewrite, redirect, target_rewrite
from voltgw.routing.affinity import pinned_key, tell_of
from voltgw.routing.filters.chain import HostFilters, ObjectFilters, rule_filters, told
from voltgw.routing.hashing import hash_key
from voltgw.routing.match import EVERYTHING, Clause, compile_match
from voltgw.routing.outward import EVERYTHING_OUT, Outward, OutwardObject, lead_out
from voltgw.routing.problems import Collector, Placer, at, nowhere
from voltgw.routing.resilience import buffering, max_body, mirror_plan, retry_plan, upgrade_plan, upgrades
from voltgw.routing.route import FilterLabel, Route, Rule, VirtualHost
from voltgw.routing.split import Destination
from voltgw.routing.sticky import Sticky
from voltgw.values import defaults
from voltgw.values.header_case import header_case
from voltgw.values.identity import Identity

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.interfaces import RequestFilter, UpstreamCluster
    from voltgw.routing.route import Guard
    from voltgw.values.counters import RouteCounters
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead

__all__ = ["FindCluster", "FindCounters", "Route", "RouteObject", "Rule", "VirtualHost", "build_host"]

#: (reference, namespace of the object that refers) -> the cluster, None when there is none.
FindCluster: TypeAlias = "Callable[[Ref, str], UpstreamCluster | None]"
#: Route name -> its counters; at a reload the old ones, so that they count on.
FindCounters: TypeAlias = "Callable[[str], RouteCounters]"

#: The label that makes a virtual host a member of a service mesh.
_APP_TYPE: Final = "ves.io/app_type"


class RouteObject(Protocol):
    """A route object of the configuration."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def spec(self) -> RouteSpec:
        """Its rules."""

    @property
    def place(self) -> Placer:
        """Where its values were written."""


def build_host(
    name: str, spec: VirtualHostSpec, route_objects: Sequence[RouteObject], find_cluster: FindCluster, *,
    namespace: str = "default", labels: Mapping[str, str] | None = None, place: Placer = nowhere,
    counters: FindCounters | None = None, registry: Registry | None = None, guard: Guard | None = None,
    gates: Sequence[Guard] = (), outward: Outward | None = None,
) -> VirtualHost:
    """The runtime form of a virtual host; `route_objects` are those that it refers to, in its order.

    For kinds that relay connections the rules' conditions are ignored and the first rule's destinations are used. `registry`
    finds the filters of packages; whoever builds many hosts hands one in, for a new one asks for all entry points again.
    `gates` judge the requests of its routes before any filter, in their order; `guard` is the one of them that is its service
    policies.
    Raises `BuildErrors` with everything that is wrong.
    """
    host = VirtualHost(
        name, namespace, spec.domains, proxy=spec.proxy.value, app_type=(labels or {}).get(_APP_TYPE, ""))
    host.find_place = place
    host.guard = guard
    host.gates = tuple(gates)
    _configure(host, spec)
    found = Collector()
    filters = HostFilters(spec, registry or Registry(), place, found)
    rules: list[Rule] = []
    for obj in route_objects:
        of_object = ObjectFilters(obj.spec, filters, obj.place, found)
        for number, rule in enumerate(obj.spec.routes):
            with found.at(obj.place, "routes", number):
                builder = _RuleBuilder(host, spec, obj, number, find_cluster, filters, of_object)
                rules.append(builder.build(rule, counters))
    if outward is not None:
        made = OutwardObject(f"{name}-dynamic", namespace, place)
        with found.at(place, "dynamic_reverse_proxy"):
            builder = _RuleBuilder(
                host, spec, made, 0, find_cluster, filters, ObjectFilters(made.spec, filters, place, found))
            rules.append(builder.build(EVERYTHING_OUT, counters))
            lead_out(rules[-1].route, outward)
        host.egress = outward
    found.finish()
    host.install(rules)
    for gate in host.gates:
        if (follow := getattr(gate, "follow", None)) is not None:
            follow(host)
    gates_of_routes = {id(gate): gate for rule in rules for gate in rule.route.gates}
    host.hides = tuple(dict.fromkeys(
        hide for gate in gates_of_routes.values() if (hide := getattr(gate, "hide", None)) is not None))
    return host


def _configure(host: VirtualHost, spec: VirtualHostSpec) -> None:
    """The values of a host that are no routes."""
    host.raw_path = spec.disable_path_normalize
    if spec.pass_through:
        host.server_line, host.keep_server = None, True
    elif spec.append_server_name is not None:
        host.server_line, host.keep_server = b"server: " + spec.append_server_name.encode("utf-8"), True
    elif spec.server_name is not None:
        host.server_line = b"server: " + spec.server_name.encode("utf-8")
    host.max_request_head_bytes = spec.max_request_header_size_bytes or defaults.MAX_REQUEST_HEAD_BYTES
    host.keep_alive_timeout_s = spec.connection_idle_timeout_s or defaults.KEEP_ALIVE_TIMEOUT_S
    host.idle_timeout_s = spec.idle_timeout_s or 0.0
    slow = spec.slow_ddos_mitigation
    if slow is not None:
        host.request_head_timeout_s = slow.request_headers_timeout_s or defaults.REQUEST_HEAD_TIMEOUT_S
        host.request_timeout_s = slow.request_timeout_s or 0.0
    host.custom_errors = spec.custom_errors
    host.default_error_pages = not spec.disable_default_error_pages
    host.max_requests_per_connection = spec.max_requests_per_connection or 0
    options = spec.http_protocol_options
    version_1 = options.http_protocol_enable_v1_only if options is not None else None
    case = version_1.header_transformation if version_1 is not None else spec.header_transformation_type
    host.header_case = header_case(case)
    if options is not None:
        both = options.http_protocol_enable_v1_v2
        host.version_1 = both or version_1 is not None
        host.version_2 = host.prior_knowledge = both or options.http_protocol_enable_v2_only
    if spec.voltgw is not None:
        ours = spec.voltgw
        host.via, host.proxy_status = ours.via, ours.proxy_status
        host.quic, host.per_packet = ours.quic_connection_ids, ours.per_packet_load_balancing
        if ours.trusted_hops or ours.trusted_prefixes or ours.forwarded:
            host.identity = Identity(
                ours.trusted_hops or 0, tuple(ip_network(prefix, strict=False) for prefix in ours.trusted_prefixes),
                ours.forwarded)


class _RuleBuilder:
    """Builds one rule of one route object for one host."""

    def __init__(
        self, host: VirtualHost, spec: VirtualHostSpec, obj: RouteObject, number: int, find_cluster: FindCluster,
        filters: HostFilters, of_object: ObjectFilters,
    ) -> None:
        self.host = host
        self.spec = spec
        self.obj = obj
        self.number = number
        self.find_cluster = find_cluster
        self.filters = filters
        self.of_object = of_object

    def build(self, rule: RouteType, counters: FindCounters | None) -> Rule:
        """The rule. Raises ValueError, with the way to it from the rule."""
        host = self.host
        name = f"{self.obj.name}/{self.number}"
        route = Route(host, name, self.number, partial(self.obj.place, "routes", self.number),
                      None if counters is None else counters(name))
        if rule.route_destination is not None:
            with at("route_destination"):
                self.forward(route, rule)
        if not self.spec.proxy.http:
            if rule.route_destination is None:
                raise ValueError(f"a rule of a {host.proxy} virtual host has destinations; it relays connections, and "
                                 "can neither redirect nor answer them")
            self.gate(route, rule)
            return Rule(route, [(EVERYTHING, route)])
        behind = route.response_filters
        route.request_filters, route.response_filters, route.filters, route.error_filters = rule_filters(
            rule, self.number, self.of_object, self.filters)
        route.response_filters = (*route.response_filters, *behind)
        route.told = told(rule, self.spec)
        self.gate(route, rule)
        route.request_filters = (*_judging(route.gates), *route.request_filters)
        added = dict.fromkeys(gate.answer_filter for gate in route.gates)
        route.response_filters = (*route.response_filters, *(each for each in added if each is not None))
        route.filters = (*(FilterLabel(gate.name, gate.text, host.find_place) for gate in route.gates), *route.filters)
        clauses: list[Clause] = []
        for number, entry in enumerate(rule.match):
            with at("match", number):
                clauses.append(compile_match(
                    entry, segments=self.obj.spec.segment_prefix(rule), normalised=not host.raw_path))
        return Rule(route, self.act(route, rule, clauses or [EVERYTHING]))

    def gate(self, route: Route, rule: RouteType) -> None:
        """Who judges what comes to it."""
        gates = [gate.for_rule(rule, self.obj.namespace, self.obj.spec) for gate in self.host.gates]
        route.gates = tuple(gate for gate in gates if gate is not None)
        route.guarded = self.host.guard is not None and self.host.guard in gates
        route.owned = frozenset(name for gate in self.host.gates for name in getattr(gate, "owned", ()))

    def act(self, route: Route, rule: RouteType, clauses: Sequence[Clause]) -> list[tuple[Clause, Route]]:
        """Each clause with its route; they differ only where what a prefix rewrite replaces depends on the clause."""
        made: dict[tuple[int | None, bool] | None, Route] = {}
        forward, away = rule.route_destination, rule.route_redirect
        depends = bool(forward and forward.prefix_rewrite or away and away.prefix_rewrite)
        result: list[tuple[Clause, Route]] = []
        for clause in clauses:
            key = (clause.replaced, clause.segments) if depends else None
            if key not in made:
                made[key] = target = route.variant() if made else route
                self.set_action(target, rule, clause)
            result.append((clause, made[key]))
        return result

    def set_action(self, route: Route, rule: RouteType, clause: Clause) -> None:
        """What the route does with requests that match by `clause`."""
        normalised = not self.host.raw_path
        if rule.route_destination is not None:
            with at("route_destination"):
                route.rewrite = target_rewrite(rule.route_destination, clause, normalised=normalised)
        elif rule.route_redirect is not None:
            with at("route_redirect"):
                route.answer = redirect(rule.route_redirect, clause, normalised=normalised)
        elif rule.route_direct_response is not None:
            with at("route_direct_response"):
                route.answer = direct_response(
                    rule.route_direct_response, self.spec.max_direct_response_body_size_bytes)
        else:
            raise ValueError("this rule has no action")

    def forward(self, route: Route, rule: RouteType) -> None:
        """The destinations and what is said of them all."""
        spec = rule.route_destination
        assert spec is not None             # the caller has looked
        plain = all(destination.weight is None for destination in spec.destinations)
        high = self.spec.proxy.http and spec.priority is RoutingPriority.HIGH
        destinations: list[Destination] = []
        for number, destination in enumerate(spec.destinations):
            ref = destination.cluster[0]
            cluster = self.find_cluster(ref, self.obj.namespace)
            if cluster is not None and high:
                cluster = cluster.of_high_priority()
            name = f"{ref.namespace or self.obj.namespace}/{ref.name}" if cluster is None or high else cluster.name
            wanted = {**spec.endpoint_subsets, **destination.endpoint_subsets}      # the destination's win
            named = destination.voltgw.subset if destination.voltgw is not None else None
            if cluster is not None:
                with at("destinations", number, *(("voltgw", "subset") if named else ())):
                    cluster = cluster.subset(wanted, named or "")
                if spec.voltgw is not None and spec.voltgw.balance is not Balance.CLUSTER:
                    cluster = cluster.balanced_by(spec.voltgw.balance.value.lower())
            labels = named or ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
            destinations.append(Destination(
                cluster, name, 1 if plain else destination.weight or 0, destination.priority or 0,
                partial(route.find_place, "route_destination", "destinations", number),
                f"{name}?{labels}" if labels else name))
        with at("destinations"):
            route.forward_to(destinations, retract=spec.retract_cluster)
        route.host_rewrite = host_rewrite(spec)
        route.auto_host_rewrite = spec.auto_host_rewrite
        route.timeout_s = spec.timeout_s or 0.0
        if not self.spec.proxy.http:
            return
        route.retry = retry_plan(
            spec.retry_policy, self.spec.retry_policy, (rule.voltgw, self.obj.spec.voltgw, self.spec.voltgw))
        if spec.mirror_policy is not None:
            with at("mirror_policy"):
                copies_to = self.find_cluster(spec.mirror_policy.cluster[0], self.obj.namespace)
                route.mirror = mirror_plan(spec.mirror_policy, None if copies_to is None else copies_to.subset({}))
        route.upgrades = upgrades(spec)
        route.upgrade_retry = upgrade_plan(spec.web_socket_config, route.retry)
        if spec.web_socket_config is not None and spec.web_socket_config.idle_timeout_s:
            route.idle_timeout_s = spec.web_socket_config.idle_timeout_s
        route.max_body_bytes = max_body(rule.voltgw, self.obj.spec.voltgw, self.spec.voltgw)
        route.buffer_bytes, route.buffer_time_s = buffering(spec.buffer_policy, self.spec.buffer_policy)
        route.priority_high = high
        with at("hash_policy"):
            route.hash_key = hash_key(spec.hash_policy)
        affinities = {name: affinity for name, affinity in (
            (each.cluster_name, getattr(each.cluster, "affinity", None)) for each in destinations) if affinity is not None}
        if affinities:
            route.hash_key = pinned_key(affinities, route.hash_key)
            route.response_filters = (tell_of(affinities),)     # `build` puts the rule's own before it
        if spec.voltgw is not None and spec.voltgw.sticky is not None and route.split is not None and len(destinations) > 1:
            with at("voltgw", "sticky"):
                route.sticky = sticky = Sticky(spec.voltgw.sticky, destinations, spec.retract_cluster)
            route.share, route.split = sticky.share, sticky.pick


def _judging(gates: Sequence[Guard]) -> Iterator[RequestFilter]:
    """What judges requests, in its order. Before one that looks for secrets in the query, whoever refuses takes those out: a
    refused request is logged, and nobody later has to look at them.
    """
    for number, gate in enumerate(gates):
        hides = [hide for later in gates[number + 1:] if (hide := getattr(later, "hide", None)) is not None]
        yield _hiding(gate.judge, hides) if hides else gate.judge


def _hiding(judge: RequestFilter, hides: Sequence[Callable[[RequestHead], None]]) -> RequestFilter:
    def judged(exchange: Exchange) -> Any:
        reply = judge(exchange)
        if reply is not None:               # it was refused at once; only who looks for credentials has to wait for anything
            for hide in hides:
                hide(exchange.request)
        return reply

    return judged
