"""Puts one request through the real data plane on a stage: nobody is connected to, and nothing that serves is touched.

What an endpoint would get and what a client would be told are thus not described a second time; they are what the data
plane itself does. The route, its virtual host and its clusters are stand-ins: copies with counters, pools, schedulers and
endpoints of their own. The tables behind them are only read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from voltgw.app.listening import serve_http
from voltgw.net.deadlines import Deadlines
from voltgw.observe.redact import HIDDEN, secret_name
from voltgw.proxy.factory import HttpFactory
from voltgw.proxy.plane import Plane
from voltgw.routing.hashing import fraction
from voltgw.routing.hosts import HostTable
from voltgw.routing.index import Chooser
from voltgw.values.counters import ListenerCounters, RouteCounters
from voltgw.values.head import CHUNKED
from voltgw.values.reply import Delay, Reply
from voltgw.values.tls import Handshake

if TYPE_CHECKING:
    from voltgw.app.build import ListenerPlan
    from voltgw.app.question import Question
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.endpoint import Endpoint
    from voltgw.cluster.subset import Subset
    from voltgw.errors import ConnectFailed
    from voltgw.routing.route import Guard, Route, VirtualHost
    from voltgw.routing.split import Destination
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead, ResponseHead
    from voltgw.values.reason import Reason

#: A filter may let a request wait; the stage's clock is turned so far at most (seconds).
LONGEST_WAIT_S: Final = 3600.0
#: A body that is announced is made up, if it is not longer than this, so that the exchange ends as it would.
MOST_BODY_BYTES: Final = 1 << 20
#: The number that every draw of chance on the stage gives; explain says what else could have been drawn.
_DRAWN: Final = 0.5
#: What request ids on the stage begin with, and the part of all faults that their ends keep clear of.
_ID_PREFIX: Final = b"00000000-0000-4000-8000-"
_USUAL: Final = 0.96
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

Line = tuple[str, str]


class Head(NamedTuple):
    """A message's head as it went over the wire: the first line and the fields, in order."""

    start: str
    fields: tuple[Line, ...]

    def get(self, name: str) -> str | None:
        """The first value of a field, or None."""
        return next((value for key, value in self.fields if key == name), None)


@dataclass(slots=True)
class Ran:
    """What one filter did: in a word, and each change in words."""

    name: str
    outcome: str
    changes: list[str]


@dataclass(slots=True)
class Performance:
    """What came of a rehearsal.

    `sent` is what the endpoint got, None = nobody was asked. `told` is what the client got: `own` tells whether that is an
    answer of the gateway's, or what it made of an endpoint's plain 200.
    """

    sent: Head | None = None
    told: Head | None = None
    body: bytes = b""
    own: bool = True
    endpoint: Endpoint | None = None
    exchange: Exchange | None = None
    request_filters: list[Ran] = field(default_factory=list)
    response_filters: list[Ran] = field(default_factory=list)
    judged: list[Reason] = field(default_factory=list)      # what the gates of the route said
    refused_by: str = ""                    # the rule, limit or method of theirs that refused
    waited_s: float = 0.0
    problem: str = ""                       # why it did not come to an end

    @property
    def status(self) -> int | None:
        """The status of the gateway's own answer, None where it forwards."""
        return int(self.told.start.split(" ", 2)[1]) if self.own and self.told is not None else None


def rehearse(
    question: Question, plan: ListenerPlan, host: VirtualHost | None, route: Route | None, destination: Destination | None,
    clusters: Mapping[str, Cluster | Subset], wall: Callable[[], float],
) -> Performance:
    """What becomes of `question` at the listener of `plan`, once it is known where it goes.

    `host` and `route` are what the tables gave; `destination` is the one of the route's that it is about. `clusters` has
    stand-ins by name (`voltgw.app.explain` makes them).
    """
    performance = Performance()
    stage = _Stage(performance, wall)
    stand_in = None if host is None else _stand_in(host, route, destination, clusters, performance)
    table = HostTable([] if stand_in is None else [(["*"], stand_in)])
    factory = HttpFactory(stage, str(plan.key), plan.key.address or "0.0.0.0", plan.port, table, ListenerCounters())
    serve_http(factory, plan, table)
    factory.only_2 = False                  # the question is put in HTTP/1.1, whatever is spoken there
    family = IPv6Address if ":" in question.source else IPv4Address
    connection: Any = factory.buildProtocol(family("TCP", question.source, 50000))
    client = _Wire()
    if plan.tls:
        client.handshake = Handshake("TLSv1.3", "TLS_AES_128_GCM_SHA256", sni=question.host.lower())
    try:
        connection.makeConnection(client)
        connection.dataReceived(question.head + _body_of(question.head))
        stage.settle(lambda: bool(client.sent or stage.dialed))
        _perform(stage, client, performance)
    except Exception as error:              # a bug of ours or of a filter's: the data plane would answer 500
        performance.problem = f"{type(error).__name__}: {error}"
    finally:
        stage.end(connection)
    performance.exchange = stage.ended or performance.exchange
    return performance


def _perform(stage: _Stage, client: _Wire, performance: Performance) -> None:
    performance.waited_s = stage.loop.clock.seconds()
    if client.sent:
        performance.told, performance.body = _message(client.sent)
    elif stage.dialed:
        endpoint, upstream = stage.dialed[0]
        wire = _Wire()
        stage.accepted = upstream
        upstream.makeConnection(wire)
        performance.endpoint = endpoint
        performance.sent, _ = _message(wire.sent)
        performance.own = False
        upstream.dataReceived(_OK)
        if client.sent:
            performance.told, performance.body = _message(client.sent)
    else:
        performance.problem = "it waits for an answer from elsewhere, which is not asked for here"


# -- the stage ---------------------------------------------------------------------------------------------------------

class _Loop:
    """What the data plane uses of the loop; time stands still but for filters that wait."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(1.0)
        self.calls: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        """Seconds; not 0.0, which would mean that something has not happened."""
        return 1.0 + float(self.clock.seconds())

    def soon(self, call: Callable[[], None]) -> None:
        """In the next turn."""
        self.calls.append(call)

    def turn(self) -> None:
        """One turn."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class _Stage(Plane):
    """A plane whose dials are only noted, and whose access log keeps the one exchange."""

    loop: Any

    def __init__(self, performance: Performance, wall: Callable[[], float]) -> None:
        loop: Any = _Loop()
        super().__init__(loop, self, wall, lambda: _DRAWN)
        self.request_id_prefix = _ID_PREFIX
        self.requests = _usual_request() - 1
        self.count_on()
        self.dialed: list[tuple[Endpoint, Any]] = []
        self.accepted: Any = None
        self.ended: Exchange | None = None

    def dial(
        self, endpoint: Endpoint, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], tls: Any = None,
        first: bytes = b"",
    ) -> Any:
        """Note that this endpoint would be connected to."""
        self.dialed.append((endpoint, protocol))
        return _NoDial()

    def http(self, exchange: Exchange, /) -> None:
        """The exchange is over; the first is the one that was asked about."""
        self.ended = self.ended or exchange

    def connection(self, record: object, /) -> None:
        """No relayed connection is rehearsed."""

    def settle(self, done: Callable[[], bool]) -> None:
        """Turn until something happened, letting time pass for those who wait for it."""
        while not done():
            self.loop.turn()
            if done():
                return
            waiting = [call.getTime() for call in self.loop.clock.getDelayedCalls()]
            now = self.loop.clock.seconds()
            if not waiting or min(waiting) - now > LONGEST_WAIT_S:
                return
            self.loop.clock.advance(max(min(waiting) - now, 0.0))

    def end(self, connection: Any) -> None:
        """Everybody leaves the stage."""
        over = Failure(ConnectionDone())
        if self.accepted is not None:
            self.accepted.connectionLost(over)
        connection.connectionLost(over)


@lru_cache(maxsize=1)
def _usual_request() -> int:
    """A request whose id no fault hits that is meant for a part of the requests alone: explain tells of the others."""
    for number in range(1, 1 << 14):
        request_id = b"%b%012x" % (_ID_PREFIX, number)
        if fraction(b"delay " + request_id) > _USUAL and fraction(b"abort " + request_id) > _USUAL:
            return number
    return 1


class _NoDial:
    """A dial that nothing comes of."""

    def cancel(self) -> None:
        """Nobody was dialed."""


class _Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.sent = b""
        self.handshake: Handshake | None = None

    def write(self, data: bytes, /) -> None:
        """Keep it."""
        self.sent += data

    def registerProducer(self, producer: object, streaming: bool, /) -> None:
        """It never asks for more."""

    def _nothing(self) -> None:
        """There is no peer to do it to."""

    loseConnection = loseWriteConnection = abortConnection = unregisterProducer = _nothing
    pauseProducing = resumeProducing = getPeer = getHost = _nothing


# -- stand-ins ---------------------------------------------------------------------------------------------------------

def _stand_in(
    host: VirtualHost, route: Route | None, destination: Destination | None, clusters: Mapping[str, Cluster | Subset],
    performance: Performance,
) -> VirtualHost:
    """A copy of `host` that knows no route but a copy of `route`, which leads to no cluster but that of `destination`."""
    other = copy.copy(host)
    chosen = None if route is None else _route_for(other, route, destination, clusters, performance)
    other.only = None
    other.chooser = _Chosen(host if host.raw_path else None, chosen)
    other.version_1 = True
    return other


class _Chosen(Chooser):
    """The same route for every request; `raw` is a host that takes paths as clients write them."""

    __slots__ = ("_raw", "_route")

    def __init__(self, raw: VirtualHost | None, route: Route | None) -> None:
        self._raw = raw
        self._route = route

    def choose(self, head: RequestHead, port: int) -> Route | None:
        if self._raw is not None:
            self._raw.choose(head, port)    # it puts the path as the client wrote it into the head
        return self._route


def _route_for(
    host: VirtualHost, route: Route, destination: Destination | None, clusters: Mapping[str, Cluster | Subset],
    performance: Performance,
) -> Route:
    other = copy.copy(route)
    other.host = host
    other.counters = RouteCounters()
    other.request_filters = (
        *(_rehearsed(gate, performance) for gate in route.gates),
        *(_watched_request(each, performance.request_filters) for each in route.request_filters[len(route.gates):]))
    other.response_filters = tuple(_watched_response(each, performance.response_filters) for each in route.response_filters)
    if destination is not None:
        there = destination.weighing(destination.weight)
        there.cluster = clusters.get(destination.cluster_name)
        other.destinations = (there,)
        other.cluster = there.cluster
        other.split = lambda number: there
    other.mirror = None                     # a copy would go to a cluster that is none of the stage's
    other.buffer_bytes = other.max_body_bytes = 0       # the body is here already
    return other


def refused_by(reply: Reply) -> str:
    """The rule, limit or method whose answer this is, without its kind."""
    return reply.detail.partition(": ")[2] or reply.detail


def _rehearsed(guard: Guard, performance: Performance) -> Callable[[Exchange], Any]:
    """A guard that counts nothing and says why."""

    def judge(exchange: Exchange) -> Reply | None:
        reply, reason = guard.rehearse(exchange)
        performance.judged.append(reason)
        if reply is not None:
            performance.refused_by = refused_by(reply)
        elif (shown := getattr(guard, "shown", None)) is not None:
            exchange.request.fields = shown(exchange)       # what it would do to the request
        return reply

    return judge


def runs_dry(filter: object) -> bool:
    """Whether a filter can be run just to see what it does.

    Ours can: they look at the exchange and edit it. Extensions may ask others or keep count, so theirs are run only if they
    (or the object whose methods they are) say ``runs_dry = True``.
    """
    said = getattr(filter, "runs_dry", getattr(_owner(filter), "runs_dry", None))
    return bool(said) if said is not None else _module(filter).startswith("voltgw.")


def filter_name(filter: object) -> str:
    """What a filter is called: the name that it (or the object whose method it is) gives itself, else its code's name."""
    owner = _owner(filter)
    for one in (filter, owner):
        name = getattr(one, "name", None)
        if isinstance(name, str) and name:
            return name
    if owner is not None:
        return type(owner).__name__
    kind = filter if hasattr(filter, "__qualname__") else type(filter)
    words: str = kind.__qualname__
    return words.partition(".<locals>")[0].rpartition(".")[2].replace("_", " ").strip()


def _owner(filter: object) -> object:
    """The object whose method a filter is, None if it is none."""
    return getattr(filter, "__self__", None)


def _module(filter: object) -> str:
    owner = _owner(filter)                  # a method that is compiled does not know its module itself
    return str(getattr(filter, "__module__", None) or type(filter if owner is None else owner).__module__)


def _watched_request(filter: Callable[[Exchange], Any], log: list[Ran]) -> Callable[[Exchange], Any]:
    name = filter_name(filter)
    if not runs_dry(filter):
        return lambda exchange: log.append(Ran(name, "not run", ["an extension's: what it would do is not known here"]))

    @wraps(filter)
    def run(exchange: Exchange) -> Any:
        before = _state_of_request(exchange)
        result = filter(exchange)
        changes = _changes(before, _state_of_request(exchange))
        log.append(Ran(name, _outcome(result, changes), changes))
        return result

    return run


def _watched_response(filter: Callable[[Exchange], None], log: list[Ran]) -> Callable[[Exchange], None]:
    name = filter_name(filter)
    if not runs_dry(filter):
        return lambda exchange: log.append(Ran(name, "not run", ["an extension's: what it would do is not known here"]))

    @wraps(filter)
    def run(exchange: Exchange) -> None:
        before = _state_of_response(exchange.response)
        filter(exchange)
        changes = _changes(before, _state_of_response(exchange.response))
        log.append(Ran(name, _outcome(None, changes), changes))

    return run


def _outcome(result: object, changes: list[str]) -> str:
    if result is None:
        return "edits" if changes else "lets it pass"
    if isinstance(result, Reply):
        return f"answers {result.status}"
    if isinstance(result, Deferred):
        return "asks somebody"
    return f"waits {result.seconds:g} s" if isinstance(result, Delay) else "decides"


#: The lines before and behind the fields, and the fields.
_State = tuple[dict[str, str], list[tuple[bytes, bytes]]]


def _state_of_request(exchange: Exchange) -> _State:
    head = exchange.request
    values = {"method": head.method, "target": head.forward, "Host": head.authority}
    facts = {name: value.decode("latin-1") for name, value in values.items()}
    facts["client address"] = exchange.client_address
    return facts, list(head.fields)


def _state_of_response(head: ResponseHead | None) -> _State:
    if head is None:
        return {}, []
    server = "" if head.server is None else head.server.decode("latin-1")
    return {"status": str(head.status), "server": server}, list(head.fields)


def _changes(before: _State, after: _State) -> list[str]:
    facts, fields = before
    changes = [f"{name}: {value or '-'}, was {facts.get(name) or '-'}" for name, value in after[0].items()
               if value != facts.get(name)]
    left = list(after[1])
    for one in fields:
        if one in left:
            left.remove(one)
        else:
            changes.append(f"takes out {_text(one[0])}: {_shown(one)}")
    changes += [f"puts in {_text(one[0])}: {_shown(one)}" for one in left]
    return changes


# -- what went over the wire -------------------------------------------------------------------------------------------

def _shown(one: tuple[bytes, bytes]) -> str:
    name, value = _text(one[0]), _text(one[1])
    return HIDDEN if secret_name(name) else value


def _message(data: bytes) -> tuple[Head, bytes]:
    """The first message in `data`: its head, and what came behind it."""
    text, _, body = data.partition(b"\r\n\r\n")
    start, *lines = text.split(b"\r\n")
    fields: list[Line] = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((_text(name), _text(value.strip())))
    return Head(_text(start), tuple(fields)), body


def _body_of(head: bytes) -> bytes:
    """A body as long as `head` announces it; none where that is too long, or not a head at all."""
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        elif name.strip().lower() == b"transfer-encoding":
            length = CHUNKED
    if length == CHUNKED:
        return b"0\r\n\r\n"
    return b"x" * length if length <= MOST_BODY_BYTES else b""


def _text(data: bytes) -> str:
    return data.decode("latin-1")
