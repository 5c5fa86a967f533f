"""What stands for all requests when a claim is proved: a name for each domain, and the entries of rules in their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Final

from voltgw.app.conditions import samples
from voltgw.routing.hosts import Rank

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.claims import Claim
    from voltgw.config.objects.route import RouteMatch
    from voltgw.routing.hosts import Domain, Entry, HostTable
    from voltgw.routing.match import Clause
    from voltgw.routing.route import Route, VirtualHost

#: Labels that no configuration is expected to name.
_LABEL: Final = b"voltgw-any"
_NOBODY: Final = b"voltgw-any.invalid"
#: How a label may go on behind `_LABEL` where some wildcard takes the names that do not: by up to two letters.
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789-_"
_ENDS: Final = tuple("".join(end).encode("ascii") for length in range(3) for end in product(_LETTERS, repeat=length))
_NAME: Final = re.compile(rb"[A-Za-z0-9._-]+")
_PORT_ONLY: Final = 1                       # a port that no domain is expected to name


# -- names -------------------------------------------------------------------------------------------------------------

def names(
    table: HostTable, listener_port: int, claim: Claim, runtime: Runtime,
) -> Iterator[tuple[bytes, int | None, Entry | None]]:
    """One name (and port in Host) for each domain that takes any name that the claim speaks of, and one that none takes."""
    in_rules = _names_in_rules(table, runtime)
    seen: set[int] = set()
    wanted: list[tuple[bytes, int | None]] = []
    ports = {entry.domain.port for entry in table.entries if entry.domain.port is not None}
    other = next(port for port in range(_PORT_ONLY, 65536) if port not in ports)
    ports |= {port for _, port in in_rules if port is not None} | ({listener_port} if in_rules else set())
    named = {name for name, _ in in_rules}
    fresh = _Fresh(entry.domain for entry in table.entries)
    for name in dict.fromkeys((*_names_of_claim(claim, fresh), *(_name_of(entry, fresh) for entry in table.entries), *named)):
        if claim.speaks_of_host(name):
            wanted += [(name, None), *((name, port) for port in (*sorted(ports), other) if ports)]
    nobody = False
    for name, port in wanted:
        entry = table.find(name, port, listener_port)
        if entry is None:
            if not nobody:
                nobody = True
                yield name, port, None
        elif id(entry) not in seen or in_rules:
            seen.add(id(entry))
            yield name, port, entry
    if not nobody and claim.speaks_of_host(_NOBODY) and table.find(_NOBODY, None, listener_port) is None:
        yield _NOBODY, None, None


class _Fresh:
    """Makes names that end with a suffix and with no longer one that any of some domains has, if there are such names."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        self._suffixes = {domain.key for domain in domains if domain.rank in (Rank.LABELS, Rank.PART)}

    def name(self, suffix: bytes) -> bytes:
        """A name that ends with `suffix`."""
        for end in _ENDS:
            name = _LABEL + end + suffix
            if not any(name[start:] in self._suffixes for start in range(1, len(name) - len(suffix))):
                return name
        return _LABEL + suffix              # thousands of wildcards leave only longer ends; nobody writes these by chance


def _names_of_claim(claim: Claim, fresh: _Fresh) -> tuple[bytes, ...]:
    if claim.host is None or claim.host.rank is Rank.ANY:
        return ()
    return (claim.host.key,) if claim.host.rank is Rank.EXACT else (fresh.name(claim.host.key),)


def _name_of(entry: Entry, fresh: _Fresh) -> bytes:
    """A name that this domain takes, and no other does if that can be helped."""
    domain = entry.domain
    if domain.rank is Rank.EXACT:
        return domain.key
    return _NOBODY if domain.rank is Rank.ANY else fresh.name(domain.key)


def _names_in_rules(table: HostTable, runtime: Runtime) -> dict[tuple[bytes, int | None], None]:
    """Names, with their ports, that conditions on Host ask for, in order."""
    names: list[tuple[bytes, int | None]] = []
    for host in {id(entry.host): entry.host for entry in table.entries}.values():
        for _, entry, _ in leaves(host, runtime):
            for each in entry.headers if entry is not None else ():
                if each.name.lower() in ("host", ":authority"):
                    for text in [each.exact.encode("utf-8")] if each.exact else samples(each.regex) if each.regex else []:
                        name, _, port = text.lower().partition(b":")
                        if _NAME.fullmatch(name):
                            names.append((name, int(port) if port.isdigit() and 0 < int(port) < 65536 else None))
    return dict.fromkeys(names)


# -- rules -------------------------------------------------------------------------------------------------------------

#: A clause as it was built, as it was written (None = a rule without `match`), and the route to which it leads.
Leaf = tuple["Clause", "RouteMatch | None", "Route"]


def leaves(host: VirtualHost, runtime: Runtime) -> list[Leaf]:
    """Every entry of every rule of a host, in the order in which they are tried."""
    config = runtime.config
    written = config.of("virtual_host")[(host.namespace, host.name)]
    found = (config.find("route", ref, host.namespace) for ref in written.spec.routes)
    specs = [rule for one in found if one is not None for rule in one.spec.routes]
    found_leaves: list[Leaf] = []
    for rule, spec in zip(host.rules, specs, strict=True):
        entries: tuple[RouteMatch | None, ...] = spec.match or (None,)
        found_leaves += [(clause, entry, route) for (clause, route), entry in zip(rule.clauses, entries, strict=True)]
    return found_leaves
