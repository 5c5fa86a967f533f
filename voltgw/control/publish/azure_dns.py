"""Names in a zone of Azure DNS, by its API of 2018-05-01: the registrar ``azure_dns``.

Each record set is written by a request of its own, under the condition that it is as it was found (its etag), or not there.
The mark comes first and goes last. Since nothing makes both one step, each record set of ours says whose it is in its metadata,
too: one without that is not ours, even where the name has our mark.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from voltgw.control.publish.api import UNREADABLE, Api, Reply
from voltgw.control.publish.batches import Pace, one_by_one
from voltgw.control.publish.bearer import Bearer, described
from voltgw.control.publish.marks import mark_of, marker_of, owner_in
from voltgw.control.publish.names import Act, Change, Observed, Refused, Wanted
from voltgw.control.publish.recordsets import RecordSet, content, made_of, seen
from voltgw.control.publish.registrar import NotMade, RegistryError
from voltgw.values.clouds import AZURE_URL

URL: Final = AZURE_URL
LOGIN_URL: Final = "https://login.microsoftonline.com"
#: Where an instance asks for a token; reachable from the instance alone.
METADATA_URL: Final = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01"
METADATA_FIELDS: Final = {"metadata": "true"}
#: Requests keep this distance, in seconds.
PACE_S: Final = 0.1
#: Changes between which the publisher can be told of something else; each takes at most three requests.
MOST: Final = 20
_VERSION: Final = "api-version=2018-05-01"
_PAGE: Final = 500
#: Pages that are read; a zone with more cannot be published in.
_MOST_PAGES: Final = 400
_METADATA: Final = "voltgw"


class _Own(NamedTuple):
    """What Azure has beside a record set: its etag, and whose it says that it is."""

    etag: str
    owner: str


class _NotAsFoundError(Exception):
    """A condition did not hold."""


def token_url(url: str) -> str:
    """Where an instance asks for a token for the API at `url`, which is another one in each of Azure's clouds."""
    return f"{METADATA_URL}&resource={quote(url.rstrip('/') + '/', safe='')}"


class AzureDnsRegistrar:
    """Keeps names in the zone `zone` of a resource group. `ttl` is that of records."""

    kind = "azure_dns"
    most = MOST

    def __init__(self, api: Api, clock: Any, bearer: Bearer, zone: str, subscription: str, group: str, ttl: int, owner: str,
                 url: str = URL) -> None:
        self.registry = f"{zone} ({group}) at Azure DNS"
        self.owner = owner
        self._api = api
        self._bearer = bearer
        self._zone = zone
        self._ttl = ttl
        self._pace = Pace(clock, PACE_S)
        self._host = urlsplit(url).netloc
        self._base = (f"{url.rstrip('/')}/subscriptions/{quote(subscription, safe='')}/resourceGroups/{quote(group, safe='')}"
                      f"/providers/Microsoft.Network/dnsZones/{quote(zone, safe='')}")

    def content(self, wanted: Wanted) -> Hashable:
        """The addresses, and their TTL."""
        return content(wanted.addresses, {self._ttl} if wanted.addresses else set(), "")

    async def observe(self, names: Collection[str]) -> Observed:
        """All record sets, page by page."""
        sets: list[RecordSet] = []
        url = f"{self._base}/all?{_VERSION}&$top={_PAGE}"
        for _ in range(_MOST_PAGES):
            said = (await self._ask("GET", url)).json
            try:
                sets += [each for found in said.get("value", ()) if (each := self._record_set(found)) is not None]
                url = said.get("nextLink") or ""
                if url and urlsplit(url).netloc != self._host:      # our token is for this host alone
                    raise RegistryError(f"its list goes on at another host: {urlsplit(url).netloc}")
            except UNREADABLE as error:
                raise RegistryError("its list of record sets cannot be read") from error
            if not url:
                return Observed(await self._api.aside(seen, sets, names, self._strange), complete=True)
        raise RegistryError(f"the zone has more than {_MOST_PAGES * _PAGE} record sets")

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """One after the other."""
        return await one_by_one(changes, self._apply)

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()
        self._bearer.close()

    def _strange(self, each: RecordSet) -> str:
        """Why a record set is not ours."""
        if each.special or each.type == "TXT" or _own(each).owner == self.owner:
            return each.special
        return f"not said to be ours ({', '.join(each.values)})"

    # -- writing -----------------------------------------------------------------------------------------------------------

    async def _apply(self, change: Change) -> Refused | None:
        try:
            await self._write(change)
        except _NotAsFoundError as error:
            return Refused(str(error), foreign=True)
        return None

    async def _write(self, change: Change) -> None:
        before: dict[tuple[str, str], RecordSet] = {(each.name, each.type): each for each in change.held.token or ()}
        after = {} if change.wanted is None else {
            (each.name, each.type): each for each in made_of(change.wanted, self.owner, self._ttl)}
        mark = marker_of(change.name), "TXT"
        made = ""
        if change.act is Act.CREATE:
            made = await self._put(after[mark], None)
        try:
            for key, each in before.items():
                if key != mark and key not in after:
                    await self._delete(each, each.own)
            for key, each in after.items():
                if key != mark and (key not in before or before[key].values != each.values or before[key].ttl != each.ttl):
                    await self._put(each, before.get(key))
        except _NotAsFoundError:
            if made:                                # the name is another's after all: nothing of ours shall say otherwise
                await self._delete(after[mark], _Own(made, self.owner))
            raise
        if change.act is Act.REMOVE and mark in before:
            await self._delete(before[mark], before[mark].own)

    async def _put(self, each: RecordSet, before: RecordSet | None) -> str:
        """Write a record set, if it still is as before; its etag."""
        properties = {"TTL": each.ttl, "metadata": {_METADATA: mark_of(self.owner)}, **_records(each)}
        condition = {"if-none-match": "*"} if before is None else {"if-match": _own(before).etag}
        reply = await self._ask("PUT", self._url(each), condition, json.dumps({"properties": properties}).encode())
        said = reply.json
        return str(said.get("etag", "")) if isinstance(said, dict) else ""

    async def _delete(self, each: RecordSet, own: object) -> None:
        assert isinstance(own, _Own)
        await self._ask("DELETE", self._url(each), {"if-match": own.etag})

    def _url(self, each: RecordSet) -> str:
        relative = "@" if each.name == self._zone else each.name.removesuffix(f".{self._zone}")
        return f"{self._base}/{each.type}/{quote(relative, safe='')}?{_VERSION}"

    async def _ask(self, method: str, url: str, fields: Mapping[str, str] | None = None, body: bytes = b"") -> Reply:
        await self._pace.wait()
        sent = {**await self._bearer.fields(), **(fields or {}), **({"content-type": "application/json"} if body else {})}
        reply = await self._api.request(method, url, sent, body)
        if reply.status in (200, 201, 202, 204):
            return reply
        why = described(reply.body)
        if reply.status in (409, 412):
            raise _NotAsFoundError(f"it is not as it was found: {why}")
        if reply.status == 400 and method != "GET":
            raise NotMade(f"it answers {reply.status} {why}".rstrip())
        if reply.status == 401:
            self._bearer.forget()
            raise RegistryError(f"the credentials are not taken: {why}", credentials=True)
        if reply.status == 403:
            raise RegistryError(f"the credentials do not allow that: {why}", credentials=True)
        if reply.status in (429, 503):
            raise RegistryError(f"it wants fewer requests ({reply.status} {why})", retry_after_s=reply.retry_after_s or 5.0)
        raise RegistryError(f"it answers {reply.status} {why}".rstrip())

    def _record_set(self, said: Any) -> RecordSet | None:
        kind = str(said["type"]).rpartition("/")[2].upper()
        if kind not in ("A", "AAAA", "CNAME", "TXT"):
            return None
        properties = said["properties"]
        name = str(said["name"]).lower()
        values: tuple[str, ...]
        if kind == "TXT":
            values = tuple("".join(map(str, each["value"])) for each in properties.get("TXTRecords") or ())
        elif kind == "CNAME":
            values = tuple(str(each["cname"]) for each in (properties.get("CNAMERecord"),) if each)
        else:
            field = "ipv4Address" if kind == "A" else "ipv6Address"
            values = tuple(str(each[field]) for each in properties.get(f"{kind}Records") or ())
        own = _Own(str(said.get("etag", "")), owner_in(str((properties.get("metadata") or {}).get(_METADATA, ""))))
        special = "made of another resource" if (properties.get("targetResource") or {}).get("id") else ""
        return RecordSet(self._zone if name == "@" else f"{name}.{self._zone}", kind, int(properties.get("TTL", 0)), values,
                         special, own)


def _own(each: RecordSet) -> _Own:
    assert isinstance(each.own, _Own)
    return each.own


def _records(each: RecordSet) -> dict[str, Any]:
    if each.type == "TXT":
        return {"TXTRecords": [{"value": [value.strip('"')]} for value in each.values]}
    field = "ipv4Address" if each.type == "A" else "ipv6Address"
    return {f"{each.type}Records": [{field: value} for value in each.values]}
