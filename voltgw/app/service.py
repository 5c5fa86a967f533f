"""The running gateway: every part with a life, started and stopped in order; what `observe` looks at; reloads.

docs/life-of-a-reload.rst walks through `GatewayService.reload` step by step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from ipaddress import ip_address
from itertools import islice
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from voltgw import __version__
from voltgw.app import view
from voltgw.app.access_logs import open_access_log
from voltgw.app.acme import Acme
from voltgw.app.build import ListenerKey, Makings, Runtime, build, building
from voltgw.app.challenges import Challenges
from voltgw.app.discovering import makers
from voltgw.app.dns import DnsSide
from voltgw.app.explain import Explainer
from voltgw.app.generations import Generations
from voltgw.app.geo import GeoWatch
from voltgw.app.handover import LEAVE_S, Handover
from voltgw.app.journal import Journal
from voltgw.app.limits import (
    LOOPBACK,
    SOURCE_SHARE,
    most_clients,
    raise_open_files,
    spare_files,
    with_spare_files,
)
from voltgw.app.listening import AnyBound, Listening
from voltgw.app.logs import Logs
from voltgw.app.network_watch import NetworkWatch
from voltgw.app.overload import Overload
from voltgw.app.packet_rules import PacketRules, rules_of
from voltgw.app.past import Past
from voltgw.app.published import Published
from voltgw.app.question import read_question
from voltgw.app.reload import Plan, planning_reload
from voltgw.app.rollouts import Rollouts
from voltgw.app.settings import AdminConfig, StartError, drain_timeout_s, other_access_log
from voltgw.app.sites import Addresses, default_interface_address
from voltgw.app.slices import Slices
from voltgw.app.telemetry import telemetry
from voltgw.app.tls_watch import FileWatch
from voltgw.app.tracing import Tracer
from voltgw.app.verifying import Verifying
from voltgw.app.vips import Vip, Vips
from voltgw.app.zones import Delegations
from voltgw.config.gateway import Addresses as AddressRule
from voltgw.config.gateway import PacketRules as PacketRuleChoice
from voltgw.control.build import build_membership
from voltgw.control.discovery.registries import Registries
from voltgw.control.discovery.sources import Sources
from voltgw.control.generations import NotKept
from voltgw.control.orders import Orders, ordered
from voltgw.control.probes.prober import Prober
from voltgw.errors import ConfigErrors, Severity
from voltgw.net.capture import CannotCapture
from voltgw.net.here import HERE
from voltgw.net.loop import Loop
from voltgw.net.resolver import NetworkResolver
from voltgw.net.sockets import CannotListen
from voltgw.net.tls.context import server_context
from voltgw.net.tls.tickets import TicketKeys
from voltgw.net.tuning import refused_by_host
from voltgw.observe.admin import AdminAddressError, AdminService
from voltgw.observe.events import EventRing
from voltgw.observe.feed import JournalFeed
from voltgw.observe.timings import Timings
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry, RegistryError
from voltgw.security.at_once import InFlight
from voltgw.values.address import where

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.binding import Binder
    from voltgw.app.build import ListenerPlan
    from voltgw.app.deps import Deps
    from voltgw.app.garbage import Garbage
    from voltgw.app.handover import Predecessor
    from voltgw.app.load import Loader, TextLoader
    from voltgw.app.publishing import Publishing
    from voltgw.app.workers import Workers
    from voltgw.config.gateway import DnsAddress
    from voltgw.config.model import Config
    from voltgw.control.membership import Membership
    from voltgw.dns.responder import DnsCounters
    from voltgw.dns.server import DnsBound
    from voltgw.interfaces import AccessSink, ListenerView
    from voltgw.net.namespaces import Identity
    from voltgw.observe.access import AccessLog
    from voltgw.observe.log import ProcessLog
    from voltgw.security.geo import Location
    from voltgw.values.network import Network
    from voltgw.values.telemetry import Telemetry

#: A socket there answers on every address of this host.
_EVERY: Final = ("0.0.0.0", "::")
#: How often it is looked whether an interface that listeners stand for has another address.
_ADDRESS_LOOK_S: Final = 3.0
#: A move that failed (somebody else has the port there) is tried again after this.
_MOVE_RETRY_S: Final = 30.0
#: How long connections of a listener may stay whose address is another one now: until they end, for all that we know.
_STAY_S: Final = 7 * 24 * 3600.0
#: How often a drain looks whether the last connection has ended.
_DRAIN_LOOK_S: Final = 0.05
#: Warnings and errors that a reload writes to the log, one by one.
_MOST_LOGGED: Final = 20
#: At the start, when nobody is served yet, clusters are started for so long in one turn.
_START_SLICE_S: Final = 0.02
#: In a reload for no longer than this: each has its first pass in the next turn, which takes ten times as long.
_BEGIN_SLICE_S: Final = 0.0005
#: Objects of a former configuration that are freed in one step; a virtual host with its routes takes some tenths of a ms.
_FREED: Final = 16
#: Errors that the answer to a reload has.
_MOST_PROBLEMS: Final = 1000


class _Ahead:
    """What a reload has opened and started ahead of its swap."""

    def __init__(self) -> None:
        self.opened: dict[ListenerKey, AnyBound] = {}
        self.names: dict[DnsAddress, DnsBound] = {}
        self.access_log: AccessLog | None = None
        self.fresh: dict[str, Membership] = {}

    def stop(self) -> None:
        """Whoever waits for the warm-up waits no longer."""
        for membership in self.fresh.values():
            if membership.running:
                membership.stopService()


class GatewayService(Service):
    """One gateway. It is a `GatewayView`, too.

    `loader` reads the configuration anew. `privilegedStartService` binds everything (and raises `StartError` when it
    cannot), `startService` begins to serve, `stopService` drains. `on_warm` is called once, when every cluster has had its
    first probes; `on_reload` when a reload begins, and `on_reloaded` when it is over, whatever has become of it: so whoever
    owns the process can keep it tidy.
    """

    name = "voltgw"
    version = __version__
    _log = Logger()

    def __init__(
        self, deps: Deps, config: Config, loader: Loader | TextLoader, process_log: ProcessLog | None = None,
        predecessor: Predecessor | None = None,
    ) -> None:
        """It takes the place of `predecessor`. Raises `ConfigErrors` or RegistryError when `config` cannot be built."""
        self.deps = deps
        self.started_wall = deps.wall()
        self.generation = 1
        self.reloads_rejected = 0
        self.last_reload_error = ""
        self.config_wall = deps.wall()      # when the configuration that runs was taken over
        self.draining = False
        self._doors_closed = False          # nothing new is accepted
        self._closing_at = 0.0
        self.on_failed: Callable[[], None] = lambda: None   # it cannot take over, and is to end
        self.touch_addresses = True         # False: no VIP is added to an interface, whatever the configuration says
        self.access_log_to_stdout = False   # where the configuration names no access log
        self.drain_timeout_s = drain_timeout_s(config)
        self.on_warm: Callable[[], None] | None = None
        self.on_reload: Callable[[], None] | None = None
        self.on_reloaded: Callable[[], None] | None = None
        self.garbage: Garbage | None = None     # what the cycle collector does, where whoever owns the process keeps it tidy
        self._loader = loader
        self._registry = Registry()
        self._addresses = self._new_addresses()
        self._look_again = 0.0              # when a move that failed may be tried again
        self.acme = self._new_acme()
        self._fetched_more = False          # since the runtime was built
        self.verifying = Verifying(deps)
        self.generations = Generations(self.verifying.threads.run, deps.wall, deps.environ)
        self.tickets = TicketKeys(deps.monotonic)
        self.predecessor = predecessor
        if predecessor is not None:
            self.tickets.install(predecessor.tickets)
        self.affinity_key = self._affinity_key() if predecessor is None else predecessor.affinity_key
        self.handover = Handover(self)
        self.worker_count: int | None = None        # None: as the configuration says
        self.workers: Workers | None = None         # None: this process serves
        self.binder: Binder | None = None           # opens low ports when this process has given up root
        self.user = 0                       # as whom it runs then
        self.rendezvous = ""                # where workers wait whose control process is gone
        self.in_flight = InFlight(lambda address: self.loop.sources.is_trusted(address))    # noqa: PLW0108  # no loop yet
        self._makings = Makings(lambda key: Pool(), deps.random, self._registry, self._addresses,
                                partial(server_context, keys=self.tickets), wall=deps.wall, fetched=self.acme,
                                surroundings=self.verifying.surroundings, affinity_key=self.affinity_key,
                                in_flight=self.in_flight)
        self.runtime: Runtime = build(config, None, self._makings)
        self.acme.follow(self.runtime)
        self._past = Past(self._plans)
        self.journal = Journal(deps.wall, deps.monotonic, explain=self._past)
        self.timings = Timings(self.journal)
        self.tracer = Tracer(deps, self.timings)
        self.events = EventRing(deps.wall)
        self.access_log: AccessLog | None = None
        self.logs = Logs(process_log, self.events, lambda: self.access_log, deps.wall, deps.monotonic)
        self.logs.follow(config.gateway)
        self._bound_already = False
        self._abandoned = False
        self._reloading = False
        self._ahead: _Ahead | None = None
        self._rest: Generator[None, None, None] | None = None   # what a reload has yet to take apart
        self._waiting: list[Deferred[dict[str, Any]]] = []      # who asked for a reload that has not begun
        self._back: list[tuple[int, Deferred[dict[str, Any]]]] = []     # the same for kept generations

    # -- life ----------------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open every socket and the access log, while we may still be root. Raises `StartError`, and then nothing is open."""
        self._open_files = raise_open_files()
        self.access_log = None
        try:
            self.loop = Loop(self.deps.reactor, self.deps.monotonic, self._most_connections(self.runtime.config))
        except OSError as error:
            raise StartError(f"the event loop cannot be made: {error.strerror}") from error
        self._share_out(self.runtime.config)
        self.events.start()
        try:
            self._open()
        except BaseException as error:
            self.events.stop()
            self.loop.stop()
            if self.workers is not None:
                self.workers.let_go()
            if self.access_log is not None:
                self.access_log.close()
            if isinstance(error, (CannotListen, AdminAddressError, RegistryError)):
                raise StartError(str(error)) from error
            raise
        self._bound_already = True

    def _open(self) -> None:
        deps, loop, runtime = self.deps, self.loop, self.runtime
        self._slices = Slices(loop, deps.monotonic)
        self._feed = JournalFeed(self.tracer, loop.clock)
        self.geo_watch = GeoWatch(loop.clock, deps.reactor, lambda: self.runtime.geo)
        self.files = FileWatch(loop.clock, self._referred, self._loader.own, self._reload_for_files,
                               watched=lambda: self.runtime.config.gateway.watch, named=self._loader.named)
        self.access_log = self._open_access_log(runtime.config)
        self.timings.follow(runtime.config.gateway.metrics)
        self.tracer.start(loop.clock, runtime.config, lambda: self.access_log or self._feed)
        self.plane = Plane(loop, self._sink(), deps.wall, deps.random.random)
        self.overload = self._new_overload()
        self.overload.clusters = self.cluster_objects
        self.overload.follow(runtime.config.gateway, self._open_files)
        count = runtime.config.gateway.workers if self.worker_count is None else self.worker_count
        if count:
            self.workers = import_module("voltgw.app.workers").Workers(self, count)
        self.listening = self._new_listening()
        self.listening.inherited = deps.inherited
        self.listening.challenges = (Challenges(self._makings.server_context, self._bound) if self.workers is None
                                     else self.workers.challenges(self._makings.server_context, self._bound))
        self.prober = Prober(loop, deps.random)
        self._resolvers: dict[Network, NetworkResolver] = {}
        self.registries = Registries(loop, deps.random, makers(deps.reactor))
        self._sources = Sources(loop, deps.random, deps.resolver, self.resolver_of, self.registries)
        self.networks = NetworkWatch(loop.clock, self._network_changed)
        self.vips = Vips(loop.clock, self.listening.holds)
        self.rules = PacketRules(loop.clock)
        self.orders = Orders(loop)
        self.rollouts = self._new_rollouts()
        self.rollouts.install(runtime)
        self.memberships: dict[str, Membership] = {name: self._membership(name, runtime) for name in runtime.clusters}
        self.dns = self._new_dns()
        self.admin = self._new_admin(runtime.config)
        self._lead_out(runtime)
        runtime.lead_out(self.plane.outside)
        self._check_rules(runtime)
        self.networks.note(runtime.networks())
        if self.workers is not None:
            self.workers.adopt()
        opened = self.listening.open_new(runtime.listeners)
        names: dict[DnsAddress, DnsBound] = {}
        try:
            names = self.dns.open_new(runtime.config)
            if self.predecessor is None:
                self.admin.bind()
        except BaseException:
            self.dns.close_unused(names)
            self.listening.close_unused(opened)
            raise
        self.dns.install(runtime.config, runtime.delegations or Delegations(), names, runtime.publications)
        self.listening.install(runtime.listeners, opened, self.drain_timeout_s)
        if self.workers is not None:
            self.workers.adopted()
        self._follow_networks(runtime)
        self._try_options(runtime, runtime.clusters)

    def keep_binder(self, uid: int, gid: int) -> None:
        """This process is about to give up root: have another one open low ports for reloads. `privilegedStartService` was."""
        try:
            self.listening.binder = self.binder = import_module("voltgw.app.binding").Binder(uid, gid)
        except OSError as error:
            self._log.warn("reloads cannot open ports below 1024: {error}", error=error.strerror)

    def startService(self) -> None:
        """Serve."""
        if not self._bound_already:
            self.privilegedStartService()
        super().startService()
        if self.access_log is not None:
            self.access_log.start()
        self._feed.start()
        self.loop.start()
        self.logs.start(self.loop.clock)
        self.verifying.start(self.plane, self.runtime)
        self.overload.start()
        self.files.start()
        self.generations.serves(self._loader, self.runtime.config)
        self.geo_watch.start()
        self.prober.startService()
        self.rollouts.start()
        if self.predecessor is None:
            self._open_doors()
        if self.workers is not None:
            self.workers.start()
        self.loop.clock.callLater(_ADDRESS_LOOK_S, self._look_at_addresses)
        self._warming = Deferred.fromCoroutine(self._warm_up(list(self.memberships.values())))
        self._warming.addErrback(self._not_warmed)
        for key, bound in self.listening.bound.items():
            self._log.info("{kind} listens on {address} for {hosts}", kind=bound.kind, address=str(key),
                           hosts=", ".join(view.some(bound.hosts, "virtual hosts")))
        self._log.info("generation {generation} serves: {listeners} listeners, {hosts} virtual hosts, {clusters} clusters",
                       generation=self.generation, listeners=len(self.listening.bound), hosts=len(self.runtime.hosts),
                       clusters=len(self.runtime.clusters), event="gateway.serving")

    async def _warm_up(self, memberships: list[Membership]) -> None:
        """Have clusters find and probe their endpoints, then accept, then wait until all of them have."""
        await self._slices.run(_started(memberships, self._has), least_s=_START_SLICE_S)
        if self.predecessor is None:
            self.loop.soon(self._accept)    # behind the first pass of every membership: nobody shall find an empty cluster
        for membership in memberships:
            if membership.running and not membership.warm:      # else it is, or a reload has replaced it
                await membership.warm_deferred()
        if self.predecessor is not None and not self.draining:
            await self._take_over(self.predecessor)
        if not self.draining:
            self._log.info("every cluster has had its first probes, or their time is up: ready", event="gateway.ready")
            if self.on_warm is not None:
                self.on_warm()

    def _open_doors(self) -> None:
        """Answer operators, and questions for names; be there for who is to take our place."""
        self.admin.startService()
        self.dns.start(self.loop)
        self.deps.inherited.rest()
        self.handover.start()

    async def _take_over(self, predecessor: Predecessor) -> None:
        """Accept beside the process that has served until now, then have it give way."""
        try:
            self._accept()
            if self.workers is not None:
                await self.workers.all_ready()
            predecessor.replace()
            self._open_doors()
        except (StartError, AdminAddressError) as error:
            self._log.error("{error}; this process ends", error=error, event="restart.failed")
            self.on_failed()

    def give_way(self) -> None:
        """Another process accepts on our sockets: take nothing more from them."""
        self.listening.give_way()
        self.dns.give_way()
        self.vips.leave()
        self.rules.leave()
        self.rollouts.leave()
        self.admin.stopService()

    def _has(self, membership: Membership) -> bool:
        """Whether it has not been replaced by a reload, or taken away."""
        return self.memberships.get(membership.cluster.name) is membership

    def _not_warmed(self, failure: Failure) -> None:
        self._log.failure("the clusters could not be started", failure)

    def _accept(self) -> None:
        if not self.draining:
            self.listening.start()
            if self.workers is not None:
                self.workers.serve()
            self._join_networks()
            self.acme.start(self.loop, self.listening.challenges)

    def stopService(self) -> Deferred[Any]:
        """Drain, then stop everything; the Deferred fires when nothing of ours is left."""
        super().stopService()
        if not self._bound_already:
            return succeed(None)
        self.drain()
        done: Deferred[Any] = Deferred()
        self._wait_until_drained(max(self.deps.monotonic(), self._closing_at) + self.drain_timeout_s, done)
        done.addCallback(lambda _: self._withdrawn)
        done.addCallback(lambda _: self.tracer.stop(self._abandoned))
        done.addCallback(lambda _: self._stop_all())
        return done

    def _wait_until_drained(self, until: float, done: Deferred[Any]) -> None:
        now = self.deps.monotonic()
        if not self._doors_closed or self.listening.connections and now < until:
            most = min(until, now + self.drain_timeout_s) if self._doors_closed else until
            self.loop.clock.callLater(_DRAIN_LOOK_S, self._wait_until_drained, most, done)
            return
        left = self.listening.connections
        if left:
            self._log.warn("{left} connections were still open after {timeout} s and are closed", left=left,
                           timeout=self.drain_timeout_s, event="gateway.drain_cut")
            self.listening.close()
        done.callback(None)

    def _stop_all(self) -> Deferred[Any]:
        for _ in self._rest or ():
            pass
        self.handover.stop()
        if self.predecessor is not None:
            self.predecessor.let_go()
        self.overload.stop()
        self.files.stop()
        self.generations.stop()
        self.geo_watch.stop()
        self.verifying.stop()
        self.networks.stop()
        self.vips.stop()
        self.rules.stop()
        self.dns.stop()
        for membership in self.memberships.values():
            membership.stopService()
        self.prober.stopService()
        self.orders.stop()
        self.rollouts.stop()
        for cluster in self.runtime.clusters.values():
            cluster.retire()
        if self.plane.outside is not None:
            self.plane.outside.close()
        stopped = self.admin.stopService()
        self._feed.close()
        self.loop.stop()
        if self.binder is not None:
            self.binder.stop()
        if self.access_log is not None:
            self.access_log.close()
        self._log.info("stopped", event="gateway.stopped")
        self.events.stop()
        return DeferredList([stopped, self._given_up, *([] if self.workers is None else [self.workers.stop()])])

    def drain(self) -> None:
        """Accept nothing new; finish what is under way; `/ready` says no from now on."""
        if self.draining:
            return
        self.draining = True
        self._log.info("draining: {connections} connections are open", connections=self.listening.connections,
                       event="gateway.draining")
        self._given_up = self.acme.stop()
        handed_over = self.handover.handed_over
        self._withdrawn = succeed(None) if handed_over else self.dns.withdraw(at_once=self._abandoned)
        lead_s = LEAVE_S if handed_over else self.runtime.config.gateway.drain_lead_s or 0.0
        if lead_s and not self._abandoned:
            self._closing_at = self.deps.monotonic() + lead_s
            self.loop.clock.callLater(lead_s, self._close_doors)
        else:
            self._close_doors()
        if self._ahead is not None:
            self._ahead.stop()              # a reload that waits for its new clusters gives up

    def _close_doors(self) -> None:
        """Accept nothing more, close what is idle, tell the others that their next answer is the last."""
        if not self._doors_closed:
            self._doors_closed = True
            if self.workers is not None:
                self.workers.drain(self.drain_timeout_s)
            self.listening.drain()

    def abandon(self) -> None:
        """Stop without waiting for anybody (SIGQUIT, a second Ctrl-C)."""
        self.drain_timeout_s = 0.0
        self._abandoned = True
        if self.workers is not None and self.draining:
            self.workers.drain(0.0)
        if self._bound_already:
            self.dns.abandon()
            if self.draining:
                self._close_doors()

    # -- reload --------------------------------------------------------------------------------------------------------

    def reload(self) -> Deferred[dict[str, Any]]:
        """Read the configuration again and serve it, or say why not; the old one serves on meanwhile and in that case.

        The result is JSON-ready: ``ok``, ``generation``, and either ``changes`` or ``problems``. Never fails. One that is
        asked for while another is under way follows it; those that wait share the next one.
        """
        outcome: Deferred[dict[str, Any]] = Deferred()
        self._waiting.append(outcome)
        if not self._reloading:
            self._next_reload()
        return outcome

    def rollback(self, number: int = 0) -> Deferred[dict[str, Any]]:
        """Serve a kept generation (0: the last one before the one that serves) until the files change; as `reload`."""
        outcome: Deferred[dict[str, Any]] = Deferred()
        self._back.append((number, outcome))
        if not self._reloading:
            self._next_rollback()
        return outcome

    def _next_rollback(self) -> None:
        number, outcome = self._back.pop(0)
        self._reload_begins()
        result = Deferred.fromCoroutine(self._reload(back=number))
        result.addErrback(self._reload_crashed)
        result.addCallback(self._reloaded, [outcome])

    def _referred(self) -> Mapping[str, str]:
        """The files to which the configuration refers that serves, and to which the one in the files does."""
        kept = self.generations.in_force
        return self._loader.referred() if kept is None else {**self._loader.referred(), **kept.referred()}

    def _reload_for_files(self) -> Deferred[dict[str, Any]]:
        """A renewed certificate is taken, but does not end a rollback; an edit of the configuration does."""
        kept = self.generations.in_force
        return self.reload() if kept is None or self.files.own_changed else self.rollback(kept.number)

    def _next_reload(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._reload_begins()
        result = Deferred.fromCoroutine(self._reload())
        result.addErrback(self._reload_crashed)
        result.addCallback(self._reloaded, waiting)

    def _reload_begins(self) -> None:
        self._reloading = True
        if self.on_reload is not None:
            self.on_reload()

    def _reload_crashed(self, failure: Failure) -> dict[str, Any]:
        self._log.failure("the reload failed; generation {generation} serves on", failure, generation=self.generation,
                          event="reload.crashed")
        return self._rejected([f"internal error: {failure.getErrorMessage()}"])

    def _reloaded(self, result: dict[str, Any], waiting: list[Deferred[dict[str, Any]]]) -> None:
        if self.loop.stopped:
            self._tell(result, waiting)
        else:
            self.loop.soon(lambda: self._tell(result, waiting))     # what this turn has given up is closed by then

    def _tell(self, result: dict[str, Any], waiting: list[Deferred[dict[str, Any]]]) -> None:
        self._reloading = False
        if self.on_reloaded is not None and not self.loop.stopped:
            try:
                self.on_reloaded()
            except Exception:               # who waits for the reload is told all the same
                self._log.failure("what follows a reload failed")
        for outcome in waiting:
            outcome.callback(result)
        if self._waiting:
            self._next_reload()
        elif self._back:
            self._next_rollback()
        elif self._fetched_more:
            self._fetched()

    def _fetched(self) -> None:
        """There is another certificate: what runs is built anew with it, which touches nothing else."""
        self._fetched_more = True
        if self._reloading or self.draining:
            return                          # whatever is under way looks again when it is over
        self._fetched_more = False
        self._reload_begins()
        result = Deferred.fromCoroutine(self._reload(moving=True))
        result.addErrback(self._reload_crashed)
        result.addCallback(self._taken)

    def _taken(self, result: dict[str, Any]) -> None:
        if not result["ok"] and not self.draining:
            self.loop.clock.callLater(_MOVE_RETRY_S, self._fetched)
        self._reloaded(result, [])

    def _look_at_addresses(self) -> None:
        """Have listeners follow the address of their interface, where the configuration names none."""
        if self.draining:
            return
        self.loop.clock.callLater(_ADDRESS_LOOK_S, self._look_at_addresses)
        for name in self.listening.try_again():
            self._log.info("{name} listens again", name=name, event="listener.back")
        if self._reloading or self.deps.monotonic() < self._look_again:
            return
        changes = self._addresses.changes()
        if not changes:
            return
        self._log.warn("the address of an interface has changed: {changes}; listeners move", changes=", ".join(changes),
                       event="listener.moves")
        self._look_again = self.deps.monotonic() + _MOVE_RETRY_S
        self._reload_begins()
        result = Deferred.fromCoroutine(self._reload(moving=True))
        result.addErrback(self._reload_crashed)
        result.addCallback(self._moved)

    def _moved(self, result: dict[str, Any]) -> None:
        if result["ok"]:
            self._look_again = 0.0
        self._reloaded(result, [])

    async def _reload(self, moving: bool = False, back: int | None = None) -> dict[str, Any]:
        """With `moving`, the configuration that runs is built anew for the addresses that the host has now; with `back`, a
        kept one is served.
        """
        said = self._addresses.in_use
        result = await (self._reload_now(moving) if back is None else self._roll_back(back))
        if not result["ok"]:
            self._addresses.put_back(said)
        return result

    async def _reload_now(self, moving: bool) -> dict[str, Any]:
        if moving:
            return await self._serve_by(self.runtime.config, _STAY_S)
        if self.access_log is not None:
            if self.workers is not None:
                self.workers.reopen()
            self.access_log.reopen()        # SIGHUP is also how log rotation asks for a new file, whatever becomes of the rest
        try:
            config = await self._slices.run(with_spare_files(self._loader.steps()), self._go_on)
            self.acme.hurry()
            if self.generations.still_left(self._loader):
                self._log.warn("reload: the files say what was rolled back; number {number} serves on until they are edited",
                               number=self.generations.current)
                self.last_reload_error = ""
                return {"ok": True, "generation": self.generation, "changes": []}
            if config.digest == self.runtime.config.digest:
                self._log.info("reload: nothing has changed", event="reload.unchanged")
                self.last_reload_error = ""
                if self.generations.in_force is not None:
                    self.generations.serves(self._loader, config)
                return {"ok": True, "generation": self.generation, "changes": []}
        except ConfigErrors as errors:
            return self._rejected([f"{problem.place}: {problem.message}" for problem in errors.problems
                                   if problem.severity is Severity.ERROR])
        except (StartError, RegistryError) as error:
            return self._rejected([str(error)])
        result = await self._serve_by(config, None)
        if result["ok"]:
            self.generations.serves(self._loader, config)
        return result

    async def _roll_back(self, number: int) -> dict[str, Any]:
        try:
            kept = await self.generations.loader(number)
            config = await self._slices.run(kept.steps(), self._go_on)
        except ConfigErrors as errors:
            return self._rejected([f"{problem.place}: {problem.message}" for problem in errors.problems
                                   if problem.severity is Severity.ERROR])
        except (NotKept, StartError, RegistryError) as error:
            return self._rejected([str(error)])
        if config.digest == self.runtime.config.digest:
            self.last_reload_error = ""
            result = {"ok": True, "generation": self.generation, "changes": []}
        else:
            result = await self._serve_by(config, None)
        if result["ok"]:
            self.generations.went_back(kept, self._loader)
            self._log.warn("number {number} of the kept configurations serves; on disk, other text stands in: {differs}",
                           number=kept.number, differs=", ".join(view.some(kept.differs, "files", 5)) or "no file",
                           event="reload.rolled_back")
            result |= {"number": kept.number, "differs": view.some(kept.differs, "files", 100)}
        return result

    async def _serve_by(self, config: Config, stay_s: float | None) -> dict[str, Any]:
        """Make what `config` says and serve it; `stay_s` is how long connections of former listeners may stay (None: as in a
        drain).
        """
        try:
            runtime = await self._slices.run(building(config, self.runtime, self._makings), self._go_on)
            plan = await self._slices.run(planning_reload(self.runtime, runtime), self._go_on)
        except ConfigErrors as errors:
            return self._rejected([f"{problem.place}: {problem.message}" for problem in errors.problems
                                   if problem.severity is Severity.ERROR])
        except (StartError, RegistryError) as error:
            return self._rejected([str(error)])
        self._ahead = ahead = _Ahead()
        try:
            await self._prepare(runtime, plan, ahead)
            await self._agree(runtime, ahead, stay_s)
        except (CannotListen, StartError, RegistryError) as error:
            self._undo(ahead)
            return self._rejected([str(error)])
        except BaseException:
            self._undo(ahead)
            raise
        finally:
            self._ahead = None
        self._rest = self._swap(runtime, plan, ahead, stay_s)
        await self._slices.run(self._rest)
        return {"ok": True, "generation": self.generation, "changes": plan.describe()}

    def _go_on(self) -> None:
        """Raises StartError when we drain: nothing new is begun then."""
        if self.draining:
            raise StartError("the gateway drains")

    async def _prepare(self, runtime: Runtime, plan: Plan, ahead: _Ahead) -> None:
        """Everything that can fail, and the wait for the new clusters' first probes.

        Raises `CannotListen`, StartError or RegistryError. Whatever happens, what `ahead` has by then is to be used or undone.
        """
        self._lead_out(runtime)
        self._check_rules(runtime)
        self.networks.note(runtime.networks())
        ahead.opened = self.listening.open_new(runtime.listeners)
        ahead.names = self.dns.open_new(runtime.config)
        if other_access_log(self.runtime.config, runtime.config):
            ahead.access_log = self._open_access_log(runtime.config)
        await self._slices.run(self._begin(runtime, plan, ahead), self._go_on, most_s=_BEGIN_SLICE_S)
        for membership in ahead.fresh.values():
            if not membership.warm:         # they warm up at the same time, so the wait is for the slowest
                self._go_on()
                await membership.warm_deferred(membership.warm_timeout_s)
        self._go_on()

    def _begin(self, runtime: Runtime, plan: Plan, ahead: _Ahead) -> Generator[None, None, None]:
        """Make and start the memberships of new clusters, in steps."""
        for name in plan.clusters_new:
            ahead.fresh[name] = self._membership(name, runtime)
            yield
        yield from _started(ahead.fresh.values())

    def _undo(self, ahead: _Ahead) -> None:
        """The swap will not come."""
        ahead.stop()
        for membership in ahead.fresh.values():
            membership.cluster.retire()
        self.listening.close_unused(ahead.opened)
        self.dns.close_unused(ahead.names)
        if ahead.access_log is not None:
            ahead.access_log.close()

    def _swap(self, runtime: Runtime, plan: Plan, ahead: _Ahead, stay_s: float | None = None) -> Generator[None, None, None]:
        """Everything that can fail is behind us: from the next request on the new configuration serves.

        Returns what is left to do, in steps: nothing of it concerns those who ask now.
        """
        old, self.runtime = self.runtime, runtime
        runtime.settle()
        self.rollouts.install(runtime)
        runtime.lead_out(self.plane.outside)
        self.acme.follow(runtime)
        self.verifying.follow(runtime)
        self.generation += 1
        self.journal.generation = self.generation
        self.config_wall = self.deps.wall()
        self.last_reload_error = ""
        self._try_options(runtime, plan.clusters_new)
        gone = [self.memberships.pop(name) for name in plan.clusters_gone]
        if gone or ahead.fresh or list(self.memberships) != list(runtime.clusters):
            self.memberships.update(ahead.fresh)
            self.memberships = {name: self.memberships[name] for name in runtime.clusters}
        self._follow_gateway(old.config, runtime, ahead.access_log)
        self.listening.install(runtime.listeners, ahead.opened, self.drain_timeout_s if stay_s is None else stay_s)
        self._follow_networks(runtime)
        self.listening.start()
        self.dns.install(runtime.config, runtime.delegations or Delegations(), ahead.names, runtime.publications)
        self._log.info("generation {generation} serves: {changes}", generation=self.generation,
                       changes="; ".join(plan.describe()) or "only values changed", event="reload.applied")
        for warning in runtime.config.warnings[:_MOST_LOGGED]:
            self._log.warn("{place}: {message}", place=str(warning.place), message=warning.message)
        return self._take_apart(gone, old, runtime)

    def _try_options(self, runtime: Runtime, names: Iterable[str]) -> None:
        """Say which TCP options towards endpoints of these clusters this host does not take."""
        for name in names:
            cluster = runtime.clusters[name]
            if cluster.options:
                for refused in refused_by_host(cluster.options):
                    self._log.warn("{cluster}: the host does not take a TCP {refused}", cluster=name, refused=refused)

    def _take_apart(self, gone: list[Membership], old: Runtime, following: Runtime) -> Generator[None, None, None]:
        """Let go of what has served, in steps, so that each frees little."""
        gone.reverse()
        while gone:
            membership = gone.pop()
            membership.stopService()
            membership.cluster.retire()
            yield
        rest = yield from old.retiring(following)
        del old
        while rest:
            del rest[-_FREED:]
            yield
        self._rest = None

    def _follow_gateway(self, old: Config, runtime: Runtime, access_log: AccessLog | None) -> None:
        """What the `gateway:` part says of this process; `access_log` is the new one where there shall be another."""
        new = runtime.config
        gateway = new.gateway
        self.drain_timeout_s = drain_timeout_s(new)
        self.loop.allow(self._most_connections(new))
        counted = self.in_flight.wanted
        self._share_out(new)
        self.overload.follow(gateway, self._open_files)
        self.logs.follow(gateway, old.gateway)
        self.timings.follow(gateway.metrics)
        self.tracer.follow(new)
        if self.access_log is not None:
            self.access_log.quiet = frozenset(runtime.quiet)
        if other_access_log(old, new):
            before, self.access_log = self.access_log, access_log
            self.plane.access = self._sink()
            self.admin.access = access_log
            if access_log is not None:
                access_log.start()
            if before is not None:
                before.close()
        elif counted is not self.in_flight.wanted:
            self.plane.access = self._sink()
        if gateway.workers != old.gateway.workers and self.worker_count is None:
            self._log.warn("gateway.workers changed: that takes a restart")
        if (gateway.admin, gateway.monitor) != (old.gateway.admin, old.gateway.monitor):
            self._log.warn("gateway.admin and gateway.monitor changed: that takes a restart")

    def _share_out(self, config: Config) -> None:
        """What one client address may hold of it."""
        sources = self.loop.sources
        sources.limit = config.gateway.max_connections_per_source or max(self.loop.most // SOURCE_SHARE, 1)
        sources.trust(config.gateway.trusted_sources or LOOPBACK)
        self.in_flight.follow(config.gateway.max_requests_per_source)

    def _most_connections(self, config: Config) -> int:
        """Client connections that may be open at once."""
        return config.gateway.max_connections or most_clients(self._open_files)

    def _rejected(self, problems: list[str]) -> dict[str, Any]:
        self.reloads_rejected += 1
        self.last_reload_error = problems[0] if problems else "unknown"
        for problem in view.some(problems, "errors", _MOST_LOGGED):
            self._log.error("reload refused: {problem}", problem=problem)
        self._log.error("generation {generation} serves on", generation=self.generation, event="reload.refused",
                        problem=self.last_reload_error, problems=len(problems))
        return {"ok": False, "generation": self.generation, "problems": view.some(problems, "errors", _MOST_PROBLEMS)}

    # -- parts that a worker has others of -----------------------------------------------------------------------------

    def _new_addresses(self) -> Any:
        return Addresses(default_interface_address)

    def _affinity_key(self) -> bytes:
        return token_bytes(32)

    def _new_acme(self) -> Any:
        return Acme(self.deps, self._registry, self._fetched)

    def _new_listening(self) -> Listening:
        if self.workers is None:
            return Listening(self.plane, self.loop)
        held: Listening = import_module("voltgw.app.held").HeldListening(self.plane, self.loop, self.workers)
        return held

    def _new_rollouts(self) -> Rollouts:
        return Rollouts(self.loop.clock, self.deps.monotonic, self.deps.wall, self.verifying.threads.run)

    def _new_overload(self) -> Overload:
        return Overload(self.loop, self.plane)

    def _new_dns(self) -> Any:
        return DnsSide(self.deps, self._is_warm)

    async def _agree(self, runtime: Runtime, ahead: _Ahead, stay_s: float | None) -> None:
        """Whether other processes are as ready for `runtime` as this one. Raises StartError when one is not."""
        if self.workers is not None:
            await self.workers.agreement.reach(runtime, ahead.opened, ahead.fresh, stay_s)

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _membership(self, name: str, runtime: Runtime) -> Membership:
        made = build_membership(runtime.clusters[name], runtime.plans[name], self.prober, self._sources, self._registry,
                                self._refused_endpoint, self.orders)
        if self.workers is not None:
            made.told = self.workers.telling(name)
        return made

    def _lead_out(self, runtime: Runtime) -> None:
        """Have what forward proxies share, where there is one."""
        if self.plane.outside is None and (runtime.forwards or runtime.dynamic):
            outside = import_module("voltgw.proxy.forward.outside").Outside(
                self.plane, self.deps.random, self.resolver_of, self.verifying.threads.run, self._makings.client_context)
            outside.refuses = self._refused_endpoint
            self.plane.outside = outside

    def resolver_of(self, network: Network) -> Any:
        """What looks names up in `network`, an `IHostnameResolver`: the network's own servers, else the host's resolver."""
        if not network.dns_servers:
            return self.deps.resolver
        resolver = self._resolvers.get(network)
        if resolver is None:
            resolver = self._resolvers[network] = NetworkResolver(self.loop, network)
        return resolver

    def _follow_networks(self, runtime: Runtime) -> None:
        """Notice from now on when a network that is in use goes or comes."""
        used = runtime.networks()
        self._resolvers = {network: made for network, made in self._resolvers.items() if network in used}
        self.networks.follow(used)
        if self.running:                    # else nobody is served yet
            self._join_networks()

    def _check_rules(self, runtime: Runtime) -> None:
        """Raises StartError where the kernel would not take the packet rules that listeners need."""
        try:
            self.rules.check(self._wanted_rules(runtime))
        except CannotCapture as error:
            raise StartError(str(error)) from error

    def _wanted_rules(self, runtime: Runtime) -> dict[str, Any]:
        """The packet rules that listeners need, unless we may not install any."""
        if runtime.config.gateway.packet_rules is PacketRuleChoice.UNTOUCHED:
            return {}
        return dict(rules_of(runtime.listeners))

    def _join_networks(self) -> None:
        """Have the VIPs that are served exist, and connections captured that are to be, unless that is forbidden."""
        self.rules.follow(self._wanted_rules(self.runtime))
        touched = self.touch_addresses and self.runtime.config.gateway.addresses is AddressRule.BY_SITE
        plans = self.runtime.listeners.values() if touched else ()
        self.vips.follow(Vip(plan.key.address, plan.network) for plan in plans if plan.vip and plan.key.address is not None)

    def _network_changed(self, network: Network, now: Identity) -> None:
        """A network has gone, has come, or is another one of the same name: sockets of before are of no use."""
        if self.draining:
            return
        problem = now.problem or f"network {network} is another one now"
        lost = self.listening.lose(network, problem, self.drain_timeout_s)
        for cluster in self.cluster_objects():
            for endpoint in cluster.endpoints:
                if endpoint.network == network:
                    endpoint.pool.flush()
        back = [] if now.problem else self.listening.regain(network)
        self.vips.look()
        self.rules.look()
        if now.problem:
            self._log.error("network {network} is gone: {problem}; closed: {lost}", network=str(network), problem=now.problem,
                            lost=", ".join(view.some(lost, "listeners")) or "nothing", event="network.gone")
        else:
            self._log.info("network {network} is there: {back} listen again", network=str(network),
                           back=", ".join(view.some(back, "listeners")) or "no listeners", event="network.back")

    def _refused_endpoint(self, address: str, port: int) -> str:
        """Endpoints may not be the gateway's own admin interface (DECISIONS: Process)."""
        if address.startswith("/"):
            return "it is this gateway's own admin socket" if address in self.admin.addresses else ""
        if not any(each.endswith(f":{port}") for each in self.admin.addresses):
            return ""                       # almost every endpoint
        to = ip_address(address)
        to = getattr(to, "ipv4_mapped", None) or to     # the kernel takes ::ffff:127.0.0.1 for 127.0.0.1…
        names = ("127.0.0.1", "::1") if to.is_unspecified else (str(to),)   # …and all zeros for this host
        refused = any(where(name, port) in self.admin.addresses for name in names) or (
            any(where(every, port) in self.admin.addresses for every in _EVERY) and any(name in HERE for name in names))
        return "it is this gateway's own admin address" if refused else ""

    def _open_access_log(self, config: Config) -> AccessLog | None:
        return open_access_log(config, self.loop.clock, self.deps.wall, to_stdout=self.access_log_to_stdout,
                               journal=self.tracer, explain=self._past,
                               find=self._find_place if config.gateway.geo is not None else None)

    def _find_place(self, address: str) -> Location | None:
        """Where a client is."""
        geo = self.runtime.geo
        return None if geo is None else geo.find(address)

    def _plans(self) -> Iterable[ListenerPlan]:
        return self.runtime.listeners.values()

    def _bound(self) -> Iterable[AnyBound]:
        return self.listening.bound.values()

    def _sink(self) -> AccessSink:
        """Where records go; the loop sees to it that never many of them wait."""
        sink = self.access_log if self.access_log is not None else self._feed
        self.loop.backlog, self.loop.relieve = sink.pending, sink.relieve
        return self.in_flight.watching(sink) if self.in_flight.wanted else sink

    def _new_admin(self, config: Config) -> AdminService:
        return AdminService(self, AdminConfig(config), self.deps.reactor, self.deps.monotonic, access=self.access_log,
                            unrouted=self.plane.unrouted, wall=self.deps.wall, spare=spare_files,
                            inherited=self.deps.inherited)

    # -- GatewayView ---------------------------------------------------------------------------------------------------

    def ready(self) -> tuple[bool, list[str]]:
        """Whether it may be sent traffic, and what is missing if not."""
        missing = [f"listener {each.name}: {each.problem}" for each in self.listening.bound.values() if each.problem]
        cold = [name for name, each in self.memberships.items() if not each.warm]
        missing += [f"cluster {name}: {self.memberships[name].missing()}" for name in islice(cold, view.MOST)]
        if len(cold) > view.MOST:
            missing.append(f"{len(cold) - view.MOST} more clusters")
        missing += self.vips.problems
        missing += self.rules.problems
        if self.workers is not None:
            missing += self.workers.missing()
        if self.draining:
            missing.append("it drains")
        if not self.running:
            missing.append("it does not run")
        return not missing, missing

    def cluster_objects(self) -> Iterable[Any]:
        """The live clusters, and what serves routes of high priority of them."""
        for cluster in self.runtime.clusters.values():
            yield cluster
            if cluster.high is not None:
                yield cluster.high

    def clusters(self) -> Iterable[dict[str, Any]]:
        """Every cluster with every endpoint and its reasons."""
        return view.clusters(list(self.memberships.values()))

    def order(self, act: str, endpoint: str, cluster: str, value: str) -> dict[str, Any]:
        """Drain, undrain, eject or weigh an endpoint; see `voltgw.interfaces.GatewayView`."""
        result = ordered(self.orders, self.memberships.values(), act, endpoint, cluster, value)
        self._log.info("an operator has said: {act} {endpoint} {value}", act=act, endpoint=endpoint, value=value,
                       event="order.endpoint")
        return result

    def rollouts_view(self) -> list[dict[str, Any]]:
        """How far each rollout is, and why."""
        return self.rollouts.view()

    def rollout_order(self, act: str, name: str) -> dict[str, Any]:
        """Approve, pause, resume, roll back, promote or restart a rollout; see `voltgw.interfaces.GatewayView`."""
        result = self.rollouts.order(act, name)
        self._log.info("an operator has said: rollout {act} {rollout}", act=act, rollout=name, event="order.rollout")
        return result

    @property
    def addresses_in_use(self) -> Mapping[Any, str]:
        """Addresses of interfaces that policies mean without naming them."""
        said: Mapping[Any, str] = self._addresses.in_use
        return said

    def workers_view(self) -> list[dict[str, Any]]:
        """Each data-plane process; none where this one serves itself."""
        return [] if self.workers is None else self.workers.view()

    def listeners(self) -> list[ListenerView]:
        """Every listener."""
        return list(self.listening.bound.values())

    def route_objects(self) -> Iterable[Any]:
        """Every live route."""
        return view.routes(self.runtime)

    def _is_warm(self, cluster: str) -> bool:
        membership = self.memberships.get(cluster)
        return membership is not None and membership.warm

    def overload_facts(self) -> dict[str, Any]:
        """What is done for want of memory or descriptors."""
        return self.overload.view()

    def key_facts(self) -> list[dict[str, Any]]:
        """The keys of tokens that are fetched."""
        return self.verifying.facts()

    def network_facts(self) -> Mapping[str, Any]:
        """The networks that are in use, and the VIPs that are added to interfaces."""
        return {"networks": self.networks.view(), "losses": self.networks.losses, "vips": self.vips.view(),
                "rules": self.rules.view()}

    def names(self) -> Mapping[str, Any]:
        """Where names of virtual hosts are answered and published, and with what."""
        publishing = self.dns.publishing
        return {"zones": self.dns.status(), "listens": self.dns.listens(),
                "registries": [] if publishing is None else publishing.registries(), "names": self.dns.names(),
                "discoveries": self.registries.view()}

    def discoveries(self) -> list[dict[str, Any]]:
        """How each registry of services fares that is asked."""
        return self.registries.view()

    def geo(self) -> dict[str, Any] | None:
        """The databases of where addresses are: which, how old, and why a newer one is not used."""
        geo = self.runtime.geo
        return None if geo is None else {
            "databases": [{"path": each.path, "type": each.kind, "built": each.built_at} for each in geo.databases],
            "problem": geo.problem, "taken": self.geo_watch.taken}

    def telemetry(self) -> Telemetry:
        """How the process fares, what became of spans, and how much the metrics may say."""
        return telemetry(self.runtime.config, self.loop, self.tracer, self.garbage)

    def dns_counters(self) -> DnsCounters | None:
        """What the DNS server has done; None where there is none."""
        return self.dns.counters if self.dns.bound else None

    def publishing(self) -> Publishing | None:
        """How names stand that are published in registries of others; None where none ever was."""
        publishing: Publishing | None = self.dns.publishing
        return publishing

    def virtual_hosts(self) -> Iterable[dict[str, Any]]:
        """Every virtual host with its domains, listeners and routes."""
        return view.virtual_hosts(self.runtime, list(self.listening.bound.values()))

    def certificates(self) -> Iterable[dict[str, Any]]:
        """Every certificate that is fetched."""
        certificates: Iterable[dict[str, Any]] = self.acme.view()
        return certificates

    def effective_config(self) -> Mapping[str, Any]:
        """The configuration that runs, secrets replaced by ``***``."""
        return view.effective(self.runtime.config)

    def config_places(self) -> Iterable[dict[str, Any]]:
        """The same, with where everything stands."""
        return view.places(self.runtime.config)

    def published_objects(self) -> Published:
        """Its objects in the published shape."""
        return Published(self.runtime.config)

    def explain(
        self, method: str, url: str, headers: Sequence[str] = (), source: str = "", listener: str = "",
    ) -> dict[str, Any]:
        """What becomes of such a request now. Raises ValueError."""
        question = read_question(method, url, headers, source, listener)
        explainer = Explainer(self.runtime, live=True, registry=self._registry, wall=self.deps.wall,
                              publishing=self.dns.publishing)
        explained = explainer.explain(question)
        self.overload.explain(explained)
        rollout = self.rollouts.of_route(explained.virtual_host, explained.route)
        if rollout is not None:
            explained.decisions.append(rollout)
        return explained.plain()

    def generations_view(self) -> dict[str, Any]:
        """The configurations that are kept, and which of them serves."""
        try:
            return self.generations.view()
        except NotKept as error:
            return {"current": None, "rolled_back": False, "differs": [], "problem": str(error), "generations": []}

    def recent(self, most: int) -> list[dict[str, Any]]:
        """The latest requests of which `why` can tell, the newest first."""
        return self.journal.recent(most)

    def why(self, request_id: str) -> dict[str, Any] | None:
        """What was decided for a past request."""
        return self.journal.find(request_id)

    def process(self) -> dict[str, float]:
        """Numbers of the process."""
        loop = self.loop
        return {
            "turns": loop.turns, "slow_turns": loop.slow_turns, "longest_turn_s": loop.longest_turn_s,
            "spliced_bytes": loop.pipes.carried_bytes, "splice_pipes": loop.pipes.lent, "splice_refused": loop.pipes.refused,
            "pre_opened": len(self.plane.waiting), "pre_opened_used": self.plane.waiting.used,
            "timers": len(loop.clock.getDelayedCalls()) + len(self.deps.reactor.getDelayedCalls()),
            "deadlines": len(loop.deadlines), "failures": loop.failures, "open_streams": loop.open, "open_limit": loop.most,
            "config_wall": self.config_wall, "kept_generation": self.generations.current,
            "rolled_back": self.generations.in_force is not None, "rollbacks": self.generations.rollbacks,
            "file_reloads": self.files.taken, "file_reloads_refused": self.files.refused,
            "probes": self.prober.probes, "probe_failures": self.prober.failures,
            "pid": os.getpid(), "inherited_sockets": self.deps.inherited.taken, "hot_restarts_failed": self.handover.failed,
            **self.journal.numbers(), **self.plane.counters.numbers(),
            **({} if self.plane.outside is None else self.plane.outside.numbers()),
            **self.acme.numbers(),
        }


def _started(
    memberships: Iterable[Membership], wanted: Callable[[Membership], bool] = lambda membership: True,
) -> Generator[None, None, None]:
    """Start memberships, in steps, as long as they are wanted still."""
    for membership in memberships:
        if wanted(membership):
            membership.startService()
        yield
