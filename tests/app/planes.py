"""A plane for what is built and chosen without any traffic."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from voltgw.net.deadlines import Deadlines
from voltgw.proxy.plane import Plane


def idle_plane(connection: Callable[[Any], object] | None = None) -> Plane:
    """Its loop never turns, its wall clock stands at 1000 s; records of connections go to `connection`."""
    loop = SimpleNamespace(monotonic=lambda: 0.0, deadlines=Deadlines(0.0), soon=lambda call: None)
    access: Any = SimpleNamespace(http=lambda exchange: None, connection=connection)
    return Plane(loop, access, lambda: 1000.0, Random(0).random)
