"""Which discovery objects an endpoint object asks that is a service in a registry (objects.md 7.2, 10)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from voltgw.config.objects.endpoint import DiscoveryType
from voltgw.errors import ConfigError, Severity

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.discovery import DiscoverySpec
    from voltgw.config.objects.endpoint import EndpointSpec

#: Registries that are asked: the field of a discovery object, and what the registry is called.
ASKED: Final = {
    DiscoveryType.CONSUL: ("discovery_consul", "Consul"),
    DiscoveryType.K8S: ("discovery_k8s", "Kubernetes"),
}


def registries_of(config: Config, endpoint: Object[EndpointSpec]) -> list[Object[DiscoverySpec]]:
    """The discovery objects of this site that an endpoint object asks: all of its kind; those with a `cluster_id` have to be
    named.
    """
    info = endpoint.spec.service_info
    if info is None or info.discovery_type not in ASKED:
        return []
    field = ASKED[info.discovery_type][0]
    name, _, cluster = (info.service_name or "").partition(":")
    return [one for one in config.of("discovery").values()
            if getattr(one.spec, field) is not None and config.here(one.spec.where, one.namespace)
            and (cluster == one.spec.cluster_id if cluster else one.spec.cluster_id is None or not name)]


def check_registry(config: Config, endpoint: Object[EndpointSpec]) -> Iterator[ConfigError]:
    """Whether a service in a registry can be asked for."""
    info = endpoint.spec.service_info
    if info is None or info.discovery_type not in ASKED or not config.here(endpoint.spec.where, endpoint.namespace) \
            or registries_of(config, endpoint):
        return
    field, what = ASKED[info.discovery_type]
    cluster = (info.service_name or "").partition(":")[2]
    yield ConfigError(
        "VG0232", endpoint.place("service_info"), f"{endpoint.title} asks {what}, and no discovery object of this site "
        f"{f'has the cluster_id {cluster!r}' if cluster else f'is one of {what}'}, so it has no members",
        f"add a discovery object with `{field}`, or say in its `where` that it is for this site", Severity.WARNING)
