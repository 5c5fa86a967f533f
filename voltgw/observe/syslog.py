"""Messages as syslog has them: RFC 5424 by UDP (RFC 5426) or TCP (RFC 6587, octet counting), and what local daemons read.

A local daemon's socket (``/dev/log``) is spoken to as the C library's syslog(3) does: rsyslog and journald take nothing else
there.
"""

from __future__ import annotations

import os
import time
from typing import Final

from voltgw.observe.messages import Message

#: By number (RFC 5424 6.2.1).
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
    "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7")
#: Most bytes of a message: what rsyslog takes by default, and the longest line of an access log.
MAX_MESSAGE: Final = 8192

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Rfc5424:
    """``<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID - MSG``; with `counted` behind its length, for TCP.

    `message_id` says what kind of messages these are. What is longer than `MAX_MESSAGE` is cut.
    """

    def __init__(self, facility: str, hostname: str, tag: str, message_id: str, counted: bool = False) -> None:
        self._facility = FACILITIES.index(facility) * 8
        self._rest = f" {_word(hostname, 255)} {_word(tag, 48)} {os.getpid()} {_word(message_id, 32)} - "
        self._counted = counted

    def __call__(self, message: Message, /) -> bytes:
        """The bytes of one message."""
        seconds, microseconds = divmod(int(message.wall * 1e6), 1_000_000)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        text = _one_line(message.text)
        mark = "" if text.isascii() else "\ufeff"       # 6.4: UTF-8 begins with a BOM
        data = _cut(f"<{self._facility + message.severity}>1 {stamp}.{microseconds:06d}Z{self._rest}{mark}{text}")
        return b"%d %s" % (len(data), data) if self._counted else data


class Local:
    """``<PRI>Mmm dd hh:mm:ss TAG[PID]: MSG``, with the time of day here, as syslog(3) writes it."""

    def __init__(self, facility: str, tag: str) -> None:
        self._facility = FACILITIES.index(facility) * 8
        self._rest = f" {_word(tag, 48)}[{os.getpid()}]: "

    def __call__(self, message: Message, /) -> bytes:
        """The bytes of one message."""
        at = time.localtime(message.wall)
        stamp = f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:2d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
        return _cut(f"<{self._facility + message.severity}>{stamp}{self._rest}{_one_line(message.text)}")


def _one_line(text: str) -> str:
    """A message is one line, whatever it quotes."""
    return text if text.isprintable() else "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _word(text: str, most: int) -> str:
    """Printable ASCII without spaces, as the header's fields are (6.2); ``-`` = nothing."""
    return "".join(char for char in text if "!" <= char <= "~")[:most] or "-"


def _cut(text: str) -> bytes:
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) <= MAX_MESSAGE else data[:MAX_MESSAGE].decode("utf-8", "ignore").encode()
