"""What a reload would do: a pure comparison of two runtimes, for the reload itself, for its log line and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voltgw.app.build import ListenerKey, Runtime


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
    kept = dict.fromkeys(name for name, cluster in following.clusters.items() if current.clusters.get(name) is cluster)
    return Plan(
        listeners_open=tuple(key for key in following.listeners if key not in current.listeners),
        listeners_close=tuple(key for key in current.listeners if key not in following.listeners),
        listeners_keep=tuple(key for key in following.listeners if key in current.listeners),
        listeners_other=tuple(key for key, plan in following.listeners.items()
                              if key in current.listeners and current.listeners[key].kind is not plan.kind),
        clusters_new=tuple(name for name in following.clusters if name not in kept),
        clusters_gone=tuple(name for name in current.clusters if name not in kept),
        clusters_keep=tuple(kept),
        hosts_new=tuple(name for name in following.hosts if name not in current.hosts),
        hosts_gone=tuple(name for name in current.hosts if name not in following.hosts),
    )


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
