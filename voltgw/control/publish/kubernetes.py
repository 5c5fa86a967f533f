"""Names as services of a Kubernetes cluster: a Service without pods behind it, and an EndpointSlice that leads to the VIPs.

The Service is headless, so that the cluster's DNS answers the VIPs themselves: clients inside come to the virtual host as from
outside. Whose it is stands in an annotation of both. Writes are conditional on the version that was observed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from voltgw.control.publish.api import UNREADABLE
from voltgw.control.publish.batches import one_by_one
from voltgw.control.publish.names import Act, Change, Held, Observed, Refused, Vip, Wanted
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
        self._api = api
        self._url = url
        self._fields = fields
        self._target_of = target_of

    def content(self, wanted: Wanted) -> Hashable:
        """Addresses and ports."""
        return tuple(sorted({(vip.address, vip.port) for vip in wanted.vips}))

    async def observe(self, names: Collection[str]) -> Observed:
        """Services with our mark and their slices; other services where a name of ours would be."""
        try:
            return await self._observe(names)
        except UNREADABLE as error:
            raise RegistryError("its list cannot be read") from error

    async def _observe(self, names: Collection[str]) -> Observed:
        chosen = urlencode({"labelSelector": f"{_MANAGED}=voltgw"})
        services = await self._list(f"/api/v1/services?{chosen}")
        slices: dict[tuple[str, str], list[Any]] = {}
        for one in await self._list(f"{_SLICES}/endpointslices?{chosen}"):
            metadata = one["metadata"]
            service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
            slices.setdefault((metadata.get("namespace", ""), service), []).append(one)
        held: dict[str, Held] = {}
        for one in services:
            metadata = one["metadata"]
            marks = metadata.get("annotations") or {}
            if _OWNER in marks and _NAME in marks:
                parts = slices.get((metadata["namespace"], metadata["name"]), [])
                found = tuple(sorted({
                    (address, int(port.get("port") or 0)) for part in parts for port in part.get("ports") or ()
                    for endpoint in part.get("endpoints") or () for address in endpoint.get("addresses") or ()}))
                held[str(marks[_NAME])] = Held(
                    str(marks[_OWNER]), found, tuple(f"{address}:{port}" for address, port in found), "", (one, parts))
        for name in names:
            target = self._target_of(name)
            if name not in held and target is not None:
                held[name] = Held(occupied=await self._strangers(target))
        return Observed(held, complete=True)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """One after the other."""
        return await one_by_one(changes, self._apply)

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()

    async def _apply(self, change: Change) -> Refused | None:
        token: tuple[Any, list[Any]] = change.held.token or (None, [])
        service, parts = token
        if change.act is Act.REMOVE:
            for part in parts:
                await self._delete(part, f"{_SLICES}/namespaces/{part['metadata']['namespace']}/endpointslices")
            await self._delete(service, f"/api/v1/namespaces/{service['metadata']['namespace']}/services")
            return None
        target = self._target_of(change.name)
        assert change.wanted is not None and target is not None         # names without a target were left out before
        vips = change.wanted.vips
        why = await self._put(
            service, self._service(change.name, target, vips), f"/api/v1/namespaces/{target.namespace}/services")
        known = {part["metadata"]["name"]: part for part in parts}
        for part in self._slices(change.name, target, vips):
            why = why or await self._put(known.pop(part["metadata"]["name"], None), part,
                                         f"{_SLICES}/namespaces/{target.namespace}/endpointslices")
        for part in known.values():
            await self._delete(part, f"{_SLICES}/namespaces/{target.namespace}/endpointslices")
        return Refused(why, foreign=True) if why else None

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

    async def _strangers(self, target: Target) -> str:
        reply = await self._ask("GET", f"/api/v1/namespaces/{target.namespace}/services/{quote(target.service)}")
        if reply.status == 404:
            return ""
        if reply.status != 200:
            raise RegistryError(f"it answers {reply.status}: {_message(reply)}")
        return f"the service {target.service} in namespace {target.namespace}"

    async def _put(self, before: Any, made: dict[str, Any], path: str) -> str:
        """Create, or replace what was observed; why not, "" = it is done."""
        if before is None:
            reply = await self._ask("POST", path, made)
        else:
            made["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
            reply = await self._ask("PUT", f"{path}/{quote(made['metadata']['name'])}", made)
        if reply.status in (200, 201):
            return ""
        if reply.status in (404, 409):              # it came, went or was changed meanwhile: the next round sees how it is
            return f"{made['kind'].lower()} {made['metadata']['name']}: {_message(reply)}"
        raise RegistryError(f"it answers {reply.status}: {_message(reply)}")

    async def _delete(self, one: Any, path: str) -> None:
        metadata = one["metadata"]
        condition = {"kind": "DeleteOptions", "apiVersion": "v1",
                     "preconditions": {"resourceVersion": metadata["resourceVersion"]}}
        reply = await self._ask("DELETE", f"{path}/{quote(metadata['name'])}", condition)
        if reply.status == 409:                     # it was changed meanwhile, and is there
            raise NotMade(f"{metadata['name']}: {_message(reply)}")
        if reply.status not in (200, 202, 404):
            raise RegistryError(f"it answers {reply.status}: {_message(reply)}")

    async def _list(self, path: str) -> list[Any]:
        reply = await self._ask("GET", path)
        if reply.status != 200:
            raise RegistryError(f"it answers {reply.status}: {_message(reply)}")
        said = reply.json
        items = said.get("items") if isinstance(said, dict) else None
        if not isinstance(items, list) or not all(
                isinstance(each, dict) and isinstance(each.get("metadata"), dict) for each in items):
            raise RegistryError("its list cannot be read")
        return items

    async def _ask(self, method: str, path: str, body: Any = None) -> Reply:
        data = b"" if body is None else json.dumps(body).encode()
        fields = {**self._fields(), "accept": "application/json", **({"content-type": "application/json"} if data else {})}
        reply = await self._api.request(method, self._url + path, fields, data)
        if method != "GET" and reply.status in (400, 403, 422):     # a quota, a namespace that ends, a Role without that right
            raise NotMade(f"it answers {reply.status}: {_message(reply)}")
        if reply.status in (401, 403):
            raise RegistryError(f"it answers {reply.status}: {_message(reply)}", credentials=True)
        if reply.status in (429, 503):
            raise RegistryError(f"it wants fewer requests ({reply.status})", retry_after_s=reply.retry_after_s or 5.0)
        return reply


def _message(reply: Reply) -> str:
    try:
        said = str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        said = reply.body[:200].decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in said)[:200].strip() or "nothing"
