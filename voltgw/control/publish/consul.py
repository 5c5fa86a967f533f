"""Names as services of Consul: one instance for each VIP, registered at an agent and kept alive by a TTL check.

``shop.example.com`` is the service ``shop-example-com``, so that Consul's DNS answers ``shop-example-com.service.consul``.
Whose name it is stands in Meta. If we die the checks fail by themselves, and the agent takes the instances out some time later.
An agent has no conditional writes: what is written are only ids that have our owner in them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from voltgw.control.publish.api import UNREADABLE
from voltgw.control.publish.batches import one_by_one
from voltgw.control.publish.names import Act, Change, Held, Observed, Refused, Vip, Wanted
from voltgw.control.publish.registrar import NotMade, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.control.publish.api import Api, Reply

#: A check that was not renewed for so many intervals fails; an instance whose check fails for so long is taken out, in seconds.
MISSED: Final = 3
TAKEN_OUT_AFTER_S: Final = 600
_OWNER: Final = "voltgw-owner"
_NAME: Final = "voltgw-name"
_NOWHERE: Final = "voltgw-withdrawn"
_TTL: Final = "voltgw-ttl"
_TLS: Final = "tls"
_MOST: Final = 50


def service_name(name: str) -> str:
    """The service that a name is: its DNS cannot have dots."""
    return name.replace("*", "wildcard").replace(".", "-")


class ConsulRegistrar:
    """See `Registrar`. `url` has scheme, host and port; `fields` prove who we are; `where` are namespace and partition."""

    kind = "consul"
    most = _MOST

    def __init__(
        self, api: Api, url: str, fields: Mapping[str, str], where: Mapping[str, str], owner: str, interval_s: float,
    ) -> None:
        self.registry = f"Consul at {url}"
        self.owner = owner
        self._api = api
        self._url = url
        self._fields = dict(fields)
        self._where = {name: value for name, value in where.items() if value}
        self._ttl_s = max(int(interval_s * MISSED), 10)

    def content(self, wanted: Wanted) -> Hashable:
        """Addresses and ports, whether they speak TLS, and how long a check lasts."""
        return tuple(sorted({(vip.address, vip.port, vip.tls, str(self._ttl_s)) for vip in wanted.vips}))

    async def observe(self, names: Collection[str]) -> Observed:
        """What the agent has with our mark, whose checks are renewed by the way; others' services where a name of ours would
        be.
        """
        try:
            return await self._observe(names)
        except UNREADABLE as error:
            raise RegistryError("its list of services cannot be read") from error

    async def _observe(self, names: Collection[str]) -> Observed:
        services = (await self._ask("GET", "/v1/agent/services")).json
        if not isinstance(services, dict):
            raise RegistryError("its list of services cannot be read")
        held: dict[str, Held] = {}
        for id, one in services.items():
            meta = (one.get("Meta") or {}) if isinstance(one, dict) else {}
            if _OWNER not in meta or _NAME not in meta:
                continue
            name, owner = str(meta[_NAME]), str(meta[_OWNER])
            before = held.get(name)
            if before is not None and before.owner != owner:
                held[name] = Held(before.owner, before.content, before.shown, f"instances of owner {owner!r}", before.token)
                continue
            content: tuple[Any, ...] = before.content if before is not None else ()     # type: ignore[assignment]  # ours
            ids = before.token if before is not None else ()
            if _NOWHERE not in meta and (owner != self.owner or await self._renew(id)):
                address, port, tls = str(one.get("Address")), int(one.get("Port") or 0), _TLS in (one.get("Tags") or ())
                content = tuple(sorted({*content, (address, port, tls, str(meta.get(_TTL, "")))}))
            held[name] = Held(owner, content, tuple(f"{address}:{port}" for address, port, *_ in content), "", (*ids, id))
        for name in names:
            if name not in held:
                try:
                    held[name] = Held(occupied=await self._strangers(name))
                except NotMade as error:            # a token may read some services alone
                    held[name] = Held(unseen=str(error))
        return Observed(held, complete=True)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """One after the other: first what is new, then what goes."""
        return await one_by_one(changes, self._apply)

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()

    async def _apply(self, change: Change) -> Refused | None:
        there = tuple(change.held.token or ())
        made: list[str] = []
        if change.act is not Act.REMOVE:
            assert change.wanted is not None        # only a removal wants nothing
            for vip in change.wanted.vips or (None,):
                entry = self._entry(change.name, vip)
                await self._ask("PUT", "/v1/agent/service/register", json.dumps(entry).encode())
                made.append(entry["ID"])
        for id in there:
            if id not in made:
                await self._ask("PUT", f"/v1/agent/service/deregister/{quote(id, safe='')}", missing=True)
        return None

    def _entry(self, name: str, vip: Vip | None) -> dict[str, Any]:
        """What is registered for one VIP; None: the name is held, and leads nowhere."""
        service = service_name(name)
        port = 0 if vip is None else vip.port
        address = "" if vip is None else vip.address
        id = f"voltgw-{self.owner}-{service}-" + (f"{address}-{port}" if vip is not None else "withdrawn")
        meta = {_OWNER: self.owner, _NAME: name, **({_NOWHERE: "1"} if vip is None else {_TTL: str(self._ttl_s)})}
        check = {"Name": "renewed by voltgw", "TTL": f"{self._ttl_s}s", "Status": "critical" if vip is None else "passing"}
        if vip is not None:
            check["DeregisterCriticalServiceAfter"] = f"{TAKEN_OUT_AFTER_S}s"
        return {"ID": id, "Name": service, "Address": address, "Port": port, "Meta": meta, "Check": check,
                "Tags": ["voltgw", *([_TLS] if vip is not None and vip.tls else [])]}

    async def _renew(self, id: str) -> bool:
        """Whether the instance has our check: without one nobody would take it out after us, and it counts as not there."""
        reply = await self._ask("PUT", f"/v1/agent/check/pass/{quote(f'service:{id}', safe=':')}", missing=True)
        return reply.status == 200

    async def _strangers(self, name: str) -> str:
        """Services of that name which somebody else has registered, at whatever agent."""
        found = (await self._ask("GET", f"/v1/catalog/service/{quote(service_name(name), safe='')}")).json
        others = [one for one in found if isinstance(one, dict) and not self._is_ours(one, name)] \
            if isinstance(found, list) else []
        if not others:
            return ""
        owner = (others[0].get("ServiceMeta") or {}).get(_OWNER)
        return f"the service {service_name(name)} of " + (f"owner {owner!r}" if owner else f"node {others[0].get('Node')}")

    def _is_ours(self, one: dict[str, Any], name: str) -> bool:
        """Whether an instance is of this very name: names that differ by a dot and a dash are one service."""
        meta = one.get("ServiceMeta") or {}
        return (meta.get(_OWNER), meta.get(_NAME)) == (self.owner, name)

    async def _ask(self, method: str, path: str, body: bytes = b"", *, missing: bool = False) -> Reply:
        query = f"?{urlencode(self._where)}" if self._where else ""
        reply = await self._api.request(method, self._url + path + query, self._fields, body)
        if reply.status == 200 or missing and (reply.status == 404 or reply.status == 500 and b"TTL" in reply.body):
            return reply                        # 500: there is such a check, or was one, but it is no TTL check
        text = "".join(each if each.isprintable() else " " for each in reply.body[:200].decode("utf-8", "replace")).strip()
        if reply.status in (400, 403) and path.startswith(("/v1/agent/service/", "/v1/catalog/service/")):
            # a token may be for some services alone
            raise NotMade(f"it answers {reply.status}: {text or 'nothing'}")
        raise RegistryError(f"it answers {reply.status}: {text or 'nothing'}", credentials=reply.status in (401, 403),
                            retry_after_s=reply.retry_after_s)
