"""Registries of services in which virtual hosts are published: Consul, and Kubernetes clusters; see
`voltgw.app.publications.Registry`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final

from voltgw.app.discovering import api_of, basic, consul_fields, consul_of, kubernetes_of, token_of

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.control.publish.registrar import Registrar
    from voltgw.values.discovery import RegistryAccess

#: By whom names are kept where the object does not say it.
OWNER: Final = "voltgw"
#: An agent, or a cluster, is near: its names are looked at this often, and the checks at Consul renewed.
INTERVAL_S: Final = 20.0
_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
#: What may stand behind a name and its namespace.
_DOMAINS: Final = ("", "svc", "svc.cluster.local")


@dataclass(frozen=True, slots=True)
class ConsulServices:
    """The services of a Consul agent."""

    kind: ClassVar[str] = "consul"
    zone: ClassVar[None] = None
    owner: str
    access: RegistryAccess
    interval_s: float = INTERVAL_S

    @property
    def identity(self) -> Hashable:
        """The agent and the owner."""
        return self.kind, self.access.url, self.access.namespace, self.access.partition, self.owner

    @property
    def server(self) -> Hashable:
        """The agent."""
        return self.kind, self.access.url

    def refuses(self, name: str) -> str:
        """What is no label of DNS could not be asked for."""
        service: str = import_module("voltgw.control.publish.consul").service_name(name)
        return "" if len(service) <= 63 else f"the service {service} would have more than 63 characters"

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        access = self.access
        where = {"ns": access.namespace, "partition": access.partition}
        made: Registrar = import_module("voltgw.control.publish.consul").ConsulRegistrar(
            api_of(access, reactor, clock), access.url, consul_fields(access), where, self.owner, self.interval_s)
        return made


@dataclass(frozen=True, slots=True)
class ClusterServices:
    """The services of a Kubernetes cluster; `namespace` is for domains that name none, "" = each names its own."""

    kind: ClassVar[str] = "kubernetes"
    zone: ClassVar[None] = None
    owner: str
    access: RegistryAccess
    namespace: str
    interval_s: float = INTERVAL_S

    @property
    def identity(self) -> Hashable:
        """The cluster and the owner."""
        return self.kind, self.access.url, self.owner

    @property
    def server(self) -> Hashable:
        """The cluster."""
        return self.kind, self.access.url

    def target_of(self, name: str) -> Any:
        """Where a name stands; None: it is no name of a service."""
        service, _, rest = name.partition(".")
        namespace, _, domain = rest.partition(".")
        if not namespace:
            namespace = self.namespace
        if domain not in _DOMAINS or not _LABEL.fullmatch(service) or not _LABEL.fullmatch(namespace):
            return None
        return import_module("voltgw.control.publish.kubernetes").Target(namespace, service)

    def refuses(self, name: str) -> str:
        """Names that no service of a cluster can have."""
        if self.target_of(name) is not None:
            return ""
        form = "NAME, NAME.NAMESPACE" if self.namespace else "NAME.NAMESPACE"
        return f"a service of Kubernetes is {form} or NAME.NAMESPACE.svc.cluster.local"

    def registrar(self, reactor: Any, clock: Any, wall: Callable[[], float]) -> Registrar:
        """See `Registry.registrar`."""
        access = self.access
        made: Registrar = import_module("voltgw.control.publish.kubernetes").KubernetesRegistrar(
            api_of(access, reactor, clock), access.url, fields_of(access), self.target_of, self.owner)
        return made


def fields_of(access: RegistryAccess) -> Callable[[], dict[str, str]]:
    """What proves to an API server who we are, for each request: a token file is replaced while we run."""
    def fields() -> dict[str, str]:
        token = token_of(access)
        return {"authorization": f"Bearer {token}"} if token else basic(access)

    return fields


def policy_of(one: Object[DiscoverySpec]) -> tuple[str, float]:
    """Whose names an object keeps, and how often they are looked at."""
    policy = one.spec.voltgw.publish if one.spec.voltgw is not None else None
    return (OWNER, INTERVAL_S) if policy is None else (policy.owner, policy.interval_s or INTERVAL_S)


def consul(one: Object[DiscoverySpec], config: Config) -> ConsulServices | None:
    """Of an object's ``discovery_consul: {publish_info: {publish: {}}}``."""
    spec = one.spec.discovery_consul
    if spec is None or spec.publish_info is None or not spec.publish_info.publish:
        return None
    owner, interval_s = policy_of(one)
    return ConsulServices(owner, consul_of(config, one), interval_s)


def kubernetes(one: Object[DiscoverySpec], config: Config) -> ClusterServices | None:
    """Of an object's ``discovery_k8s: {publish_info: ...}``."""
    spec = one.spec.discovery_k8s
    info = spec.publish_info if spec is not None else None
    if info is None or info.publish is None and not info.publish_fqdns:
        return None
    owner, interval_s = policy_of(one)
    namespace = "" if info.publish is None else info.publish.namespace or "default"
    return ClusterServices(owner, kubernetes_of(config, one), namespace, interval_s)
