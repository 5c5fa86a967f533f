"""What discovery methods are given to ask with."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltgw.control.seams import ControlLoop


@dataclass(frozen=True, slots=True)
class Sources:
    """The ways out of the process that a feed may use; `resolver` is a Twisted `IHostnameResolver`."""

    loop: ControlLoop
    random: Random
    resolver: Any
