"""Where a credential stands in a request, and how it is taken out of what goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from voltgw.routing.cookies import cookie_values
from voltgw.security.tokens import MALFORMED, Refused

if TYPE_CHECKING:
    from voltgw.values.head import RequestHead

_AUTHORIZATION: Final = b"authorization"
_SPACES: Final = b" \t"


class CredentialPlace(NamedTuple):
    """One place. `find` gives the credential, None where there is none, and raises `Refused` where there are several.

    `take_out` removes it from the request. `hidden` says that it never goes on, whatever the configuration says: what stands
    in a query is logged by everybody on the way.
    """

    text: str
    find: Callable[[RequestHead], bytes | None]
    take_out: Callable[[RequestHead], None]
    hidden: bool = False


def find_one(places: Sequence[CredentialPlace]) -> Callable[[RequestHead], bytes | None]:
    """The credential of a request; it must not stand in several places, for an origin might read another one than we."""
    if len(places) == 1:
        return places[0].find

    def find(head: RequestHead) -> bytes | None:
        found: bytes | None = None
        for place in places:
            one = place.find(head)
            if one is not None:
                if found is not None:
                    raise Refused(MALFORMED, "it stands in several places")
                found = one
        return found

    return find


def each_of(calls: Sequence[Callable[[RequestHead], None]]) -> Callable[[RequestHead], None]:
    """All of them as one."""
    if len(calls) == 1:
        return calls[0]

    def take_out(head: RequestHead) -> None:
        for call in calls:
            call(head)

    return take_out


def authorization(scheme: str) -> CredentialPlace:
    """``Authorization`` with a scheme (RFC 9110 11.6.2), whose name has no case. Another scheme is no such credential."""
    wanted = scheme.lower().encode("ascii") + b" "
    length = len(wanted)

    def find(head: RequestHead) -> bytes | None:
        found: bytes | None = None
        for name, value in head.fields:
            if name == _AUTHORIZATION:
                if found is not None:
                    raise Refused(MALFORMED, "there are several Authorization fields")
                found = value
        if found is None or found[:length].lower() != wanted:
            return None
        return found[length:].strip(_SPACES)

    def take_out(head: RequestHead) -> None:
        head.fields = [field for field in head.fields
                       if field[0] != _AUTHORIZATION or field[1][:length].lower() != wanted]

    return CredentialPlace(f"Authorization: {scheme}", find, take_out)


def header(name: str, prefix: str = "") -> CredentialPlace:
    """A field of its own; `prefix` stands in front of the credential."""
    key = name.lower().encode("ascii")
    before = prefix.encode("utf-8")

    def find(head: RequestHead) -> bytes | None:
        found: bytes | None = None
        for field, value in head.fields:
            if field == key:
                if found is not None:
                    raise Refused(MALFORMED, f"there are several {name} fields")
                found = value
        if found is None or not found.startswith(before):
            return None
        return found[len(before):].strip(_SPACES)

    def take_out(head: RequestHead) -> None:
        head.fields = [field for field in head.fields if field[0] != key]

    return CredentialPlace(f"header {name}", find, take_out)


def cookie(name: str) -> CredentialPlace:
    """A cookie."""
    values = cookie_values(name)
    wanted = name.encode("utf-8")

    def find(head: RequestHead) -> bytes | None:
        found = values(head)
        if len(found) > 1:
            raise Refused(MALFORMED, f"there are several cookies {name}")
        return found[0] if found else None

    def take_out(head: RequestHead) -> None:
        fields = []
        for field, value in head.fields:
            if field == b"cookie":
                pairs = [pair.strip(_SPACES) for pair in value.split(b";")]
                value = b"; ".join(pair for pair in pairs if pair.partition(b"=")[0] != wanted)
                if not value:
                    continue
            fields.append((field, value))
        head.fields = fields

    return CredentialPlace(f"cookie {name}", find, take_out)


def parameter(name: str) -> CredentialPlace:
    """A parameter of the query (RFC 6750 2.3), decoded as an origin would."""
    wanted = name.encode("utf-8")

    def find(head: RequestHead) -> bytes | None:
        found: bytes | None = None
        for pair in head.query.split(b"&") if head.query else ():
            key, _, value = pair.partition(b"=")
            if _decoded(key) == wanted:
                if found is not None:
                    raise Refused(MALFORMED, f"there are several parameters {name}")
                found = _decoded(value)
        return found

    def take_out(head: RequestHead) -> None:
        if not head.query:
            return
        pairs = head.query.split(b"&")
        left = [pair for pair in pairs if _decoded(pair.partition(b"=")[0]) != wanted]
        if len(left) != len(pairs):
            head.query = b"&".join(left) if left else None
            head.forward = head.path if head.query is None else b"%b?%b" % (head.path, head.query)

    return CredentialPlace(f"query parameter {name}", find, take_out, hidden=True)


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if b"%" in text or b"+" in text else text
