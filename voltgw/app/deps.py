"""Everything outside ourselves, handed in once: `voltgw.tap` fills it with the real things, tests with their own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voltgw.net.inherited import Inherited


@dataclass(frozen=True, slots=True)
class Deps:
    """What the gateway needs from the world.

    `monotonic` is `now` everywhere; `wall` serves logs, certificates and dates only (Twisted's own ``reactor.seconds()`` is
    wall time). `resolver` looks up names (`IHostnameResolver`). `environ` is what ``${VAR}`` in configuration means.
    """

    reactor: Any                            # IReactorCore, IReactorFDSet, IReactorTime, IReactorTCP, IReactorUNIX
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    random: random.Random
    resolver: Any
    environ: Mapping[str, str]
    inherited: Inherited = field(default_factory=Inherited)     # sockets that were open before we were
