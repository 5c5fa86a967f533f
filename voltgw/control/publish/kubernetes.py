"""Names as services of a Kubernetes cluster: a Service without pods behind it, and an EndpointSlice that leads to the VIPs.

The Service is headless, so that the cluster's DNS answers the VIPs themselves: clients inside come to the virtual host as from
outside. Whose it is stands in an annotation of both. Writes are conditional on the version that was observed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from voltgw.control.publish.api import UNREADABLE
from voltgw.control.publish.batches import one_by_one
from voltgw.control.publish.cluster_api import Cluster, message_of, refusal_of
from voltgw.control.publish.names import FREE, Act, Change, Held, Observed, Refused, Vip, Wanted
from voltgw.control.publish.registrar import NotMade, RegistryError

if TYPE_CHECKING:
    from voltgw.control.publish.api import Api, Reply

_OWNER: Final = "voltgw/owner"
_NAME: Final = "voltgw/name"
_MANAGED: Final = "app.kubernetes.io/managed-by"
_SLICES: Final = "/apis/discovery.k8s.io/v1"
_MOST: Final = 20


class Target(NamedTuple):
    """Where a name stands in the cluster."""

    namespace: str
    service: str


class _Entry(NamedTuple):
    """A service with marks, and its slices."""

    at: Target
    owner: str
    service: Any
    slices: list[Any]


def _held(entries: list[_Entry], target: Target | None) -> Held:
    """What stands under one name: more than one service after it has been moved halfway to another namespace."""
    entries = sorted(entries, key=lambda entry: entry.at != target)
    first = entries[0]
    others = [entry for entry in entries[1:] if entry.owner == first.owner]
    found = tuple(sorted({
        (address, int(port.get("port") or 0)) for part in first.slices for port in part.get("ports") or ()
        for endpoint in part.get("endpoints") or () for address in endpoint.get("addresses") or ()}))
    return Held(first.owner, (None if others else first.at, found), tuple(f"{address}:{port}" for address, port in found),
                token=(first, others))


class KubernetesRegistrar:
    """See `Registrar`. `target_of` says where a name stands, None = nowhere; `fields` prove who we are, for each request."""

    kind = "kubernetes"
    most = _MOST

    def __init__(
        self, api: Api, url: str, fields: Callable[[], Mapping[str, str]], target_of: Callable[[str], Target | None],
        owner: str,
    ) -> None:
        self.registry = f"Kubernetes at {url}"
        self.owner = owner
        self._cluster = Cluster(api, url, fields)
        self._target_of = target_of

    def content(self, wanted: Wanted) -> Hashable:
        """Where it stands, its addresses and ports."""
        return self._target_of(wanted.name), tuple(sorted({(vip.address, vip.port) for vip in wanted.vips}))

    async def observe(self, names: Collection[str]) -> Observed:
        """Services with our mark and their slices; other services where a name of ours would be."""
        try:
            return await self._observe(names)
        except UNREADABLE as error:
            raise RegistryError("its list cannot be read") from error

    async def _observe(self, names: Collection[str]) -> Observed:
        targets = {name: target for name in names if (target := self._target_of(name)) is not None}
        services, unread = await self._list("/api/v1", "services", targets.values())
        parts, unread_too = await self._list(_SLICES, "endpointslices", targets.values())
        unread |= unread_too
        slices: dict[tuple[str, str], list[Any]] = {}
        for one in parts:
            metadata = one["metadata"]
            service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
            slices.setdefault((metadata.get("namespace", ""), service), []).append(one)
        marked: dict[str, list[_Entry]] = {}
        for one in services:
            metadata = one["metadata"]
            marks = metadata.get("annotations") or {}
            if _OWNER in marks and _NAME in marks:
                there = Target(metadata["namespace"], metadata["name"])
                marked.setdefault(str(marks[_NAME]), []).append(
                    _Entry(there, str(marks[_OWNER]), one, slices.get(there, [])))
        held = {name: _held(entries, targets.get(name)) for name, entries in marked.items()}
        for name, target in targets.items():
            before = held.get(name, FREE)
            if target.namespace in unread:
                held[name] = replace(before, unseen=unread[target.namespace])
            elif before is FREE or before.owner == self.owner and before.token[0].at != target:
                held[name] = await self._strangers(target, before)
        return Observed(held, complete="" not in unread)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """One after the other."""
        return await one_by_one(changes, self._apply)

    def close(self) -> None:
        """Cut what is under way."""
        self._cluster.close()

    async def _apply(self, change: Change) -> Refused | None:
        first: _Entry | None
        first, old = change.held.token or (None, [])
        if change.act is Act.REMOVE:
            for entry in (first, *old):
                await self._remove(entry)
            return None
        target = self._target_of(change.name)
        assert change.wanted is not None and target is not None         # names without a target were left out before
        if first is not None and first.at != target:
            first, old = None, [first, *old]        # it shall stand elsewhere now
        service, parts = (None, []) if first is None else (first.service, first.slices)
        vips = change.wanted.vips
        why = await self._put(
            service, self._service(change.name, target, vips), f"/api/v1/namespaces/{target.namespace}/services")
        known = {part["metadata"]["name"]: part for part in parts}
        for part in self._slices(change.name, target, vips):
            why = why or await self._put(known.pop(part["metadata"]["name"], None), part,
                                         f"{_SLICES}/namespaces/{target.namespace}/endpointslices")
        for part in known.values():
            await self._delete(part, f"{_SLICES}/namespaces/{target.namespace}/endpointslices")
        for entry in () if why else old:
            await self._remove(entry)
        return Refused(why, foreign=True) if why else None

    async def _remove(self, entry: _Entry) -> None:
        for part in entry.slices:
            await self._delete(part, f"{_SLICES}/namespaces/{entry.at.namespace}/endpointslices")
        await self._delete(entry.service, f"/api/v1/namespaces/{entry.at.namespace}/services")

    def _metadata(self, name: str, target: Target, own: str, labels: Mapping[str, str]) -> dict[str, Any]:
        return {"name": own, "namespace": target.namespace, "labels": {_MANAGED: "voltgw", **labels},
                "annotations": {_OWNER: self.owner, _NAME: name}}

    def _service(self, name: str, target: Target, vips: Sequence[Vip]) -> dict[str, Any]:
        ports = [{"name": f"p{port}", "port": port, "targetPort": port, "protocol": "TCP"}
                 for port in sorted({vip.port for vip in vips if vip.port})]
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(name, target, target.service, {}),
                "spec": {"clusterIP": "None", **({"ports": ports} if ports else {})}}

    def _slices(self, name: str, target: Target, vips: Sequence[Vip]) -> list[dict[str, Any]]:
        """One for each family and port: all ports of a slice are those of all its addresses."""
        made = []
        for family, port in sorted({(ip_address(vip.address).version, vip.port) for vip in vips}):
            addresses = sorted({vip.address for vip in vips if vip.port == port and ip_address(vip.address).version == family})
            labels = {"kubernetes.io/service-name": target.service, "endpointslice.kubernetes.io/managed-by": "voltgw"}
            made.append({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": f"IPv{family}",
                "metadata": self._metadata(name, target, f"{target.service}-voltgw-{family}-{port}", labels),
                "ports": [{"name": f"p{port}", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]})
        return made

    async def _strangers(self, target: Target, before: Held) -> Held:
        """What is known of a name, and of what stands where it should be."""
        reply = await self._cluster.ask("GET", f"/api/v1/namespaces/{target.namespace}/services/{quote(target.service)}")
        if reply.status == 404:
            return before
        if reply.status == 403:
            return replace(before, unseen=refusal_of(reply))
        if reply.status != 200:
            raise RegistryError(refusal_of(reply))
        return replace(before, occupied=f"the service {target.service} in namespace {target.namespace}")

    async def _put(self, before: Any, made: dict[str, Any], path: str) -> str:
        """Create, or replace what was observed; why not, "" = it is done."""
        if before is None:
            reply = await self._cluster.ask("POST", path, made)
        else:
            made["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
            reply = await self._cluster.ask("PUT", f"{path}/{quote(made['metadata']['name'])}", made)
        if reply.status in (200, 201):
            return ""
        if reply.status in (404, 409):              # it came, went or was changed meanwhile: the next round sees how it is
            return f"{made['kind'].lower()} {made['metadata']['name']}: {message_of(reply)}"
        raise RegistryError(refusal_of(reply))

    async def _delete(self, one: Any, path: str) -> None:
        metadata = one["metadata"]
        condition = {"kind": "DeleteOptions", "apiVersion": "v1",
                     "preconditions": {"resourceVersion": metadata["resourceVersion"]}}
        reply = await self._cluster.ask("DELETE", f"{path}/{quote(metadata['name'])}", condition)
        if reply.status == 409:                     # it was changed meanwhile, and is there
            raise NotMade(f"{metadata['name']}: {message_of(reply)}")
        if reply.status not in (200, 202, 404):
            raise RegistryError(refusal_of(reply))

    async def _list(
        self, group: str, resource: str, targets: Collection[Target],
    ) -> tuple[list[Any], dict[str, str]]:
        """What has our mark; and why of some namespaces that is not known ("" = of all others).

        Whoever may not read all namespaces is asked for those in which names should stand, one by one.
        """
        chosen = urlencode({"labelSelector": f"{_MANAGED}=voltgw"})
        reply = await self._cluster.ask("GET", f"{group}/{resource}?{chosen}")
        if reply.status != 403:
            return _items(reply), {}
        found: list[Any] = []
        unread = {"": refusal_of(reply)}
        for namespace in sorted({target.namespace for target in targets}):
            reply = await self._cluster.ask("GET", f"{group}/namespaces/{namespace}/{resource}?{chosen}")
            if reply.status == 403:
                unread[namespace] = refusal_of(reply)
            else:
                found += _items(reply)
        if len(unread) > 1 and not found and len(unread) == 1 + len({target.namespace for target in targets}):
            raise RegistryError(unread[""], credentials=True)       # nothing can be read at all
        return found, unread


def _items(reply: Reply) -> list[Any]:
    if reply.status != 200:
        raise RegistryError(refusal_of(reply))
    said = reply.json
    items = said.get("items") if isinstance(said, dict) else None
    if not isinstance(items, list) or not all(
            isinstance(each, dict) and isinstance(each.get("metadata"), dict) for each in items):
        raise RegistryError("its list cannot be read")
    return items
