"""Views and what they become, for the tests of `voltgw.config.lowering`."""

from __future__ import annotations

import re
from typing import Any

from tests.config.making import loaded
from voltgw.config.model import Config
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.cluster import ClusterSpec
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.objects.route import RouteDestinationList, RouteType
from voltgw.config.objects.virtual_host import VirtualHostSpec

#: Names of what the views of these tests are made into.
HTTP, TCP, UDP, POOL = (f"ves-io-{kind}-x" for kind in ("http-loadbalancer", "tcp-loadbalancer", "udp-loadbalancer", "origin-pool"))


def view(kind: str, spec: str, *, name: str = "x", namespace: str = "default", more: str = "") -> str:
    """An item of ``objects:``; `spec` is the inside of a mapping in one line."""
    return f"- {{kind: {kind}, metadata: {{name: {name}, namespace: {namespace}{more}}}, spec: {{{spec}}}}}\n"


def balancer(fields: str = "", **said: str) -> str:
    """An http_loadbalancer `x` that is whole, with these fields."""
    return view("http_loadbalancer", "domains: [x.example], default_route_pools: [{pool: p}]" + (f", {fields}" if fields else ""), **said)


def pool(fields: str = "", servers: str = "[{public_ip: {ip: 192.0.2.7}}]", **said: str) -> str:
    """An origin_pool `x` that is whole, with these fields."""
    port = "" if re.search(r"(^|, |automatic_|lb_)port:", fields) else ", port: 8000"
    return view("origin_pool", f"origin_servers: {servers}{port}" + (f", {fields}" if fields else ""), **said)


def tcp(fields: str = "", **said: str) -> str:
    """A tcp_loadbalancer `x` that is whole, with these fields."""
    return view("tcp_loadbalancer", "listen_port: 5432, origin_pools_weights: [{pool: p}]" + (f", {fields}" if fields else ""), **said)


def config(*objects: str, gateway: str = "") -> Config:
    """The configuration of some objects, which must load."""
    return loaded(f"gateway: {{{gateway}}}\nobjects:\n" + "".join(objects))


def host(objects: str, name: str = HTTP, **said: str) -> VirtualHostSpec:
    """The virtual host that was made."""
    return config(objects, **said).objects["virtual_host"]["default", name].spec  # type: ignore[no-any-return]


def rules(objects: str, name: str = HTTP) -> tuple[RouteType, ...]:
    """The rules of the route object that was made."""
    spec: Any = config(objects).objects["route"]["default", name].spec
    return tuple(spec.routes)


def forward(objects: str, name: str = HTTP, rule: int = 0) -> RouteDestinationList:
    """Where one of the rules sends its requests."""
    found = rules(objects, name)[rule].route_destination
    assert found is not None
    return found


def policies(objects: str) -> list[AdvertisePolicySpec]:
    """The advertise policies that were made."""
    return [one.spec for one in config(objects).objects.get("advertise_policy", {}).values()]


def cluster(objects: str, name: str = POOL, **said: str) -> ClusterSpec:
    """The cluster that was made."""
    return config(objects, **said).objects["cluster"]["default", name].spec  # type: ignore[no-any-return]


def endpoints(objects: str) -> list[EndpointSpec]:
    """The endpoints that were made, in order."""
    return [one.spec for one in config(objects).objects.get("endpoint", {}).values()]
