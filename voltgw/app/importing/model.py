"""What another proxy's configuration asks for, in the few words that all of them share.

A reader fills a `Gateway`; `voltgw.app.importing.writer` turns it into objects. What cannot be said in these words is a `Note`:
it is left out, and whoever imports is told where it stood and what to do instead. Nothing is opened by leaving something out:
a reader that cannot translate who may send a request answers it with 403 (`Rule.closed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple

#: Notes that are kept; a file that has more is not understood anyway.
MAX_NOTES: Final = 500
#: Bytes of one file that is read.
MAX_FILE_BYTES: Final = 4 << 20
#: Files that one configuration may include.
MAX_FILES: Final = 200
#: Blocks that may stand in each other.
MAX_DEPTH: Final = 32
#: Words that all files together may have.
MAX_WORDS: Final = 400_000


class Place(NamedTuple):
    """Where something stands: a file, and a line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def printable(text: str) -> str:
    """A text of others on one line, with nothing in it that a terminal would obey, or that may not stand in a file of ours."""
    return text if text.isprintable() else "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


class UnreadableError(Exception):
    """The configuration cannot be read at all; `place` is where that shows."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(printable(f"{place}: {message}"))
        self.place = place


class Note(NamedTuple):
    """Something that is left out, or comes out a little different."""

    place: Place
    what: str
    advice: str
    differs: bool = False       # it is there, though not quite the same

    def __str__(self) -> str:
        return printable(f"{self.place}: {'differs' if self.differs else 'left out'}: {self.what}: {self.advice}")


class Notes:
    """The notes of one import, at most `MAX_NOTES`, each once."""

    def __init__(self) -> None:
        self._notes: dict[Note, None] = {}
        self.more = 0           # that were not kept

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes)

    def __len__(self) -> int:
        return len(self._notes)

    def left_out(self, place: Place, what: str, advice: str) -> None:
        """`what` is not in the result; `advice` says what to do instead."""
        self._add(Note(place, what, advice))

    def differs(self, place: Place, what: str, advice: str) -> None:
        """`what` is in the result, but `advice` says how it is not quite the same."""
        self._add(Note(place, what, advice, True))

    def _add(self, note: Note) -> None:
        if len(self._notes) < MAX_NOTES:
            self._notes[note] = None
        else:
            self.more += 1


#: Why a server is left out that is reached in another way than those before it.
MIXED: Final = "the endpoints of a cluster are all reached by TLS, or none is: make another cluster of it"

# -- servers ----------------------------------------------------------------------------------------------------------

@dataclass(slots=True)
class Server:
    """One server: a host name, an address, or with `unix` a path."""

    host: str
    port: int = 80
    weight: int | None = None
    backup: bool = False
    unix: bool = False


@dataclass(slots=True)
class Check:
    """How servers are probed: by HTTP where there is a path, else by connecting."""

    path: str | None = None
    interval_s: float = 10.0
    timeout_s: float = 5.0
    rise: int = 1
    fall: int = 1
    host: str | None = None
    statuses: tuple[str, ...] = ()


@dataclass(slots=True)
class Secure:
    """TLS towards servers; `verify` false takes any certificate, `ca` None trusts the system's roots."""

    verify: bool = True
    ca: str | None = None
    sni: str | None = None              # None = the server's own name, "" = none
    host_as_sni: bool = False
    certificate: str | None = None
    key: str | None = None


@dataclass(slots=True)
class Pool:
    """Servers that do the same."""

    name: str
    servers: list[Server] = field(default_factory=list)
    algorithm: str = "ROUND_ROBIN"
    check: Check | None = None
    tls: Secure | None = None
    http2: bool = False
    connect_timeout_s: float | None = None
    max_requests: int | None = None
    proxy_protocol: int | None = None
    cookie: str | None = None           # clients are pinned by a cookie of this name
    hashed: tuple[str, str] | None = None       # ("header", name), ("cookie", name) or ("source", "")
    datagrams: bool = False


# -- rules ------------------------------------------------------------------------------------------------------------

class Condition(NamedTuple):
    """A condition on a header, cookie or query parameter: `how` is exact, regex or there."""

    name: str
    how: str = "there"
    value: str = ""
    inverted: bool = False


@dataclass(slots=True)
class Match:
    """Conditions that must all hold; `how` says what of the path (any, exact, prefix, segments, regex)."""

    how: str = "any"
    path: str = "/"
    methods: tuple[str, ...] = ()
    headers: tuple[Condition, ...] = ()
    query: tuple[Condition, ...] = ()
    cookies: tuple[Condition, ...] = ()


@dataclass(slots=True)
class Forward:
    """Send it to one of some pools, by weight."""

    pools: list[tuple[str, int | None]]
    prefix_rewrite: str | None = None
    regex_rewrite: tuple[str, str] | None = None
    host: str | None = None             # the Host to send, None = the client's
    server_host: bool = False           # the server's own name is the Host
    timeout_s: float | None = None
    retries: int | None = None
    retry_on: tuple[str, ...] = ()
    mirror: tuple[str, float] | None = None     # a pool, and percent
    websocket: bool = True
    query: str | None = None            # replaces the query, "" = drops it


@dataclass(slots=True)
class Redirect:
    """Answer with a redirect; what is None is kept."""

    status: int = 301
    scheme: str | None = None
    host: str | None = None
    path: str | None = None
    prefix: str | None = None
    keep_query: bool = True


@dataclass(slots=True)
class Reply:
    """Answer at once."""

    status: int = 200
    body: str = ""
    content_type: str | None = None


class Edit(NamedTuple):
    """A header to set (or with `append` to add); a value of None takes it out."""

    name: str
    value: str | None
    append: bool = False


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody else is asked about each request: a pool, the path and Host of the question, and which headers of a good answer
    go on to the server; of a refusal those in `told` go to the client (None = all).
    """

    pool: str
    path: str = "/"
    host: str | None = None
    headers: tuple[str, ...] = ()
    told: tuple[str, ...] | None = None


@dataclass(slots=True)
class Rule:
    """One rule: when one of `matches` holds (none = always), `action` is done."""

    matches: list[Match]
    action: Forward | Redirect | Reply
    request: list[Edit] = field(default_factory=list)
    response: list[Edit] = field(default_factory=list)
    users: str | None = None            # file of user names and passwords that are asked for
    realm: str | None = None
    keep_credential: bool = True        # it goes on to the server, as the others do it
    most_body_bytes: int | None = None
    limit: str | None = None            # name of a `Limit`
    asks: Asking | None = None
    place: str = ""                     # where it stood, for a remark

    def close(self) -> None:
        """Answer 403: who may send this could not be translated, and nothing is to be open that was not."""
        self.action, self.request, self.users, self.asks = Reply(403, ""), [], None, None


@dataclass(slots=True)
class Limit:
    """So many requests a second, minute or hour of each client address."""

    name: str
    total: int
    unit: str = "SECOND"
    burst: int = 1                      # times the rate


class Verdict(NamedTuple):
    """Who may: requests that match (None = all) from these prefixes (none = anybody), or from anywhere else (`inverted`)."""

    match: Match | None
    prefixes: tuple[str, ...]
    allow: bool
    inverted: bool = False


# -- hosts ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Listen:
    """A port, on one address (None = all); `proxied` are the prefixes of proxies that must send a PROXY header."""

    port: int
    address: str | None = None
    proxied: tuple[str, ...] = ()
    unix: str | None = None
    datagrams: bool = False
    skip_forwarded_for: bool = False


@dataclass(slots=True)
class Certificates:
    """TLS towards clients: pairs of files, and perhaps the CA of clients. No pairs: certificates are fetched (ACME)."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    client_ca: str | None = None
    client_optional: bool = False
    least: str | None = None            # TLSv1_2 or TLSv1_3
    most: str | None = None


@dataclass(slots=True)
class Host:
    """Names on some ports, with one list of rules. `kind` is http, tcp, sni or udp."""

    name: str
    domains: list[str]
    listens: list[Listen]
    rules: list[Rule] = field(default_factory=list)
    kind: str = "http"
    tls: Certificates | None = None
    default: bool = False               # takes TLS connections without a known server name
    request: list[Edit] = field(default_factory=list)
    response: list[Edit] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    idle_timeout_s: float | None = None
    keep_alive_s: float | None = None
    most_body_bytes: int | None = None
    compress: tuple[str, ...] = ()      # encodings
    compress_types: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()       # prefixes whose X-Forwarded-For is believed
    pass_server_header: bool = True
    http2_only: bool = False
    http1_only: bool = False
    remark: str = ""


@dataclass(slots=True)
class Gateway:
    """All of it."""

    hosts: list[Host] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    acme_email: str | None = None
    _names: set[str] = field(default_factory=set)       # of the first `_counted` hosts
    _counted: int = 0

    def free_name(self, wanted: str) -> str:
        """A name for a host that no other has."""
        name = object_name(wanted)
        self._names.update(host.name for host in self.hosts[self._counted:])
        self._counted = len(self.hosts)
        return next(each for number in count(1) if (each := name if number == 1 else f"{name}-{number}") not in self._names)

    def add_pool(self, pool: Pool) -> str:
        """Keep a pool; returns its name, which is another one when that is taken by a different pool."""
        name, number = object_name(pool.name), 1
        base = name
        while name in self.pools:
            pool.name = name
            if self.pools[name] == pool:
                return name
            number += 1
            name = f"{base}-{number}"
        pool.name = name
        self.pools[name] = pool
        return name


def object_name(text: str) -> str:
    """`text` as a name of an object: letters, digits, and - for all else."""
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "._") else "-" for one in text.lower())
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept.strip("-._")[:100].strip("-._") or "unnamed"
