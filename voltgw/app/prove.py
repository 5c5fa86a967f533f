"""Looks for a request that breaks a claim, among all requests there can be, and says what was and was not proved.

Every listener of HTTP, every domain of its virtual hosts and every kind of path is gone through: paths between two literals
that rules name are alike, so one of each kind stands for all of them. Whether the conditions on headers, query and cookies
leave a way to a rule is reasoned about (`voltgw.app.conditions`). A counter-example is a real request: it is built, and the
real tables say where it goes.

What cannot be decided so is said to be open: regexes in paths and hosts of which no example is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from voltgw.app.claims import clusters_of
from voltgw.app.conditions import (
    Atom,
    Literal,
    TooHardError,
    implications,
    literals,
    pattern,
    samples,
    solve,
)
from voltgw.app.names import leaves, names
from voltgw.errors import BadRequest
from voltgw.routing.hosts import Rank
from voltgw.routing.match import PathKind
from voltgw.wire.http1 import parse_request
from voltgw.wire.path import BadTarget, normal_path, written_path

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan, Runtime
    from voltgw.app.claims import Claim
    from voltgw.config.objects.route import PortMatcherType
    from voltgw.routing.match import Clause
    from voltgw.routing.route import Route, VirtualHost
    from voltgw.values.head import RequestHead
    from voltgw.values.proxyheader import ProxyHeader
    from voltgw.values.tls import Handshake

#: Words and bytes that no configuration is expected to name.
_WORD: Final = "voltgw-any"
_FRESH: Final = (b"~", b"-", b"_", b"0", b"z", b"Q", b"8", b"!", b"F", b"2F", b"0~", b"~~", b"-~", b"~0", b"zz~", b"25~")
#: Methods that stand for those that no rule names.
_OTHER_METHODS: Final = (b"GET", b"HEAD", b"POST", b"PROPFIND")


class Outcome(Enum):
    """What became of a claim."""

    PROVED = "proved"
    REFUTED = "refuted"
    OPEN = "open"


class Example(NamedTuple):
    """A request that breaks a claim, and where it goes."""

    method: str
    url: str
    headers: tuple[str, ...]
    listener: str
    goes: str


@dataclass(slots=True)
class Verdict:
    """The outcome, the example that refutes, and for open ones why they are. `looked_at` counts kinds of requests."""

    outcome: Outcome = Outcome.PROVED
    example: Example | None = None
    open: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    looked_at: int = 0


def prove(runtime: Runtime, claim: Claim) -> Verdict:
    """Whether `claim` holds for every request that the gateway of `runtime` takes."""
    verdict = Verdict()
    for plan in runtime.listeners.values():
        if plan.table is None:
            continue
        for name, port, entry in names(plan.table, plan.port, claim, runtime):
            if entry is None:
                verdict.looked_at += 1
                if (claim.host is not None or claim.never) and claim.broken_by(None, None, 404):
                    where = plan.port if port is None else port
                    _refute(verdict, plan, name, where, b"GET", claim.path or b"/", (), "no virtual host: 404")
            else:
                one_name = Rank.EXACT in (entry.domain.rank, claim.host.rank if claim.host is not None else None)
                _Search(runtime, plan, entry.host, name, port, one_name, claim, verdict).run()
            if verdict.example is not None:
                return verdict
    if verdict.open:
        verdict.outcome = Outcome.OPEN
    return verdict


def _refute(
    verdict: Verdict, plan: ListenerPlan, name: bytes, port: int | None, method: bytes, target: bytes, headers: tuple[str, ...],
    goes: str,
) -> None:
    verdict.outcome = Outcome.REFUTED
    host = name.decode("latin-1")
    url = f"http://{host}{'' if plan.port == 80 else f':{plan.port}'}{target.decode('latin-1')}"
    usual = port in (None, 80) if plan.port == 80 else port == plan.port        # what a client makes of the URL
    shown = headers if usual else (f"Host: {host}{'' if port is None else f':{port}'}", *headers)
    verdict.example = Example(method.decode("latin-1"), url, shown, str(plan.key), goes)


# -- rules -------------------------------------------------------------------------------------------------------------

class _Possible(NamedTuple):
    """A leaf that a kind of path and a method leave possible, and what it still wants."""

    wanted: tuple[Literal, ...]
    route: Route


class _Search:
    """Goes through the requests of one name at one listener."""

    def __init__(
        self, runtime: Runtime, plan: ListenerPlan, host: VirtualHost, name: bytes, port: int | None, one_name: bool,
        claim: Claim, verdict: Verdict,
    ) -> None:
        self._plan = plan
        self._host = host
        self._name = name
        self._port = port
        self._one_name = one_name               # else `name` stands for many
        self._claim = claim
        self._verdict = verdict
        self._leaves = leaves(host, runtime)
        self._regexes = [entry.path.regex for _, entry, _ in self._leaves
                         if entry is not None and entry.path is not None and entry.path.regex is not None]

    def run(self) -> None:
        """Until a counter-example is found, or everything was looked at."""
        claim, host = self._claim, self._host
        if not claim.broken_by(host, None, 404) and not any(
                claim.broken_by(host, route, self._status(route)) for _, _, route in self._leaves):
            self._verdict.looked_at += 1
            return                              # wherever it goes, all is well
        if host.raw_path and claim.path:
            note = (f"{host.namespace}/{host.name} takes paths as they are written: other spellings of {claim.path.decode()} "
                    "are other paths to it, and were not looked at as such")
            if note not in self._verdict.notes:
                self._verdict.notes.append(note)
        for method in self._methods():
            for path, exact in self._paths(method):
                self._verdict.looked_at += 1
                self._look(method, path, exact)
                if self._verdict.example is not None:
                    return

    # -- what there is to go through -----------------------------------------------------------------------------------

    def _methods(self) -> list[bytes]:
        """Every method that a rule names, and one that none does."""
        if self._claim.method is not None:
            return [self._claim.method]
        named = {entry.http_method.value.encode("ascii") for _, entry, _ in self._leaves if entry is not None}
        named |= {each.exact.encode("utf-8") for _, entry, _ in self._leaves for each in (entry.headers if entry else ())
                  if each.name.lower() == ":method" and each.exact}
        named -= {b"ANY", b"CONNECT"}           # the codec refuses CONNECT
        return [*sorted(named), next(method for method in _OTHER_METHODS if method not in named)]

    def _paths(self, method: bytes) -> Iterator[tuple[bytes, bool]]:
        """A path of each kind that the claim speaks of; True = it is the only one of its kind."""
        known = self._literals()
        for literal in sorted(known):
            if self._claim.speaks_of(literal) and self._can_be_sent(literal):
                yield literal, True
            for fresh in _FRESH:
                below = literal + fresh
                if any(other.startswith(below) for other in known) or not self._can_be_sent(below):
                    continue
                if self._claim.speaks_of(below):
                    yield below, False
                break
            else:
                self._open(None, f"no path was found that is below {literal.decode()} and no other literal's")
        for path in self._made_up():
            if self._claim.speaks_of(path) and self._can_be_sent(path):
                yield path, True
        if method == b"OPTIONS" and not self._claim.path:
            yield b"*", True

    def _literals(self) -> set[bytes]:
        """The beginnings and whole paths that rules and the claim name; what lies between them is alike."""
        found = {b"/"}
        for clause, _, _ in self._leaves:
            if clause.literal.startswith(b"/"):
                found.add(clause.literal)
                if clause.kind is PathKind.SEGMENTS:
                    found.add(clause.literal + b"/")
        if self._claim.path:
            found |= {self._claim.path, self._claim.path.rstrip(b"/") + b"/"}
        return found

    def _made_up(self) -> list[bytes]:
        """Paths that regexes match."""
        return list(dict.fromkeys(text for regex in self._regexes for text in samples(regex)))

    def _can_be_sent(self, path: bytes) -> bool:
        """Whether a request's path can look like this when rules see it."""
        try:
            return (written_path(path) if self._host.raw_path else normal_path(path)) == path
        except BadTarget:
            return False

    # -- looking at one kind -------------------------------------------------------------------------------------------

    def _look(self, method: bytes, path: bytes, exact: bool) -> None:
        """All requests of one method for one kind of path."""
        before: list[list[Literal]] = []        # one of each holds: the entries so far do not match
        for possible in self._possible(method, path, exact):
            status = self._status(possible.route)
            if self._claim.broken_by(self._host, possible.route, status):
                self._try(method, path, possible.wanted, before, possible.route)
                if self._verdict.example is not None:
                    return
            if not possible.wanted:
                return                          # it takes all that are left
            before.append([(atom, not truth) for atom, truth in possible.wanted])
        if self._claim.broken_by(self._host, None, 404):
            self._try(method, path, (), before, None)

    def _possible(self, method: bytes, path: bytes, exact: bool) -> Iterator[_Possible]:
        for clause, entry, route in self._leaves:
            wanted: list[Literal] = []
            if entry is not None:
                named = entry.http_method.value.encode("ascii")
                if named != b"ANY" and named != method:
                    continue
                if entry.incoming_port is not None and not _takes_port(entry.incoming_port, self._plan.port):
                    continue
                wanted, decided = self._decided(literals(entry), method)
                if not decided:
                    continue
                regex = entry.path.regex if entry.path is not None else None
                if regex is not None:
                    atom = Atom("path", "", "matches", regex)
                    if exact or pattern(atom).shape.value != "general":
                        if not pattern(atom).matches(path):
                            continue
                    elif path.startswith(clause.literal):
                        wanted.append((atom, True))
                    else:
                        continue
                elif not _takes_path(clause, path):
                    continue
            yield _Possible(tuple(wanted), route)

    def _decided(self, wanted: Iterable[Literal], method: bytes) -> tuple[list[Literal], bool]:
        """What is left of some conditions once those on Host and :method are decided; False = one of them does not hold."""
        left: list[Literal] = []
        authority = self._name if self._port is None else b"%b:%d" % (self._name, self._port)
        for atom, truth in wanted:
            value = {":method": method, "host": authority, ":authority": authority}.get(atom.name) if atom.where == "header" \
                else None
            alike = atom.op != "matches" or (self._claim.method is not None if atom.name == ":method" else self._one_name)
            if value is None or not alike:      # a regex may tell names apart that are alike for everything else
                left.append((atom, truth))
            elif _holds(atom, value) is not truth:
                return [], False
        return left, True

    def _try(
        self, method: bytes, path: bytes, wanted: tuple[Literal, ...], before: list[list[Literal]], route: Route | None,
    ) -> None:
        """Whether some request of this kind gets to `route`: then it is a counter-example."""
        atoms = {atom for atom, _ in wanted} | {atom for clause in before for atom, _ in clause}
        try:
            model = solve(wanted, [*before, *implications(atoms)])
        except TooHardError:
            self._open(route, "its conditions and those before it are too many to reason about")
            return
        if model is None:
            return
        paths = [path, *(one for one in self._made_up() if one.startswith(path) and self._claim.speaks_of(one))]
        for candidate in paths:
            if self._goes_wrong(method, candidate, model):
                return
        what = ", ".join(sorted({f"{atom.where} {atom.name} {atom.op} {atom.value}".replace("  ", " ").strip()
                                 for atom, truth in model.items() if truth or atom.where == "path"}))
        self._open(route, f"no request was found for {method.decode()} below {path.decode()} with: {what or 'nothing more'}")

    def _open(self, route: Route | None, why: str) -> None:
        name = "no route" if route is None else f"route {route.name}"
        text = f"{self._host.namespace}/{self._host.name}, {name}: {why}"
        if text not in self._verdict.open:
            self._verdict.open.append(text)

    def _goes_wrong(self, method: bytes, path: bytes, model: dict[Atom, bool]) -> bool:
        """Build the request and ask the real tables."""
        lines, query = _request_parts(model)
        target = path + (b"" if query is None else b"?" + query)
        return any(self._is_wrong(method, target, lines, port) for port in (
            (self._plan.port, None) if self._port is None else (self._port,)))

    def _is_wrong(self, method: bytes, target: bytes, lines: list[str], port: int | None) -> bool:
        authority = self._name if port is None else b"%b:%d" % (self._name, port)
        data = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: " + authority,
                             *(line.encode("utf-8") for line in lines), b"", b""])
        try:
            head = parse_request(data, len(data) - 4)
        except BadRequest:
            return False
        table = self._plan.table
        assert table is not None                # only those are gone through
        host = table.choose(head.host, head.port, self._plan.port)
        if host is not self._host:
            return False
        route = host.choose(head, self._plan.port)
        status = 404 if route is None else self._status(route, head)
        if not self._claim.speaks_of(head.path) or not self._claim.broken_by(host, route, status):
            return False
        goes = "no route: 404"
        if route is not None:
            there = f"answered {status}" if status is not None else f"cluster {' or '.join(clusters_of(route))}"
            goes = f"route {route.name} [{route.place}], {there}"
        _refute(self._verdict, self._plan, self._name, port, method, target, tuple(lines),
                f"virtual host {host.namespace}/{host.name}, {goes}")
        return True

    def _status(self, route: Route, head: RequestHead | None = None) -> int | None:
        """The status of a route's own answer, None if it forwards."""
        if route.answer is None:
            return None
        head = head or parse_request(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 23)
        return route.answer(head, _SomeClient()).status


class _SomeClient:
    """A client's side, for answers that look at it."""

    peer_address = "192.0.2.1"
    peer_port = 50000
    local_address = "192.0.2.2"
    local_port = 80
    scheme = b"http"
    sni = ""
    tls_version = ""
    tls_cipher = ""
    handshake: Handshake | None = None
    certified = b""
    connected_wall = 0.0
    listener = ""
    announced: ProxyHeader | None = None
    came_to = ("192.0.2.2", 80)


def _takes_port(spec: PortMatcherType, port: int) -> bool:
    if spec.port is not None:
        return port == spec.port
    return not spec.port_ranges or any(port in span for span in spec.port_ranges)


def _takes_path(clause: Clause, path: bytes) -> bool:
    if clause.kind is PathKind.ANY:
        return True
    if clause.kind is PathKind.EXACT:
        return path == clause.literal
    if clause.kind is PathKind.PREFIX:
        return path.startswith(clause.literal)
    return path == clause.literal or path.startswith(clause.literal + b"/")


def _holds(atom: Atom, value: bytes) -> bool:
    """Whether a condition holds for the one value that there is."""
    if atom.op == "there":
        return True
    if atom.name == ":method":
        return value == atom.value.encode("utf-8") if atom.op == "is" else bool(pattern(atom).matches(value))
    if atom.op == "is":
        return value.lower() == atom.value.lower().encode("utf-8")
    return bool(pattern(Atom("header", atom.name, "matches", f"(?i){atom.value}")).matches(value.lower()))


def _request_parts(model: dict[Atom, bool]) -> tuple[list[str], bytes | None]:
    """Header lines and query that make the atoms as true as `model` wants them."""
    values: dict[tuple[str, str], list[str]] = {}
    for atom, truth in model.items():
        if not truth or atom.where == "path" or atom.name in ("host", ":authority", ":method"):
            continue
        found = values.setdefault((atom.where, atom.name), [])
        if atom.op == "is":
            found.append(atom.value)
        elif atom.op == "matches":
            false = {other.value for other, value in model.items()
                     if not value and (other.where, other.name, other.op) == (atom.where, atom.name, "is")}
            made = [text.decode("utf-8", "replace") for text in samples(atom.value)]
            found += [text for text in made if text not in false and pattern(atom).matches(text.encode())][:1]
    lines: list[str] = []
    parameters: list[str] = []
    cookies: list[str] = []
    for (where, name), texts in values.items():
        for text in dict.fromkeys(texts or [_WORD]):
            if where == "header":
                lines.append(f"{name}: {text}")
            elif where == "cookie":
                cookies.append(f"{name}={text}")
            else:
                parameters.append(f"{quote(name)}={quote(text)}")
    if cookies:
        lines.append("cookie: " + "; ".join(cookies))
    return lines, "&".join(parameters).encode("ascii") if parameters else None
