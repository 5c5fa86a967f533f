"""Names to factories: the built-in alternatives of each room, and those that other packages declare.

A package adds one with an entry point, for example ``sticky = pkg:Sticky`` in the group ``voltgw.schedulers``: an
object that provides `voltgw.interfaces.IFactory`, or a class whose instances do and that needs no argument.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from voltgw.interfaces import IFactory

SCHEDULERS: Final = "voltgw.schedulers"
PROBES: Final = "voltgw.probes"
DISCOVERY: Final = "voltgw.discovery"
FILTERS: Final = "voltgw.filters"
CHALLENGES: Final = "voltgw.challenges"
REGISTRARS: Final = "voltgw.registrars"

#: Group -> name -> "module:attribute". A module is imported when its name is asked for.
BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    CHALLENGES: {
        "http-01": "voltgw.control.acme.challenges.http_01:FACTORY",
        "tls-alpn-01": "voltgw.control.acme.challenges.tls_alpn_01:FACTORY",
    },
    SCHEDULERS: {
        "lb_override": "voltgw.cluster.schedulers.lb_override:FACTORY",
        "least_request": "voltgw.cluster.schedulers.least_request:FACTORY",
        "maglev": "voltgw.cluster.schedulers.maglev:FACTORY",
        "peak_ewma": "voltgw.cluster.schedulers.peak_ewma:FACTORY",
        "random": "voltgw.cluster.schedulers.random:FACTORY",
        "rendezvous": "voltgw.cluster.schedulers.rendezvous:FACTORY",
        "ring_hash": "voltgw.cluster.schedulers.ring_hash:FACTORY",
        "round_robin": "voltgw.cluster.schedulers.round_robin:FACTORY",
    },
    PROBES: {
        "dns": "voltgw.control.probes.dns:FACTORY",
        "grpc": "voltgw.control.probes.grpc:FACTORY",
        "http": "voltgw.control.probes.http:FACTORY",
        "tcp": "voltgw.control.probes.tcp:FACTORY",
        "udp": "voltgw.control.probes.udp:FACTORY",
    },
    DISCOVERY: {
        "dns": "voltgw.control.discovery.dns:FACTORY",
        "registered": "voltgw.control.discovery.registered:FACTORY",
        "static": "voltgw.control.discovery.static:FACTORY",
    },
}


class RegistryError(Exception):
    """A name that nobody or two have, or a thing behind a name that is no factory; the message is for the operator."""


class Registry:
    """What can be asked for by name. `declared(group)` gives the entry points; it is asked once for each group."""

    def __init__(
        self, built_in: Mapping[str, Mapping[str, str]] = BUILT_IN,
        declared: Callable[[str], Iterable[EntryPoint]] = lambda group: entry_points(group=group),
    ) -> None:
        self._built_in = built_in
        self._declared = declared
        self._owners: dict[str, dict[str, EntryPoint]] = {}
        self._found: dict[tuple[str, str], Any] = {}

    def names(self, group: str) -> list[str]:
        """Every name of a group, sorted. Raises RegistryError when two claim one."""
        return sorted(self._group(group))

    def find(self, group: str, name: str) -> Any:
        """The factory of that name, imported and verified. Raises RegistryError."""
        found = self._found.get((group, name))
        if found is None:
            found = self._found[group, name] = self._load(group, name)
        return found

    def _group(self, group: str) -> dict[str, EntryPoint]:
        owners = self._owners.get(group)
        if owners is not None:
            return owners
        owners = {name: EntryPoint(name, value, group) for name, value in self._built_in.get(group, {}).items()}
        for entry in self._declared(group):
            other = owners.get(entry.name)
            if other is not None and other.value != entry.value:
                raise RegistryError(
                    f"{group}: {entry.name!r} belongs to {_owner(other)} and is claimed by {_owner(entry)}"
                )
            owners[entry.name] = entry
        self._owners[group] = owners
        return owners

    def _load(self, group: str, name: str) -> Any:
        owners = self._group(group)
        entry = owners.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, owners, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(owners)) or 'none'}"
            raise RegistryError(f"{group}: there is no {name!r}{hint}")
        try:
            module, _, attribute = entry.value.partition(":")
            factory: Any = import_module(module)
            for part in attribute.strip().split("."):
                factory = getattr(factory, part)
            if isinstance(factory, type):
                factory = factory()
        except Exception as error:          # whatever a third party's import may raise
            raise RegistryError(f"{group}: {_owner(entry)} cannot be loaded for {name!r}: {error}") from error
        try:
            verifyObject(IFactory, factory)
        except Invalid as error:
            raise RegistryError(f"{group}: {_owner(entry)} is not a factory for {name!r}: {error}") from error
        if factory.name != name:
            raise RegistryError(f"{group}: {_owner(entry)} stands for {factory.name!r}, not for {name!r}")
        return factory


def _owner(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "voltgw"
    return f"{entry.value} of {package}"
