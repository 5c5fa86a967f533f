"""The pages of the admin interface that are about logs: structured events, levels, and opening files anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from voltgw.observe.events import EventRing

_HOW_TO_ASK: Final = "ask /events?since=17&kind=reload; since is a number that an answer has called next, kind may stand again"
_HOW_TO_SET: Final = "ask /logs/level?level=debug; logger=voltgw.control may stand beside it, and level=reset takes all back"


class LogsLike(Protocol):
    """What is asked of the logs (`voltgw.app.logs.Logs`)."""

    def view(self) -> dict[str, Any]:
        """Levels and numbers, JSON-ready."""

    def reopen(self) -> dict[str, Any]:
        """Open the files by their names again: ``ok`` and ``problems``."""

    def set_level(self, level: str, logger: str = "") -> dict[str, Any]:
        """Another level. Raises ValueError."""

    def reset(self) -> dict[str, Any]:
        """The levels of the configuration. Raises ValueError."""


def events(ring: EventRing, since: str, kinds: list[str]) -> dict[str, Any]:
    """``/events``. Raises ValueError, with words for whoever has asked."""
    if since and not (since.isascii() and since.isdigit() and len(since) < 19):
        raise ValueError(_HOW_TO_ASK)
    return ring.view(int(since or 0), kinds[:32])


def set_level(logs: LogsLike, level: str, logger: str) -> dict[str, Any]:
    """``/logs/level``. Raises ValueError, with words for whoever has asked."""
    if not level:
        raise ValueError(_HOW_TO_SET)
    return logs.reset() if level == "reset" else logs.set_level(level, logger)


def summary(facts: Mapping[str, Any]) -> list[str]:
    """`LogsLike.view` in words, for the command line."""
    if facts["level"] is None:
        return ["the process log is written by twistd: its level cannot be changed"]
    said = [f"everything: {facts['level']}", *(f"{name}: {level}" for name, level in sorted(facts["levels"].items()))]
    return [*said, "(not as the configuration has it)"] if facts["ordered"] else said
