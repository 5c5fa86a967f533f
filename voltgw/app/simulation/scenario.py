"""What happens to a configuration in a simulation: the file SCENARIO of ``voltgw simulate FILE SCENARIO``.

It is read as configurations are: every mistake has its place and, where one is near, the name that was probably meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeVar

from yaml.nodes import Node

from voltgw.app.question import QuestionError, read_question
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.one_document import read_one
from voltgw.config.quantities import Duration
from voltgw.config.reader import Missing, Reader
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice, Decimal, Flag, Number, Schema, Text, Type
from voltgw.config.values import FrozenMap

E = TypeVar("E", bound=Enum)
Address = IPv4Address | IPv6Address
#: First and last address.
Span = tuple[Address, Address]

#: Longest time that is simulated, in seconds.
MOST_DURATION_S: Final = 86_400
#: Most requests of a second, for one kind of traffic.
MOST_RATE: Final = 1_000_000.0
#: Most users of one kind of traffic; each has an address, and connections, of its own.
MOST_USERS: Final = 1_000_000
#: Most addresses that one name leads to.
MOST_ADDRESSES: Final = 100_000


class Spacing(Enum):
    """How requests come that have a rate."""

    EVEN = "even"
    RANDOM = "random"


class Standing(Enum):
    """What an endpoint does with connections."""

    UP = "up"
    REFUSES = "refuses"
    SILENT = "silent"
    HANGS = "hangs"


class Probing(Enum):
    """What health checks find."""

    AS_REQUESTS = "as_requests"
    PASSES = "passes"
    FAILS = "fails"


@message
class Step:
    """From some moment on there is another rate."""

    at_s: float = field(Duration("s", 0, MOST_DURATION_S, zero="value"), "When, from the beginning.", required=True)
    rate: float = field(Decimal(0, MOST_RATE), "Requests a second from then on.", required=True)


@message
class Traffic:
    """Requests of one kind, which do not wait for each other."""

    request: str = field(Text(least=1), "METHOD and URL; ``{n}`` stands for the number of the user.", required=True,
                         example="GET http://shop.example.com/cart")
    headers: FrozenMap[str, str] = field(MapOf(Text(least=1), Text()), "Fields of the request; ``{n}`` as in `request`.")
    listener: str | None = field(Text(least=1), "The listener, where the URL does not tell it.")
    rate: float = field(Decimal(0, MOST_RATE), "Requests a second.", required=True)
    spacing: Spacing = field(Choice(Spacing, numbers=False), "``even``, or ``random``: a Poisson process.")
    from_s: float | None = field(Duration("s", 0, MOST_DURATION_S), "When they begin.", absent="at once")
    until_s: float | None = field(Duration("s", 0, MOST_DURATION_S), "When they end.", absent="at the end")
    steps: tuple[Step, ...] = field(ListOf(Nested(Step), most=1000), "Other rates from some moments on, in order.")
    users: int | None = field(Number(1, MOST_USERS), "So many users, each with an address of its own; a request comes of any.",
                              absent="1")
    new_connections: bool = field(Flag(), "Each request comes on a connection of its own.", absent="connections are kept")

    def rules(self) -> Iterable[Rule]:
        """What can be asked, and steps in order."""
        method, _, url = self.request.partition(" ")
        try:
            question = read_question(method, url.strip().replace("{n}", "0"),
                                     [f"{name}: {value}" for name, value in self.headers.items()], "", self.listener or "")
        except QuestionError as error:
            yield Rule("request", "VG0110", str(error))
        else:
            if question.scheme not in ("http", "https"):
                yield Rule("request", "VG0110", f"a simulation plays requests of HTTP alone, not {question.scheme}")
        times = [step.at_s for step in self.steps]
        if times != sorted(times):
            yield Rule("steps", "VG0110", "the steps are not in the order of their times")
        if self.until_s is not None and self.until_s <= (self.from_s or 0.0):
            yield Rule("until", "VG0110", "it ends before it begins")


@message
class Which:
    """Which endpoints are meant: those to which all that is said applies; nothing said means all."""

    cluster: str | None = field(Text(least=1), "Those of this cluster.", example="shop")
    addresses: tuple[str, ...] = field(
        ListOf(Text(least=1), single=True), "Addresses, prefixes, or first-last.", example="[10.0.0.1-10.0.0.100]")
    port: int | None = field(Number(1, 65535), "Those with this port.")
    labels: FrozenMap[str, str] = field(MapOf(Text(least=1), Text()), "Those with these labels.", example="{version: v2}")
    zone: str | None = field(Text(least=1), "Those of this zone.")
    share: float | None = field(Decimal(0, 100), "So many percent of those, drawn by chance once.", absent="100")

    def rules(self) -> Iterable[Rule]:
        """Addresses are such."""
        for text in self.addresses:
            try:
                span_of(text)
            except ValueError as error:
                yield Rule("addresses", "VG0110", str(error))


class Said(Type[E, None]):
    """One spelling of an enum; absent says nothing."""

    default = None

    def __init__(self, enum: type[E]) -> None:
        self._choice = Choice(enum, numbers=False)
        self.words = self._choice.words

    def read(self, node: Node, reader: Reader) -> E | Missing:
        """The choice."""
        return self._choice.read(node, reader)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """The same as the choice's."""
        return self._choice.schema(definitions)

    def plain(self, value: E) -> object:
        """Its spelling."""
        return value.value


@message
class Manner:
    """How endpoints behave; what is not said is as it was said before, or as by default."""

    standing: Standing | None = field(
        Said(Standing), "``up``; ``refuses`` connections, and resets those that there are; ``silent``: packets vanish; "
        "``hangs``: takes connections and requests, but does not answer.", absent="up")
    latency_s: float | None = field(Duration("ms", 0, 600_000, zero="value"), "Median time to an answer.", absent="10ms")
    p99_s: float | None = field(
        Duration("ms", 0, 600_000, zero="value"), "99 % of the answers take at most this (log-normal).",
        absent="every answer takes `latency`")
    slower: float | None = field(Decimal(0.001, 100_000), "All of that takes so many times as long.", absent="1")
    connect_s: float | None = field(Duration("ms", 0, 600_000, zero="value"), "Time until a connection is there.", absent="1ms")
    errors: float | None = field(Decimal(0, 100), "Percentage of requests that are answered with `status`.", absent="0")
    status: int | None = field(Number(400, 599), "The status of errors.", absent="503")
    workers: int | None = field(
        Number(0, 1_000_000), "So many requests are served at once, the others wait for their turn; 0 = any number.",
        absent="any number")
    probes: Probing | None = field(
        Said(Probing), "What health checks find: what a request would find, or always the same.", absent="as_requests")


@message
class Endpoints:
    """Endpoints that behave alike, from the beginning."""

    which: Which | None = field(Nested(Which), "Which endpoints.", absent="all")
    behave: Manner = field(Nested(Manner), "How they behave.", required=True)


@message
class Change:
    """From some moment on endpoints behave otherwise."""

    at_s: float = field(Duration("s", 0, MOST_DURATION_S, zero="value"), "When.", required=True)
    for_s: float | None = field(Duration("s", 0, MOST_DURATION_S), "For how long.", absent="to the end")
    every_s: float | None = field(Duration("s", 0, MOST_DURATION_S), "Again and again, so far apart: flapping.", absent="once")
    which: Which | None = field(Nested(Which), "Which endpoints.", absent="all")
    behave: Manner = field(Nested(Manner), "How they behave then.", required=True)
    why: str | None = field(Text(least=1), "What the time line says of it.")

    def rules(self) -> Iterable[Rule]:
        """Repeated changes end before they come again."""
        if self.every_s is not None and (self.for_s is None or self.for_s >= self.every_s):
            yield Rule("every", "VG0110", "what comes again must end before: say `for`, shorter than `every`")


@message
class Scenario:
    """The file."""

    duration_s: float = field(Duration("s", 0, MOST_DURATION_S), "How long requests come.", required=True)
    seed: int | None = field(Number(0), "The same seed, the same chance.", absent="0")
    names: FrozenMap[str, tuple[str, ...]] = field(
        MapOf(Text(least=1), ListOf(Text(least=1), single=True)), "Addresses of DNS names: single ones, prefixes, first-last.",
        example="{shop.internal: [10.0.0.1-10.0.3.232]}")
    traffic: tuple[Traffic, ...] = field(ListOf(Nested(Traffic), least=1, most=1000), "What clients ask.", required=True)
    endpoints: tuple[Endpoints, ...] = field(
        ListOf(Nested(Endpoints), most=10_000), "How endpoints behave; of several that mean one, the last says it.")
    events: tuple[Change, ...] = field(ListOf(Nested(Change), most=10_000), "What happens.")

    def rules(self) -> Iterable[Rule]:
        """Addresses of names are such, and not too many."""
        for name, texts in self.names.items():
            try:
                spans = [span_of(text) for text in texts]
            except ValueError as error:
                yield Rule("names", "VG0110", f"{name}: {error}")
                continue
            count = sum(int(last) - int(first) + 1 for first, last in spans)
            if count > MOST_ADDRESSES:
                yield Rule("names", "VG0103", f"{name} has {count} addresses; at most {MOST_ADDRESSES} are simulated")


#: What may be said, for the documentation.
TABLES: Final = (Scenario, Traffic, Step, Endpoints, Change, Which, Manner)


def span_of(text: str) -> Span:
    """``10.0.0.1``, ``10.0.0.0/24`` (every address of it but the first and the last) or ``10.0.0.1-10.0.0.9``.

    Raises ValueError with words for whoever wrote it.
    """
    first, dash, last = text.partition("-")
    try:
        if dash:
            begin, end = ip_address(first.strip()), ip_address(last.strip())
        elif "/" in text:
            network = ip_network(text.strip())
            some = network.num_addresses > 2
            return network[1 if some else 0], network[-2 if some else -1]
        else:
            begin = end = ip_address(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is no address, prefix or first-last: {error}") from None
    if begin.version != end.version or int(begin) > int(end):
        raise ValueError(f"{text!r}: the first address is not before the last one")
    return begin, end


def addresses_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Every address of these spans, each once, in order. Raises ValueError."""
    found: dict[str, None] = {}
    for text in texts:
        first, last = span_of(text)
        found.update((str(type(first)(number)), None) for number in range(int(first), int(last) + 1))
    return tuple(found)


def read_scenario(path: str) -> Scenario:
    """The scenario of a file. Raises `ConfigErrors`."""
    return read_one(path, Scenario, "`duration` and `traffic`")
