"""What ``gateway:`` says of the logs: the access logs, and from which level on the process log is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from voltgw.config.formats import Format
from voltgw.config.schema import Rule, field, message
from voltgw.config.types import Choice, Decimal, FilePath

#: Loggers that may have a level of their own.
MAX_LOGGERS: Final = 64
_LOGGER: Final = re.compile(r"[A-Za-z_]\w{0,63}(?:\.\w{1,64}){0,15}", re.ASCII)


def _logger(text: str) -> str:
    if _LOGGER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a logger's name, which is like voltgw.control")
    return text


LOGGER: Final = Format("logger's name", _logger, pattern=r"^[A-Za-z_]\w*(\.\w+)*$")


class LogFormat(Enum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


class LogLevel(Enum):
    """From which level on process log events are written."""

    INFO = "info"
    DEBUG = "debug"
    WARN = "warn"
    ERROR = "error"
    CRITICAL = "critical"


@message
class AccessLog:
    """Where the line of each request and connection goes."""

    path: str | None = field(FilePath(), "File to append to; ``-`` = standard output.", absent="no access log")
    format: LogFormat = field(Choice(LogFormat, numbers=False), "How the lines look.")
    explain: float | None = field(
        Decimal(0, 1), "Part of the requests whose lines say which rules were tried and why; JSON only.", absent="0",
        example="0.01")

    def rules(self) -> Iterable[Rule]:
        """Only a JSON line has room for it."""
        if self.explain and self.format is not LogFormat.JSON:
            yield Rule("explain", "VG0106", "only lines in JSON say why; set `format: json`")
