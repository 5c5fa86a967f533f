"""The sentences of ``prove:``, read: which requests they speak of, and what is claimed of them.

::

    nothing    [METHOD] [under PATH | at PATH | beginning with PATH] [on HOST]  reaches [virtual host | route | cluster] NAME
    everything [METHOD] ...                                                     reaches any cluster
                                                                                is answered STATUS

*under* means whole segments (``/admin`` and ``/admin/x``, not ``/adminx``), *beginning with* any path that begins so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from voltgw.config.suggest import did_you_mean
from voltgw.routing.hosts import Domain, Rank, read_domain
from voltgw.wire.path import BadTarget, literal_path, normal_path

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.routing.route import Route, VirtualHost

_SENTENCE: Final = re.compile(
    r"(?P<who>nothing|everything)"
    r"(?:\s+(?P<method>[A-Z]+))?"
    r"(?:\s+(?P<how>under|at|beginning with)\s+(?P<path>/\S*))?"
    r"(?:\s+on\s+(?P<host>\S+))?"
    r"\s+(?:reaches\s+(?:(?P<kind>virtual host|route|cluster)\s+(?P<name>\S+)|any\s+cluster)|is\s+answered\s+(?P<status>\d{3}))"
)
_SHAPE: Final = ("nothing|everything [METHOD] [under|at|beginning with PATH] [on HOST] reaches cluster|route|virtual host "
                 "NAME, or: reaches any cluster, or: is answered STATUS")


class How(Enum):
    """How a claim speaks of paths."""

    ANY = "any"
    UNDER = "under"
    AT = "at"
    BEGINNING = "beginning with"


class Kind(Enum):
    """What a claim says requests reach."""

    CLUSTER = "cluster"
    ANY_CLUSTER = "any cluster"
    ROUTE = "route"
    HOST = "virtual host"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence. `never`: nothing may reach it; else everything must. `host` None = any."""

    text: str
    never: bool
    method: bytes | None
    how: How
    path: bytes
    host: Domain | None
    kind: Kind
    name: str
    status: int = 0

    def speaks_of(self, path: bytes) -> bool:
        """Whether it is about requests for this path."""
        if self.how is How.ANY:
            return True
        if self.how is How.AT:
            return path == self.path
        if self.how is How.BEGINNING or self.path.endswith(b"/"):
            return path.startswith(self.path)
        return path == self.path or path.startswith(self.path + b"/")

    def speaks_of_host(self, host: bytes) -> bool:
        """Whether it is about requests for this name."""
        domain = self.host
        if domain is None or domain.rank is Rank.ANY:
            return True
        if domain.rank is Rank.EXACT:
            return host == domain.key
        return len(host) > len(domain.key) and host.endswith(domain.key)

    def broken_by(self, host: VirtualHost | None, route: Route | None, status: int | None) -> bool:
        """Whether a request that gets there breaks it; `status` is that of the gateway's own answer, None if it forwards."""
        if self.never:
            return self._may_reach(host, route, status)
        return not self._always_reaches(host, route, status)

    def _may_reach(self, host: VirtualHost | None, route: Route | None, status: int | None) -> bool:
        if self.kind in (Kind.CLUSTER, Kind.ANY_CLUSTER):
            return any(self.kind is Kind.ANY_CLUSTER or _same(name, self.name) for name in clusters_of(route))
        return self._always_reaches(host, route, status)

    def _always_reaches(self, host: VirtualHost | None, route: Route | None, status: int | None) -> bool:
        if self.kind is Kind.STATUS:
            return status == self.status
        if self.kind is Kind.HOST:
            return host is not None and _same(f"{host.namespace}/{host.name}", self.name)
        if self.kind is Kind.ROUTE:
            return route is not None and self.name in (route.name, route.name.rpartition("/")[0])
        reached = clusters_of(route, copies=False)
        return bool(reached) and (self.kind is Kind.ANY_CLUSTER or all(_same(name, self.name) for name in reached))


class ClaimError(ValueError):
    """A sentence that cannot be understood, or that speaks of what there is not."""


def read_claim(text: str, runtime: Runtime) -> Claim:
    """The claim that a sentence makes about `runtime`. Raises `ClaimError`.

    What it names must be there: that nothing reaches a cluster which does not exist would be easily proved.
    """
    match = _SENTENCE.fullmatch(" ".join(text.split()))
    if match is None:
        raise ClaimError(f"{text!r} is not a sentence of the form: {_SHAPE}")
    host: Domain | None = None
    path = b""
    try:
        if match["host"] is not None:
            host = read_domain(match["host"])
        if match["path"] is not None:
            path = literal_path(match["path"])
            if normal_path(path) != path:
                raise ClaimError(f"{match['path']} is not in its normal form; the gateway looks at "
                                 f"{normal_path(path).decode('ascii')}")
    except (BadTarget, ValueError) as error:
        raise ClaimError(str(error)) from None
    if host is not None and (host.rank is Rank.PART or host.port is not None):
        raise ClaimError(f"{match['host']} is neither a name nor *.NAME, without a port")
    kind = Kind.STATUS if match["status"] is not None else Kind.ANY_CLUSTER if match["kind"] is None else Kind(match["kind"])
    claim = Claim(text, match["who"] == "nothing", None if match["method"] is None else match["method"].encode(),
                  How.ANY if match["how"] is None else How(match["how"]), path, host, kind, match["name"] or "",
                  int(match["status"] or 0))
    _must_be_there(claim, runtime)
    return claim


def clusters_of(route: Route | None, *, copies: bool = True) -> list[str]:
    """The clusters that requests of a route may get to; with `copies` also where copies of them are sent."""
    if route is None:
        return []
    several = len(route.destinations) > 1
    names = [each.cluster_name for each in route.destinations if each.weight or not several]
    return [*names, route.mirror.cluster.name] if copies and route.mirror is not None else names


def _same(full_name: str, name: str) -> bool:
    return name == full_name if "/" in name else full_name.partition("/")[2] == name


def _must_be_there(claim: Claim, runtime: Runtime) -> None:
    known: list[str] = []
    if claim.kind is Kind.CLUSTER:
        known = list(runtime.clusters)
    elif claim.kind is Kind.HOST:
        known = list(runtime.hosts)
    elif claim.kind is Kind.ROUTE:
        routes = {route.name for host in runtime.hosts.values() for route in host.routes}
        if claim.name in routes or any(name.rpartition("/")[0] == claim.name for name in routes):
            return
        raise ClaimError(f"no virtual host has a route {claim.name!r}; {did_you_mean(claim.name, routes)}".rstrip("; "))
    if known and not any(_same(name, claim.name) for name in known) or claim.kind in (Kind.CLUSTER, Kind.HOST) and not known:
        hint = did_you_mean(claim.name, [*known, *(name.partition("/")[2] for name in known)])
        raise ClaimError(f"there is no {claim.kind.value} {claim.name!r}; {hint}".rstrip("; "))
