"""Rollouts at work: count what two destinations do, look at it, move the weights, remember.

    configuration -> `Rollouts.install` finds the routes -> `Counting` on each -> `Ramp.look` every interval -> `Route.reweigh`

A rollout that is the same in the next configuration goes on where it is, whatever else a reload brings; one whose spec is
another begins anew at its first step; one that is gone leaves the configured weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from voltgw.app.rolling import Live, terms_of
from voltgw.cluster.rollout import Phase, Ramp
from voltgw.config.objects import rollout as defaults
from voltgw.config.rollouts import moved
from voltgw.control.rollouts import Damaged, RolloutStore
from voltgw.values.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from voltgw.app.build import Runtime
    from voltgw.config.model import Object
    from voltgw.config.objects.rollout import RolloutSpec
    from voltgw.routing.route import Route

#: What an operator may say of one.
ACTS: Final = ("approve", "pause", "resume", "rollback", "promote", "restart")
#: What was counted is written down at least so often (seconds), changes at once.
_KEEP_S: Final = 60.0


class Rollouts:
    """All rollouts of one gateway. `install` puts those of a configuration in force; `start` begins to look.

    `run` calls a function in a thread: a disk may take its time, and requests do not wait for it. None = it is called here.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, monotonic: Callable[[], float], wall: Callable[[], float],
        run: Callable[..., Deferred[Any]] | None = None,
    ) -> None:
        self._run = run
        self._writing = False               # a thread is at it
        self._clock = clock
        self._monotonic = monotonic
        self._wall = wall
        self._live: dict[str, Live] = {}
        self._store: RolloutStore | None = None
        self._folder: str | None = None
        self._call: IDelayedCall | None = None
        self._running = False
        self._changed = False               # since the state was last written
        self._kept_at = monotonic()
        self._due: dict[str, float] = {}    # when each is looked at next
        self.on_moved: Callable[[], None] | None = None     # called when one gets another share
        self.problem = ""                   # why the state cannot be kept, "" = it can

    def __len__(self) -> int:
        return len(self._live)

    # -- configurations ------------------------------------------------------------------------------------------------

    def install(self, runtime: Runtime) -> None:
        """Have the rollouts of this configuration, and no others, in force; its routes are not served by yet."""
        objects: dict[str, Object[RolloutSpec]] = {
            f"{one.namespace}/{one.name}": one for one in runtime.config.of("rollout").values()}
        if not objects and not self._live:
            return
        states, damaged = self._states(runtime.config.gateway.data_dir)
        before, self._live = self._live, {}
        digests = {name: _digest(one) for name, one in objects.items()}
        # Those that end let go first: others may take over the same routes, and shall find them as they are configured.
        for name, live in before.items():
            if live.digest != digests.get(name):
                live.detach()
                if name not in digests:
                    self._log.info("rollout {name} is gone: the configured weights hold", name=name)
        wanted: dict[str, list[Live]] = {}      # by the name that routes of their rules have
        for name, one in objects.items():
            same = before.get(name)
            if same is not None and same.digest == digests[name]:
                live = same
            else:
                live = Live(name, self._ramp(name, one.spec, digests[name], states, damaged), digests[name])
            self._live[name] = live
            live.place = one.place
            live.interval_s = one.spec.interval_s or defaults.INTERVAL_S
            rules = moved(runtime.config, one)
            live.baseline, live.candidate = (str(rules[0].baseline), str(rules[0].candidate)) if rules else ("", "")
            route = runtime.config.find("route", one.spec.route[0], one.namespace)
            if route is not None:
                for each in rules:
                    wanted.setdefault(f"{route.name}/{each.rule}", []).append(live)
        routes: dict[str, list[Route]] = {name: [] for name in self._live}
        for found, live in _routes(runtime, wanted):
            routes[live.name].append(found)
        for name, live in self._live.items():
            live.attach(routes[name])
        self._due = {name: self._due.get(name, 0.0) for name in self._live}
        self._changed = True
        if self._running:
            self._keep()
            self._again()

    def _states(self, folder: str | None) -> tuple[dict[str, Any], str]:
        """What was kept in `folder`, if that has not been asked for yet, and why it cannot be read."""
        if folder is None or folder == self._folder:
            return {}, ""
        self._folder, self._store = folder, RolloutStore(folder)
        try:
            return dict(self._store.read()), ""
        except Damaged as error:
            aside = self._store.set_aside()
            return {}, f"{error}{f'; it is kept as {aside}' if aside else ''}"

    def _ramp(self, name: str, spec: RolloutSpec, digest: str, states: dict[str, Any], damaged: str) -> Ramp:
        ramp = Ramp(terms_of(spec))
        state = states.get(name)
        if damaged:
            ramp.doubt(self._wall(), damaged)
        elif state is not None and state.get("digest") == digest:
            try:
                ramp.restore(state)
                self._log.info("rollout {name} goes on: {phase}, {reason}", name=name, phase=ramp.phase.value, reason=ramp.why,
                               event="rollout.phase")
                return ramp
            except ValueError as error:
                ramp.doubt(self._wall(), f"its state is damaged: {error}")
        else:
            ramp.begin(self._wall())
        self._log.info("rollout {name}: {reason}", name=name, phase=ramp.phase.value, reason=ramp.why, event="rollout.phase")
        return ramp

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        self._running = True
        if self._live:
            self._keep()
        self._again()

    def leave(self) -> None:
        """Another process goes on with them: write down how far they are for the last time."""
        if self._running and self._live:
            self._write()
        self._running = False

    def stop(self) -> None:
        """Look no more; what was counted is written down."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._running and self._live:
            self._write()                   # whoever owns the threads has ended them by now, and requests as well
        self._running = False

    def _again(self) -> None:
        if self._call is None and self._live and self._running:
            least_s = min(live.interval_s for live in self._live.values())
            self._call = self._clock.callLater(min(least_s, 1.0), self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self._monotonic()
        for name, live in self._live.items():
            if now < self._due.get(name, 0.0):
                continue
            self._due[name] = now + live.interval_s - 0.01      # ticks are no more exact than that
            if live.ramp.look(now, self._wall(), live.baseline_ready):
                self._moved(live)
        if self._changed or now - self._kept_at >= _KEEP_S and any(not live.ramp.over for live in self._live.values()):
            self._keep()
        self._again()

    def _moved(self, live: Live) -> None:
        live.share_out()
        if self.on_moved is not None:
            self.on_moved()
        self._changed = True
        log = self._log.warn if live.ramp.phase is Phase.ROLLED_BACK else self._log.info
        log("rollout {name}: {reason}", name=live.name, phase=live.ramp.phase.value, reason=live.ramp.why,
            event="rollout.phase")

    def _keep(self) -> None:
        """Write the state down. Where that fails it is tried again with the next look; what changes meanwhile follows."""
        if self._store is None or self._writing:
            self._changed = True
            return
        if self._run is None:
            self._write()
            return
        self._writing, self._changed = True, False
        self._run(self._store.write, self._plain()).addCallbacks(self._kept, self._not_kept)

    def _write(self) -> None:
        """The same, here and now."""
        if self._store is None:
            return
        self._changed = False
        try:
            self._store.write(self._plain())
        except OSError:
            self._not_kept(Failure())
        else:
            self._kept(None)

    def _plain(self) -> dict[str, Any]:
        return {name: live.plain() for name, live in self._live.items()}

    def _kept(self, _: None) -> None:
        self._writing = False
        self.problem, self._kept_at = "", self._monotonic()
        if self._changed and self._running:
            self._keep()

    def _not_kept(self, failure: Failure) -> None:
        self._writing, self._changed = False, True
        error = failure.value
        if not isinstance(error, OSError):
            self._log.failure("rollouts are not kept", failure)
            return
        assert self._store is not None
        problem = f"{self._store.path} cannot be written: {error.strerror}"
        if problem != self.problem:
            self._log.error("rollouts: {problem}; a restart would not know how far they are", problem=problem,
                            event="rollout.not_kept")
        self.problem = problem

    # -- operators -----------------------------------------------------------------------------------------------------

    def order(self, act: str, name: str) -> dict[str, Any]:
        """Do one of `ACTS` to the rollout ``namespace/name``, or of that name. Raises ValueError in words."""
        if act not in ACTS:
            raise ValueError(f"{act!r} is none of {', '.join(ACTS)}")
        found = [live for live in self._live.values() if name in (live.name, live.name.partition("/")[2])]
        if not found:
            raise ValueError(f"there is no rollout {name!r}; `voltgw rollouts` lists them")
        if len(found) > 1:
            raise ValueError(f"there are several: {', '.join(live.name for live in found)}")
        (live,) = found
        try:
            getattr(live.ramp, act)(self._wall())
        except ValueError as error:
            raise ValueError(f"rollout {live.name}: {error}") from error
        self._moved(live)
        self._keep()
        return {"act": act, **live.view()}

    # -- looking in ----------------------------------------------------------------------------------------------------

    def all(self) -> list[Live]:
        """Those in force."""
        return list(self._live.values())

    def view(self) -> list[dict[str, Any]]:
        """Every rollout, JSON-ready."""
        return [{**live.view(), "not_kept": self.problem} for live in self._live.values()]

    def of_route(self, host: str, route: str) -> Reason | None:
        """What a rollout has to do with a route (``namespace/name`` of its host, its own name), for explain."""
        for live in self._live.values():
            for each, _ in live.attached:
                if each.name == route and f"{each.host.namespace}/{each.host.name}" == host:
                    ramp = live.ramp
                    share = "the configured weights" if ramp.unknown else f"{ramp.weight:g} % to {live.candidate}"
                    at = f", step {ramp.index + 1} of {len(ramp.terms.steps)}" if not ramp.over else ""
                    place = live.place() if live.place is not None else each.place
                    return Reason(f"rollout {live.name}", f"{share} ({ramp.phase.value}{at})", ramp.why, place)
        return None


def _digest(one: Object[RolloutSpec]) -> str:
    """What tells whether a rollout is another one now; how often it looks does not count."""
    spec = one.spec
    versions = [(each.cluster[0].namespace or one.namespace, each.cluster[0].name, sorted(each.endpoint_subsets.items()),
                 each.subset) for each in (spec.baseline, spec.candidate)]
    said = repr((terms_of(spec), spec.route[0].namespace or one.namespace, spec.route[0].name, versions))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _routes(runtime: Runtime, wanted: dict[str, list[Live]]) -> Iterator[tuple[Route, Live]]:
    """The routes, variants included, that have one of these names and the two destinations of the rollout."""
    seen: set[int] = set()
    for host in runtime.hosts.values():
        for rule in host.rules:
            for live in wanted.get(rule.route.name, ()):
                both = {live.baseline, live.candidate}
                for route in (rule.route, *(route for _, route in rule.clauses)):
                    if id(route) not in seen and {each.identity for each in route.destinations} == both:
                        seen.add(id(route))
                        yield route, live
