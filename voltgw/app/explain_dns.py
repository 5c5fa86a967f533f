"""What is answered to a question of DNS, and why: ``explain FILE - dns:NAME/TYPE``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from voltgw.app.publications import Delegation
from voltgw.app.question import QuestionError
from voltgw.app.zones import THIS_HOST
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.routing.zone import is_below
from voltgw.values.reason import Reason
from voltgw.wire.dnsmsg import TYPES, name_of, text_of

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.publishing import Publishing
    from voltgw.app.question import Question
    from voltgw.app.zones import Delegated
    from voltgw.routing.zone import Zones

_QUERY: Final = struct.Struct("!HHHHHH")


def of_name(runtime: Runtime, question: Question, publishing: Publishing | None = None) -> tuple[str, list[Reason]]:
    """In a word what becomes of the question, and every decision. Raises `QuestionError` for a name or type that is none.

    `publishing` is the running gateway's: it knows how names stand in registries of others.
    """
    text, _, type_name = question.host.partition("/")
    kind = TYPES.get(type_name.upper() or "A")
    try:
        name = name_of(text)
    except ValueError as error:
        raise QuestionError(str(error)) from None
    if kind is None:
        raise QuestionError(f"{type_name!r} is not a type of records that is known here")
    serving = runtime.delegations
    listens = ", ".join(f"{spec.address}:{spec.port}" for spec in runtime.config.gateway.dns)
    reasons = [Reason("listener", listens or "none", "`gateway.dns`" if listens else "`gateway.dns` names no address")]
    zone = serving.zones.zone_of(name) if serving is not None else None
    registries = list(_registries(runtime, name, publishing))
    if serving is None or zone is None:
        reasons.append(Reason("zone", "none", "no zone that is delegated to this site has the name"))
        return "published" if any(each.outcome != "none" for each in registries) else "refused", reasons + registries
    delegated = serving.find(zone)
    reasons.append(Reason("zone", delegated.spec.zone, f"the deepest zone above it, of {delegated.object.title}",
                          delegated.object.place("voltgw", "dns_delegation", "zone")))
    reasons.append(_of_the_name(delegated, name))
    rcode, answers = _ask(serving.zones, name, kind, question.source)
    reasons.append(Reason("answer", rcode, "; ".join(answers) or "no record"))
    reasons += registries
    return ("answered" if answers else "refused" if rcode == "REFUSED" else "no such record"), reasons


def _registries(runtime: Runtime, name: bytes, publishing: Publishing | None) -> Iterator[Reason]:
    """What each registry in which this gateway publishes is to hold of a name, or of the wildcard that covers it."""
    text = text_of(name)
    for publication in runtime.publications:
        registry, one = publication.registry, publication.object
        zone = registry.zone
        if zone is not None and name != zone and not is_below(name, zone):
            continue
        about = f"{registry.kind} of {one.title}"
        place = one.place(*publication.path)
        if isinstance(publication, Delegation):
            wanted = publication.wanted(publication.names[registry.zone or b""], lambda host: True)
            yield Reason(about, ", ".join(wanted.addresses), f"the cluster's DNS server asks this gateway for names in "
                         f"{wanted.name}", place)
            continue
        left_out = dict(publication.left_out).get(text)
        found = next((publication.names[each] for each in _covering(name) if each in publication.names), None)
        if left_out is not None:
            yield Reason(about, "none", f"left out: {left_out}", place)
        elif found is None:
            yield Reason(about, "none", "no virtual host that it should have has the name as a domain", place)
        else:
            wanted = publication.wanted(found, lambda host: True)
            steps = [
                Reason("VIP", _shown(str(offer.address)), f"policy {offer.policy} offers {offer.host.namespace}/"
                       f"{offer.host.name} at site {offer.site}", offer.host.place) for offer in found.offers]
            live = None if publishing is None else publishing.standing(registry.identity, found.text)
            if live is not None:
                steps.append(Reason("state", live[0], live[1]))
            dry = "; nothing is written: dry run" if publication.policy.dry_run else ""
            yield Reason(about, ", ".join(map(_shown, wanted.addresses)) or "no address",
                         f"{found.text} is kept there as owner {registry.owner}{dry}", place, tuple(steps))


def _shown(address: str) -> str:
    return "an address of this host" if address == str(THIS_HOST) else address


def _covering(name: bytes) -> Iterator[bytes]:
    """The name, and every wildcard that could cover it, the deepest first."""
    yield name
    while name[0]:
        name = name[name[0] + 1:]
        yield b"\x01*" + name


def _of_the_name(delegated: Delegated, name: bytes) -> Reason:
    zone = delegated.zone
    node = zone.nodes.get(name)
    owner, how = name, "it stands in the zone"
    if node is None:
        node = zone.closest(name)
        if node is None:
            return Reason("name", "none", "neither a virtual host, nor a record, nor a wildcard of the zone has it")
        owner = next(each for each, one in zone.nodes.items() if one is node)
        how = "the wildcard of its closest encloser" if owner.startswith(b"\x01*") else "it is delegated"
    host = delegated.names.get(owner)
    if host is None:
        return Reason("name", text_of(owner), f"{how}: static records" if node.rrsets else f"{how}: names below it are there")
    steps = tuple(
        Reason("VIP", _shown(str(offer.address)), f"policy {offer.policy} offers {offer.host.namespace}/{offer.host.name} at "
               f"site {offer.site}", offer.host.place) for offer in host.offers)
    return Reason("name", text_of(owner), f"{how}: virtual hosts have it as a domain; "
                  f"{zone.hosts[owner].order.value.replace('_', ' ')}", delegated.object.place(), steps)


def _ask(zones: Zones, name: bytes, kind: int, source: str) -> tuple[str, list[str]]:
    """The server's own answer, in words."""
    from dns.message import from_wire  # see voltgw.app.zones
    from dns.rcode import to_text

    responder = Responder(zones, Cookies(bytes(16), lambda: 0.0))
    data = responder.respond(_QUERY.pack(0, 0, 1, 0, 0, 0) + name + struct.pack("!HH", kind, 1), source, tcp=True)
    assert data is not None                     # it was a query
    message = from_wire(data)
    lines = [line for rrset in message.answer or (message.authority if message.flags & 0x0400 == 0 else ())
             for line in rrset.to_text().splitlines()]
    return to_text(message.rcode()), lines
