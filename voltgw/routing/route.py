"""Virtual hosts, rules and routes as the data plane reads them; `voltgw.routing.table` builds them.

A request only reads them. What a route does not use is None, empty or zero, and costs a look at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from voltgw.errors import NOWHERE, Place
from voltgw.routing.index import Chooser, Index
from voltgw.routing.split import Destination, Split, make_split
from voltgw.values import defaults
from voltgw.values.compiling import resemble
from voltgw.values.counters import RouteCounters
from voltgw.wire.path import normalise

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.interfaces import RequestFilter, ResponseFilter, UpstreamCluster
    from voltgw.routing.actions import Answer, TargetRewrite
    from voltgw.routing.match import Clause
    from voltgw.routing.problems import Placer
    from voltgw.routing.sticky import Sticky
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import RequestHead
    from voltgw.values.identity import Identity
    from voltgw.values.reason import Reason
    from voltgw.values.reply import Reply
    from voltgw.values.retry import MirrorPlan, RetryPlan

#: The key by which a scheduler that hashes chooses, None for no preference.
HashKey: TypeAlias = "Callable[[Exchange], int | None]"
#: What is told of an exchange (or of the record of a connection), the cluster or subset that it was for, and the time.
Tallying: TypeAlias = "Callable[[Any, Any, float], None]"
#: The number in [0, 1) by which `Route.split` chooses.
Share: TypeAlias = "Callable[[Exchange], float]"

_SERVER: Final = b"server: voltgw"


class FilterLabel(NamedTuple):
    """One filter of a route, for explain: its name, what it does, and where it is asked for."""

    name: str
    text: str
    find_place: Callable[[], Place]

    @property
    def place(self) -> Place:
        """Where it is asked for."""
        return self.find_place()


class Guard(Protocol):
    """What judges the requests of a virtual host before the filters of its routes do anything."""

    @property
    def judge(self) -> RequestFilter:
        """The request filter."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def text(self) -> str:
        """What it does, in words."""

    @property
    def answer_filter(self) -> ResponseFilter | None:
        """What it adds to the answers to requests that it has let pass, None = nothing."""

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """What it has said so far, for the metrics: name of the policy (or limit, ...), verdict in a word, how often."""

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """What `judge` would say, and why; nothing is counted."""

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> Guard | None:
        """Who judges the requests of one rule in its stead: itself, another one, or nobody (None).

        `spec` is the route object that the rule stands in, `namespace` that object's. Raises ValueError, with the way from
        the rule.
        """


class VirtualHost:
    """A virtual host: what it decides (`choose`), and what the data plane must know of it. Satisfies `HostLabels`.

    `chooser` chooses the route of a request; `only` is set when it is the same one for every request. A host with `raw_path`
    (``disable_path_normalize``) has no `only`: its `chooser` puts the path as the client wrote it into the head.

    `server_line` is the Server line that answers get, None = none of ours. With `keep_server` the origin's own is kept
    where it sent one. Times are in seconds; 0.0 = absent, the data plane's default holds. `custom_errors` has bodies by
    status or by class (3, 4, 5). `max_requests_per_connection` 0 = any number. `header_case` writes the names of response
    header fields for HTTP/1.1 clients, None = lower case. `version_1` and `version_2` are the versions of HTTP that its clients
    may speak, HTTP/2 without TLS only with `prior_knowledge`. `via` and `proxy_status` ask for those fields. `find_place` finds
    the places of its parts: ``find_place("domains", 0)``. `guard` are the service policies that say who may send it requests,
    None = everybody may. `gates` is all that judges requests before any filter, in its order, the `guard` among them.
    """

    __slots__ = (
        "app_type", "chooser", "custom_errors", "default_error_pages", "domains", "egress", "find_place", "gates", "guard",
        "header_case", "hides", "identity", "idle_timeout_s", "keep_alive_timeout_s", "keep_server", "max_request_head_bytes",
        "max_requests_per_connection", "name", "namespace", "only", "per_packet", "prior_knowledge", "proxy", "proxy_status",
        "quic", "raw_path", "request_head_timeout_s", "request_timeout_s", "rules", "server_line",
        "trace_share", "version_1", "version_2", "via",
    )

    def __init__(
        self, name: str, namespace: str = "default", domains: Sequence[str] = (), *, proxy: str = "HTTP_PROXY",
        app_type: str = "", place: Place = NOWHERE,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.domains = tuple(domains)
        self.proxy = proxy
        self.app_type = app_type
        self.find_place: Placer = partial(_at, place)
        self.raw_path = False
        self.rules: tuple[Rule, ...] = ()
        self.only: Route | None = None
        self.chooser = Chooser()
        self.server_line: bytes | None = _SERVER
        self.keep_server = False
        self.max_request_head_bytes = defaults.MAX_REQUEST_HEAD_BYTES
        self.keep_alive_timeout_s = defaults.KEEP_ALIVE_TIMEOUT_S
        self.request_head_timeout_s = defaults.REQUEST_HEAD_TIMEOUT_S
        self.request_timeout_s = 0.0
        self.idle_timeout_s = 0.0
        self.custom_errors: Mapping[int, bytes] = {}
        self.default_error_pages = True
        self.max_requests_per_connection = 0
        self.header_case: Callable[[bytes], bytes] | None = None
        self.per_packet = False             # UDP: each datagram has its own choice of an endpoint
        self.quic = False                   # UDP: sessions are known by connection ids
        self.via = False
        self.guard: Guard | None = None
        self.gates: tuple[Guard, ...] = ()
        self.version_1 = True
        self.version_2 = True
        self.prior_knowledge = False
        self.proxy_status = False
        self.egress: Any = None             # policies of a forward proxy (`voltgw.security.egress.Policies`); None = it is none
        self.trace_share: float | None = None       # of what it relays, the part that is recorded in traces; None = none may be
        self.identity: Identity | None = None       # whom it believes about the client; None = nobody
        self.hides: tuple[Callable[[RequestHead], None], ...] = ()      # take out secrets that its routes look for in queries

    def choose(self, head: RequestHead, port: int) -> Route | None:
        """The first route that takes a request which came in on `port`. The hot path asks `only` and `chooser`."""
        return self.chooser.choose(head, port)

    def hide(self, head: RequestHead) -> None:
        """Take out what must not be logged of a request that no route takes."""
        for hide in self.hides:
            hide(head)

    @property
    def place(self) -> Place:
        """Where it stands now: the text above it may have changed since it was built."""
        return self.find_place()

    @property
    def routes(self) -> tuple[Route, ...]:
        """Its routes, in order, each once."""
        return tuple(rule.route for rule in self.rules)

    def install(self, rules: Sequence[Rule]) -> None:
        """Serve by these rules from now on."""
        self.rules = tuple(rules)
        index = Index([clause for rule in rules for clause in rule.clauses])
        if self.raw_path:
            self.only, self.chooser = None, _AsWritten(index)
        else:
            self.only, self.chooser = index.only, index

    def error_body(self, status: int) -> bytes | None:
        """The operator's body for an error of ours; a status wins over its class."""
        return self.custom_errors.get(status) or self.custom_errors.get(status // 100)

    def __copy__(self) -> VirtualHost:
        other = VirtualHost(self.name)
        resemble(other, self)
        return other

    def __repr__(self) -> str:
        return f"<VirtualHost {self.namespace}/{self.name}>"


class Route:
    """What becomes of the requests that one rule takes. Satisfies `RouteLabels`.

    Exactly one of these is set: `cluster` (one destination), `split` (a choice by a number in [0, 1); also where the one
    destination's cluster does not exist), `answer` (a redirect or a direct response). `rewrite` gives the target for the
    endpoint and raises ValueError where it may not be sent; None = `RequestHead.forward`. `timeout_s` 0.0 = none.

    `retry` None = the gateway's default (`voltgw.values.retry.SAFE_CONDITIONS`, once). `upgrades` are the protocols, in lower
    case, that a request may ask to switch to; `upgrade_retry` then takes the place of `retry` (None = it does not), and
    `idle_timeout_s` is the longest silence of what has switched. With `buffer_bytes` the request body is read whole before an
    endpoint is chosen, in at most `buffer_time_s` (0.0 = no such limit); a larger one is answered 413, as is one
    larger than `max_body_bytes` (0 = any). `hash_key` gives the
    key for schedulers that hash, and may ask for a Set-Cookie; `share` the number for `split` where users keep their
    destination (None = any random number), which `sticky` then explains. `tally` is told of each request that is over, with the
    cluster (or subset) it was for; None = nobody counts by destination. `priority_high` asks for the pool and circuit breaker
    of that priority. `error_filters` are the response filters of error pages, which the others leave alone. `filters` says
    what the filters are. `find_place` finds the places of its rule's parts.

    A rule whose rewriting depends on which of its entries matched has one Route per entry; all of them share the name, the
    counters and everything else.
    """

    __slots__ = (
        "answer", "auto_host_rewrite", "buffer_bytes", "buffer_time_s", "cluster", "counters", "destinations",
        "error_filters", "filters",
        "find_place", "gates", "guarded", "hash_key", "host", "host_rewrite", "idle_timeout_s", "index", "max_body_bytes",
        "mirror", "name", "owned", "priority_high",
        "request_filters", "response_filters", "retract", "retry", "rewrite", "share", "split", "sticky", "tally", "timeout_s",
        "told", "upgrade_retry", "upgrades",
    )

    def __init__(
        self, host: VirtualHost, name: str, index: int = 0, find_place: Placer | None = None,
        counters: RouteCounters | None = None,
    ) -> None:
        # What every request looks at stands first, in its order: a compiled object keeps its attributes in the order of their
        # first assignment, and so a thousand routes have less to bring into the processor's caches.
        self.request_filters: tuple[RequestFilter, ...] = ()
        self.answer: Answer | None = None
        self.hash_key: HashKey | None = None
        self.cluster: UpstreamCluster | None = None
        self.rewrite: TargetRewrite | None = None
        self.host_rewrite: bytes | None = None
        self.auto_host_rewrite = False
        self.told: frozenset[bytes] = frozenset()   # fields about the client that edits write or take out: no others are sent
        self.mirror: MirrorPlan | None = None
        self.timeout_s = 0.0
        self.retry: RetryPlan | None = None
        self.response_filters: tuple[ResponseFilter, ...] = ()
        self.counters = RouteCounters() if counters is None else counters
        self.tally: Tallying | None = None
        self.name = name
        self.host = host
        # what some look at
        self.index = index
        self.find_place: Placer = find_place or _nowhere
        self.guarded = False                        # its host's guard is among its gates
        self.gates: tuple[Guard, ...] = ()          # as many of its request filters, the first ones, are their `judge`
        self.owned: frozenset[bytes] = frozenset()  # fields that only its gates may write, behind a body, too
        self.error_filters: tuple[ResponseFilter, ...] = ()
        self.destinations: tuple[Destination, ...] = ()
        self.split: Split | None = None
        self.retract = False
        self.idle_timeout_s = host.idle_timeout_s
        self.upgrades: frozenset[bytes] = frozenset()
        self.upgrade_retry: RetryPlan | None = None
        self.buffer_bytes = 0
        self.buffer_time_s = 0.0
        self.max_body_bytes = 0
        self.share: Share | None = None
        self.sticky: Sticky | None = None
        self.priority_high = False
        self.filters: tuple[FilterLabel, ...] = ()

    @property
    def place(self) -> Place:
        """Where its rule stands now."""
        return self.find_place()

    def forward_to(self, destinations: Sequence[Destination], *, retract: bool = False) -> None:
        """Send requests to one of `destinations`. Raises ValueError when none of them could ever be chosen."""
        self.destinations = tuple(destinations)
        self.retract = retract
        self.cluster = destinations[0].cluster if len(destinations) == 1 else None
        self.split = make_split(self.destinations, retract) if self.cluster is None else None

    def reweigh(self, weights: Mapping[str, int]) -> None:
        """Share requests out by `weights` from now on, by the `identity` of destinations; users that stick stay where they can.

        Raises ValueError when no destination could ever be chosen.
        """
        self.forward_to([each.weighing(weights.get(each.identity, each.weight)) for each in self.destinations],
                        retract=self.retract)
        if self.sticky is not None:
            self.sticky = sticky = self.sticky.among(self.destinations)
            self.share, self.split = sticky.share, sticky.pick

    def variant(self) -> Route:
        """Another route of the same rule: everything is shared; the caller sets `rewrite` and `answer` anew."""
        other = Route(self.host, self.name, self.index, self.find_place, self.counters)
        resemble(other, self)
        return other

    def __copy__(self) -> Route:
        return self.variant()

    def __repr__(self) -> str:
        return f"<Route {self.name} of {self.host.namespace}/{self.host.name}>"


class Rule:
    """One rule: its route, and its clauses, any of which is enough, each with the route (or variant) that it leads to.

    `find_place` finds the places of its parts: ``find_place("match", 0)``.
    """

    __slots__ = ("clauses", "find_place", "route")

    def __init__(self, route: Route, clauses: Sequence[tuple[Clause, Route]], find_place: Placer | None = None) -> None:
        self.route = route
        self.clauses = tuple(clauses)
        self.find_place: Placer = find_place or route.find_place


def _at(place: Place, *path: str | int) -> Place:
    return place


def _nowhere(*path: str | int) -> Place:
    return NOWHERE


class _AsWritten(Chooser):
    """For a host that takes paths as clients write them: the codec has brought this one into its normal form."""

    __slots__ = ("_chooser",)

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def choose(self, head: RequestHead, port: int) -> Route | None:
        target = head.target
        if not target.startswith(b"/") and target != b"*":
            scheme_end = target.find(b"://") + 3            # the absolute form (RFC 9112 3.2.2); the codec has checked it
            slash = target.find(b"/", scheme_end)
            mark = target.find(b"?", scheme_end)
            if slash < 0 or 0 <= mark < slash:
                target = b"/" + target[mark:] if mark >= 0 else b"/"
            else:
                target = target[slash:]
        if target != b"*":
            head.path, head.query = normalise(target, False)
            head.forward = head.path if head.query is None else b"%b?%b" % (head.path, head.query)
        return self._chooser.choose(head, port)
