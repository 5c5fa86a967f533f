"""What ``gateway.overload`` says: how much memory and how many descriptors there are, and what is done when they run short."""

from __future__ import annotations

from typing import Final

from voltgw.config.quantities import Duration, Size
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Decimal, Number
from voltgw.config.units import show_seconds
from voltgw.values import defaults

_CLOSES: Final = "From this share on, answers end their connections (close, GOAWAY), and idle ones are closed; 0 = never."
_REFUSES: Final = "From this share on, new requests are answered 503 with Retry-After, those of gRPC UNAVAILABLE; 0 = never."
_ACCEPTS: Final = "From this share on, new connections wait in the backlog, and new UDP sessions are refused; 0 = never."
_RESETS: Final = "From this share on, the connections that hold most bytes in memory are cut; 0 = never."


def _share(absent: float) -> str:
    return f"{absent:g}"


@message
class OverloadMemory:
    """The memory of the process, and from which share of it on what is done."""

    budget: int | None = field(
        Size("B", 16 << 20), "How much each process may have in RAM.",
        absent="the share of the control group's limit; without such a limit there is no budget", example="2GiB")
    share: float | None = field(
        Decimal(0.01, 1), "Part of the control group's memory limit (without one: of the host's memory) that is the budget; "
        "workers share it evenly.", absent="1, where the control group has a limit")
    keep_alive: float | None = field(Decimal(0, 1), _CLOSES, absent=_share(defaults.OVERLOAD_MEMORY_KEEP_ALIVE_SHARE))
    refuse: float | None = field(Decimal(0, 1), _REFUSES, absent=_share(defaults.OVERLOAD_MEMORY_REFUSE_SHARE))
    accept: float | None = field(Decimal(0, 1), _ACCEPTS, absent=_share(defaults.OVERLOAD_MEMORY_ACCEPT_SHARE))
    reset: float | None = field(Decimal(0, 1), _RESETS, absent=_share(defaults.OVERLOAD_MEMORY_RESET_SHARE))


@message
class OverloadFiles:
    """The descriptors of the process, and from which share of them on what is done."""

    budget: int | None = field(
        Number(64), "How many each process may have open.", absent="the limit of open files (ulimit -n)")
    keep_alive: float | None = field(Decimal(0, 1), _CLOSES, absent=_share(defaults.OVERLOAD_FILES_KEEP_ALIVE_SHARE))
    refuse: float | None = field(Decimal(0, 1), _REFUSES, absent=_share(defaults.OVERLOAD_FILES_REFUSE_SHARE))
    accept: float | None = field(Decimal(0, 1), _ACCEPTS, absent=_share(defaults.OVERLOAD_FILES_ACCEPT_SHARE))
    reset: float | None = field(Decimal(0, 1), _RESETS, absent="0")


@message
class Overload:
    """What is done before memory or descriptors run out."""

    memory: OverloadMemory | None = field(Nested(OverloadMemory, scalar="budget"), "Memory.")
    open_files: OverloadFiles | None = field(Nested(OverloadFiles, scalar="budget"), "Descriptors: sockets and files.")
    retry_after_s: float | None = field(
        Duration("s", 1, 3600), "What clients are told that are refused: to come again after this.",
        absent=show_seconds(defaults.OVERLOAD_RETRY_AFTER_S))
