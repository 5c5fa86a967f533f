"""What a registry should hold of a name, what it holds, and what has to be done about it. Pure.

A name in a registry is ours when it has our mark: the id of an owner, which each registry keeps in its own way (a TXT record, a
tag, an annotation). What has no mark, or another's, is never written.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Vip:
    """An address on which a virtual host is advertised; `port` 0 = not known."""

    address: str
    port: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name as it should be held: in lower case without a dot at its end, perhaps a wildcard (``*.shops.example.com``).

    `vips` are those to be shown now, in order; with none the name is held (it stays ours), and leads nowhere. `namespace` is
    that of its virtual host.
    """

    name: str
    vips: tuple[Vip, ...] = ()
    namespace: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Each address once, sorted."""
        return tuple(sorted({vip.address for vip in self.vips}))


@dataclass(frozen=True, slots=True)
class Held:
    """What a registry has of a name.

    `owner` is whose mark it has, "" = nobody's. `content` is what it leads to, to be compared with `Registrar.content`;
    `shown` the same for people. `occupied` says what is there that is nobody's, or not the owner's, "" = nothing, or nothing
    that was seen. `unseen` says why it could not be looked at, "" = it was.
    `token` is the registrar's own: what it needs to change just this state and no later one.
    """

    owner: str = ""
    content: Hashable = None
    shown: tuple[str, ...] = ()
    occupied: str = ""
    token: Any = field(default=None, compare=False, repr=False)
    unseen: str = ""


#: A name of which a registry knows nothing.
FREE = Held()


@dataclass(frozen=True, slots=True)
class Observed:
    """What a registry holds of the names that it was asked about, and of others that have our mark.

    `complete`: all that have our mark are there; else those of a former life of this gateway may be missing.
    """

    held: Mapping[str, Held]
    complete: bool


class Act(Enum):
    """What is done to a name."""

    CREATE = "create"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do; `wanted` is None to remove."""

    act: Act
    name: str
    wanted: Wanted | None
    held: Held


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a change was not made; `foreign`: because the name is another's."""

    why: str
    foreign: bool = False


def decide(name: str, wanted: Wanted | None, content: Hashable, held: Held, owner: str) -> Change | Refused | None:
    """What makes a registry hold `name` as it should be, None = nothing. `content` is the registrar's view of `wanted`."""
    if held.unseen:
        return None if wanted is None else Refused(f"it cannot be looked at: {held.unseen}")
    if held.owner not in ("", owner):
        return None if wanted is None else Refused(f"it is held by owner {held.owner!r}", foreign=True)
    if not held.owner:
        if wanted is None:
            return None
        if held.occupied:
            return Refused(f"it is there already, without our mark: {held.occupied}", foreign=True)
        return Change(Act.CREATE, name, wanted, held)
    if wanted is None:
        return Change(Act.REMOVE, name, None, held)
    if held.occupied:
        return Refused(f"the name is ours, but not all of it: {held.occupied}", foreign=True)
    return None if held.content == content else Change(Act.REPLACE, name, wanted, held)
