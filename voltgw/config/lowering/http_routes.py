"""Routes of an http_loadbalancer: each becomes one rule; route objects that it names stand between them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from voltgw.config.lowering.making import Maker, Part
from voltgw.config.lowering.pools import destinations, pool_cluster
from voltgw.config.model import Path
from voltgw.config.objects.extensions import Balance, DestinationExtension
from voltgw.config.objects.http_loadbalancer import HttpLoadbalancerSpec
from voltgw.config.objects.policies import AppFirewallRef, RetryPolicyType, WafRef, WafRulesRef, WafType
from voltgw.config.objects.route import (
    HashPolicyType,
    MirrorPolicyType,
    PathMatcherType,
    RouteDestination,
    RouteDestinationList,
    RouteMatch,
    RouteSpec,
    RouteType,
    SpdyConfigType,
)
from voltgw.config.objects.view_advertise import OriginPoolWithWeight
from voltgw.config.objects.view_routes import RouteSimpleAdvancedOptions, SimpleRouteType
from voltgw.config.values import Ref
from voltgw.values import defaults

#: Fields of a route's conditions that are those of a rule.
_CONDITIONS: Final = ("http_method", "path", "headers", "incoming_port")
#: Fields of ``advanced_options`` that are those of a rule's destinations.
_FORWARDING: Final = (
    "prefix_rewrite", "regex_rewrite", "timeout", "retry_policy", "web_socket_config", "buffer_policy", "cors_policy",
    "csrf_policy", "priority", "endpoint_subsets", "retract_cluster", "do_not_retract_cluster",
)
#: Those that are the rule's own.
_RULE: Final = (
    "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove",
    "request_cookies_to_add", "request_cookies_to_remove", "response_cookies_to_add", "response_cookies_to_remove",
    "disable_location_add", "inherited_waf_exclusion", "waf_exclusion_policy",
    "inherited_bot_defense_javascript_injection", "bot_defense_javascript_injection",
)


class Pools(NamedTuple):
    """The pools for what names none itself: in the list at `path`, or a `cluster` that was made from a pool inside the view."""

    listed: Sequence[OriginPoolWithWeight]
    path: Path
    cluster: Ref | None = None

    def __bool__(self) -> bool:
        return bool(self.listed) or self.cluster is not None


class Hash(NamedTuple):
    """Inputs of the hash for routes that have none of their own, and the field that says them, or how they balance."""

    inputs: tuple[HashPolicyType, ...]
    source: Path
    balance: Balance | None = None


def routes(make: Maker[HttpLoadbalancerSpec], pools: Pools, common: Hash) -> tuple[Ref, ...]:
    """Make the route objects of a load balancer; returns them with those that it names, in order."""
    refs: list[Ref] = []
    rules: list[Part[RouteType]] = []

    def finish() -> None:
        if rules:
            part = Part(RouteSpec, ())
            part.put_all("routes", rules)
            first = all(one.kind != "route" for one in make.objects)
            refs.append(make.add("route", make.name() if first else make.name("route", len(refs)), part))
            rules.clear()

    for index, route in enumerate(make.spec.routes):
        path: Path = ("routes", index)
        rule: Part[RouteType] | None = None
        if route.simple_route is not None:
            rule = _simple(make, route.simple_route, (*path, "simple_route"), pools, common)
        elif route.redirect_route is not None:
            rule = _answering(make, route.redirect_route, (*path, "redirect_route"), "route_redirect")
        elif route.direct_response_route is not None:
            rule = _answering(make, route.direct_response_route, (*path, "direct_response_route"), "route_direct_response")
        elif route.custom_route_object is not None:
            if route.custom_route_object.route_ref is None:
                make.wrong("VG0105", '"route_ref" is missing here: the route object', *path, "custom_route_object")
                continue
            finish()
            refs.append(route.custom_route_object.route_ref)
        else:
            make.wrong("VG0105", "this route does nothing", *path, hint="give it simple_route, redirect_route, "
                       "direct_response_route or custom_route_object")
        if rule is not None:
            rule.copy(route, path, "voltgw")
            rules.append(rule)
    last = _default(make, pools, common) if pools else None
    if last is not None:
        rules.append(last)
    finish()
    return tuple(refs)


def waf(spec: Any, path: Path) -> Part[WafType] | None:
    """The choice of a web application firewall, of a load balancer or of a route; None when nothing is said."""
    part = Part(WafType, path)
    for name, cls, inner, target in (
        ("app_firewall", AppFirewallRef, "app_firewall", "app_firewall"), ("waf", WafRef, "waf", "waf"),
        ("waf_rule", WafRulesRef, "waf_rules", "waf_rules"),
    ):
        ref = getattr(spec, name)
        if ref is not None:
            named: Part[Any] = Part(cls, (*path, name))
            named.set(inner, (ref,), (*path, name))
            part.put(target, named)
            return part
    part.copy(spec, path, "disable_waf")
    return part if part.values else None


def _match(route: object, path: Path) -> Part[RouteMatch]:
    part = Part(RouteMatch, path)
    part.copy(route, path, *_CONDITIONS)
    return part


def _answering(make: Maker[Any], route: object, path: Path, action: str) -> Part[RouteType] | None:
    """A rule that redirects or answers."""
    if getattr(route, action) is None:
        make.wrong("VG0105", f'"{action}" is missing here', *path)
        return None
    rule = Part(RouteType, path)
    rule.put_all("match", [_match(route, path)])
    rule.copy(route, path, action)
    return rule


def _default(make: Maker[Any], pools: Pools, common: Hash) -> Part[RouteType] | None:
    """The rule for what no other takes."""
    forward = _forward(make, pools, common)
    if forward is None:
        return None
    rule = Part(RouteType, (*pools.path, 0) if pools.listed else pools.path)
    match = Part(RouteMatch, pools.path)
    match.set("path", PathMatcherType(prefix="/"))
    rule.put_all("match", [match])
    rule.put("route_destination", forward)
    return rule


def _forward(make: Maker[Any], pools: Pools, common: Hash) -> Part[RouteDestinationList] | None:
    """Destinations; None when there are none, of which an error has told."""
    part = Part(RouteDestinationList, pools.path)
    if pools.cluster is not None:
        one = Part(RouteDestination, pools.path)
        one.set("cluster", (pools.cluster,), pools.path)
        part.put_all("destinations", [one])
    else:
        found = destinations(make, pools.listed, pools.path)
        if not found:
            return None
        part.put_all("destinations", found)
    part.usual("timeout", defaults.VIEW_ROUTE_TIMEOUT_S)
    part.set("hash_policy", common.inputs, common.source)
    if common.balance is not None:
        part.set("voltgw", DestinationExtension(balance=common.balance), common.source)
    return part


def _simple(
    make: Maker[Any], route: SimpleRouteType, path: Path, pools: Pools, common: Hash,
) -> Part[RouteType] | None:
    """A rule that forwards."""
    if route.origin_pools:
        pools = Pools(route.origin_pools, (*path, "origin_pools"))
    elif not pools:
        make.wrong("VG0105", '"origin_pools" is missing here, and the load balancer has no default_route_pools', *path)
        return None
    forward = _forward(make, pools, common)
    if forward is None:
        return None
    rule = Part(RouteType, path)
    rule.put_all("match", [_match(route, path)])
    forward.copy(route, path, "query_params", "auto_host_rewrite", "host_rewrite")
    if route.advanced_options is not None:
        _advanced(rule, forward, route.advanced_options, (*path, "advanced_options"))
    rule.put("route_destination", forward)
    return rule


def _advanced(
    rule: Part[RouteType], forward: Part[RouteDestinationList], options: RouteSimpleAdvancedOptions, path: Path,
) -> None:
    forward.copy(options, path, *_FORWARDING)
    rule.copy(options, path, *_RULE)
    if options.no_retry_policy:
        forward.set("retry_policy", RetryPolicyType(num_retries=0), (*path, "no_retry_policy"))
    if options.specific_hash_policy is not None:
        forward.copy(options.specific_hash_policy, (*path, "specific_hash_policy"), "hash_policy")
        forward.unset("voltgw")         # what the load balancer says of balancing
    if options.enable_spdy:
        forward.set("spdy_config", SpdyConfigType(use_spdy=True), (*path, "enable_spdy"))
    if options.mirror_policy is not None and options.mirror_policy.origin_pool is not None:
        here = (*path, "mirror_policy")
        mirror = Part(MirrorPolicyType, here)
        mirror.set("cluster", (pool_cluster(options.mirror_policy.origin_pool),), (*here, "origin_pool"))
        mirror.copy(options.mirror_policy, here, "percent")
        forward.put("mirror_policy", mirror)
    firewall = waf(options, path)
    if firewall is not None:
        rule.put("waf_type", firewall)
    elif options.inherited_waf:
        rule.set("waf_type", WafType(inherit_waf=True), (*path, "inherited_waf"))
