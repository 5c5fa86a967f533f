"""What a reload would do: a pure comparison of two runtimes, for the reload itself, for its log line and for people."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, Runtime

#: Names that are compared in one step, which is less than 1 ms.
_STEP: Final = 2048


@dataclass(frozen=True, slots=True)
class Plan:
    """The difference between what serves and what shall serve."""

    listeners_open: tuple[ListenerKey, ...]
    listeners_close: tuple[ListenerKey, ...]
    listeners_keep: tuple[ListenerKey, ...]
    listeners_other: tuple[ListenerKey, ...]    # of those kept: another kind of proxy serves there
    clusters_new: tuple[str, ...]           # new or changed: built afresh, warmed up before the swap
    clusters_gone: tuple[str, ...]          # removed or changed: drained after the swap
    clusters_keep: tuple[str, ...]          # equal: carried over with pools, health and counts
    hosts_new: tuple[str, ...]
    hosts_gone: tuple[str, ...]

    def describe(self) -> list[str]:
        """One line for each kind of change."""
        new, gone = set(self.clusters_new), set(self.clusters_gone)
        parts = (
            ("listeners opened", tuple(map(str, self.listeners_open))),
            ("listeners closed", tuple(map(str, self.listeners_close))),
            ("listeners of another kind", tuple(map(str, self.listeners_other))),
            ("virtual hosts added", self.hosts_new),
            ("virtual hosts removed", self.hosts_gone),
            ("clusters added", tuple(name for name in self.clusters_new if name not in gone)),
            ("clusters removed", tuple(name for name in self.clusters_gone if name not in new)),
            ("clusters changed", tuple(name for name in self.clusters_new if name in gone)),
        )
        return [f"{what}: {_some(names)}" for what, names in parts if names]


def plan_reload(current: Runtime, following: Runtime) -> Plan:
    """What changes from `current` to `following`; a cluster is kept exactly if it is the same object in both."""
    steps = planning_reload(current, following)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            plan: Plan = done.value
            return plan


def planning_reload(current: Runtime, following: Runtime) -> Generator[None, None, Plan]:
    """`plan_reload` in steps: run it to its end, whose value is the `Plan`."""
    kept: list[str] = []
    new: list[str] = []
    for count, (name, cluster) in enumerate(following.clusters.items(), 1):
        (kept if current.clusters.get(name) is cluster else new).append(name)
        if count % _STEP == 0:
            yield
    gone = yield from _without(current.clusters, following.clusters)
    if new:                                 # else none was changed
        changed = set(new)
        gone = [name for name in current.clusters if name in changed or name not in following.clusters]
        yield
    hosts_new = yield from _without(following.hosts, current.hosts)
    hosts_gone = yield from _without(current.hosts, following.hosts)
    return Plan(
        listeners_open=tuple(key for key in following.listeners if key not in current.listeners),
        listeners_close=tuple(key for key in current.listeners if key not in following.listeners),
        listeners_keep=tuple(key for key in following.listeners if key in current.listeners),
        listeners_other=tuple(key for key, plan in following.listeners.items()
                              if key in current.listeners and current.listeners[key].kind is not plan.kind),
        clusters_new=tuple(new), clusters_gone=tuple(gone), clusters_keep=tuple(kept),
        hosts_new=tuple(hosts_new), hosts_gone=tuple(hosts_gone),
    )


def _without(some: Mapping[str, object], others: Mapping[str, object]) -> Generator[None, None, list[str]]:
    """The names that only `some` has, in their order."""
    found: list[str] = []
    for count, name in enumerate(some, 1):
        if name not in others:
            found.append(name)
        if count % _STEP == 0:
            yield
    return found


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
