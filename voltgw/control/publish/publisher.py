"""Keeps one registry as it should be: at once after a change, again at each interval, and with growing pauses after failures.

A round looks at what the registry holds (`Registrar.observe`), decides for each name, and makes what is to be made a batch at a
time. Nothing is remembered between rounds that the registry could know better: whatever a round was cut off at, the next one
finds. Traffic does not depend on any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from voltgw.control.events import Events
from voltgw.control.publish.entries import Entry, NameState, PublishCounters, Terms, World
from voltgw.control.publish.names import FREE, Act, Change, Held, Observed, Refused, Wanted, decide
from voltgw.control.publish.registrar import RegistryError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.control.publish.registrar import Registrar

T = TypeVar("T")

#: A change waits for others for so long, in seconds.
SOON_S: Final = 0.05
#: The pause after a failure, in seconds; it doubles with each one, up to the interval.
FIRST_PAUSE_S: Final = 1.0
#: One call of a registrar takes so long at most, in seconds.
CALL_S: Final = 300.0
#: A shutdown waits so long, in seconds, for names to be taken out.
LAST_S: Final = 5.0
#: Names of a registry that is no longer configured are tried to be taken out for so long, in seconds.
RETIRE_S: Final = 3600.0
#: A registry may ask to be left alone for so long at most, in seconds.
MOST_PAUSE_S: Final = 3600.0
#: Names that are decided in one turn of the reactor.
_STEP: Final = 200


class _HaltedError(Exception):
    """The round was asked to end early: there is a new registrar, or no time."""


class Publisher:
    """The names of one owner in one registry. `want` says what they should be."""

    _log = Logger()

    def __init__(self, world: World, registrar: Registrar, terms: Terms, counters: PublishCounters) -> None:
        self.registrar = registrar
        self.terms = terms
        self.counters = counters
        self.entries: dict[str, Entry] = {}
        self.error = ""
        self.synced: float | None = None            # when the last round was done (wall clock)
        self.complete = True                        # whether the registry lists all that is ours
        self.retiring = False
        self.finished = False
        self.on_finished: Callable[[Publisher], None] | None = None
        self.events = Events(f"{registrar.kind} {registrar.registry}", {}, "publish.changed")
        self._clock: Any = world.clock
        self._wall = world.wall
        self._random = world.random
        self._wanted: dict[str, Wanted] = {}
        self._told = False                          # whether anybody has said what is wanted
        self._failures = 0
        self._timer: Any = None
        self._deadline: Any = None
        self._running: Deferred[None] | None = None
        self._halt = False
        self._again = False
        self._ending: list[Deferred[None]] | None = None

    def __repr__(self) -> str:
        return f"<Publisher {self.registrar.kind} {self.registrar.registry}>"

    # -- what is wanted ----------------------------------------------------------------------------------------------------

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """From now on the registry shall hold these names, and no others of ours."""
        if self.finished or self.retiring or self._ending is not None or (self._told and wanted == self._wanted):
            return
        for name, each in wanted.items():
            if self._wanted.get(name) != each:
                entry = self.entries.setdefault(name, Entry())
                if entry.state is not NameState.FOREIGN:
                    entry.state = NameState.PENDING
        for name in self._wanted:
            if name not in wanted and name in self.entries:
                self.entries[name].state = NameState.REMOVING
        self._wanted = dict(wanted)
        self._told = True
        if not self._failures:                      # else the pause stands: the registry has enough to do
            self._due(SOON_S)

    def wanted(self, name: str) -> Wanted | None:
        """How `name` should be held, None = not at all."""
        return self._wanted.get(name)

    def follow(self, registrar: Registrar, terms: Terms) -> None:
        """The same registry by other means: what is under way comes to the end of its batch, and the next round begins."""
        if registrar is not self.registrar:
            if self._running is None:
                self.registrar.close()
            self.registrar = registrar
            self._halt = self._running is not None
        self.terms = terms
        if self.retiring:
            self.retiring = self._told = False      # nothing more is taken out until somebody says what is wanted
            self._halt = self._running is not None
            self._failures = 0
            self._cancel_deadline()
        else:
            self.hurry()

    def hurry(self) -> None:
        """Look at the registry now."""
        self._failures = 0
        self._due(0.0)

    def retire(self) -> None:
        """The registry is not configured any more: take out what is ours, however long that takes (`RETIRE_S`)."""
        if self.finished or self.retiring:
            return
        self._none_wanted()
        self.retiring = True
        if self.terms.dry_run:
            self._finish()
        else:
            self._deadline = self._clock.callLater(RETIRE_S, self._finish)
            self.hurry()

    def stop(self) -> Deferred[None]:
        """No more of it. Where that is wanted, names are taken out first; fires when they are, after `LAST_S` at most."""
        if self.finished:
            return succeed(None)
        done: Deferred[None] = Deferred()
        if self._ending is not None:
            self._ending.append(done)
            return done
        self._ending = [done]
        if self.terms.dry_run or not (self.terms.remove or self.retiring) or not self._told and not self.retiring:
            self._finish()
            return done
        self._none_wanted()
        self._cancel_deadline()
        self._deadline = self._clock.callLater(LAST_S, self._finish)
        self._halt = self._running is not None
        self.hurry()
        return done

    def abandon(self) -> None:
        """No more of it, at once; whatever is published stays."""
        if not self.finished:
            self._finish()

    def _none_wanted(self) -> None:
        for entry in self.entries.values():
            entry.state = NameState.REMOVING
        self._wanted = {}

    # -- rounds ------------------------------------------------------------------------------------------------------------

    def _due(self, delay_s: float) -> None:
        if self.finished:
            return
        if self._running is not None:
            self._again = True
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if not self._told and not self.retiring and self._ending is None:
            return                                  # `want` will have it begin
        self._again = self._halt = False
        self._running = running = Deferred.fromCoroutine(self._run(self.registrar))
        running.addBoth(self._ended)

    async def _run(self, registrar: Registrar) -> None:
        try:
            await self._round(registrar)
        finally:
            registrar.close()

    async def _round(self, registrar: Registrar) -> None:
        names = dict.fromkeys((*self._wanted, *self.entries))
        observed = await self._bounded(registrar.observe(names))
        self.complete = observed.complete
        changes: list[Change] = []
        failed = 0
        for count, (name, held) in enumerate(_looked_at(names, observed, registrar.owner)):
            decided = self._decide(registrar, name, held)
            if isinstance(decided, Change):
                changes.append(decided)
            elif decided is not None:
                self._refused(name, decided)
            if count % _STEP == _STEP - 1:
                await self._breathe()
        if self.terms.dry_run:
            self._plan(changes)
            return
        while changes:
            batch, changes = changes[:registrar.most], changes[registrar.most:]
            if self._halt:
                raise _HaltedError
            outcomes = await self._bounded(registrar.apply(batch))
            for change, refused in zip(batch, outcomes, strict=True):
                self._made(change, refused)
                failed += refused is not None and not refused.foreign
            await self._breathe()
        if failed:
            raise RegistryError(f"{failed} names were not written; `names` says of each why")

    def _decide(self, registrar: Registrar, name: str, held: Held) -> Change | Refused | None:
        wanted = self._wanted.get(name)
        content = None if wanted is None else registrar.content(wanted)
        decided = decide(name, wanted, content, held, registrar.owner)
        entry = self.entries.get(name)
        if entry is not None:
            entry.held = held.shown if held.owner == registrar.owner else ()
            if decided is None and wanted is None:
                del self.entries[name]              # it is not there, or another's
            elif decided is None:
                self._is_good(name, entry, wanted)
        elif isinstance(decided, Change):
            self.entries[name] = Entry(NameState.REMOVING, held=held.shown)     # of a former life
        return decided

    def _plan(self, changes: list[Change]) -> None:
        for change in changes:
            entry = self.entries[change.name]
            if entry.planned != change.act.value:
                self._note(change.name, NameState.PLANNED, f"{change.act.value}{_addresses(change.wanted)}")
            entry.state, entry.planned, entry.error = NameState.PLANNED, change.act.value, ""

    def _made(self, change: Change, refused: Refused | None) -> None:
        if refused is not None:
            self.counters.refused["foreign" if refused.foreign else "other"] += 1
            self._refused(change.name, refused)
            return
        self.counters.writes[change.act.value] += 1
        self._note(change.name, _written(change), f"{change.act.value}{_addresses(change.wanted)}")
        entry = self.entries.setdefault(change.name, Entry())
        entry.held = () if change.wanted is None else change.wanted.addresses
        if self._wanted.get(change.name) != change.wanted:
            self._again = True                      # something else is wanted by now
        elif change.act is Act.REMOVE:
            del self.entries[change.name]
        else:
            self._is_good(change.name, entry, change.wanted)

    def _is_good(self, name: str, entry: Entry, wanted: Wanted | None) -> None:
        entry.state = NameState.BOUND if wanted is not None and wanted.vips else NameState.WITHDRAWN
        entry.error = entry.planned = ""
        entry.synced = self._wall()

    def _refused(self, name: str, refused: Refused) -> None:
        entry = self.entries.setdefault(name, Entry())
        state = NameState.FOREIGN if refused.foreign else NameState.FAILED
        if entry.error != refused.why:
            self._note(name, state, refused.why, LogLevel.warn)
        entry.state, entry.error, entry.planned = state, refused.why, ""
        if refused.foreign:
            entry.held = ()
            if name not in self._wanted:
                del self.entries[name]              # whosever it has become, it is not ours to take out

    def _note(self, name: str, state: NameState | str, why: str, level: Any = LogLevel.info) -> None:
        """Something has changed: of `name`, or of the registry as a whole ("")."""
        self.events.add(self._clock.seconds(), name, state if isinstance(state, str) else state.value, why, level)

    def _ended(self, result: Failure | None) -> None:
        self._running = None
        self._after(result)
        self.events.flush()

    def _after(self, result: Failure | None) -> None:
        if self.finished:
            if result is not None and result.check(CancelledError, RegistryError, _HaltedError) is None:
                self._log.failure("publishing in {registry}", result, registry=self.registrar.registry)
            return
        counters = self.counters.rounds
        if result is None:
            counters["done"] += 1
            if self.error:
                self._note("", NameState.BOUND, "it is up to date again")
            self.error, self.synced, self._failures = "", self._wall(), 0
            delay_s = self.terms.interval_s * (0.9 + 0.2 * self._random())
        elif result.check(_HaltedError):
            delay_s = 0.0
        else:
            delay_s = self._failed(result)
        if result is None and self.retiring and not self.entries or self._ending is not None and (
                result is not None and not result.check(_HaltedError) or not self.entries):
            self._finish()
        else:
            self._due(0.0 if self._again and (result is None or not self._failures) else delay_s)

    def _failed(self, failure: Failure) -> float:
        """Remember why; how long to pause."""
        self.counters.rounds["failed"] += 1
        error = failure.value
        if not isinstance(error, RegistryError):
            self._log.failure("publishing in {registry}", failure, registry=self.registrar.registry)
        why = str(error) or type(error).__name__
        if why != self.error:
            self._note("", NameState.FAILED, why, LogLevel.warn)
        self.error = why
        for entry in self.entries.values():
            if entry.state is NameState.PENDING:
                entry.state = NameState.FAILED
            if entry.state in (NameState.FAILED, NameState.REMOVING) and not entry.error:
                entry.error = why
        self._failures += 1
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16), max(self.terms.interval_s, FIRST_PAUSE_S))
        asked_s = error.retry_after_s if isinstance(error, RegistryError) and error.retry_after_s is not None else 0.0
        return max(pause_s * (0.5 + self._random()), min(asked_s, MOST_PAUSE_S))

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        return await Deferred.fromCoroutine(call).addTimeout(CALL_S, self._clock, _too_late)

    async def _breathe(self) -> None:
        """Let others have their turn."""
        await deferLater(self._clock, 0.0)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _finish(self) -> None:
        self.finished = True
        self._cancel_deadline()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self.entries and (self.retiring or self.terms.remove) and not self.terms.dry_run:
            self._log.warn("{count} names are left in {registry}: {why}", count=len(self.entries),
                           registry=self.registrar.registry, why=self.error or "there was no time to take them out")
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        self.registrar.close()
        ending, self._ending = self._ending or [], []
        for each in ending:
            each.callback(None)
        if self.on_finished is not None:
            self.on_finished(self)


def _too_late(result: object, seconds: float) -> Any:
    raise RegistryError(f"it took longer than {seconds:g} s")


def _looked_at(names: Mapping[str, None], observed: Observed, owner: str) -> Iterator[tuple[str, Held]]:
    """Every name that somebody wants, or has wanted, with what is held of it; then others that are ours there."""
    for name in names:
        yield name, observed.held.get(name, FREE)
    for name, held in observed.held.items():
        if name not in names and held.owner == owner:
            yield name, held


def _written(change: Change) -> NameState | str:
    if change.wanted is None:
        return "removed"
    return NameState.BOUND if change.wanted.vips else NameState.WITHDRAWN


def _addresses(wanted: Wanted | None) -> str:
    return "" if wanted is None else f": {', '.join(wanted.addresses) or 'no address'}"
