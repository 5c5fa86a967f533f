"""Virtual hosts and routes as the data plane reads them, and how they are built from configuration.

Building happens once per configuration; a request only reads. Whatever can be wrong is found while building, all of it at
once (`voltgw.routing.problems.BuildErrors`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from voltgw.errors import NOWHERE, Place
from voltgw.routing.actions import direct_response, host_rewrite, redirect, target_rewrite
from voltgw.routing.filters.headers import Edit, Level, request_edits, response_edits
from voltgw.routing.index import Chooser, Index
from voltgw.routing.match import EVERYTHING, Clause, compile_match
from voltgw.routing.problems import Collector, Placer, at, nowhere
from voltgw.routing.split import Destination, Split, make_split
from voltgw.values import defaults
from voltgw.values.counters import RouteCounters
from voltgw.wire.path import normalise

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteDestinationList, RouteSpec, RouteType
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.interfaces import RequestFilter, ResponseFilter, UpstreamCluster
    from voltgw.routing.actions import Answer, TargetRewrite
    from voltgw.values.head import RequestHead

#: (reference, namespace of the object that refers) -> the cluster, None when there is none.
FindCluster: TypeAlias = "Callable[[Ref, str], UpstreamCluster | None]"
#: Route name -> its counters; at a reload the old ones, so that they count on.
FindCounters: TypeAlias = "Callable[[str], RouteCounters]"

#: The label that makes a virtual host a member of a service mesh.
_APP_TYPE: Final = "ves.io/app_type"
_SERVER: Final = b"server: voltgw"


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
    counters: FindCounters | None = None,
) -> VirtualHost:
    """The runtime form of a virtual host; `route_objects` are those that it refers to, in its order.

    For kinds that relay connections the rules' conditions are ignored and the first rule's destinations are used. Raises
    `BuildErrors` with everything that is wrong.
    """
    host = VirtualHost(
        name, namespace, spec.domains, proxy=spec.proxy.value, app_type=(labels or {}).get(_APP_TYPE, ""), place=place())
    _configure(host, spec)
    found = Collector()
    levels: tuple[Level, Level] = (
        (spec.request_headers_to_add, spec.request_headers_to_remove,
         "request_headers_to_add", "request_headers_to_remove"),
        (spec.response_headers_to_add, spec.response_headers_to_remove,
         "response_headers_to_add", "response_headers_to_remove"),
    )
    with found.at(place):
        request_edits(levels[0])        # a mistake of the host's is shown once, not once a route
        response_edits(levels[1])
    if found.problems:
        levels = ((), (), "", ""), ((), (), "", "")
    rules: list[Rule] = []
    for obj in route_objects:
        for number, rule in enumerate(obj.spec.routes):
            with found.at(obj.place, "routes", number):
                builder = _RuleBuilder(host, spec, obj, number, find_cluster, levels)
                rules.append(builder.build(rule, counters))
    found.finish()
    host.install(rules)
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


class _RuleBuilder:
    """Builds one rule of one route object for one host."""

    def __init__(
        self, host: VirtualHost, spec: VirtualHostSpec, obj: RouteObject, number: int, find_cluster: FindCluster,
        levels: tuple[Level, Level],
    ) -> None:
        self.host = host
        self.spec = spec
        self.obj = obj
        self.number = number
        self.find_cluster = find_cluster
        self.levels = levels

    def build(self, rule: RouteType, counters: FindCounters | None) -> Rule:
        """The rule. Raises ValueError, with the way to it from the rule."""
        host = self.host
        name = f"{self.obj.name}/{self.number}"
        route = Route(host, name, self.number, self.obj.place("routes", self.number),
                      None if counters is None else counters(name))
        if rule.route_destination is not None:
            with at("route_destination"):
                self.forward(route, rule.route_destination)
        if not self.spec.proxy.http:
            if rule.route_destination is None:
                raise ValueError(f"a rule of a {host.proxy} virtual host has destinations; it relays connections, and "
                                 "can neither redirect nor answer them")
            return Rule(route, [(EVERYTHING, route)])
        route.request_filters, route.response_filters = self.edits(rule)
        clauses: list[Clause] = []
        for number, entry in enumerate(rule.match):
            with at("match", number):
                clauses.append(compile_match(
                    entry, segments=self.obj.spec.segment_prefix(rule), normalised=not host.raw_path))
        return Rule(route, self.act(route, rule, clauses or [EVERYTHING]))

    def edits(self, rule: RouteType) -> tuple[tuple[Edit, ...], tuple[Edit, ...]]:
        """The header edits of the rule and the host, as one filter for each direction."""
        of_requests, of_responses = self.levels
        return request_edits(
            (rule.request_headers_to_add, rule.request_headers_to_remove,
             "request_headers_to_add", "request_headers_to_remove"), of_requests,
        ), response_edits(
            (rule.response_headers_to_add, rule.response_headers_to_remove,
             "response_headers_to_add", "response_headers_to_remove"), of_responses,
        )

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

    def forward(self, route: Route, spec: RouteDestinationList) -> None:
        """The destinations and what is said of them all."""
        plain = all(destination.weight is None for destination in spec.destinations)
        destinations: list[Destination] = []
        for number, destination in enumerate(spec.destinations):
            ref = destination.cluster[0]
            cluster = self.find_cluster(ref, self.obj.namespace)
            name = f"{ref.namespace or self.obj.namespace}/{ref.name}" if cluster is None else cluster.name
            destinations.append(Destination(
                cluster, name, 1 if plain else destination.weight or 0, destination.priority or 0,
                self.obj.place("routes", self.number, "route_destination", "destinations", number)))
        with at("destinations"):
            route.forward_to(destinations, retract=spec.retract_cluster)
        route.host_rewrite = host_rewrite(spec)
        route.auto_host_rewrite = spec.auto_host_rewrite
        route.timeout_s = spec.timeout_s or 0.0
