"""The running gateway: every part with a life, started and stopped in order; what `observe` looks at; reloads.

docs/life-of-a-reload.rst walks through `GatewayService.reload` step by step.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from voltgw import __version__
from voltgw.app.build import Makings, Runtime, build
from voltgw.app.limits import raise_open_files, stream_limit
from voltgw.app.listening import Listening
from voltgw.app.reload import Plan, plan_reload
from voltgw.app.sites import default_interface_address
from voltgw.config.show import effective
from voltgw.control.build import build_membership
from voltgw.control.discovery.sources import Sources
from voltgw.control.probes.prober import Prober
from voltgw.errors import ConfigErrors
from voltgw.net.loop import Loop
from voltgw.net.sockets import CannotListen
from voltgw.observe.access import AccessLog
from voltgw.observe.admin import AdminAddressError, AdminService
from voltgw.proxy.plane import Plane
from voltgw.proxy.pool import Pool
from voltgw.registry import Registry, RegistryError
from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT, DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.deps import Deps
    from voltgw.app.load import Loader, TextLoader
    from voltgw.config.model import Config
    from voltgw.control.membership import Membership
    from voltgw.interfaces import AccessSink, ListenerView
    from voltgw.observe.log import ProcessLog

#: How often a drain looks whether the last connection has ended.
_DRAIN_LOOK_S: Final = 0.05
#: When the cycle collector runs. Neither a request nor a connection leaves a cycle behind (a test counts them), so it is
#: only for the slow path's; and a young generation of so many objects is gone over in less than 1 ms. What is made at start
#: is frozen out of its sight.
_GC_THRESHOLD: Final = (10_000, 50, 1_000)


def beside(file: str, path: str) -> str:
    """`path` as it is meant in `file`: relative to the folder in which the file stands."""
    return os.path.join(os.path.dirname(file), path)


class StartError(Exception):
    """The gateway cannot start; the message is for the operator."""


class _NoAccessLog:
    """Where finished exchanges go when nobody wants their lines."""

    def http(self, exchange: object, /) -> None:
        """Let it go."""

    def connection(self, record: object, /) -> None:
        """Let it go."""


class _At:
    """An address of the admin interface with its defaults filled in."""

    def __init__(self, address: str | None, port: int | None, unix: str | None = None) -> None:
        self.address = address or ADMIN_ADDRESS
        self.port = ADMIN_PORT if port is None else port
        self.unix = unix


class _AdminConfig:
    """`gateway.admin` and `gateway.monitor` as `AdminService` wants them."""

    def __init__(self, config: Config) -> None:
        gateway = config.gateway
        admin = gateway.admin
        self.admin: _At | None = _At(None, None) if admin is None else _At(admin.address, admin.port, admin.unix)
        monitor = gateway.monitor
        self.monitor: _At | None = None if monitor is None else _At(monitor.address, monitor.port)


class GatewayService(Service):
    """One gateway. It is a `GatewayView`, too.

    `loader` reads the configuration anew. `privilegedStartService` binds everything (and
    raises `StartError` when it cannot), `startService` begins to serve, `stopService` drains.
    """

    name = "voltgw"
    version = __version__
    _log = Logger()

    def __init__(
        self, deps: Deps, config: Config, loader: Loader | TextLoader, process_log: ProcessLog | None = None
    ) -> None:
        """Raises `ConfigErrors` or RegistryError when `config` cannot be built."""
        self.deps = deps
        self.started_wall = deps.wall()
        self.generation = 1
        self.reloads_rejected = 0
        self.last_reload_error = ""
        self.config_wall = deps.wall()      # when the configuration that runs was taken over
        self.draining = False
        self.access_log_to_stdout = False   # where the configuration names no access log
        self.drain_timeout_s: float = config.gateway.drain_timeout_s or DRAIN_TIMEOUT_S
        self._loader = loader
        self._process_log = process_log
        self._registry = Registry()
        self._makings = Makings(lambda key: Pool(), deps.random, self._registry, default_interface_address)
        self.runtime: Runtime = build(config, None, self._makings)
        self._bound_already = False
        self._reloading = False
        self._waiting: list[Deferred[dict[str, Any]]] = []      # who asked for a reload that has not begun

    # -- life ----------------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open every socket and the access log, while we may still be root. Raises `StartError`."""
        deps = self.deps
        open_files = raise_open_files()
        limit = self.runtime.config.gateway.max_connections or stream_limit(open_files)
        self.loop = loop = Loop(deps.reactor, deps.monotonic, limit)
        self.access_log = self._open_access_log(self.runtime.config)
        self.plane = Plane(loop, self._sink(), deps.wall, deps.random.random)
        self.listening = Listening(self.plane, loop)
        self.prober = Prober(loop, deps.random)
        self._sources = Sources(loop, deps.random, deps.resolver)
        self.memberships: dict[str, Membership] = {
            name: self._membership(name, self.runtime) for name in self.runtime.clusters
        }
        self.admin = self._new_admin(self.runtime.config)
        try:
            opened = self.listening.open_new(self.runtime.listeners)
            self.admin.bind()
        except (CannotListen, AdminAddressError) as error:
            raise StartError(str(error)) from error
        self.listening.install(self.runtime.listeners, opened)
        self._bound_already = True

    def startService(self) -> None:
        """Serve."""
        if not self._bound_already:
            self.privilegedStartService()
        super().startService()
        if self.access_log is not None:
            self.access_log.start()
        self.loop.start()
        self.prober.startService()
        for membership in self.memberships.values():
            membership.startService()
        self.admin.startService()
        self.listening.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLD)
        for key, bound in self.listening.bound.items():
            self._log.info("{kind} listens on {address} for {hosts}", kind=bound.kind, address=str(key),
                           hosts=", ".join(bound.hosts))
        self._log.info("generation {generation} serves: {listeners} listeners, {hosts} virtual hosts, {clusters} clusters",
                       generation=self.generation, listeners=len(self.listening.bound), hosts=len(self.runtime.hosts),
                       clusters=len(self.runtime.clusters))

    def stopService(self) -> Deferred[Any]:
        """Drain, then stop everything; the Deferred fires when nothing of ours is left."""
        super().stopService()
        if not self._bound_already:
            return succeed(None)
        self.drain()
        done: Deferred[Any] = Deferred()
        self._wait_until_drained(self.deps.monotonic() + self.drain_timeout_s, done)
        done.addCallback(lambda _: self._stop_all())
        return done

    def _wait_until_drained(self, until: float, done: Deferred[Any]) -> None:
        now = self.deps.monotonic()
        if self.listening.connections and now < until:
            self.loop.clock.callLater(_DRAIN_LOOK_S, self._wait_until_drained, min(until, now + self.drain_timeout_s), done)
            return
        left = self.listening.connections
        if left:
            self._log.warn("{left} connections were still open after {timeout} s and are closed", left=left,
                           timeout=self.drain_timeout_s)
            self.listening.close()
        done.callback(None)

    def _stop_all(self) -> Deferred[Any]:
        for membership in self.memberships.values():
            membership.stopService()
        self.prober.stopService()
        for cluster in self.runtime.clusters.values():
            cluster.retire()
        stopped = self.admin.stopService()
        self.loop.stop()
        if self.access_log is not None:
            self.access_log.close()
        self._log.info("stopped")
        return DeferredList([stopped])

    def drain(self) -> None:
        """Accept nothing new; finish what is under way; `/ready` says no from now on."""
        if self.draining:
            return
        self.draining = True
        self._log.info("draining: {connections} connections are open", connections=self.listening.connections)
        self.listening.drain()

    def abandon(self) -> None:
        """Stop without waiting for anybody (SIGQUIT, a second Ctrl-C)."""
        self.drain_timeout_s = 0.0

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

    def _next_reload(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._reloading = True
        result = Deferred.fromCoroutine(self._reload())
        result.addErrback(self._reload_crashed)
        result.addCallback(self._reloaded, waiting)

    def _reload_crashed(self, failure: Failure) -> dict[str, Any]:
        self._log.failure("the reload failed; generation {generation} serves on", failure, generation=self.generation)
        return self._rejected([f"internal error: {failure.getErrorMessage()}"])

    def _reloaded(self, result: dict[str, Any], waiting: list[Deferred[dict[str, Any]]]) -> None:
        self._reloading = False
        for outcome in waiting:
            outcome.callback(result)
        if self._waiting:
            self._next_reload()

    async def _reload(self) -> dict[str, Any]:
        if self.draining:
            return self._rejected(["the gateway drains"])
        try:
            config = await self._read()
            if config.digest == self.runtime.config.digest:
                self._log.info("reload: nothing has changed")
                if self.access_log is not None:
                    self.access_log.reopen()    # SIGHUP is also how log rotation asks for a new file
                return {"ok": True, "generation": self.generation, "changes": []}
            runtime = build(config, self.runtime, self._makings)
        except ConfigErrors as errors:
            return self._rejected([f"{problem.place}: {problem.message}" for problem in errors.problems])
        except RegistryError as error:
            return self._rejected([str(error)])
        plan = plan_reload(self.runtime, runtime)
        try:
            opened = self.listening.open_new(runtime.listeners)
        except CannotListen as error:
            return self._rejected([str(error)])
        fresh = {name: self._membership(name, runtime) for name in plan.clusters_new}
        for membership in fresh.values():
            membership.startService()
        await DeferredList([each.warm_deferred(each.warm_timeout_s) for each in fresh.values()])
        self._swap(runtime, plan, opened, fresh)
        return {"ok": True, "generation": self.generation, "changes": plan.describe()}

    async def _read(self) -> Config:
        """The configuration as it is now, read a step a turn."""
        steps = self._loader.steps()
        while True:
            try:
                next(steps)
            except StopIteration as done:
                config: Config = done.value
                return config
            turn: Deferred[None] = Deferred()
            self.loop.soon(lambda turn=turn: turn.callback(None))   # type: ignore[misc]
            await turn

    def _swap(self, runtime: Runtime, plan: Plan, opened: Any, fresh: dict[str, Membership]) -> None:
        """Everything that can fail is behind us: from the next request on the new configuration serves."""
        old, self.runtime = self.runtime, runtime
        self.listening.install(runtime.listeners, opened)
        self.listening.start()
        for name in plan.clusters_gone:
            self.memberships.pop(name).stopService()
            old.clusters[name].retire()
        self.memberships.update(fresh)
        self.memberships = {name: self.memberships[name] for name in runtime.clusters}
        self._follow_gateway(old.config, runtime.config)
        self.generation += 1
        self.config_wall = self.deps.wall()
        self.last_reload_error = ""
        self._log.info("generation {generation} serves: {changes}", generation=self.generation,
                       changes="; ".join(plan.describe()) or "only values changed")

    def _follow_gateway(self, old: Config, new: Config) -> None:
        """What the `gateway:` part says of this process."""
        gateway = new.gateway
        self.drain_timeout_s = gateway.drain_timeout_s or DRAIN_TIMEOUT_S
        if gateway.max_connections is not None:
            self.loop.open_limit = gateway.max_connections
        if self._process_log is not None:
            self._process_log.set_level(gateway.log_level.value)
        if gateway.access_log != old.gateway.access_log:
            self._change_access_log(new)
        elif self.access_log is not None:
            self.access_log.reopen()
        if (gateway.admin, gateway.monitor) != (old.gateway.admin, old.gateway.monitor):
            self._log.warn("gateway.admin and gateway.monitor changed: that takes a restart")

    def _change_access_log(self, config: Config) -> None:
        try:
            following = self._open_access_log(config)
        except StartError as error:
            self._log.error("the access log stays where it is: {error}", error=error)
            return
        before, self.access_log = self.access_log, following
        self.plane.access = self._sink()
        self.admin.access = following
        if following is not None:
            following.start()
        if before is not None:
            before.close()

    def _rejected(self, problems: list[str]) -> dict[str, Any]:
        self.reloads_rejected += 1
        self.last_reload_error = problems[0] if problems else "unknown"
        for problem in problems:
            self._log.error("reload refused: {problem}", problem=problem)
        self._log.error("generation {generation} serves on", generation=self.generation)
        return {"ok": False, "generation": self.generation, "problems": problems}

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _membership(self, name: str, runtime: Runtime) -> Membership:
        return build_membership(runtime.clusters[name], runtime.plans[name], self.prober, self._sources, self._registry,
                                self._refused_endpoint)

    def _refused_endpoint(self, address: str, port: int) -> str:
        """Endpoints may not be the gateway's own admin interface (DECISIONS: Process)."""
        here = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return "it is this gateway's own admin address" if here in self.admin.addresses else ""

    def _open_access_log(self, config: Config) -> AccessLog | None:
        wanted = config.gateway.access_log
        if wanted is not None and wanted.path is not None:
            path, format = wanted.path, wanted.format.value
        elif self.access_log_to_stdout:
            path, format = "-", "text"
        else:
            return None
        if path != "-":
            path = beside(config.gateway_place.file, path)
        try:
            return AccessLog(path, format, self.loop.clock, self.deps.wall, site=config.gateway.site_name,
                             hostname=socket.gethostname())
        except OSError as error:
            raise StartError(f"gateway.access_log: {path} cannot be written: {error.strerror}") from error

    def _sink(self) -> AccessSink:
        return self.access_log if self.access_log is not None else _NoAccessLog()

    def _new_admin(self, config: Config) -> AdminService:
        return AdminService(self, _AdminConfig(config), self.deps.reactor, self.deps.monotonic, access=self.access_log,
                            unrouted=self.plane.unrouted)

    # -- GatewayView ---------------------------------------------------------------------------------------------------

    def ready(self) -> tuple[bool, list[str]]:
        """Whether it may be sent traffic, and what is missing if not."""
        missing = [f"cluster {name}: {each.missing()}" for name, each in self.memberships.items() if not each.warm]
        if self.draining:
            missing.append("it drains")
        if not self.running:
            missing.append("it does not run")
        return not missing, missing

    def cluster_objects(self) -> Iterable[Any]:
        """The live clusters."""
        return self.runtime.clusters.values()

    def clusters(self) -> list[dict[str, Any]]:
        """Every cluster with every endpoint and its reasons."""
        return [membership.describe() for membership in self.memberships.values()]

    def listeners(self) -> list[ListenerView]:
        """Every listener."""
        return list(self.listening.bound.values())

    def route_objects(self) -> Iterable[Any]:
        """Every live route."""
        return [route for host in self.runtime.hosts.values() for route in host.routes]

    def virtual_hosts(self) -> list[dict[str, Any]]:
        """Every virtual host with its domains, listeners and routes."""
        where: dict[str, list[str]] = {}
        for bound in self.listening.bound.values():
            for name in bound.hosts:
                where.setdefault(name, []).append(bound.name)
        return [{
            "name": host.name, "namespace": host.namespace, "proxy": host.proxy, "domains": list(host.domains),
            "place": str(host.place), "listeners": where.get(name, []),
            "routes": [{
                "name": route.name, "place": str(route.place), "requests": sum(route.counters.status),
                "clusters": [each.cluster.name if each.cluster is not None else None for each in route.destinations],
            } for route in host.routes],
        } for name, host in self.runtime.hosts.items()]

    def effective_config(self) -> Mapping[str, Any]:
        """The configuration that runs, secrets replaced by ``***``."""
        return effective(self.runtime.config)

    def process(self) -> dict[str, float]:
        """Numbers of the process."""
        loop = self.loop
        return {
            "turns": loop.turns, "slow_turns": loop.slow_turns, "longest_turn_s": loop.longest_turn_s,
            "failures": loop.failures, "open_streams": loop.open, "open_limit": loop.open_limit,
            "config_wall": self.config_wall, "probes": self.prober.probes, "probe_failures": self.prober.failures,
        }
