"""Names in a hosted zone of Amazon Route 53, by its API of 2013-04-01: the registrar ``route53``.

A batch of changes is taken as a whole or not at all, and a record set can only be deleted as it was found: so every change
deletes what was found, the mark with it, and creates what is wanted, and whatever somebody else has changed meanwhile stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Hashable, Iterable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from voltgw.control.publish.api import Api, Reply, words
from voltgw.control.publish.batches import Pace, RefusedBatchError, in_halves
from voltgw.control.publish.names import Change, Observed, Refused, Wanted
from voltgw.control.publish.recordsets import RecordSet, content, made_of, plain_name, seen
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.publish.sigv4 import Keys, signed
from voltgw.values.clouds import ROUTE53_URL

URL: Final = ROUTE53_URL
#: All of Route 53 is asked, and signed for, in this region; other partitions have others.
REGION: Final = "us-east-1"
#: An account may send 5 requests a second; others of it want some, too.
PACE_S: Final = 0.25
#: Names of one batch, each with at most six changes; the API takes 1,000 changes, and 32,000 characters of values.
MOST: Final = 100
#: Record sets of one page.
_PAGE: Final = 300
#: Pages that are read; a zone with more cannot be published in.
_MOST_PAGES: Final = 400
_SPACE: Final = "{https://route53.amazonaws.com/doc/2013-04-01/}"
_BUSY: Final = frozenset((
    "Throttling", "ThrottlingException", "PriorRequestNotComplete", "ServiceUnavailable", "InternalFailure",
    "RequestLimitExceeded"))
#: Words by which a batch is refused since the zone is not as it was found.
_OTHER_STATE: Final = ("already exists", "not found", "do not match", "conflicts with")
_CREDENTIALS: Final = {
    "InvalidClientTokenId": "AWS does not know the access key", "SignatureDoesNotMatch": "the secret access key is another one",
    "ExpiredToken": "the credentials have expired", "ExpiredTokenException": "the credentials have expired",
    "RequestExpired": "our clock and that of AWS differ by more than 5 minutes",
    "AccessDenied": "the credentials do not allow that", "AccessDeniedException": "the credentials do not allow that",
    "UnrecognizedClientException": "AWS does not know the access key",
    "InvalidSignatureException": "the secret access key is another one",
}


class KeySource(Protocol):
    """Where credentials come from."""

    def get(self) -> Coroutine[Any, Any, Keys]:
        """Them. Raises `RegistryError`."""

    def forget(self) -> None:
        """They have not been taken."""


class Route53Registrar:
    """Keeps names in the zone of the id `zone_id`, whose name is `zone`. `ttl` is that of records, `wall` epoch seconds."""

    kind = "route53"
    most = MOST

    def __init__(self, api: Api, clock: Any, keys: KeySource, wall: Callable[[], float], zone: str, zone_id: str, ttl: int,
                 owner: str, url: str = URL, region: str = REGION) -> None:
        self.registry = f"{zone} ({zone_id}) at Route 53"
        self.owner = owner
        self._api = api
        self._pace = Pace(clock, PACE_S)
        self._keys = keys
        self._wall = wall
        self._zone = zone
        self._ttl = ttl
        self._region = region
        self._records = f"{url.rstrip('/')}/2013-04-01/hostedzone/{zone_id}/rrset"

    def content(self, wanted: Wanted) -> Hashable:
        """The addresses, and their TTL."""
        return content(wanted.addresses, {self._ttl} if wanted.addresses else set(), "")

    async def observe(self, names: Collection[str]) -> Observed:
        """All record sets, page by page."""
        sets: list[RecordSet] = []
        start: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            reply = await self._ask("GET", f"{self._records}?{urlencode({'maxitems': _PAGE, **start})}", b"")
            some, start = await self._api.aside(_page, reply)
            sets += some
            for each in sets[:2]:                   # the zone's own come first
                if each.type == "SOA" and each.name != self._zone:
                    raise RegistryError(f"the zone of this id is {each.name}")
            if not start:
                return Observed(await self._api.aside(seen, sets, names), complete=True)
        raise RegistryError(f"the zone has more than {_MOST_PAGES * _PAGE} record sets")

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """As one batch; where the API does not take it, as two halves, until it is known which change it does not take."""
        return await in_halves(changes, self._write)

    async def _write(self, changes: Sequence[Change]) -> None:
        await self._ask("POST", f"{self._records}/", _batch(changes, self.owner, self._ttl))

    def close(self) -> None:
        """Cut what is under way."""
        self._api.close()

    async def _ask(self, method: str, url: str, body: bytes) -> Reply:
        await self._pace.wait()
        keys = await self._keys.get()
        headers = {"content-type": "application/xml"} if body else {}
        reply = await self._api.request(method, url, signed(
            method, url, headers, body, keys, self._region, "route53", self._wall()), body)
        if reply.status == 200:
            return reply
        code, said = _error(reply)
        if code in ("InvalidChangeBatch", "InvalidInput") and body:
            raise RefusedBatchError(words(said), foreign=any(each in said for each in _OTHER_STATE))
        if code in _CREDENTIALS:
            self._keys.forget()
            raise RegistryError(f"{_CREDENTIALS[code]} ({code}: {words(said)})", credentials=True)
        if code in _BUSY or reply.status in (429, 503):
            raise RegistryError(f"it wants fewer requests ({code or reply.status})", retry_after_s=reply.retry_after_s or 5.0)
        raise RegistryError(f"it answers {reply.status}: {code} {words(said)}".strip())


def _parsed(reply: Reply) -> ElementTree.Element:
    try:
        if b"<!DOCTYPE" in reply.body or b"\0" in reply.body:     # nor in an encoding in which that would look otherwise
            raise RegistryError("its answer has a document type, or is not in UTF-8")
        return ElementTree.fromstring(reply.body)
    except ElementTree.ParseError as error:
        raise RegistryError(f"its answer is no XML: {error}") from error


def _page(reply: Reply) -> tuple[list[RecordSet], dict[str, str]]:
    """The record sets of a page, and what to ask for the next one; {} = it is the last."""
    page = _parsed(reply)
    sets = [_record_set(each) for each in page.iter(f"{_SPACE}ResourceRecordSet")]
    if page.findtext(f"{_SPACE}IsTruncated") != "true":
        return sets, {}
    following = {key: text for key, tag in (("name", "NextRecordName"), ("type", "NextRecordType"),
                                            ("identifier", "NextRecordIdentifier"))
                 if (text := page.findtext(_SPACE + tag)) is not None}
    if not following:
        raise RegistryError("its list goes on, but it does not say where")
    return sets, following


def _record_set(found: ElementTree.Element) -> RecordSet:
    special = [tag for tag in ("AliasTarget", "SetIdentifier", "HealthCheckId", "TrafficPolicyInstanceId", "CidrRoutingConfig")
               if found.find(_SPACE + tag) is not None]
    ttl = found.findtext(f"{_SPACE}TTL") or "0"
    return RecordSet(
        plain_name(found.findtext(f"{_SPACE}Name") or ""), found.findtext(f"{_SPACE}Type") or "",
        int(ttl) if ttl.isdigit() else 0,
        tuple(each.text or "" for each in found.iter(f"{_SPACE}Value")), f"a record set with {special[0]}" if special else "")


def _error(reply: Reply) -> tuple[str, str]:
    """Code and words of an answer that says what was wrong; the words may be several."""
    try:
        root = _parsed(reply)
    except RegistryError:
        return "", ""
    tags: dict[str, list[str]] = {}
    for each in root.iter():
        tags.setdefault(each.tag.rpartition("}")[2], []).append((each.text or "").strip())
    code = next(iter(tags.get("Code", ())), "")
    if not code and root.tag.rpartition("}")[2] == "InvalidChangeBatch":
        code = "InvalidChangeBatch"
    return code, "; ".join(each for each in tags.get("Message", ()) if each)


def _batch(changes: Iterable[Change], owner: str, ttl: int) -> bytes:
    acts: list[str] = []
    for change in changes:
        acts += [_act("DELETE", each) for each in change.held.token or ()]
        if change.wanted is not None:
            acts += [_act("CREATE", each) for each in made_of(change.wanted, owner, ttl)]
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<ChangeResourceRecordSetsRequest xmlns='
            '"https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>' + "".join(acts)
            + "</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>").encode()


def _act(act: str, each: RecordSet) -> str:
    values = "".join(f"<ResourceRecord><Value>{escape(value)}</Value></ResourceRecord>" for value in each.values)
    return (f"<Change><Action>{act}</Action><ResourceRecordSet><Name>{escape(each.name)}.</Name><Type>{each.type}</Type>"
            f"<TTL>{each.ttl}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>")
