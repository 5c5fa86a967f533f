"""What an operator may have done to the logs of a running gateway: opened anew after rotation, and shown more or less of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from socket import gethostname
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.log_daemons import daemon_sink
from voltgw.observe.sink import Sink

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from voltgw.config.gateway import Gateway
    from voltgw.config.logs import ProcessLog as Wanted
    from voltgw.observe.access import AccessLog
    from voltgw.observe.events import EventRing
    from voltgw.observe.log import ProcessLog


#: How often a daemon that has not taken all of the process log is given the rest.
TEND_S: Final = 0.5


class Logs:
    """The logs of one gateway. `process` is None where somebody else writes the process log (``twistd --logfile``).

    `access` gives the access log of the moment. `reopened` is called whenever logs are opened anew, for whoever passes it on
    to other processes.
    """

    def __init__(
        self, process: ProcessLog | None, events: EventRing, access: Callable[[], AccessLog | None], wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.process = process
        self.reopened: Callable[[], None] | None = None
        self._events = events
        self._access = access
        self._wall = wall
        self._monotonic = monotonic
        self._gateway: Gateway | None = None
        self._ordered = False               # an operator has said another level than the configuration
        self._clock: IReactorTime | None = None
        self._tended = False                # a timer runs

    def start(self, clock: IReactorTime) -> None:
        """Look after a daemon that has the process log, on a clock that ends with the gateway."""
        self._clock = clock
        self._tend_later()

    def _tend_later(self) -> None:
        if self._clock is not None and not self._tended and self.process is not None and self.process.to_daemon:
            self._tended = True
            self._clock.callLater(TEND_S, self._tend)

    def _tend(self) -> None:
        """What it did not take when it came must not wait for the next event."""
        self._tended = False
        if self.process is not None:
            self.process.relieve()
        self._tend_later()

    def reopen(self) -> dict[str, Any]:
        """Open every log that is a file by its name again; ``problems`` says which could not be, and stay as they are."""
        problems: list[str] = []
        access = self._access()
        if access is not None and not access.reopen():
            problems.append("the access log cannot be opened again; see the process log")
        if self.process is not None:
            problem = self.process.target.reopen()
            if problem:
                problems.append(f"the process log cannot be opened again: {problem}")
        if self.reopened is not None:
            self.reopened()
        return {"ok": not problems, "problems": problems}

    def set_level(self, level: str, logger: str = "") -> dict[str, Any]:
        """Show events of `logger` ("" = all) from `level` on; ``reset`` = as the configuration says. The answer is `view`'s.

        Raises ValueError when that is no level or no name, or when the process log is somebody else's.
        """
        if self.process is None:
            raise ValueError("the process log is written by twistd, whose level is fixed; start it without --logfile, "
                             "--logger and --syslog")
        self.process.set_level(level, logger)
        self._ordered = True
        self._events.say("log.level", "an operator has said: {logger} from level {level} on", logger=logger or "everything",
                         level_wanted=level)
        return self.view()

    def reset(self) -> dict[str, Any]:
        """Show what the configuration says. Raises ValueError as `set_level` does."""
        if self.process is None or self._gateway is None:
            return self.set_level("info")
        self._ordered = False
        self._by(self._gateway)
        self._events.say("log.level", "an operator has said: levels of the log as the configuration has them",
                         logger="everything", level_wanted="reset")
        return self.view()

    def follow(self, gateway: Gateway, before: Gateway | None = None) -> None:
        """Show what `gateway` says; what an operator has said holds until the configuration says something new."""
        self._gateway = gateway
        if self.process is not None and gateway.log != (None if before is None else before.log):
            self._turn(self.process, gateway.log)
        said = (gateway.log_level, gateway.log_levels)
        if self.process is None or (self._ordered and before is not None and said == (before.log_level, before.log_levels)):
            return
        self._ordered = False
        self._by(gateway)

    def view(self) -> dict[str, Any]:
        """The levels, and how the logs fare; JSON-ready."""
        access, process = self._access(), self.process
        return {
            "level": None if process is None else process.level,
            "levels": {} if process is None else dict(process.levels),
            "ordered": self._ordered,
            "process_log": None if process is None else process.view(),
            "access_log": None if access is None else access.view(),
        }

    def _turn(self, process: ProcessLog, wanted: Wanted | None) -> None:
        """Write the process log to where the configuration wants it; where that cannot be opened, it stays where it is."""
        try:
            target: Any
            if wanted is None or (wanted.syslog, wanted.journald) == (None, None):
                target = Sink(2 if wanted is None or wanted.path is None else wanted.path)
            else:
                _, target = daemon_sink(wanted.syslog, wanted.journald, "process", gethostname(), self._wall, self._monotonic)
            process.turn_to(target, "text" if wanted is None else wanted.format.value)
            self._tend_later()
        except OSError as error:
            self._events.say("log.not_opened", "gateway.log: {path} cannot be written: {reason}", level="error",
                             path="" if wanted is None else wanted.path or "", reason=error.strerror or str(error))

    def _by(self, gateway: Gateway) -> None:
        assert self.process is not None
        levels: Mapping[str, Any] = gateway.log_levels
        self.process.set_levels(gateway.log_level.value, {name: level.value for name, level in levels.items()})
