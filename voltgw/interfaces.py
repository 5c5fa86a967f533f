"""What extensions implement (zope interfaces) and what our rooms need from their neighbours (Protocols).

Seams are Protocols so that compiled code accepts any object that fits: our own streams, a Twisted transport, or a test's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.values.counters import ClusterCounters, ListenerCounters
    from voltgw.values.exchange import Exchange
    from voltgw.values.record import ConnectionRecord
    from voltgw.values.reply import Delay, Reply
    from voltgw.values.telemetry import Telemetry

#: A request filter: None = go on; a `Reply` ends the exchange; a `Delay` holds it back, then it goes on behind the filter; a
#: Deferred of a Reply or None takes the slow lane.
RequestFilter = Callable[["Exchange"], "Reply | Delay | None | Deferred[Reply | None]"]
#: A response filter edits ``exchange.response`` in place; it cannot end the exchange.
ResponseFilter = Callable[["Exchange"], None]


class StreamTransport(Protocol):
    """The part of `twisted.internet.interfaces.ITransport` (and of IConsumer, IPushProducer) that our protocols use."""

    def write(self, data: bytes, /) -> None: ...
    def loseConnection(self) -> None: ...
    def loseWriteConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool, /) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def getPeer(self) -> Any: ...
    def getHost(self) -> Any: ...


class AccessSink(Protocol):
    """Where finished exchanges and connections go; must return at once and never raise."""

    def http(self, exchange: Exchange, /) -> None:
        """Take one finished HTTP exchange."""

    def connection(self, record: ConnectionRecord, /) -> None:
        """Take one ended connection."""


class Journal(Protocol):
    """Remembers the decisions of some past exchanges; whoever handles finished exchanges in batches hands them over."""

    def note(self, exchange: Exchange, /) -> None:
        """Keep what is worth keeping of one finished exchange, as plain values; never raises."""


class PoolLike(Protocol):
    """The idle connections of one endpoint, as the cluster sees them."""

    def drain(self) -> None:
        """The endpoint is gone: close what is idle now and what comes back later."""

    def __len__(self) -> int: ...


class EndpointLike(Protocol):
    """A live endpoint, as routes and records see it."""

    cluster: str
    address: str
    port: int
    site: str
    authority: bytes                # what `auto_host_rewrite` writes into Host


class UpstreamCluster(Protocol):
    """A cluster, as a route sees it."""

    name: str                       # "namespace/name"
    counters: ClusterCounters

    def pick(self, hash_key: int | None, /) -> Any:
        """An endpoint that may be used, or None."""

    def pick_other(self, tried: Collection[Any], hash_key: int | None, /) -> Any:
        """An endpoint that is not among `tried`, or None."""

    def subset(self, labels: Mapping[str, str], name: str = "", /) -> UpstreamCluster:
        """What serves a destination that asks for `labels`, or for a subset by its name; ValueError if that does not exist."""

    def balanced_by(self, scheduler: str, /) -> UpstreamCluster:
        """The same endpoints, picked from by ``round_robin``, ``least_request`` or ``random`` (a route may say so)."""

    def of_high_priority(self) -> UpstreamCluster:
        """The same for routes of high priority, with connections and limits of its own."""

    @property
    def any_ready(self) -> bool:
        """Whether a pick would find an endpoint (`retract_cluster` asks)."""


class ListenerView(Protocol):
    """One listener, as the admin page and the metrics see it."""

    name: str                       # "127.0.0.1:8080", "[::]:443"
    protocol: str                   # "TCP"
    kind: str                       # "HTTP_PROXY", "TCP_PROXY"
    problem: str                    # why it is not bound, "" if it is
    counters: ListenerCounters

    @property
    def bound(self) -> bool:
        """Whether the socket stands open."""

    @property
    def network(self) -> str:
        """The virtual_network in which it listens, ``namespace/name``; "" = the host as it is."""

    @property
    def hosts(self) -> list[str]:
        """Names of the virtual hosts behind it, ``namespace/name``."""

    @property
    def limits(self) -> dict[str, int]:
        """Bounds of connections and bytes that its advertise policy says, by the names of its fields."""

    @property
    def certificates(self) -> list[dict[str, Any]]:
        """Those that it shows, JSON-ready: ``names``, ``ends`` (epoch seconds), ``fingerprint``, ``virtual_hosts``."""

    @property
    def certificates_pending(self) -> list[dict[str, str]]:
        """Virtual hosts whose certificate was not fetched yet: ``virtual_host`` and ``reason``."""


class GatewayView(Protocol):
    """The running gateway, as `observe` reads it; every value is plain and JSON-ready unless it says otherwise."""

    version: str
    started_wall: float
    generation: int                 # 1 for the configuration of the start, +1 per successful reload
    reloads_rejected: int
    last_reload_error: str
    draining: bool
    events: Any                     # a `voltgw.observe.events.EventRing`
    logs: Any                       # a `voltgw.observe.log_pages.LogsLike`

    def ready(self) -> tuple[bool, list[str]]:
        """Whether it may be sent traffic, and what is missing if not (CONFIG.md, ``/ready``)."""

    def cluster_objects(self) -> Iterable[Any]:
        """The live `voltgw.cluster.cluster.Cluster` objects."""

    def clusters(self) -> Iterable[dict[str, Any]]:
        """Every cluster with every endpoint, its health, its reasons, its pool and counters; each made as it is asked for."""

    def listeners(self) -> list[ListenerView]:
        """Every listener."""

    def route_objects(self) -> Iterable[Any]:
        """Every live `voltgw.routing.table.Route`."""

    def virtual_hosts(self) -> Iterable[dict[str, Any]]:
        """Every virtual host with its domains, listeners and routes; each made as it is asked for."""

    def certificates(self) -> Iterable[dict[str, Any]]:
        """Every certificate that is fetched: names, state, the last error, when the next try is due."""

    def network_facts(self) -> Mapping[str, Any]:
        """``networks`` (present or not, and why) and ``vips`` (addresses that are added to interfaces), JSON-ready lists."""

    def key_facts(self) -> list[dict[str, Any]]:
        """The keys of tokens that are fetched: url, keys, problem, fetches, failures, fetched_wall; JSON-ready."""

    def names(self) -> Mapping[str, Any]:
        """Names of virtual hosts: ``zones`` and ``listens`` of the DNS server, ``registries`` of others in which names are
        published, and ``names``, each with addresses and why."""

    def publishing(self) -> Any:
        """The `voltgw.app.publishing.Publishing`; None where no name is published in a registry."""

    def discoveries(self) -> list[dict[str, Any]]:
        """How each registry of services fares that is asked, JSON-ready."""

    def geo(self) -> dict[str, Any] | None:
        """The databases of where addresses are, JSON-ready; None where there is none."""

    def telemetry(self) -> Telemetry:
        """How the process fares, what became of spans, and how much the metrics may say."""

    def dns_counters(self) -> Any:
        """The `voltgw.dns.responder.DnsCounters`; None where there is no DNS server."""

    def effective_config(self) -> Mapping[str, Any]:
        """The configuration that runs, secrets replaced by ``***``; a value may be an iterator of many."""

    def config_places(self) -> Iterable[dict[str, Any]]:
        """The same for people: of each object ``name``, ``place``, and ``values``, an iterable of (path, value, place)."""

    def published_objects(self) -> Any:
        """The objects that run, a `voltgw.app.published.Published`."""

    def process(self) -> dict[str, float]:
        """Numbers of the process, for the overview and, by these keys, the metrics; a key that is absent is not shown.

        ``timers``, ``deadlines``, ``turns``, ``slow_turns``, ``longest_turn_s``, ``failures`` (caught by guards),
        ``open_streams``, ``open_limit``,
        ``spliced_bytes``, ``splice_pipes``, ``splice_refused`` (`voltgw.net.splice.Pipes`),
        ``pre_opened``, ``pre_opened_used`` (`voltgw.proxy.standing`),
        ``probes``, ``probe_failures``, ``journal_records``, ``journal_bytes``, ``journal_failures``,
        ``tunnels``, ``tunnels_open``, ``shadows``, ``shadows_open``, ``shadows_refused``, ``shadows_too_large``,
        ``http2_<side>_<number>`` (all of `voltgw.proxy.counters`),
        ``kept_generation`` (0 = it is not kept), ``rolled_back`` (0 or 1), ``rollbacks`` (`voltgw.app.generations`),
        ``file_reloads``, ``file_reloads_refused`` (of them; `voltgw.app.tls_watch`),
        ``config_wall`` (when the running configuration was taken over, epoch seconds).
        """

    def overload_facts(self) -> dict[str, Any]:
        """What is done for want of memory or descriptors: ``now`` (in words), ``resources``, ``resets``, ``eased``,
        ``unpooled``."""

    def reload(self) -> Deferred[dict[str, Any]]:
        """Load the configuration again; the result says what changed or what was wrong (``ok``: bool). Never fails."""

    def rollback(self, number: int, /) -> Deferred[dict[str, Any]]:
        """Serve a kept generation (0: the last one before the one that serves); the result as `reload`'s. Never fails."""

    def generations_view(self) -> dict[str, Any]:
        """``generations`` that are kept (number, wall, digest, files, main), the ``current`` one, whether it was
        ``rolled_back`` to, and the files on disk that it ``differs`` from; JSON-ready."""

    def drain(self) -> None:
        """Stop taking new work; finish what is under way."""

    def order(self, act: str, endpoint: str, cluster: str, value: str, /) -> dict[str, Any]:
        """``drain``, ``undrain``, ``eject`` or ``weight`` for an endpoint (``address:port``) of a cluster ("" = of all).

        `value` is the time of an ejection (``30s``, "" = the usual one) or the weight (a number, or ``reset``). The result
        names the endpoints. Raises ValueError in words: there is no such endpoint, or the value is none.
        """

    def workers_view(self) -> list[dict[str, Any]]:
        """Each data-plane process, JSON-ready: ``worker`` (from 1), ``state``, ``respawns`` and what it has open; [] = there
        are none beside this one.
        """

    def rollouts_view(self) -> list[dict[str, Any]]:
        """How far each rollout is, and why, JSON-ready."""

    def rollout_order(self, act: str, name: str, /) -> dict[str, Any]:
        """``approve``, ``pause``, ``resume``, ``rollback``, ``promote`` or ``restart`` a rollout; the result says how it is.

        Raises ValueError in words: there is no such rollout, or it is not in the state for that.
        """

    def explain(
        self, method: str, url: str, headers: Sequence[str], source: str, listener: str, /,
    ) -> dict[str, Any]:
        """What becomes of such a request now, and why; `source` and `listener` "" = not said. Changes nothing.

        Raises ValueError with what is wrong with the question.
        """

    def recent(self, most: int) -> list[dict[str, Any]]:
        """The latest requests of which `why` can tell, at most so many, the newest first."""

    def why(self, request_id: str, /) -> dict[str, Any] | None:
        """What was decided for a past request, None when that is not known (any more)."""


class Deadline(Protocol):
    """A thing with a deadline, kept by `net.deadlines.Deadlines`.

    `deadline` is monotonic seconds (0.0 = none); `expired(now)` is called at most once per passing of it, up to a sweep
    interval late. `deadline_slot` belongs to the sweeper.
    """

    deadline: float
    deadline_slot: int

    def expired(self, now: float) -> None:
        """The deadline has passed."""


class IFactory(Interface):
    """One named alternative of a room (a scheduler, a filter, a discovery method, a probe…), found by `registry`."""

    name = Attribute("The name by which configuration asks for it.")

    def options(raw: object, place: object) -> object:
        """Validate the options given in configuration; return an immutable value or raise `ConfigErrors`."""


class IChallengeFactory(IFactory):
    """A way to show a CA that a name is ours (RFC 8555 8); group ``voltgw.challenges``, name as the CA calls it."""

    def build(options: object) -> object:
        """A `voltgw.control.acme.challenges.kinds.Kind`, for options that `options` has returned."""


class IRegistrarFactory(IFactory):
    """A kind of registry in which names of virtual hosts are published; group ``voltgw.registrars``."""

    def refuses(options: object, name: str) -> str:
        """Why such a registry cannot have `name`, a domain in lower case or a wildcard (``*.x``); "" = it can."""

    def build(options: object, zone: str, owner: str, reactor: object, clock: object) -> object:
        """A `voltgw.control.publish.registrar.Registrar` for options that `options` has returned.

        It is for the names of `zone` ("" = any), and marks them as `owner`'s. `clock` is an `IReactorTime` on monotonic time.
        It opens nothing, and may be called with None for both only to see whether the options are good: a ValueError says that
        they are not.
        """


class IFilterFactory(IFactory):
    """A kind of filter of requests, of responses or of both; group ``voltgw.filters``.

    `build` is called once for each place in the configuration that names the filter, so what it returns may serve many
    exchanges at a time. Filters of requests run in the order in which they are named, those of responses in the opposite one.
    """

    def build(options: object) -> object:
        """The filter, for options that `options` has returned.

        Its method ``request(exchange)``, if it has one, is a `RequestFilter`, its method ``response(exchange)`` a
        `ResponseFilter`. Both are called on the hot path: what they do not do costs nothing.
        """
