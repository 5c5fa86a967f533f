"""A zone delegated to us in the DNS server of a Kubernetes cluster: it forwards what is asked of the zone to our addresses.

CoreDNS has a Corefile in the ConfigMap ``coredns``, kube-dns a JSON object ``stubDomains`` in the ConfigMap ``kube-dns``, both
in ``kube-system``. Whose an entry is stands beside it: in comments, or in an annotation. Each write is for the version of the
ConfigMap that was read, and changes nothing of what others have in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from voltgw.control.publish import corefile
from voltgw.control.publish.api import UNREADABLE
from voltgw.control.publish.cluster_api import Cluster, message_of, refusal_of
from voltgw.control.publish.names import Act, Change, Held, Observed, Refused, Vip, Wanted
from voltgw.control.publish.registrar import NotMade, RegistryError
from voltgw.values.address import where

NAMESPACE: Final = "kube-system"
_MOST: Final = 20
_DNS_PORT: Final = 53
_COREFILE: Final = "Corefile"
_STUBS: Final = "stubDomains"
_OWNERS: Final = "voltgw/stub-domains"


class Entry(NamedTuple):
    """A delegation of ours, of whichever owner: what it says, and to whom it leads."""

    owner: str
    content: str
    addresses: tuple[str, ...]


class Form(Protocol):
    """How one kind of DNS server has its configuration in a ConfigMap, whose name is `map`.

    All raise ValueError for what cannot be read.
    """

    map: str

    def content(self, zone: str, addresses: Sequence[str], /) -> str:
        """What an entry says."""

    def entries(self, one: Mapping[str, Any], /) -> dict[str, Entry]:
        """Those with our mark, by zone."""

    def occupied(self, one: Mapping[str, Any], zone: str, /) -> str:
        """What of others has the zone, "" = nothing."""

    def changed(self, one: Mapping[str, Any], zone: str, owner: str, addresses: Sequence[str] | None, /) -> dict[str, Any]:
        """The ConfigMap with an entry, or without it (None)."""


class CoreDns:
    """See `Form`."""

    map = "coredns"

    def content(self, zone: str, addresses: Sequence[str]) -> str:
        """A server block."""
        return corefile.rendered(zone, addresses)

    def entries(self, one: Mapping[str, Any]) -> dict[str, Entry]:
        """Server blocks between our comments."""
        return {zone: Entry(block.owner, block.body, block.shown) for zone, block in corefile.blocks(self._text(one)).items()}

    def occupied(self, one: Mapping[str, Any], zone: str) -> str:
        """A server block."""
        return f"a server block of {zone} in the Corefile" if zone in corefile.foreign_zones(self._text(one)) else ""

    def changed(self, one: Mapping[str, Any], zone: str, owner: str, addresses: Sequence[str] | None) -> dict[str, Any]:
        """The Corefile with or without the block."""
        text = self._text(one)
        text = corefile.without(text, zone) if addresses is None else corefile.put(
            text, owner, zone, self.content(zone, addresses))
        return {**one, "data": {**one["data"], _COREFILE: text}}

    def _text(self, one: Mapping[str, Any]) -> str:
        text = (one.get("data") or {}).get(_COREFILE)
        if not isinstance(text, str):
            raise ValueError("it has no Corefile")
        return text


class KubeDns:
    """See `Form`."""

    map = "kube-dns"

    def content(self, zone: str, addresses: Sequence[str]) -> str:
        """A list of addresses."""
        return json.dumps(list(addresses))

    def entries(self, one: Mapping[str, Any]) -> dict[str, Entry]:
        """Stub domains of which an annotation says that they are ours."""
        stubs, owners = self._stubs(one), self._owners(one)
        return {zone: Entry(owners[zone], json.dumps(said), tuple(map(str, said)))
                for zone, said in stubs.items() if zone in owners and isinstance(said, list)}

    def occupied(self, one: Mapping[str, Any], zone: str) -> str:
        """A stub domain of others."""
        return f"a stub domain {zone}" if zone in self._stubs(one) and zone not in self._owners(one) else ""

    def changed(self, one: Mapping[str, Any], zone: str, owner: str, addresses: Sequence[str] | None) -> dict[str, Any]:
        """The stub domains, and the annotation that says whose they are, with or without the zone."""
        stubs, owners = self._stubs(one), self._owners(one)
        if addresses is None:
            stubs.pop(zone, None)
            owners.pop(zone, None)
        else:
            stubs[zone], owners[zone] = list(addresses), owner
        data = {key: value for key, value in (one.get("data") or {}).items() if key != _STUBS}
        metadata = one["metadata"]
        marks = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _OWNERS}
        return {**one, "data": {**data, **({_STUBS: json.dumps(stubs, indent=2)} if stubs else {})},
                "metadata": {**metadata, "annotations": {**marks, **({_OWNERS: json.dumps(owners)} if owners else {})}}}

    def _stubs(self, one: Mapping[str, Any]) -> dict[str, Any]:
        return _object((one.get("data") or {}).get(_STUBS), f"its {_STUBS}")

    def _owners(self, one: Mapping[str, Any]) -> dict[str, str]:
        said = _object((one["metadata"].get("annotations") or {}).get(_OWNERS), f"its annotation {_OWNERS}")
        return {zone: str(owner) for zone, owner in said.items()}


def _object(text: Any, what: str) -> dict[str, Any]:
    if text is None or text == "":
        return {}
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")
    return found


class ClusterDnsRegistrar:
    """See `Registrar`; its names are zones, and their VIPs the addresses of our DNS server."""

    kind = "cluster_dns"
    most = _MOST

    def __init__(self, cluster: Cluster, form: Form, owner: str) -> None:
        self.registry = f"ConfigMap {NAMESPACE}/{form.map} of Kubernetes at {cluster.url}"
        self.owner = owner
        self._cluster = cluster
        self._form = form
        self._path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{form.map}"

    def content(self, wanted: Wanted) -> Hashable:
        """What stands in the configuration."""
        return self._form.content(wanted.name, _addresses(wanted.vips))

    async def observe(self, names: Collection[str]) -> Observed:
        """Entries with our mark, and others where one of ours would be."""
        reply = await self._cluster.ask("GET", self._path)
        if reply.status == 404:
            raise RegistryError(
                f"there is no ConfigMap {self._form.map} in {NAMESPACE}: does the cluster run another DNS server?")
        if reply.status != 200:
            raise RegistryError(refusal_of(reply), credentials=reply.status == 403)
        try:
            one, form = reply.json, self._form
            held = {zone: Held(entry.owner, entry.content, tuple(map(_host, entry.addresses)), token=one)
                    for zone, entry in form.entries(one).items()}
            for name in names:
                before = held.get(name, Held(token=one))
                held[name] = Held(before.owner, before.content, before.shown, form.occupied(one, name), one)
        except UNREADABLE as error:
            raise RegistryError(f"its ConfigMap {self._form.map} cannot be read: {error}") from error
        return Observed(held, complete=True)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """All of them in one write."""
        one = changes[0].held.token
        for change in changes:
            gone = change.act is Act.REMOVE or change.wanted is None
            one = self._form.changed(
                one, change.name, self.owner, None if gone or change.wanted is None else _addresses(change.wanted.vips))
        try:
            reply = await self._cluster.ask("PUT", self._path, one)
        except NotMade as error:
            return [Refused(str(error))] * len(changes)
        if reply.status in (404, 409):              # somebody else has changed it meanwhile: the next round sees how it is
            raise RegistryError(message_of(reply))
        if reply.status != 200:
            raise RegistryError(refusal_of(reply))
        return [None] * len(changes)

    def close(self) -> None:
        """Cut what is under way."""
        self._cluster.close()


def _addresses(vips: Sequence[Vip]) -> tuple[str, ...]:
    """As both servers have them: with a port where it is another one than 53."""
    return tuple(vip.address if vip.port == _DNS_PORT else where(vip.address, vip.port) for vip in vips)


def _host(address: str) -> str:
    """The host of one of those, as a wanted VIP shows it."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
