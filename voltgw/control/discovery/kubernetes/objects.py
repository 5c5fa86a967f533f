"""Objects of a cluster's API, as little of them as is needed, and the instances of a service that follow from them; pure.

Names as in the API (kubernetes.io/docs/reference/kubernetes-api): Service, EndpointSlice, Pod, Node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from voltgw.config.values import EMPTY, FrozenMap
from voltgw.control.discovery.registries import Instance

#: Namespace and name.
Key = tuple[str, str]


class Malformed(ValueError):
    """Something that is no object of its kind."""


class ServicePort(NamedTuple):
    """One port of a service; `name` "" where it is the only one."""

    name: str
    port: int
    protocol: str
    node_port: int


class Service(NamedTuple):
    """A service; `cluster_ips` is empty for one without an address of its own (headless)."""

    key: Key
    kind: str                               # ClusterIP, NodePort, LoadBalancer, ExternalName
    cluster_ips: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    labels: Mapping[str, str]


class Backend(NamedTuple):
    """One endpoint of a slice."""

    addresses: tuple[str, ...]
    ready: bool
    serving: bool
    zone: str
    node: str
    pod: str


class Slice(NamedTuple):
    """A part of a service's endpoints, with the ports that they have, by the names of the service's ports."""

    key: Key
    service: str
    family: str                             # IPv4, IPv6, FQDN
    ports: Mapping[str, int]
    backends: tuple[Backend, ...]


class Pod(NamedTuple):
    """A pod's labels."""

    key: Key
    labels: Mapping[str, str]


class Node(NamedTuple):
    """A node's addresses, those that others can reach first."""

    key: Key
    addresses: tuple[str, ...]
    ready: bool
    zone: str


def key_of(found: Any) -> Key:
    """Of any object. Raises `Malformed`."""
    metadata = _mapping(_mapping(found).get("metadata"))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise Malformed("an object without a name")
    namespace = metadata.get("namespace")
    return namespace if isinstance(namespace, str) else "", name


def service(found: Any) -> Service:
    """Raises `Malformed`."""
    spec = _mapping(found.get("spec"))
    ips = spec.get("clusterIPs") or [spec.get("clusterIP")]
    ports = []
    for one in _list(spec.get("ports")):
        port = _mapping(one)
        ports.append(ServicePort(str(port.get("name") or ""), _port(port.get("port")), str(port.get("protocol") or "TCP"),
                                 _number(port.get("nodePort"))))
    return Service(key_of(found), str(spec.get("type") or "ClusterIP"),
                   tuple(str(ip) for ip in _list(ips) if ip and ip != "None"), tuple(ports), _labels(found))


def slice_of(found: Any) -> Slice:
    """Raises `Malformed`."""
    ports: dict[str, int] = {}
    for one in _list(found.get("ports")):
        port = _mapping(one)
        if _number(port.get("port")):       # none: all ports, which no service of ours can mean. Anyone may write slices, and
            ports[str(port.get("name") or "")] = int(port["port"])  # the API takes any number: it is not to spoil others' lists
    backends = []
    for each in _list(found.get("endpoints")):
        one = _mapping(each)
        conditions = _mapping(one.get("conditions") or {})
        ready = conditions.get("ready")
        target = _mapping(one.get("targetRef") or {})
        backends.append(Backend(
            tuple(str(address) for address in _list(one.get("addresses"))), ready is not False,       # not said means ready
            conditions.get("serving", ready) is not False, str(one.get("zone") or ""), str(one.get("nodeName") or ""),
            str(target.get("name") or "") if target.get("kind") == "Pod" else ""))
    labels = _labels(found)
    return Slice(key_of(found), labels.get("kubernetes.io/service-name", ""), str(found.get("addressType") or ""),
                 FrozenMap(ports), tuple(backends))


def pod(found: Any) -> Pod:
    """Raises `Malformed`."""
    return Pod(key_of(found), _labels(found))


def node(found: Any) -> Node:
    """Raises `Malformed`."""
    status = _mapping(found.get("status") or {})
    by_kind: dict[str, list[str]] = {}
    for one in _list(status.get("addresses")):
        address = _mapping(one)
        by_kind.setdefault(str(address.get("type")), []).append(str(address.get("address")))
    ready = any(_mapping(one).get("type") == "Ready" and _mapping(one).get("status") == "True"
                for one in _list(status.get("conditions")))
    labels = _labels(found)
    return Node(key_of(found), tuple(by_kind.get("ExternalIP") or by_kind.get("InternalIP") or ()), ready,
                labels.get("topology.kubernetes.io/zone", ""))


# -- instances -----------------------------------------------------------------------------------------------------------------


class Unusable(Exception):
    """A service that cannot be reached as it is; the message says why, and what to do."""


def port_of(found: Service, wanted: int) -> ServicePort:
    """The port of a service that an endpoint object means: by its number, or the only one. Raises `Unusable`."""
    ports = [port for port in found.ports if not wanted or port.port == wanted]
    if len(ports) == 1 or ports and wanted:
        return ports[0]
    listed = ", ".join(str(port.port) for port in found.ports) or "none"
    raise Unusable(f"{_text(found.key)} has the ports {listed}: "
                   + (f"{wanted} is none of them" if wanted else "say which, by `port`"))


def of_pods(
    found: Service, slices: Iterable[Slice], wanted: int, pod_of: Callable[[Key], Pod | None],
) -> list[Instance]:
    """The pods behind a service: those that are ready, or where none is, those that still serve (they are about to end).

    Raises `Unusable`.
    """
    if found.kind == "ExternalName":
        raise Unusable(f"{_text(found.key)} is a name elsewhere (ExternalName): name that by `dns_name`")
    port = port_of(found, wanted)
    ready: dict[tuple[str, int], Instance] = {}
    serving: dict[tuple[str, int], Instance] = {}
    for part in slices:
        number = part.ports.get(port.name)
        if number is None or part.family == "FQDN":
            continue
        for backend in part.backends:
            if not backend.ready and not backend.serving:
                continue
            known = pod_of((found.key[0], backend.pod)) if backend.pod else None
            labels = {**found.labels, **(known.labels if known is not None else EMPTY)}
            for name, value in (("kubernetes.namespace", found.key[0]), ("kubernetes.service", found.key[1]),
                                ("kubernetes.node", backend.node), ("kubernetes.pod", backend.pod)):
                if value:
                    labels[name] = value
            for address in backend.addresses:
                one = Instance(address, number, 1, FrozenMap(labels), zone=backend.zone)
                (ready if backend.ready else serving).setdefault((address, number), one)
    return list((ready or serving).values())


def of_nodes(found: Service, nodes: Iterable[Node], wanted: int) -> list[Instance]:
    """The nodes on which a service has a port, for whoever cannot reach pods. Raises `Unusable`."""
    port = port_of(found, wanted)
    if not port.node_port:
        raise Unusable(f"{_text(found.key)} has no node port, so nobody outside the cluster can reach it: make it a NodePort "
                       "or LoadBalancer service, or say `reachable: {}` if pods can be reached from here")
    labels = FrozenMap({**found.labels, "kubernetes.namespace": found.key[0], "kubernetes.service": found.key[1]})
    return [Instance(address, port.node_port, 1, FrozenMap({**labels, "kubernetes.node": one.key[1]}), zone=one.zone)
            for one in nodes if one.ready for address in one.addresses[:1]]


def of_cluster(found: Service, wanted: int) -> list[Instance]:
    """The service's own address, for whoever is in the cluster and cannot reach pods. Raises `Unusable`."""
    port = port_of(found, wanted)
    if not found.cluster_ips:
        raise Unusable(f"{_text(found.key)} has no address of its own (it is headless): say `reachable: {{}}` if pods can be "
                       "reached")
    labels = FrozenMap({**found.labels, "kubernetes.namespace": found.key[0], "kubernetes.service": found.key[1]})
    return [Instance(found.cluster_ips[0], port.port, 1, labels)]


def _text(key: Key) -> str:
    return f"service {key[1]}.{key[0]}"


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"a mapping was expected, and {type(value).__name__} came")
    return value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"a list was expected, and {type(value).__name__} came")
    return value


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value < 65536 else 0


def _port(value: Any) -> int:
    if not _number(value):
        raise Malformed(f"{value!r} is no port")
    return int(value)


def _labels(found: Any) -> Mapping[str, str]:
    labels = _mapping(_mapping(found).get("metadata")).get("labels") or {}
    return FrozenMap({str(name): str(value) for name, value in _mapping(labels).items()})
