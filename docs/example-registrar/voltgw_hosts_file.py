"""A registrar of one's own: names are kept in a file like ``/etc/hosts``, which dnsmasq reads with ``--hostsdir``."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from zope.interface import implementer

from voltgw.control.publish.names import Change, Held, Observed, Refused, Wanted
from voltgw.control.publish.registrar import RegistryError
from voltgw.interfaces import IRegistrarFactory


@dataclass(frozen=True)
class Options:
    """What the configuration says, checked."""

    path: str


class Registrar:
    """Keeps names in a file. A line's comment is its mark; lines without one are somebody else's, and stay as they are."""

    kind = "hosts-file"
    most = 1000

    def __init__(self, path: str, owner: str) -> None:
        self.registry = path
        self.owner = owner

    def content(self, wanted: Wanted) -> Hashable:
        """What `Held.content` is for a name that is held as it should be."""
        return wanted.addresses

    async def observe(self, names: Collection[str]) -> Observed:
        """All that there is: the file is small."""
        found: dict[str, tuple[str, list[str]]] = {}
        for address, name, owner in self._lines():
            found.setdefault(name, (owner, []))[1].append(address)
        held = {}
        for name, (owner, addresses) in found.items():
            if owner:
                held[name] = Held(owner, tuple(sorted(filter(None, addresses))), tuple(addresses))
            else:
                held[name] = Held(occupied=", ".join(addresses))
        return Observed(held, complete=True)

    async def apply(self, changes: Sequence[Change]) -> Sequence[Refused | None]:
        """A new file in place of the old one."""
        changed = {change.name for change in changes}
        lines = [each for each in self._lines() if each[1] not in changed or each[2] != self.owner]
        lines += [(address, change.name, self.owner) for change in changes if change.wanted is not None
                  for address in change.wanted.addresses or ("",)]
        try:
            with open(f"{self.registry}.new", "w", encoding="ascii") as file:
                for address, name, owner in lines:
                    file.write(f"{address or '#'} {name}{f' # voltgw owner={owner}' if owner else ''}\n")
            os.replace(file.name, self.registry)
        except OSError as error:
            raise RegistryError(f"it cannot be written: {error.strerror}") from error
        return [None] * len(changes)

    def close(self) -> None:
        """Nothing is open between two calls."""

    def _lines(self) -> list[tuple[str, str, str]]:
        """Address ("" = none), name and owner ("" = none) of each line."""
        try:
            with open(self.registry, encoding="ascii") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise RegistryError(f"it cannot be read: {error}") from error
        found = []
        for line in lines:
            said, _, owner = line.partition(" # voltgw owner=")
            address, _, name = said.partition(" ")
            if name:
                found.append(("" if address == "#" else address, name, owner))
        return found


@implementer(IRegistrarFactory)
class HostsFile:
    """What the entry point names."""

    name = "hosts-file"

    def options(self, raw: object, place: object) -> Options:
        """Check what stands in the configuration; a ValueError is shown at its place."""
        if not isinstance(raw, dict) or set(raw) != {"path"} or not isinstance(raw["path"], str):
            raise ValueError("a hosts file needs options: {path: ...}")
        return Options(raw["path"])

    def refuses(self, options: object, name: str) -> str:
        """Why it cannot have a name; "" = it can."""
        return "a hosts file has no wildcards" if "*" in name else ""

    def build(self, options: object, zone: str, owner: str, reactor: object, clock: object) -> Registrar:
        """The registrar for options that have been checked."""
        assert isinstance(options, Options)
        return Registrar(options.path, owner)
