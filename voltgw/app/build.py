"""From objects to what serves them: a pure step that opens no socket, starts no timer and reads no clock.

`build(config, previous)` takes over from `previous` every cluster and virtual host that means the same as before, so that
pools, health and counts survive a reload. What leads to no object that is another one now is not even looked into: one changed
host among ten thousand costs one host. `building` does the same in small steps for those who must not hold up a reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from secrets import token_bytes
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.app.authenticating import Surroundings
from voltgw.app.discovering import query_of
from voltgw.app.fetched import Fetched, Names
from voltgw.app.gates import gate_objects, gates_of
from voltgw.app.lists import Known, opening_geo, reading_lists
from voltgw.app.sites import InterfaceAddress, Spot, can_be_added, spots
from voltgw.app.standing import Standing
from voltgw.app.tls import NOTHING, REFUSED, Admission, Group, Terms, cluster_tls, host_terms
from voltgw.app.tracing import share_of_relayed
from voltgw.cluster.plan import build_cluster, home_of, plan_cluster
from voltgw.config.acme import DEFAULT_CHALLENGE
from voltgw.config.networks import Networks
from voltgw.config.objects.virtual_host import ProxyType
from voltgw.config.watch import Touched, Watch, Watching, touched
from voltgw.errors import ConfigError, ConfigErrors, TlsRefused
from voltgw.net.pacing import Rate
from voltgw.net.sockets import UNIX_MODE
from voltgw.net.tuning import SocketOption, tcp_options
from voltgw.registry import CHALLENGES, RegistryError
from voltgw.routing.hosts import HostTable
from voltgw.routing.problems import NO_EXTENSION, BuildErrors
from voltgw.routing.route import VirtualHost
from voltgw.routing.table import build_host
from voltgw.security.at_once import InFlight
from voltgw.security.rates import local_store
from voltgw.values.address import where
from voltgw.values.counters import RouteCounters
from voltgw.values.defaults import (
    BURST_BYTES,
    BURST_SHARE,
    KEEP_ALIVE_TIMEOUT_S,
    MAX_REQUEST_HEAD_BYTES,
    REQUEST_HEAD_TIMEOUT_S,
)
from voltgw.values.network import HOST, Network
from voltgw.values.preserve_case import preserve_case

if TYPE_CHECKING:
    from random import Random

    from voltgw.app.forward import Forward
    from voltgw.app.publications import Publication
    from voltgw.app.zones import Delegations
    from voltgw.cluster.cluster import Cluster
    from voltgw.cluster.plan import ClusterPlan
    from voltgw.cluster.snapshot import EndpointKey
    from voltgw.config.certificates import Shown
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.cluster import ClusterSpec
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec
    from voltgw.config.values import Ref
    from voltgw.interfaces import PoolLike
    from voltgw.net.capture import Capture
    from voltgw.net.tls.engine import ClientContext, ServerContext
    from voltgw.proxy.forward.outside import Outside
    from voltgw.proxy.forward.settings import Egress
    from voltgw.registry import Registry
    from voltgw.security.addresses import Prefixes
    from voltgw.security.geo import Geo
    from voltgw.security.rates import NewStore
    from voltgw.values.tls import ClientTls, ServerTls

#: Clusters or virtual hosts in one step that are taken over without a look into them; each of the others has its own step.
SAME: Final = 128


class ListenerKey(NamedTuple):
    """What one socket is bound to; `address` None = every address of the host, a path = a Unix socket (its port is 0)."""

    address: str | None
    port: int
    transport: str = "TCP"
    device: str = ""                        # the network interface that it is bound to, "" = any
    netns: str = ""                         # the network namespace in which it is made, "" = the gateway's own

    def __str__(self) -> str:
        transport = "" if self.transport == "TCP" else f"/{self.transport.lower()}"
        return where(self.address, self.port) + transport + self.place

    @property
    def place(self) -> str:
        """The interface and the namespace that it is in, as its text shows them."""
        return (f"%{self.device}" if self.device else "") + (f"@{self.netns}" if self.netns else "")


class SocketTerms(NamedTuple):
    """What a policy says of the listener itself; all policies of one listener say the same."""

    proxies: tuple[str, ...] | None = None  # prefixes of those whose PROXY header must come first; None = there is none
    freebind: bool = False
    max_connections: int | None = None      # None = what the process may hold
    options: tuple[SocketOption, ...] = ()  # set on the listening socket, from which accepted ones have them
    unix_mode: int = UNIX_MODE              # permissions of a Unix socket's file
    pace: Rate | None = None                # of new connections or sessions
    first_datagram_only: bool = False       # UDP: proxies send a header with the first datagram of a session alone

    @property
    def limits(self) -> dict[str, int]:
        """The bounds that there are, by the fields that say them."""
        said = {
            "max_connections": self.max_connections,
            "connections_per_second": self.pace and self.pace.per_second, "connection_burst": self.pace and self.pace.burst,
        }
        return {name: value for name, value in said.items() if value is not None}


class ByteRates(NamedTuple):
    """How fast the bytes of a relayed host flow, each connection or session by itself; None = as fast as they come.

    They are a host's and not the listener's: names that pass through share a port with others, each at its own rate.
    """

    upload: Rate | None = None              # of clients
    download: Rate | None = None            # for them

    @property
    def limits(self) -> dict[str, int]:
        """The rates that there are, by the fields that say them."""
        said = {"upload_bytes_per_second": self.upload, "download_bytes_per_second": self.download}
        return {name: rate.per_second for name, rate in said.items() if rate is not None}


#: No rate of bytes.
ANY_BYTES: Final = ByteRates()


class Door(NamedTuple):
    """How a virtual host is entered by TLS; `context` None = it is not ended here but passed through."""

    context: ServerContext | None
    group: Group
    others: Mapping[str, ServerContext] = MappingProxyType({})      # for some names, where it has several certificates
    certificates: tuple[Shown, ...] = ()
    pending: Callable[[], str] | None = None        # its certificate was not fetched yet: why, in a sentence


@dataclass(slots=True)
class ListenerPlan:
    """What one (address, port) serves. `port` is the port that objects name, before `gateway.port_map`."""

    key: ListenerKey
    kind: ProxyType
    port: int
    hosts: list[VirtualHost] = field(default_factory=list)
    table: HostTable | None = None          # HTTP kinds, and those that are chosen by TLS server name
    doors: dict[VirtualHost, Door] = field(default_factory=dict)    # of the hosts that TLS leads to
    groups: dict[Group, list[VirtualHost]] = field(default_factory=dict)    # of these, who shares connections with whom
    default: VirtualHost | None = None      # takes TLS connections without or with an unknown server name
    skip_xff_append: bool = False
    terms: SocketTerms = field(default_factory=SocketTerms)
    byte_rates: dict[VirtualHost, ByteRates] = field(default_factory=dict)  # of the relayed hosts that have some
    network: Network = HOST                 # in which it listens
    vip: bool = False                       # the address is ours to add to the interface, if the host does not have it
    capture: Capture | None = None          # packet rules bring it connections that are meant for others
    forward: Forward | None = None          # it is a forward proxy's
    forward_tls: ServerContext | None = None    # between its clients and us; None = plain text
    max_head_bytes: int = MAX_REQUEST_HEAD_BYTES
    head_timeout_s: float = REQUEST_HEAD_TIMEOUT_S
    keep_alive_timeout_s: float = KEEP_ALIVE_TIMEOUT_S
    prior_knowledge: bool = False           # a client without TLS may begin with HTTP/2
    only_2: bool = True                     # none of the virtual hosts speaks HTTP/1.1
    tunnels: bool = False                   # a route takes WebSocket
    keeps_names: bool = False               # a cluster wants names of fields as clients write them

    @property
    def tls(self) -> bool:
        """Whether its clients begin with a TLS hello, by which it is decided who serves them."""
        return self.kind.tls or self.kind.named

    @property
    def limits(self) -> dict[str, int]:
        """The bounds that there are, by the fields that say them; where hosts share a port, rates with their names."""
        found = self.terms.limits
        for host, rates in self.byte_rates.items():
            whose = "" if len(self.hosts) == 1 else f" of {host.namespace}/{host.name}"
            found.update((name + whose, value) for name, value in rates.limits.items())
        return found

    def rates_of(self, host: VirtualHost) -> ByteRates:
        """How fast the bytes of a host flow that is relayed."""
        return self.byte_rates.get(host, ANY_BYTES)

    def add(self, host: VirtualHost) -> None:
        """One more virtual host; what acts before the host is known is the most that any of them asks for."""
        self.hosts.append(host)
        self.max_head_bytes = max(self.max_head_bytes, host.max_request_head_bytes)
        self.head_timeout_s = max(self.head_timeout_s, host.request_head_timeout_s)
        self.keep_alive_timeout_s = max(self.keep_alive_timeout_s, host.keep_alive_timeout_s)
        self.prior_knowledge = self.prior_knowledge or host.prior_knowledge
        self.only_2 = self.only_2 and not host.version_1
        self.tunnels = self.tunnels or any(b"websocket" in route.upgrades for route in host.routes)
        self.keeps_names = self.keeps_names or any(
            getattr(destination.cluster, "header_case", None) is preserve_case
            for route in host.routes for destination in route.destinations)


#: A reference, the namespace of the object in which it stands, and the cluster to which it led.
Led = tuple["Ref", str, "Cluster | None"]


class HostSource(NamedTuple):
    """What a virtual host was built from."""

    watch: Watch                            # while it holds, nothing is another
    objects: tuple[Standing[Any], ...]      # the virtual host and its routes
    clusters: tuple[Led, ...]
    offers: tuple[tuple[Object[AdvertisePolicySpec], int], ...]     # where it is offered at this site: policies, their ports
    terms: tuple[Terms | None, ...] = ()    # its TLS, for each of these

    @property
    def fetching(self) -> bool:
        """Whether a certificate of it is fetched."""
        return next(self.fetches(), None) is not None

    def fetches(self) -> Iterator[Terms]:
        """Those of which the certificate is fetched."""
        return (terms for terms in self.terms if terms is not None and terms.names)


@dataclass(slots=True)
class Runtime:
    """One configuration, ready to serve."""

    config: Config
    clusters: dict[str, Cluster] = field(default_factory=dict)      # by "namespace/name", as all of these
    plans: dict[str, ClusterPlan] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)         # of the clusters
    hosts: dict[str, VirtualHost] = field(default_factory=dict)
    sources: dict[str, HostSource] = field(default_factory=dict)    # of the hosts
    listeners: dict[ListenerKey, ListenerPlan] = field(default_factory=dict)
    certificates: dict[bytes, Shown] = field(default_factory=dict)     # by their PEM
    lists: dict[bytes, Prefixes] = field(default_factory=dict)         # of addresses, by the file's contents
    geo: Geo | None = None                  # where addresses are, where the gateway has a database
    contexts: dict[ServerTls, ServerContext] = field(default_factory=dict)  # of all listeners
    moved: list[tuple[Standing[Any], Object[Any]]] = field(default_factory=list)   # see `settle`
    delegations: Delegations | None = None      # zones of DNS; None = there is none
    publications: list[Publication] = field(default_factory=list)   # registries of others in which names are published
    forwards: dict[str, Forward] = field(default_factory=dict)      # forward proxies, by what they are called
    dynamic: dict[str, Egress] = field(default_factory=dict)        # what virtual hosts without a cluster may reach, by these
    # What few have of the many, so that nobody goes over all of them in one turn to find it:
    far: set[Network] = field(default_factory=set)                  # networks of clusters' endpoints, the host's own aside
    fetching: list[str] = field(default_factory=list)               # hosts of which a certificate is fetched
    quiet: set[str] = field(default_factory=set)                    # hosts of which nothing is written to the access log

    def fetched(self) -> dict[Names, tuple[str, ...]]:
        """The certificates that are to be fetched, by their names, and the virtual hosts that show each."""
        found: dict[Names, dict[str, None]] = {}
        for name in self.fetching:
            for terms in self.sources[name].fetches():
                found.setdefault(terms.names, {})[name] = None
        return {names: tuple(hosts) for names, hosts in found.items()}

    def networks(self) -> set[Network]:
        """The networks that listeners and endpoints are in."""
        found = {plan.network for plan in self.listeners.values()}
        found |= self.far
        found.update(forward.egress.network for forward in self.forwards.values())
        found.update(egress.network for egress in self.dynamic.values())
        found.discard(HOST)
        return found

    def lead_out(self, outside: Outside | None) -> None:
        """Have the virtual hosts that resolve their endpoint from the request do so by the rules of this configuration."""
        for name, egress in self.dynamic.items():
            ways: Any = self.hosts[name].egress
            ways.egress, ways.outside = egress, outside

    def settle(self) -> None:
        """This serves from now on: the virtual hosts that were taken over stand where the files of today have them."""
        for standing, one in self.moved:
            standing.object = one
        self.moved.clear()

    def retiring(self, following: Runtime) -> Generator[None, None, list[object]]:
        """`following` serves now: take apart what it has not taken over, in steps.

        Hosts and routes refer to each other, and what stood here when the process began is frozen out of the garbage
        collector's sight: nothing but this lets them go. A request under way has its route already.

        The value is all that `following` has not taken over: who holds it while this runtime goes can let go of it piece by
        piece, for to free ten thousand clusters at once takes a long turn. Nothing is removed here: a scrape may be reading.
        """
        rest: list[object] = []
        for count, (name, host) in enumerate(self.hosts.items()):
            if following.hosts.get(name) is not host:
                host.install(())
                rest.append(host)
                yield
            elif count % SAME == 0:
                yield
        pairs: list[tuple[Mapping[Any, object], Mapping[Any, object]]] = [
            (self.clusters, following.clusters), (self.plans, following.plans), (self.watches, following.watches),
            (self.sources, following.sources)]
        pairs += ((objects, following.config.objects.get(kind, {})) for kind, objects in self.config.objects.items())
        for mine, theirs in pairs:
            for count, (key, one) in enumerate(mine.items() if mine is not theirs else ()):
                if theirs.get(key) is not one:
                    rest.append(one)
                rest.append(key)
                if count % SAME == 0:
                    yield
        return rest


def server_context(tls: ServerTls) -> ServerContext:
    """As that of `voltgw.net.tls.context`, which is imported only where there is TLS: it brings libraries along."""
    context: ServerContext = import_module("voltgw.net.tls.context").server_context(tls)
    return context


def client_context(tls: ClientTls) -> ClientContext:
    """Likewise."""
    context: ClientContext = import_module("voltgw.net.tls.context").client_context(tls)
    return context


@dataclass(frozen=True, slots=True)
class Makings:
    """What `build` is given besides the configuration."""

    new_pool: Callable[[EndpointKey], PoolLike]
    random: Random
    registry: Registry
    interface_address: InterfaceAddress
    server_context: Callable[[ServerTls], ServerContext] = server_context
    client_context: Callable[[ClientTls], ClientContext] = client_context
    wall: Callable[[], float] = lambda: 0.0     # seconds since the epoch, for rules that expire
    affinity_key: bytes = field(default_factory=lambda: token_bytes(32))    # of clusters that say none: good for this process
    fetched: Fetched = NOTHING
    surroundings: Surroundings = field(default_factory=Surroundings)     # what gates need that ask for credentials
    in_flight: InFlight | None = None           # which requests are under way
    new_store: NewStore = local_store           # where rate limits remember what users owe


def build(config: Config, previous: Runtime | None, makings: Makings) -> Runtime:
    """The runtime of a checked configuration.

    Raises `ConfigErrors` for what only building finds, and RegistryError for a probe that does not exist.
    """
    steps = building(config, previous, makings)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            runtime: Runtime = done.value
            return runtime


def building(config: Config, previous: Runtime | None, makings: Makings) -> Generator[None, None, Runtime]:
    """`build`, a few objects at a time; run it to its end, whose value is the `Runtime`. `previous` does not change."""
    _look_at_challenge(config, makings.registry)
    changed = None if previous is None else (yield from touched(previous.config, config))
    work = _Building(Watching.over(config), Runtime(config), previous or Runtime(config), makings)
    changed = yield from work.build_clusters(changed)
    work.made.lists = yield from reading_lists(config, work.before.lists)
    work.made.geo = yield from opening_geo(config, work.before.config, work.before.geo)
    yield from work.build_hosts(changed)
    yield from work.build_listeners()
    if config.of("network_connector"):
        work.build_forwards()
    work.build_dynamic()
    if any(one.spec.voltgw is not None for one in config.of("discovery").values()):
        delegations = import_module("voltgw.app.zones").delegations
        work.made.delegations = yield from delegations(
            work.made, makings.interface_address, makings.random.random, makings.wall)
        publications = import_module("voltgw.app.publications").publications
        work.made.publications = yield from publications(work.made, makings.interface_address, makings.registry)
    return work.made


def _look_at_challenge(config: Config, registry: Registry) -> None:
    """Whether the challenge by which certificates are fetched is one. Raises RegistryError and `ConfigErrors`."""
    acme = config.gateway.acme
    if acme is not None:
        registry.find(CHALLENGES, acme.challenge or DEFAULT_CHALLENGE).options(acme.challenge_options, config.gateway_place)


@dataclass(slots=True)
class _Building:
    """One build: `made` grows, `before` is what serves (or an empty one). `changed` None = nothing is known to be the same."""

    config: Watching
    made: Runtime
    before: Runtime
    makings: Makings
    networks: Networks = field(init=False)
    owns: bool = field(init=False)          # VIPs are added to interfaces
    fresh: int = 0                          # TLS contexts that were made anew, which takes a while each

    def __post_init__(self) -> None:
        self.networks = Networks(self.config)
        site = self.config.site
        self.owns = (site is not None and site.spec.voltgw is not None and site.spec.voltgw.manage_addresses)

    # -- clusters ------------------------------------------------------------------------------------------------------

    def build_clusters(self, changed: Touched | None) -> Generator[None, None, Touched | None]:
        """Every cluster; returns `changed` with the clusters that were not taken over."""
        made, before = self.made, self.before
        gone: list[int] = []
        problems: list[ConfigError] = []
        for count, ((namespace, short), cluster) in enumerate(self.config.of("cluster").items()):
            name = f"{namespace}/{short}"
            watch = before.watches.get(name)
            if changed is not None and watch is not None and watch.holds(changed):
                made.clusters[name], made.plans[name], made.watches[name] = before.clusters[name], before.plans[name], watch
                made.far.update(made.plans[name].networks)
                if count % SAME == 0:
                    yield
                continue
            kept = before.clusters.get(name)
            try:
                plan = self.plan(cluster)
                if kept is None or kept.config != plan:
                    gone.append(id(kept))
                    # Places inside an object are looked up in its text, which is read again for that.
                    place = cluster.place(*(("voltgw", "scheduler_options") if plan.scheduler_options else ()))
                    kept = build_cluster(plan, self.makings.new_pool, self.makings.random, self.makings.registry, place,
                                         self.makings.affinity_key)
                    kept.pre_open = plan.pre_open
                    if plan.tcp is not None:
                        kept.options = tcp_options(
                            congestion_control=plan.tcp.congestion_control, send_buffer_bytes=plan.tcp.send_buffer_bytes,
                            receive_buffer_bytes=plan.tcp.receive_buffer_bytes, user_timeout_s=plan.tcp.user_timeout_s,
                            keep_alive_s=plan.tcp.keep_alive_s)
                    if plan.tls is not None:
                        secure = self.makings.client_context
                        version_2 = any(
                            check.kind == "grpc" or getattr(check.options, "use_http2", False) for check in plan.checks)
                        kept.secure(
                            secure(plan.tls), secure(replace(plan.tls, alpn=())) if plan.tls.alpn else None,
                            secure(replace(plan.tls, alpn=(b"h2",))) if version_2 else None)
            except TlsRefused as error:
                problems.append(ConfigError(REFUSED, cluster.place("tls_parameters"), f"TLS of {cluster.title}: {error}"))
                continue
            except RegistryError as error:
                problems.append(ConfigError(NO_EXTENSION, cluster.place("voltgw", "scheduler"), f"{cluster.title}: {error}"))
                continue
            except ConfigErrors as errors:
                problems += errors.problems
                continue
            finally:
                watch = self.config.watch(cluster)
            made.clusters[name], made.plans[name], made.watches[name] = kept, plan, watch
            made.far.update(plan.networks)
            yield
        if problems:
            raise ConfigErrors(tuple(problems))
        if changed is None:
            return None
        gone += [id(before.clusters[name]) for name in before.clusters.keys() - made.clusters.keys()]
        return changed._replace(gone=changed.gone.union(gone))

    def plan(self, cluster: Object[ClusterSpec]) -> ClusterPlan:
        """The plan of a cluster with the endpoints of this site and the health checks that it refers to."""
        config, namespace = self.config, cluster.namespace
        endpoints = [config.find("endpoint", ref, namespace) for ref in cluster.spec.endpoints]
        here = [each for each in endpoints if each is not None and config.here(each.spec.where, each.namespace)]
        checks = [config.find("healthcheck", ref, namespace) for ref in cluster.spec.health_checks]
        networks = [self.networks.of(each.spec.where, each.namespace, each.spec.ip) for each in here]
        site = config.site
        home = home_of(config.gateway.site or "", site.metadata.labels if site is not None else {})
        queries = [query_of(config, each) if each.spec.service_info is not None else None for each in here]
        return plan_cluster(
            cluster, here, [check for check in checks if check is not None], cluster_tls(config, cluster), networks, home,
            queries)

    # -- virtual hosts -------------------------------------------------------------------------------------------------

    def build_hosts(self, changed: Touched | None) -> Generator[None, None, None]:
        """Every virtual host; raises `ConfigErrors` with the problems of all of them."""
        made, before = self.made, self.before
        problems: list[ConfigError] = []
        if changed is not None and "service_policy_set" in changed.kinds():
            changed = None                  # a set acts on hosts that do not name it
        for count, ((namespace, short), host) in enumerate(self.config.of("virtual_host").items()):
            name = f"{namespace}/{short}"
            if host.spec.voltgw is not None and host.spec.voltgw.no_access_log:
                made.quiet.add(name)
            source = before.sources.get(name)
            if changed is not None and source is not None and source.watch.holds(changed) and self.same_fetched(source):
                made.hosts[name], made.sources[name] = before.hosts[name], source
                if source.fetching:
                    made.fetching.append(name)
                if count % SAME == 0:
                    yield
                continue
            try:
                made.hosts[name], made.sources[name] = self.host(host, before.hosts.get(name), source)
                if made.sources[name].fetching:
                    made.fetching.append(name)
            except (BuildErrors, ConfigErrors) as errors:
                problems += errors.problems
                self.config.watch()
            yield
        if problems:
            raise ConfigErrors(tuple(problems))

    def host(
        self, host: Object[VirtualHostSpec], before: VirtualHost | None, source: HostSource | None,
    ) -> tuple[VirtualHost, HostSource]:
        """A virtual host: the same if all that it was built from says what it said, else a new one. Raises `BuildErrors`."""
        found = (self.config.find("route", ref, host.namespace) for ref in host.spec.routes)
        routes = [route for route in found if route is not None]
        objects: tuple[Object[Any], ...] = (host, *routes, *gate_objects(self.config, host, routes))
        offers = tuple(self.offers(host))
        terms: dict[int, Terms | None] = {}
        for policy, _ in offers:
            if id(policy) not in terms:
                terms[id(policy)] = host_terms(self.config, host, policy, self.makings.fetched)
        if before is not None and source is not None and self.says_the_same(source, objects):
            standing, clusters = source.objects, source.clusters
            self.made.moved += zip(standing, objects, strict=True)
        else:
            standing = tuple(map(Standing, objects))
            before, clusters = self.new_host(standing, before)
        return before, HostSource(
            self.config.watch(*objects, *(cluster for _, _, cluster in clusters)), standing, clusters, offers,
            tuple(terms[id(policy)] for policy, _ in offers))

    def same_fetched(self, source: HostSource) -> bool:
        """Whether the certificates that are fetched for a host are those with which it was built."""
        folder = self.config.gateway.data_dir or ""
        return all((self.makings.fetched.pair(folder, terms.names),) == (terms.server.certificates or (None,))
                   for terms in source.fetches())

    @property
    def in_flight(self) -> InFlight | None:
        """What counts the requests of each client, where that is asked for."""
        return None if self.config.gateway.max_requests_per_source is None else self.makings.in_flight

    def says_the_same(self, source: HostSource, objects: tuple[Object[Any], ...]) -> bool:
        """Whether building a host from `objects` would give what `source` gave."""
        return (self.made.geo is self.before.geo and self.config.gateway.tracing == self.before.config.gateway.tracing
                and (self.config.gateway.max_requests_per_source is None) is (
                    self.before.config.gateway.max_requests_per_source is None)
                and len(objects) == len(source.objects)
                and all(one == other.object for one, other in zip(objects, source.objects, strict=True))
                and all(self.cluster(ref, namespace) is cluster for ref, namespace, cluster in source.clusters))

    def new_host(
        self, objects: tuple[Standing[Any], ...], before: VirtualHost | None,
    ) -> tuple[VirtualHost, tuple[Led, ...]]:
        """A virtual host built anew, counting on where `before` stopped, and where its references led. Raises `BuildErrors`."""
        known: dict[str, list[RouteCounters]] = {}      # a host may name a route twice, or two of one name
        for route in before.routes if before is not None else ():
            known.setdefault(route.name, []).append(route.counters)
        led: list[Led] = []

        def find(ref: Ref, namespace: str) -> Cluster | None:
            cluster = self.cluster(ref, namespace)
            led.append((ref, namespace, cluster))
            return cluster

        def counters(name: str) -> RouteCounters:
            return known[name].pop(0) if known.get(name) else RouteCounters()

        host: Standing[VirtualHostSpec] = objects[0]
        routes: tuple[Standing[RouteSpec], ...] = tuple(each for each in objects[1:] if each.object.kind == "route")
        standing = {id(each.object): each for each in objects}
        guard, gates = gates_of(
            self.config, host.object, [each.object for each in routes], lambda one: standing[id(one)].place, before,
            self.makings.wall, find, self.makings.surroundings,
            Known(self.made.lists, self.made.geo, self.makings.new_store), self.makings.random.getrandbits,
            self.in_flight)
        made = build_host(
            host.name, host.spec, routes, find, namespace=host.namespace, labels=host.object.metadata.labels, place=host.place,
            counters=counters, registry=self.makings.registry, guard=guard, gates=gates, outward=_outward(host.object))
        made.trace_share = share_of_relayed(self.config, host.object)
        return made, tuple(led)

    def cluster(self, ref: Ref, namespace: str) -> Cluster | None:
        """The cluster to which a reference in an object of a namespace leads."""
        found = self.config.find("cluster", ref, namespace)
        return self.made.clusters.get(found.full_name) if found is not None else None

    def offers(self, host: Object[VirtualHostSpec]) -> Generator[tuple[Object[AdvertisePolicySpec], int], None, None]:
        """What a host's policies offer at this site: each with each of its ports."""
        for ref in host.spec.advertise_policies:
            policy = self.config.find("advertise_policy", ref, host.namespace)
            if policy is not None and self.config.here(policy.spec.where, policy.namespace):
                for port in policy.spec.ports:
                    yield policy, port

    # -- listeners -----------------------------------------------------------------------------------------------------

    def build_listeners(self) -> Generator[None, None, None]:
        """Who listens where; raises `ConfigErrors` for what cannot share."""
        plans = self.made.listeners
        keys: dict[tuple[int, int, str], tuple[tuple[ListenerKey, Spot], ...]] = {}    # by the policy's id, port, transport
        problems: list[ConfigError] = []
        for count, (name, made) in enumerate(self.made.hosts.items()):
            source = self.made.sources[name]
            transport = source.objects[0].object.spec.proxy.transport
            for policy, port, terms, key, spot in self.entrances(source, transport, keys):
                plan = plans.get(key)
                if plan is not None and plan.hosts[-1] is made:     # by another policy with the same address and port
                    problem = _other_terms(plan, made, policy)
                    if problem is not None:
                        problems.append(problem)
                    plan.skip_xff_append = plan.skip_xff_append or policy.spec.skip_xff_append
                    continue
                host: Object[VirtualHostSpec] = source.objects[0].object
                problem = _cannot_serve(host, made) if plan is None else _in_the_way(host, plan)
                if problem is not None:
                    problems.append(problem)
                    continue
                if plan is None:
                    vip = self.owns and spot.vip and spot.address is not None and can_be_added(spot.address)
                    plan = plans[key] = ListenerPlan(
                        key, host.spec.proxy, port, terms=_terms(policy.spec), network=spot.network, vip=vip)
                elif plan.terms != _terms(policy.spec):
                    problems.append(_other_rule(plan, policy))
                    continue
                try:
                    self.open_door(plan, host, made, terms)
                except (TlsRefused, ConfigErrors) as error:
                    if not plan.hosts:
                        del plans[key]      # the next host there opens it, and is told of its own mistakes
                    if isinstance(error, ConfigErrors):
                        problems += error.problems
                        continue
                    holder: Object[Any] = policy if policy.spec.tls_parameters is not None else host
                    problems.append(ConfigError(REFUSED, holder.place("tls_parameters"), f"TLS of {host.title}: {error}"))
                    continue
                plan.add(made)
                rates = _byte_rates(policy.spec)
                if rates != ANY_BYTES:
                    plan.byte_rates[made] = rates
                plan.skip_xff_append = plan.skip_xff_append or policy.spec.skip_xff_append
            if count % SAME == 0 or self.fresh:
                self.fresh = 0
                yield
        for key, plan in plans.items():
            if plan.kind.http or plan.kind.named:
                served = self.before.listeners.get(key)
                table = served.table if served is not None and served.table is not None else HostTable(())
                pairs = [(host.domains, host) for host in plan.hosts]
                yield
                try:
                    plan.table = yield from table.following(pairs)
                except ValueError as error:
                    problems.append(ConfigError("VG0202", plan.hosts[-1].place, f"on {key}: {error}"))
                yield
        if problems:
            raise ConfigErrors(tuple(problems))

    def build_forwards(self) -> None:
        """The forward proxies and their listeners; raises `ConfigErrors`."""
        made, config = self.made, self.config
        rules: Any = import_module("voltgw.app.forward")
        opens = import_module("voltgw.app.interception").opening(config, self.makings)
        for forward in rules.forwards(config, self.networks, self.before.forwards, opens):
            made.forwards[forward.name] = forward
            plan = self.door_of(forward)
            if plan is None:
                continue
            present = made.listeners.get(plan.key)
            if present is not None:
                other = present.hosts[0]
                raise ConfigErrors((ConfigError(
                    "VG0201", forward.connector.place("voltgw"), f"{forward.connector.title} wants {plan.key} for its forward "
                    f"proxy, which {other.namespace}/{other.name} ({other.proxy}) has; the two cannot share it",
                    related=(("the other one", other.place),)),))
            made.listeners[plan.key] = plan

    def build_dynamic(self) -> None:
        """What virtual hosts that resolve their endpoint from the request may reach; raises `ConfigErrors`."""
        problems: list[ConfigError] = []
        for name, made in self.made.hosts.items():
            if made.egress is None:
                continue
            host: Object[VirtualHostSpec] = self.made.sources[name].objects[0].object
            try:
                self.made.dynamic[name] = import_module("voltgw.app.forward").dynamic_egress(
                    self.config, self.networks, host, self.before.dynamic.get(name))
            except BuildErrors as errors:
                problems += errors.problems
        if problems:
            raise ConfigErrors(tuple(problems))

    def door_of(self, forward: Forward) -> ListenerPlan | None:
        """The listener of a forward proxy; None where this host shall not capture. Raises `ConfigErrors`."""
        listens, inside, bound_port = forward.listens, self.networks.inside, self.config.gateway.bound_port
        captures: Capture | None = None
        if listens is None:
            captures = import_module("voltgw.app.packet_rules").capture_of(
                forward.connector.spec.voltgw, self.networks, bound_port)
            if captures is None:
                return None
            port, key = captures.port, ListenerKey(None, captures.port, "TCP", inside.device, inside.netns)
        else:
            port = listens.port
            key = ListenerKey(listens.address, bound_port(port), "TCP", inside.device, inside.netns)
        plan = ListenerPlan(key, ProxyType.HTTP_PROXY, port, network=inside, forward=forward, capture=captures)
        plan.add(forward.host)
        plan.table = HostTable([(forward.host.domains, forward.host)])
        if forward.tls is not None:
            try:
                plan.forward_tls = self.context(forward.tls)
            except TlsRefused as error:
                raise ConfigErrors((ConfigError(
                    REFUSED, forward.connector.place("voltgw", "explicit_proxy"),
                    f"TLS of {forward.connector.title}: {error}"),)) from error
        return plan

    def open_door(self, plan: ListenerPlan, host: Object[VirtualHostSpec], made: VirtualHost, terms: Terms | None) -> None:
        """How TLS leads to a host of a listener. Raises `TlsRefused` and `ConfigErrors`."""
        if not plan.tls:
            return
        context: ServerContext | None = None
        admission = Admission()
        others: dict[str, ServerContext] = {}
        pending: Callable[[], str] | None = None
        if terms is not None:
            if terms.server.certificates:
                context = self.context(terms.server)
            else:
                pending = partial(self.makings.fetched.reason, terms.names)
            admission = terms.admission
            for names, tls in terms.others:
                others.update(dict.fromkeys(names, self.context(tls)))
        if host.spec.default_loadbalancer:
            if plan.default is not None:
                raise ConfigErrors((ConfigError(
                    "VG0202", host.place("default_loadbalancer"), f"{host.title} takes the connections of unknown names on "
                    f"{plan.key}, which {plan.default.namespace}/{plan.default.name} does already",
                    related=(("the other virtual host", plan.default.place),)),))
            plan.default = made
        group = Group(admission, "" if host.spec.proxy.http else host.full_name, context is None and pending is None)
        plan.doors[made] = Door(context, group, others, self.shown(terms), pending)
        plan.groups.setdefault(group, []).append(made)

    def context(self, tls: ServerTls) -> ServerContext:
        """A context by value; equal ones are one, over configurations, too. Raises `TlsRefused`."""
        contexts = self.made.contexts
        context = contexts.get(tls) or self.before.contexts.get(tls)
        if context is None:
            context = self.makings.server_context(tls)
            self.fresh += 1
        contexts[tls] = context
        return context

    def shown(self, terms: Terms | None) -> tuple[Shown, ...]:
        """The certificates of a host, for operators; each is looked at once in its life."""
        found: list[Shown] = []
        pairs = dict.fromkeys(pair for tls in (terms.all if terms is not None else ()) for pair in tls.certificates)
        for pair in pairs:
            known = self.made.certificates.get(pair.chain) or self.before.certificates.get(pair.chain)
            if known is None:
                known = import_module("voltgw.config.certificates").shown(pair.chain)
            if known is not None:
                self.made.certificates[pair.chain] = known
                found.append(known)
        return tuple(found)

    def entrances(
        self, source: HostSource, transport: str, known: dict[tuple[int, int, str], tuple[tuple[ListenerKey, Spot], ...]],
    ) -> Generator[tuple[Object[AdvertisePolicySpec], int, Terms | None, ListenerKey, Spot], None, None]:
        """Each socket by which a host is entered, with the policy that asks for it; `known` are those of policies so far."""
        for (policy, port), terms in zip(source.offers, source.terms, strict=True):
            keys = known.get((id(policy), port, transport))
            if keys is None:
                keys = known[id(policy), port, transport] = tuple(
                    (self.key(spot, policy.spec, port, transport), spot) for spot in spots(
                        policy, self.config, self.networks, self.makings.interface_address))
            for key, spot in keys:
                yield policy, port, terms, key, spot

    def key(self, spot: Spot, policy: AdvertisePolicySpec, port: int, transport: str) -> ListenerKey:
        """What a socket of a policy is bound to, on one of its addresses."""
        if policy.unix is not None:
            return ListenerKey(policy.unix, 0, transport)
        network = spot.network
        return ListenerKey(
            spot.address, self.config.gateway.bound_port(port), transport, policy.device or network.device, network.netns)


def _outward(host: Object[VirtualHostSpec]) -> Any:
    """What finds the endpoint of a virtual host's requests in the requests themselves; None: clusters have them."""
    asked = host.spec.dynamic_reverse_proxy
    if asked is None or not asked.resolve_endpoint_dynamically or not host.spec.proxy.http:
        return None
    return import_module("voltgw.proxy.forward.dynamic").Dynamic()


def _terms(policy: AdvertisePolicySpec) -> SocketTerms:
    extension = policy.voltgw
    if extension is None:
        return SocketTerms()
    tcp = extension.tcp
    options = () if tcp is None else tcp_options(
        congestion_control=tcp.congestion_control, send_buffer_bytes=tcp.send_buffer_bytes,
        receive_buffer_bytes=tcp.receive_buffer_bytes, user_timeout_s=tcp.user_timeout_s, keep_alive_s=tcp.keep_alive_s,
        fast_open=tcp.fast_open)
    mode = UNIX_MODE if extension.unix_mode is None else int(extension.unix_mode, 8)
    pace = extension.connections_per_second
    return SocketTerms(
        policy.proxies, extension.freebind, extension.max_connections, options, mode,
        None if pace is None else Rate(pace, extension.connection_burst or pace),
        policy.first_datagram_only)


def _byte_rates(policy: AdvertisePolicySpec) -> ByteRates:
    extension = policy.voltgw
    if extension is None:
        return ANY_BYTES
    return ByteRates(_byte_rate(extension.upload_bytes_per_second), _byte_rate(extension.download_bytes_per_second))


def _byte_rate(per_second: int | None) -> Rate | None:
    """What may come at once is small: a rate is of use when it holds from the beginning."""
    return None if per_second is None else Rate(per_second, max(int(per_second * BURST_SHARE), BURST_BYTES))


def _cannot_serve(host: Object[VirtualHostSpec], made: VirtualHost) -> ConfigError | None:
    """A relay without a route that is in service: a connection to it could only be dropped."""
    if host.spec.proxy.http or made.routes:
        return None
    return ConfigError("VG0203", host.place("routes"), f"{host.title} ({host.spec.proxy.value}) has no route in service, so it "
                       "does not know where connections go")


def _other_rule(plan: ListenerPlan, policy: Object[AdvertisePolicySpec]) -> ConfigError:
    """A policy that does not say the same of a listener as the one that has opened it."""
    first = plan.hosts[0]
    return ConfigError(
        "VG0201", policy.place("voltgw"), f"{policy.title} does not say the same in `voltgw` as the policy of "
        f"{first.namespace}/{first.name} on {plan.key}; a listener has one rule for all connections",
        related=(("the other virtual host", first.place),))


def _other_terms(plan: ListenerPlan, made: VirtualHost, policy: Object[AdvertisePolicySpec]) -> ConfigError | None:
    """A second policy of the same host for the same address and port that says something else."""
    if plan.terms == _terms(policy.spec) and plan.rates_of(made) == _byte_rates(policy.spec):
        return None
    return _other_rule(plan, policy)


def _in_the_way(host: Object[VirtualHostSpec], plan: ListenerPlan) -> ConfigError | None:
    """Two hosts on one address, which is only known now: the one that a policy means without naming it (its interface's)."""
    if plan.kind.http and plan.kind is host.spec.proxy or plan.kind.named and host.spec.proxy.named:
        return None
    first = plan.hosts[0]
    return ConfigError(
        "VG0201", host.place("advertise_policies"), f"{host.title} ({host.spec.proxy.value}) wants {plan.key}, which "
        f"{first.namespace}/{first.name} ({first.proxy}) has; the two cannot share it",
        related=(("the other virtual host", first.place),))
