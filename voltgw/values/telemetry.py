"""What the metrics show beside the counters of objects: how the process fares, what became of spans, and their own bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltgw.values.counters import Histogram


class Telemetry(NamedTuple):
    """`turns` are those of the data plane's loop, `timers` how late timers ran. `traces` None = nothing is traced.

    `pauses` are how long the collections of each generation of cyclic garbage took, `freed` how many objects they found.
    """

    turns: Histogram
    timers: Histogram
    traces: Mapping[str, Any] | None
    most_routes: int
    most_endpoints: int
    pauses: tuple[Histogram, ...] = ()      # () = nobody looks after them
    freed: int = 0
