"""Structured events: what has changed lately, under names that do not change, in a ring that can be asked.

An event is a line of the process log that carries a field ``event``: its kind, as `voltgw.observe.event_kinds` lists them.
Whoever has something to tell says it once, to its own `Logger`, in words and with fields::

    self._log.warn("overload: stage {stage}, {why}", event="overload.stage", stage=2, why="memory")

or, where the gateway is at hand, ``gateway.events.say("overload.stage", "overload: stage {stage}", stage=2)``. So the log
and the ring cannot disagree, and no room needs another one to be heard. The ring sees every level, whatever the log shows.

Rings are kept by family (``endpoint`` of ``endpoint.health``): ten thousand endpoints that flap do not wash away the reload
that made them do so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import isfinite
from threading import Lock
from typing import Any, Final, NamedTuple

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher, formatEvent, globalLogPublisher
from zope.interface import implementer

from voltgw.observe.lines import Stamps
from voltgw.observe.redact import redact_text

#: Events kept of each family, and families that there may be; a kind of a further one is kept in the ring of `_OTHERS`.
KEPT: Final = 512
MAX_FAMILIES: Final = 32
#: Kinds that are counted one by one; further ones are counted together.
MAX_KINDS: Final = 256
#: Most fields of an event, and characters of one field and of the message.
MAX_FIELDS: Final = 24
MAX_TEXT: Final = 512
#: Events that one answer has at most.
MAX_ANSWER: Final = 1000

_OTHERS: Final = "other"
#: Fields that Twisted's logger and its older sibling put into events.
_NOT_OURS: Final = frozenset(("event", "message", "time", "system", "format", "isError", "failure", "printed", "id"))


class Event(NamedTuple):
    """One event. `number` counts up from 1 as long as the process lives; `wall` is seconds since the epoch."""

    number: int
    wall: float
    kind: str
    level: str
    message: str
    fields: Mapping[str, bool | int | float | str | None]


@implementer(ILogObserver)
class EventRing:
    """Keeps what is said. Between `start` and `stop` it listens to `publisher`, which is the process's log.

    Several gateways in one process hear each other. `told` is called with each event that comes by the log (not with those
    of `take`), for whoever passes them on to another process; it must not raise.
    """

    _log = Logger()

    def __init__(self, wall: Callable[[], float], publisher: LogPublisher | None = None) -> None:
        self.started_wall = wall()          # numbers begin anew with it
        self.number = 0                     # of the latest event
        self.counts: dict[str, int] = {}    # by kind
        self.failures = 0                   # events that could not be kept: bugs, all of them
        self.told: Callable[[dict[str, Any]], None] | None = None
        self._wall = wall
        self._publisher: Any = globalLogPublisher if publisher is None else publisher
        self._rings: dict[str, deque[Event]] = {}
        self._lock = Lock()                 # events may come from threads

    def start(self) -> None:
        """Listen."""
        self._publisher.addObserver(self)

    def stop(self) -> None:
        """Listen no more; what is kept can be asked for still."""
        self._publisher.removeObserver(self)

    def say(self, kind: str, message: str, /, *, level: str = "info", **fields: object) -> None:
        """Say one event: a line of the log, and kept. `message` names `fields` in braces; `level` is one of the log's."""
        self._log.emit(LogLevel.lookupByName(level), message, event=kind, **fields)

    def __call__(self, log_event: LogEvent) -> None:
        """Keep an event of the log if it is one of ours. Never raises."""
        kind = log_event.get("event")
        if kind is None:
            return
        try:
            level = log_event.get("log_level")
            event = self._keep(
                float(log_event.get("log_time") or self._wall()), str(kind), "info" if level is None else str(level.name),
                _cut(redact_text(event_text(log_event))),
                ((name, value) for name, value in log_event.items() if not name.startswith("log_") and name not in _NOT_OURS))
        except Exception:                   # a broken __repr__ in a field: the log says the same of it
            self.failures += 1
            return
        if self.told is not None:
            self.told(plain(event))

    def take(self, said: Mapping[str, Any], **more: object) -> None:
        """Keep an event of another process of ours, as its `told` was given it; `more` are fields that it gets besides.

        Raises KeyError, TypeError or ValueError for what is no such event.
        """
        fields = said["fields"]
        self._keep(float(said["wall"]), str(said["kind"]), str(said["level"]), _cut(str(said["message"])),
                   (*fields.items(), *more.items()))

    def since(self, number: int = 0, kinds: Iterable[str] = (), most: int = MAX_ANSWER) -> list[Event]:
        """The events after `number`, the oldest first, `most` of them: those that follow it, but with 0 the latest.

        `kinds` are kinds or families (``reload``), none = all.
        """
        wanted = tuple(kinds)
        with self._lock:
            events = [event for ring in self._rings.values() for event in ring
                      if event.number > number and (not wanted or _is_of(event.kind, wanted))]
        events.sort()
        return events[:most] if number else events[-most:]

    def view(self, number: int = 0, kinds: Iterable[str] = ()) -> dict[str, Any]:
        """`since` as plain data: ``events``, ``next`` (to be asked ``since`` the next time), and ``started``.

        Whoever finds another ``started`` than the last time begins with 0 again: it is another process.
        """
        latest = self.number
        events = self.since(number, kinds)
        return {"started": self.started_wall, "next": events[-1].number if len(events) == MAX_ANSWER else latest,
                "events": [plain(event) for event in events]}

    def _keep(self, wall: float, kind: str, level: str, message: str, fields: Iterable[tuple[str, object]]) -> Event:
        kept: dict[str, bool | int | float | str | None] = {}
        for name, value in fields:
            if len(kept) == MAX_FIELDS:
                break
            kept[name] = _plain_value(value)
        family = kind.partition(".")[0]
        with self._lock:
            ring = self._rings.get(family)
            if ring is None:
                if len(self._rings) >= MAX_FAMILIES:
                    family = _OTHERS
                ring = self._rings.setdefault(family, deque(maxlen=KEPT))
            self.number += 1
            counted = kind if kind in self.counts or len(self.counts) < MAX_KINDS else _OTHERS
            self.counts[counted] = self.counts.get(counted, 0) + 1
            event = Event(self.number, wall, kind, level, message, kept)
            ring.append(event)
        return event


def event_text(event: LogEvent) -> str:
    """What an event of the log says, as `formatEvent`, which takes twenty times as long. Never raises."""
    form = event.get("log_format")
    if isinstance(form, str) and "(" not in form and "log_flattened" not in event:
        with suppress(Exception):           # Twisted has words for that
            return form.format_map(event)
    return formatEvent(event)


def plain(event: Event) -> dict[str, Any]:
    """An event as JSON-ready data."""
    return {"id": event.number, "time": Stamps().at(int(event.wall * 1000)), "wall": event.wall, "kind": event.kind,
            "level": event.level, "message": event.message, "fields": dict(event.fields)}


def _is_of(kind: str, wanted: tuple[str, ...]) -> bool:
    return any(kind == each or kind.startswith(f"{each}.") for each in wanted)


def _plain_value(value: object) -> bool | int | float | str | None:
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return _cut(redact_text(value if isinstance(value, str) else str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
