"""The process log: one line per event of `twisted.logger`, as text or JSON; it never raises and never waits.

What happens to single requests stands in the access log; here stand changes: started, reloaded, ready, ejected, failed.
Twisted's own notes (ports opened, factories started) are shown from their warnings on, unless the level is ``debug``.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from threading import Lock
from typing import Any, Final, TypeAlias

from twisted.logger import ILogObserver, LogEvent, LogLevel, LogLevelFilterPredicate, PredicateResult
from twisted.python.failure import Failure
from zope.interface import implementer

from voltgw.observe.events import event_text
from voltgw.observe.messages import ERROR, SEVERITIES, DatagramSink, Message, StreamSink
from voltgw.observe.redact import redact_text
from voltgw.observe.sink import Sink, WriteTo

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
FORMATS: Final = ("text", "json")

#: Loggers that may have a level of their own.
MAX_LOGGERS: Final = 64
_LOGGER: Final = re.compile(r"[A-Za-z_]\w{0,63}(?:\.\w{1,64}){0,15}", re.ASCII).fullmatch

#: Most characters of a message, of one of an event's own fields (in JSON), and of a traceback, whose end is kept.
_MAX_MESSAGE: Final = 8 * 1024
_MAX_FIELD: Final = 1024
_MAX_TRACEBACK: Final = 64 * 1024
#: Twisted's logger, and the older one that parts of it still use.
_CHATTY: Final = ("twisted", "log_legacy")
#: Fields that Twisted's logger and its older sibling put into every event; the rest are the event's own.
_NOT_OURS: Final = frozenset(("message", "time", "system", "format", "isError", "failure", "why", "printed", "id"))


Daemon: TypeAlias = DatagramSink | StreamSink


@implementer(ILogObserver)
class ProcessLog:
    """Writes events to a `Sink`. In text, a traceback follows its line, indented; in JSON everything is one line.

    Events may come from threads and from inside our own work (an unhandled error found by the garbage collector), so
    lines go through a queue that whoever is not in the way writes out.
    """

    def __init__(
        self, path: str | int = 2, format: str = "text", level: str = "info", *, write: WriteTo | None = None,
    ) -> None:
        """Write to `path` (a file's name, ``-`` = standard output, 2 = standard error).

        Raises OSError when the file cannot be opened, and ValueError for an unknown format or level.
        """
        if format not in FORMATS:
            raise ValueError(f"the process log is written as one of {', '.join(FORMATS)}, not as {format!r}")
        self.set_levels(level, {})
        self.sink = Sink(path, write=write)
        self.failures = 0                   # events that could not be formatted
        self._daemon: Daemon | None = None  # who gets the events instead
        self._json = format == "json"
        self._prefixed = self.sink.given is not None and under_journald(self.sink.given)
        self._queue: deque[Message] = deque()
        self._writing = Lock()

    def __call__(self, event: LogEvent) -> None:
        """Write one event, if its level is shown. Never raises."""
        try:
            if self._filter(event) is PredicateResult.no:
                return
            message = self._message(event)
        except Exception as error:          # a broken __repr__ or format in an event: say that much, go on
            self.failures += 1
            message = Message(self._excuse(event, error), ERROR, 0.0, {})
        self._queue.append(message)
        while self._queue and self._writing.acquire(blocking=False):
            try:
                while self._queue:
                    self._write(self._queue.popleft())
            finally:
                self._writing.release()     # and look again: one may have come after the last look

    def set_level(self, level: str, logger: str = "") -> None:
        """Show events from this level on, or only those of `logger` and what is below it; takes effect at once.

        Raises ValueError for a level that is none, for what is no logger's name, and for too many of those.
        """
        levels = dict(self.levels)
        if logger:
            levels[logger] = level
            level = self.level
        self.set_levels(level, levels)

    def set_levels(self, level: str, levels: Mapping[str, str]) -> None:
        """Show events from `level` on, but those of the loggers that `levels` names (``voltgw.control``), and of what is
        below them, from theirs on. Raises ValueError as `set_level` does, and then nothing has changed.
        """
        for each in (level, *levels.values()):
            if each not in LEVELS:
                raise ValueError(f"a log level is one of {', '.join(LEVELS)}, not {each!r}")
        for name in levels:
            if _LOGGER(name) is None:
                raise ValueError(f"a logger's name is like voltgw.control, not {name!r}")
        if len(levels) > MAX_LOGGERS:
            raise ValueError(f"at most {MAX_LOGGERS} loggers may have a level of their own")
        self.level, self.levels = level, dict(levels)
        least = LogLevel.lookupByName(level)
        chosen = LogLevelFilterPredicate()  # a new one: threads may ask the old one meanwhile
        chosen.setLogLevelForNamespace("", least)
        for namespace in _CHATTY:
            chosen.setLogLevelForNamespace(namespace, least if level == "debug" else max(least, LogLevel.warn))
        for name, each in levels.items():
            chosen.setLogLevelForNamespace(name, LogLevel.lookupByName(each))
        self._filter = chosen

    def turn_to(self, target: Sink | Daemon, format: str = "text") -> None:
        """Write to another file, or to a daemon, from now on; what was used before is closed, and `target` is ours."""
        if format not in FORMATS:
            raise ValueError(f"the process log is written as one of {', '.join(FORMATS)}, not as {format!r}")
        with self._writing:                 # no thread is about to write to what is closed
            before = self.target
            self._json = format == "json"
            self._prefixed = False
            if isinstance(target, Sink):
                self.sink, self._daemon = target, None
                self._prefixed = target.given is not None and under_journald(target.given)
            else:
                self._daemon = target
            if before is not self.sink or isinstance(target, Sink):
                before.close()

    @property
    def target(self) -> Sink | Daemon:
        """Where lines go now."""
        return self.sink if self._daemon is None else self._daemon

    def view(self) -> dict[str, Any]:
        """The log's own state, for the admin page: plain values."""
        sink = self.target
        return {"lines": sink.lines, "bytes": sink.bytes, "problem": sink.problem, "failures": self.failures,
                "dropped": {"blocked": sink.dropped_blocked, "failed": sink.dropped_failed}}

    def reopen(self) -> bool:
        """Open the file again after it was rotated; False when that failed and the old one stays in use."""
        return not self.target.reopen()

    @property
    def to_daemon(self) -> bool:
        """Whether events go to a daemon, which may have to be given again what it has not taken: see `relieve`."""
        return self._daemon is not None

    def relieve(self) -> None:
        """Have a daemon take what waits for it, as far as that goes; to be called now and then."""
        daemon = self._daemon
        if daemon is not None and daemon.blocked and self._writing.acquire(blocking=False):
            try:
                daemon.flush()
            finally:
                self._writing.release()

    def close(self) -> None:
        """Write what waits and give the descriptor back."""
        self.target.close()

    # -- formatting ------------------------------------------------------------------------------------------------

    def _message(self, event: LogEvent) -> Message:
        """An event as a line of a file, or for a daemon, which has the time and the level itself."""
        severity = SEVERITIES[_level(event)]
        if self._daemon is None and not self._prefixed:
            return Message(self._json_line(event) if self._json else self._text_line(event), severity, 0.0, {})
        namespace = str(event.get("log_namespace", "-"))
        traceback = _traceback(event)
        if self._json:
            text = self._json_line(event).rstrip("\n")
        else:
            text = f"{_one_line(namespace)}: {_one_line(redact_text(_message(event)))}"
            text += f"\n{traceback.rstrip()}" if traceback else ""
        if self._daemon is None:            # sd-daemon(3): a prefix for each line
            return Message("".join(f"<{severity}>{_one_line(line)}\n" for line in text.splitlines()), severity, 0.0, {})
        fields = {"LOGGER": namespace, **{name.upper(): str(value) for name, value in _own(event)}}
        seconds = event.get("log_time")
        return Message(text, severity, seconds if isinstance(seconds, int | float) else 0.0, fields)

    def _write(self, message: Message) -> None:
        if self._daemon is None:
            self.sink.write(message.text.encode("utf-8", "backslashreplace"), 1)
        else:
            self._daemon.send((message,))

    def _text_line(self, event: LogEvent) -> str:
        head = (f"{_time(event)} {_level(event):<8} {_one_line(str(event.get('log_namespace', '-')))}: "
                f"{_one_line(redact_text(_message(event)))}\n")
        traceback = _traceback(event)
        if traceback:
            head += "".join(f"    {_one_line(line)}\n" for line in traceback.splitlines())
        return head

    def _json_line(self, event: LogEvent) -> str:
        record: dict[str, Any] = {
            "time": _time(event), "level": _level(event), "logger": str(event.get("log_namespace", "-")),
            "message": redact_text(_message(event)),
        }
        for name, value in _own(event):
            if name not in record:
                record[name] = value
        traceback = _traceback(event)
        if traceback:
            record["traceback"] = traceback
        return json.dumps(record) + "\n"

    def _excuse(self, event: LogEvent, error: Exception) -> str:
        """The line that stands for an event that could not be formatted."""
        words = f"an event could not be written to the log: {type(error).__name__}"
        if self._json:
            return json.dumps({"time": _time(event), "level": "error", "logger": __name__, "message": words}) + "\n"
        return f"{_time(event)} {'error':<8} {__name__}: {words}\n"


def under_journald(fd: int) -> bool:
    """Whether journald reads a descriptor (JOURNAL_STREAM, systemd.exec(5)): then lines may begin with a priority."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def _own(event: LogEvent) -> list[tuple[str, int | float | str | None]]:
    """The fields that are an event's own, as plain values."""
    return [(name, value if isinstance(value, int) or value is None else _field(value))
            for name, value in event.items() if not name.startswith("log_") and name not in _NOT_OURS]


def _message(event: LogEvent) -> str:
    text = event_text(event)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        what = f"{failure.type.__name__ if failure.type else 'error'}: {failure.getErrorMessage()}"
        text = f"{text}: {what}" if text else what
    return _cut(text, _MAX_MESSAGE)


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return ""
    text = redact_text(failure.getTraceback())
    return text if len(text) <= _MAX_TRACEBACK else f"...\n{text[-_MAX_TRACEBACK:]}"


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _time(event: LogEvent) -> str:
    seconds = event.get("log_time")
    if not isinstance(seconds, int | float):
        return "-"                          # no `Logger` made it
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Text in which no control character is left that could begin another line or steer a terminal."""
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _field(value: object) -> float | str:
    if isinstance(value, float) and isfinite(value):
        return value
    return _cut(redact_text(value if isinstance(value, str) else repr(value)), _MAX_FIELD)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "..."
