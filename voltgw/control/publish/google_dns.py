"""Names in a managed zone of Google Cloud DNS, by its API v1: the registrar ``google_dns``.

A change is taken as a whole or not at all, and a record set can only be deleted as it was found: as with Route 53, every change
deletes what was found, the mark with it, and adds what is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from voltgw.control.publish.api import UNREADABLE, Api, Reply
from voltgw.control.publish.batches import Pace, RefusedBatchError, in_halves
from voltgw.control.publish.bearer import Bearer, described
from voltgw.control.publish.names import Change, Observed, Refused, Wanted
from voltgw.control.publish.recordsets import RecordSet, content, made_of, plain_name, seen
from voltgw.control.publish.registrar import RegistryError
from voltgw.values.clouds import GOOGLE_DNS_URL

URL: Final = GOOGLE_DNS_URL
SCOPE: Final = "https://www.googleapis.com/auth/ndev.clouddns.readwrite"
#: Where an instance asks for a token; reachable from the instance alone.
METADATA_URL: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
METADATA_FIELDS: Final = {"metadata-flavor": "Google"}
#: Requests keep this distance, in seconds.
PACE_S: Final = 0.1
#: Names of one change, each with at most three record sets that go and three that come; the API takes 1,000.
MOST: Final = 100
_PAGE: Final = 1000
#: Pages that are read; a zone with more cannot be published in.
_MOST_PAGES: Final = 200


class GoogleDnsRegistrar:
    """Keeps names in the managed zone `managed_zone`, whose name in DNS is `zone`. `ttl` is that of records."""

    kind = "google_dns"
    most = MOST

    def __init__(self, api: Api, clock: Any, bearer: Bearer, zone: str, project: str, managed_zone: str, ttl: int, owner: str,
                 url: str = URL) -> None:
        self.registry = f"{zone} ({project}/{managed_zone}) at Google Cloud DNS"
        self.owner = owner
        self._api = api
        self._bearer = bearer
        self._zone = zone
        self._ttl = ttl
        self._pace = Pace(clock, PACE_S)
        self._base = f"{url.rstrip('/')}/dns/v1/projects/{quote(project, safe='')}/managedZones/{quote(managed_zone, safe='')}"

    def content(self, wanted: Wanted) -> Hashable:
        """The addresses, and their TTL."""
        return content(wanted.addresses, {self._ttl} if wanted.addresses else set(), "")

    async def observe(self, names: Collection[str]) -> Observed:
        """All record sets, page by page."""
        sets: list[RecordSet] = []
        page = ""
        for _ in range(_MOST_PAGES):
            query = {"maxResults": str(_PAGE), **({"pageToken": page} if page else {})}
            said = (await self._ask("GET", f"/rrsets?{urlencode(query)}", b"")).json
            try:
                more = [_record_set(each) for each in said.get("rrsets", ())]
                page = str(said.get("nextPageToken") or "")
            except UNREADABLE as error:
                raise RegistryError("its list of record sets cannot be read") from error
            sets += more
            for each in more:
                if each.type == "SOA" and each.name != self._zone:
                    raise RegistryError(f"the managed zone is {each.name}")
            if not page:
                return Observed(await self._api.aside(seen, sets, names), complete=True)
        raise RegistryError(f"the zone has more than {_MOST_PAGES * _PAGE} record sets")

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """As one change; where the API does not take it, as two halves, until it is known which name it does not take."""
        return await in_halves(changes, self._write)

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()
        self._bearer.close()

    async def _write(self, changes: Sequence[Change]) -> None:
        deletions = [_plain(each) for change in changes for each in change.held.token or ()]
        additions = [_plain(each) for change in changes if change.wanted is not None
                     for each in made_of(change.wanted, self.owner, self._ttl)]
        await self._ask("POST", "/changes", json.dumps({"additions": additions, "deletions": deletions}).encode())

    async def _ask(self, method: str, path: str, body: bytes) -> Reply:
        await self._pace.wait()
        fields = {**await self._bearer.fields(), **({"content-type": "application/json"} if body else {})}
        reply = await self._api.request(method, self._base + path, fields, body)
        if reply.status == 200:
            return reply
        why = described(reply.body)
        if body and reply.status in (400, 404, 409, 412) and "entity.change" in why:
            raise RefusedBatchError(why, foreign=reply.status != 400)
        if reply.status == 401:
            self._bearer.forget()
            raise RegistryError(f"the credentials are not taken: {why}", credentials=True)
        if reply.status == 403 and not _too_many(why):
            raise RegistryError(f"the credentials do not allow that: {why}", credentials=True)
        if reply.status in (403, 429, 503):
            raise RegistryError(f"it wants fewer requests ({reply.status} {why})", retry_after_s=reply.retry_after_s or 5.0)
        raise RegistryError(f"it answers {reply.status} {why}".rstrip())


def _too_many(why: str) -> bool:
    return any(each in why.lower() for each in ("rate limit", "ratelimit", "quota"))


def _record_set(said: Any) -> RecordSet:
    special = "made by a routing policy" if said.get("routingPolicy") else ""
    return RecordSet(plain_name(said["name"]), str(said["type"]), int(said.get("ttl", 0)),
                     tuple(str(each) for each in said.get("rrdatas", ())), special)


def _plain(each: RecordSet) -> dict[str, Any]:
    return {"name": f"{each.name}.", "type": each.type, "ttl": each.ttl, "rrdatas": list(each.values)}
