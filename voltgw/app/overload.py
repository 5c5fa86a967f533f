"""What is done before memory or descriptors run out: looks at both, and has the data plane do what that asks for.

The decision is `voltgw.security.overload`. What is done touches no request while there is no need: listeners, factories and
the loop read attributes that are flipped here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from voltgw.app.budgets import files_budget, memory_budget
from voltgw.app.usage import Usage
from voltgw.security.overload import Action, Pressure, asked_for
from voltgw.values import defaults
from voltgw.values.reason import Reason

if TYPE_CHECKING:

    from twisted.internet.interfaces import IDelayedCall

    from voltgw.app.explain import Explanation
    from voltgw.config.gateway import Gateway
    from voltgw.net.loop import Loop
    from voltgw.proxy.plane import Plane

#: Connections that one look has end when answers end theirs anyway: more would be a burst of new handshakes.
EASED_A_LOOK: Final = 256
#: Connections that are looked at in one turn for the bytes that they hold.
WEIGHED_A_TURN: Final = 500
#: Connections that one look cuts at most, and the least that one must hold to be worth it.
RESET_A_LOOK: Final = 32
LEAST_RESET_BYTES: Final = 64 * 1024
#: A memory budget that nobody has named counts only where the process takes no more of it than this at the start.
ROOMY: Final = 0.6
#: Between two times that freed memory is given back to the system, while it is short.
TRIM_S: Final = 5.0
_WORDS: Final = {
    Action.KEEP_ALIVE: "answers end their connections",
    Action.REFUSE: "new requests are refused",
    Action.ACCEPT: "new connections wait",
    Action.RESET: "the largest connections are cut",
}


class OverloadCounters:
    """What stands and what was done. Where there are workers, that of the control process has the sums of all processes.

    By resource: how much is `used`, of which `budget`. By resource and action (``memory refuse``): in how many processes it is
    done `now`, and how often it has `begun`. `resets` are the connections that were cut, `eased` those that were asked to end,
    `unpooled` idle ones to endpoints that were closed.
    """

    __slots__ = ("begun", "budget", "eased", "now", "resets", "unpooled", "used")

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.budget: dict[str, int] = {}
        self.now: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self.resets = 0
        self.eased = 0
        self.unpooled = 0


class Overload:
    """The budgets of one process. `follow` takes a configuration over; `start` begins to look, `stop` ends every action.

    `usage` tells what is in use; None (with `start`) reads /proc. Memory that belongs to all of them is shared by `processes`,
    None = as many as the configuration says.

    `clusters` gives those whose idle connections may be closed. Where connections of clients are at their limit and others
    wait, idle ones are closed as well, to make room.
    """

    _log = Logger()

    def __init__(self, loop: Loop, plane: Plane, usage: Usage | None = None, processes: int | None = None) -> None:
        self.counters = OverloadCounters()
        self.clusters: Callable[[], Iterable[Any]] = tuple
        self.failures = 0                   # looks that found nothing: /proc could not be read
        self.trims = 0
        self.pressures: dict[str, Pressure] = {}
        self.actions: dict[Action, tuple[str, ...]] = {}    # what is done now, and for want of what
        self.retry_after_s = ceil(defaults.OVERLOAD_RETRY_AFTER_S)
        self._loop = loop
        self._plane = plane
        self._usage = usage
        self._processes = processes
        self._base = 0                      # memory before there was any traffic
        self._derived = True                # the memory budget is nobody's wish
        self._own: dict[tuple[str, str], int] = {}      # what is ours in the counters that go up and down
        self._timer: IDelayedCall | None = None
        self._trimmed = float("-inf")
        self._waiting: Iterator[Any] = iter(())     # connections that are still to be eased
        self._weighing: Iterator[None] | None = None
        self._full = False                  # at the last look, clients waited at the limit of connections

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look from now on."""
        if self._usage is None:
            try:
                self._usage = Usage()
            except OSError as error:
                self._log.warn("memory and descriptors are not looked after: {error}", error=error)
                return
        try:
            self._base = self._usage.memory_bytes()
        except (OSError, ValueError, IndexError):
            self._base = 0                  # every look will say so
        self._leave_out()
        self.look()

    def stop(self) -> None:
        """Look no more, and do nothing any more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        if self._usage is not None:
            self._usage.close()
            self._usage = None
        self._waiting = iter(())
        self._weighing = None
        if self.actions:
            self.actions = {}
            self._plane.press(closing=False, refusing=None)
            self._loop.pause(False)

    def follow(self, gateway: Gateway, open_files: int) -> None:
        """Keep to the budgets of this configuration; `open_files` is the limit of descriptors of the process."""
        config = gateway.overload
        retry_after_s = None if config is None else config.retry_after_s
        self.retry_after_s = ceil(retry_after_s or defaults.OVERLOAD_RETRY_AFTER_S)
        processes = (gateway.workers or 0) + 1 if self._processes is None else self._processes
        budgets = {"memory": memory_budget(config, processes), "open_files": files_budget(config, open_files)}
        before, self.pressures = self.pressures, {}
        for name, budget in budgets.items():
            if budget is None or not budget.shares:
                continue
            pressure = before.get(name)
            if pressure is None:
                pressure = Pressure(name, budget)
            else:
                pressure.follow(budget)
            self.pressures[name] = pressure
        self._derived = config is None or config.memory is None or config.memory.budget is config.memory.share is None
        self._leave_out()
        for name in {*before, *self.pressures}:
            there = self.pressures.get(name)
            self._note("budget", name, 0 if there is None else there.budget.amount)
            self._note("used", name, 0 if there is None else there.used)
        if self._timer is not None:
            self._act()

    def _leave_out(self) -> None:
        """Do not look after memory where nobody has asked for it and the process alone takes most: all would be refused."""
        memory = self.pressures.get("memory")
        if memory is not None and self._derived and self._base > ROOMY * memory.budget.amount:
            del self.pressures["memory"]
            self._note("budget", "memory", 0)
            self._log.warn("memory is not looked after: the process takes {base} bytes without any traffic, of {budget} that "
                           "the control group has for it; give it more, or say `gateway: {{overload: {{memory: ...}}}}`",
                           base=self._base, budget=memory.budget.amount)

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See what is in use, and do what that asks for."""
        loop = self._loop
        self._timer = loop.clock.callLater(defaults.OVERLOAD_LOOK_S, self.look)
        usage = self._usage
        assert usage is not None            # `start` has seen to it
        now = loop.monotonic()
        changed = False
        try:
            for name, pressure in self.pressures.items():
                used = self._memory(usage, pressure, now) if name == "memory" else usage.files()
                changed |= pressure.look(used, now)
                self._note("used", name, used)
        except (OSError, ValueError, IndexError) as error:
            self.failures += 1
            if self.failures == 1:
                self._log.warn("what memory and descriptors are in use cannot be read: {error}", error=error)
        if changed:
            self._act()
        full = bool(loop.waiting_listeners) and not loop.paused
        if Action.KEEP_ALIVE in self.actions:
            self._ease()
            self._unpool()
        elif full and self._full:
            self._ease()
        self._full = full
        if Action.RESET in self.actions and self._weighing is None:
            self._weighing = self._weigh()
            loop.soon(self._weigh_on)

    def _memory(self, usage: Usage, pressure: Pressure, now: float) -> int:
        """Memory in use; where it is short, only after what is free already was given back."""
        used = usage.memory_bytes()
        wait = 0.0 if Action.RESET in pressure.taken else TRIM_S    # else connections would be cut for what is free already
        if now - self._trimmed >= wait and used >= min(pressure.budget.shares.values()) * pressure.budget.amount:
            self._trimmed = now
            self.trims += 1
            usage.trim()
            used = usage.memory_bytes()
        return used

    def _act(self) -> None:
        """Begin what is asked for now, and end what is no longer."""
        before, self.actions = self.actions, asked_for(self.pressures)
        now = self.actions
        begun = self.counters.begun
        for action in Action:
            for name in {*before.get(action, ()), *now.get(action, ())}:
                key = f"{name} {action.value}"
                if name not in before.get(action, ()):
                    begun[key] = begun.get(key, 0) + 1
                self._note("now", key, name in now.get(action, ()))
        for action in Action:
            if action in now and action not in before:
                self._log.warn("overload: {words}, for want of {resource}: {use}", words=_WORDS[action],
                               resource=", ".join(now[action]), action=action.value, use=self._use(), event="overload.begins")
            elif action in before and action not in now:
                self._log.info("overload: no longer so that {words}; {use}", words=_WORDS[action], action=action.value,
                               use=self._use(), event="overload.ends")
        self._plane.press(closing=Action.KEEP_ALIVE in now, refusing=self.retry_after_s if Action.REFUSE in now else None)
        paused = Action.ACCEPT in now
        if paused is not self._loop.paused:
            self._loop.pause(paused)

    def _note(self, what: str, key: str, value: int) -> None:
        """Our part of a sum is this now."""
        sums: dict[str, int] = getattr(self.counters, what)
        before = self._own.get((what, key), 0)
        if value != before or key not in sums:
            self._own[what, key] = int(value)
            sums[key] = sums.get(key, 0) + value - before

    def _use(self) -> str:
        return ", ".join(f"{name} {pressure.share:.0%}" for name, pressure in self.pressures.items())

    # -- acting --------------------------------------------------------------------------------------------------------

    def _connections(self) -> list[Any]:
        """Every connection of a client."""
        return [each for factory in list(self._plane.factories) for each in factory.connections]

    def _ease(self) -> None:
        """Ask some connections to end; when all of them were asked, those that have come meanwhile follow."""
        left = EASED_A_LOOK
        for connection in self._waiting:
            self.counters.eased += self._told(connection, "ease")
            left -= 1
            if not left:
                return
        self._waiting = iter(self._connections())

    def _unpool(self) -> None:
        """Close idle connections to endpoints, of each the older half: whoever needs one again makes it again."""
        left = EASED_A_LOOK
        for cluster in self.clusters():
            for endpoint in cluster.endpoints:
                idle: list[Any] = getattr(endpoint.pool, "idle", [])
                for _ in range(min((len(idle) + 1) // 2, left)):
                    idle.pop(0).close()
                    self.counters.unpooled += 1
                    left -= 1
                if not left:
                    return

    def _weigh(self) -> Iterator[None]:
        """Find the connections that hold most, some in each turn, and cut them; one step is one turn."""
        heaviest: list[tuple[int, int, Any]] = []
        for number, connection in enumerate(self._connections()):
            held = getattr(connection, "held_bytes", 0)
            if held >= LEAST_RESET_BYTES:
                entry = (held, number, connection)
                if len(heaviest) < RESET_A_LOOK:
                    heapq.heappush(heaviest, entry)
                else:
                    heapq.heappushpop(heaviest, entry)
            if number % WEIGHED_A_TURN == WEIGHED_A_TURN - 1:
                yield
        memory = self.pressures.get("memory")
        excess = max(memory.excess(), 1) if memory is not None and Action.RESET in memory.taken else None
        count = freed = 0
        clients: list[str] = []
        for held, _, connection in sorted(heaviest, reverse=True):
            clients.append(getattr(connection, "peer_address", ""))
            self._told(connection, "shed")
            count, freed = count + 1, freed + held
            if excess is not None and freed >= excess:
                break
        if count:
            self.counters.resets += count
            self._log.warn("overload: {count} connections are cut that held {held} bytes; the largest was one of {client}",
                           count=count, held=freed, client=clients[0], event="overload.reset")

    def _weigh_on(self) -> None:
        weighing = self._weighing
        if weighing is None:
            return
        for _ in weighing:
            self._loop.soon(self._weigh_on)
            return
        self._weighing = None

    def _told(self, connection: Any, what: str) -> bool:
        """Call what a connection has for it; whether that was news to it. A bug in one must not keep the others."""
        call: Callable[[], bool | None] | None = getattr(connection, what, None)
        try:
            return call is not None and call() is not False
        except BaseException:
            self._loop.failed(connection)
            return True

    # -- what is seen of it ----------------------------------------------------------------------------------------------

    @property
    def stages(self) -> list[str]:
        """What is done now, in words; of other processes, in how many."""
        said = [f"{_WORDS[action]}, for want of {', '.join(names)} ({self._use()})" for action, names in self.actions.items()]
        for action in Action:
            for name in self.pressures:
                others = self._others(name, action)
                if others > 0:
                    said.append(f"{_WORDS[action]}, for want of {name}, in {_workers(others)}")
        return said

    def explain(self, explained: Explanation) -> None:
        """Say of a request that it would be refused now, or wait."""
        for action, outcome in ((Action.REFUSE, "refused 503"), (Action.ACCEPT, "waits")):
            names = self.actions.get(action, ())
            others = {name: each for name in self.pressures if (each := self._others(name, action)) > 0}
            if action is Action.REFUSE and not explained.virtual_host:
                continue
            if names:
                if action is Action.REFUSE:
                    explained.outcome = "refused"
                explained.decisions.append(Reason("overload", outcome, f"{_WORDS[action]} for want of {', '.join(names)}: "
                                                  f"{self._use()}"))
            elif others:
                explained.decisions.append(Reason("overload", f"{outcome}, perhaps", "; ".join(
                    f"{_WORDS[action]} for want of {name} in {_workers(number)}" for name, number in others.items())))

    def _others(self, name: str, action: Action) -> int:
        """Other processes that do this."""
        key = f"{name} {action.value}"
        return self.counters.now.get(key, 0) - self._own.get(("now", key), 0)

    def view(self) -> dict[str, Any]:
        """For the admin interface."""
        counted = self.counters
        resources = {
            name: {"used": counted.used[name], "budget": counted.budget[name],
                   "share": round(counted.used[name] / max(counted.budget[name], 1), 3),
                   "actions": {action.value: {"from": share, "now": counted.now.get(f"{name} {action.value}", 0),
                                              "begun": counted.begun.get(f"{name} {action.value}", 0)}
                               for action, share in pressure.budget.shares.items()}}
            for name, pressure in self.pressures.items()}
        return {"now": self.stages, "resources": resources, "resets": counted.resets, "eased": counted.eased,
                "unpooled": counted.unpooled}


def _workers(number: int) -> str:
    return "one worker" if number == 1 else f"{number} workers"
