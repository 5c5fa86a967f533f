"""Configurations and runtimes for the tests of this room."""

from __future__ import annotations

from random import Random
from typing import Final

from voltgw.app.build import Makings, Runtime, build
from voltgw.app.load import TextLoader, at_once
from voltgw.config.model import Config
from voltgw.config.objects.where import VirtualNetworkType
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry

#: What the interfaces of the host in these tests have for addresses.
INTERFACES: Final = {
    VirtualNetworkType.SITE_LOCAL: "192.0.2.10",
    VirtualNetworkType.SITE_LOCAL_INSIDE: "10.0.0.10",
}


def makings() -> Makings:
    """Real pools and schedulers, a host that has `INTERFACES`."""
    return Makings(lambda key: Pool(), Random(0), Registry(), lambda kind, network: INTERFACES[kind])


def config(text: str) -> Config:
    """The checked configuration that `text` says. Raises `ConfigErrors`."""
    return at_once(TextLoader(text, "voltgw.yaml"))


def runtime(text: str, previous: Runtime | None = None) -> Runtime:
    """What serves it. Raises `ConfigErrors`."""
    return build(config(text), previous, makings())


def balancer(name: str, listen: str, *origins: str, more: str = "") -> str:
    """An entry of ``load_balancers:``."""
    return f"- {{name: {name}, listen: {listen!r}, origins: [{', '.join(map(repr, origins))}]{more}}}\n"


def balancers(*entries: str) -> str:
    """A file of `balancer` entries."""
    return "load_balancers:\n" + "".join(entries)


def host(name: str, policies: str = "[p]", routes: str = "[r]", *, domains: str = '["*"]', proxy: str = "HTTP_PROXY",
         more: str = "") -> str:
    """A virtual_host object."""
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: {domains}, proxy: {proxy}, "
            f"advertise_policies: {policies}, routes: {routes}{more}}}}}\n")


def policy(name: str, spec: str, metadata: str = "") -> str:
    """An advertise_policy object."""
    return f"- {{kind: advertise_policy, metadata: {{name: {name}{metadata}}}, spec: {{{spec}}}}}\n"


def route(name: str, cluster: str = "c", *, metadata: str = "") -> str:
    """A route object that sends everything to one cluster."""
    return (f"- {{kind: route, metadata: {{name: {name}{metadata}}}, spec: {{routes: [{{route_destination: {{destinations: "
            f"[{{cluster: [{{name: {cluster}}}]}}]}}}}]}}}}\n")


def cluster(name: str = "c", endpoints: str = "[e]", more: str = "", metadata: str = "") -> str:
    """A cluster object."""
    return f"- {{kind: cluster, metadata: {{name: {name}{metadata}}}, spec: {{endpoints: {endpoints}{more}}}}}\n"


def endpoint(name: str = "e", spec: str = "ip: 192.0.2.1, port: 80", metadata: str = "") -> str:
    """An endpoint object."""
    return f"- {{kind: endpoint, metadata: {{name: {name}{metadata}}}, spec: {{{spec}}}}}\n"


def objects(*parts: str, gateway: str = "") -> str:
    """A file of objects; `gateway` is what stands in ``gateway: {...}``."""
    return f"gateway: {{{gateway}}}\nobjects:\n" + "".join(parts)
