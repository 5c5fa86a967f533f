"""What is known of each name in one registry, for operators: `Entry`; and what has been done there: `PublishCounters`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class NameState(Enum):
    """How a name stands in a registry."""

    PENDING = "pending"         # it has yet to be written, or to be looked at
    BOUND = "bound"             # the registry holds it as it should be
    WITHDRAWN = "withdrawn"     # the registry holds it, without addresses, as it should be now
    FAILED = "failed"           # it could not be written, or the registry could not be asked
    FOREIGN = "foreign"         # the name is another's there
    PLANNED = "planned"         # it would be written, but for `dry_run`
    REMOVING = "removing"       # it is not wanted any more, and still there


@dataclass(slots=True)
class Entry:
    """One name. `synced` is when it was last seen or made as it should be (wall clock, None = never); `held` what it leads to
    there, as far as is known; `planned` the act that ``dry_run`` has kept from being done."""

    state: NameState = NameState.PENDING
    synced: float | None = None
    error: str = ""
    held: tuple[str, ...] = ()
    planned: str = ""


@dataclass(slots=True)
class PublishCounters:
    """Writes that the registry has taken, by act; writes that it has not; rounds by their end."""

    writes: dict[str, int] = field(default_factory=lambda: {"create": 0, "replace": 0, "remove": 0})
    refused: dict[str, int] = field(default_factory=lambda: {"foreign": 0, "other": 0})
    rounds: dict[str, int] = field(default_factory=lambda: {"done": 0, "failed": 0})


@dataclass(frozen=True, slots=True)
class Terms:
    """When a registry is looked at, and what may be done there.

    `interval_s` is how often it is looked at and repaired; with `dry_run` nothing is ever written; with `remove` a clean
    shutdown takes all names out.
    """

    interval_s: float
    dry_run: bool = False
    remove: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What a publisher needs: `clock` is an `IReactorTime` on monotonic time, `wall` seconds since 1970, `random` in [0, 1)."""

    clock: object
    wall: Callable[[], float]
    random: Callable[[], float]
