"""Marks of ownership in DNS: a TXT record beside each name that is ours, and what is seen of names in a zone. Pure.

Of ``shop.example.com`` the mark stands at ``_voltgw.shop.example.com``, of ``*.shops.example.com`` at
``_voltgw._wildcard.shops.example.com``, where no wildcard of somebody else's can be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from voltgw.control.publish.names import Held

_LABEL: Final = "_voltgw."
_WILDCARD: Final = "_wildcard."
_WORDS: Final = "heritage=voltgw owner="


def mark_of(owner: str) -> str:
    """The text by which a name is `owner`'s."""
    return _WORDS + owner


def owner_in(text: str) -> str:
    """Whose mark a text is, "" = it is none."""
    return text.removeprefix(_WORDS) if text.startswith(_WORDS) else ""


def marker_of(name: str) -> str:
    """Where the mark of `name` stands."""
    return _LABEL + (_WILDCARD + name[2:] if name.startswith("*.") else name)


def name_behind(marker: str) -> str | None:
    """The name whose mark stands at `marker`; None for a name that is no marker's."""
    if not marker.startswith(_LABEL):
        return None
    name = marker[len(_LABEL):]
    return f"*.{name[len(_WILDCARD):]}" if name.startswith(_WILDCARD) else name


@dataclass(slots=True)
class Seen:
    """What a zone has of one name."""

    marks: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    ttls: set[int] = field(default_factory=set)
    alias: str = ""

    def note(self, rows: Iterable[tuple[str, str, int]], *, marker: bool) -> None:
        """Records, each with its type, its text and its TTL: at the marker's name, or at the name itself."""
        for kind, text, ttl in rows:
            if marker:
                self.marks.add(text)
            elif kind in ("A", "AAAA"):
                self.addresses.add(text)
                self.ttls.add(ttl)
            elif kind == "CNAME":
                self.alias = text

    def held(self, content: Callable[[Collection[str], Collection[int], str], Hashable], token: Any = None) -> Held:
        """The same for the publisher: with marks of several owners it is another's."""
        shown = tuple(sorted(self.addresses)) + ((f"alias of {self.alias}",) if self.alias else ())
        owners = sorted(owner_in(mark) or f"not said by {mark!r}" for mark in self.marks)
        if not owners:
            return Held(occupied=", ".join(shown), token=token)
        return Held(" and ".join(owners), content(self.addresses, self.ttls, self.alias), shown, token=token)
