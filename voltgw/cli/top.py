"""``voltgw top``: what the running gateway does, as it happens.

On a terminal it draws itself anew every few seconds and takes keys; with ``--once``, or where there is no terminal, it prints
the three tables and ends. It asks the admin interface for what anybody may see there, and changes nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, fetch, parser
from voltgw.cli.top_facts import VIEWS, Row, Sample, parsed, rows
from voltgw.cli.top_screen import SORTS, Look, screen, table

#: Seconds between two readings, where none are said.
_INTERVAL_S: Final = 2.0
#: Bounds of what may be said.
_LEAST_S, _MOST_S = 0.1, 3600.0
#: Events that are asked for.
_EVENTS: Final = 20
#: To the other screen and back, the cursor out of sight and back; to the upper left; the rest of a line, of the screen.
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_ARROWS: Final = {"\x1b[A": "k", "\x1b[B": "j", "\x1bOA": "k", "\x1bOB": "j", "\x1b[5~": "-", "\x1b[6~": "+"}


def run(arguments: list[str]) -> int:
    """Show it; exit status 0, 1 when what answers is no gateway, 3 when nobody answers."""
    options = _parser().parse_args(arguments)
    look = Look(options.view, {name: key for key, (name, _) in SORTS.items()}[options.sort],
                colour="NO_COLOR" not in os.environ or not os.environ["NO_COLOR"])
    if options.once or options.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _once(options, look)
    return _Live(options.admin, options.interval, look).run()


def _parser() -> argparse.ArgumentParser:
    made = parser("top", "Show what the running gateway does, as it happens: requests, errors and times of virtual hosts, "
                  "clusters and endpoints, and what has changed lately. Keys: h, c, e choose the table; n, r, x, 5, 9, a its "
                  "order; j and k scroll; space stands still; q ends.")
    made.add_argument("--once", action="store_true", help="print all three tables and end, as where there is no terminal")
    made.add_argument("--interval", metavar="SECONDS", type=_seconds, default=None,
                      help=f"between two readings (default: {_INTERVAL_S:g}, with --once 1)")
    made.add_argument("--view", choices=VIEWS, default="hosts", help="the table to begin with (default: %(default)s)")
    made.add_argument("--sort", choices=[name for name, _ in SORTS.values()], default="req/s",
                      help="the order of its lines (default: %(default)s)")
    return made


def _seconds(text: str) -> float:
    value = float(text)
    if not _LEAST_S <= value <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{_LEAST_S:g} to {_MOST_S:g} seconds")
    return value


class NoGatewayError(Exception):
    """What answers is no admin interface."""


def reading(where: str) -> Sample:
    """One reading. Raises OSError or HTTPException when nobody answers, NoGatewayError when it is no gateway."""
    at = time.monotonic()
    found: dict[str, Any] = {}
    for path in ("/", "/clusters", "/events"):
        status, body = fetch(where, "GET", path)
        try:
            found[path] = json.loads(body)
        except ValueError:
            raise NoGatewayError(f"{where} is not the admin interface of a gateway") from None
        if status != 200 or not isinstance(found[path], dict):
            if path.startswith("/events"):
                found[path] = {}
                continue
            why = found[path].get("error") if isinstance(found[path], dict) else None
            raise NoGatewayError(f"{where} is not the admin interface of a gateway: {why or f'it answers {status}'}")
    status, text = fetch(where, "GET", "/metrics")
    if status != 200 or "clusters" not in found["/clusters"]:
        raise NoGatewayError(f"{where} is not the admin interface of a gateway: it has no metrics")
    events = found["/events"].get("events", [])
    return Sample(at, parsed(text.decode("utf-8", "replace")), found["/clusters"]["clusters"], events[-_EVENTS:], found["/"])


def _once(options: argparse.Namespace, look: Look) -> int:
    try:
        before = reading(options.admin)
        time.sleep(options.interval or 1.0)
        now = reading(options.admin)
    except NoGatewayError as error:
        print(f"voltgw: {error}", file=sys.stderr)
        return REFUSED_STATUS
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"voltgw: no gateway answers at {options.admin}: {error}", file=sys.stderr)
        return UNREACHABLE_STATUS
    if options.json:
        print(json.dumps({view: [_plain(row) for row in rows(view, before, now)] for view in VIEWS}, indent=2))
        return 0
    for index, view in enumerate(VIEWS):
        if index:
            print()
        for line in table(view, look.sort, before, now):
            print(line)
    return 0


def _plain(row: Row) -> dict[str, Any]:
    made = {name: round(value, 3) if isinstance(value, float) else value for name, value in row._asdict().items()}
    return {**made, "error_percent": round(row.error_percent, 3)}


# -- on a terminal ----------------------------------------------------------------------------------------------------

class _Live:
    """The terminal: it is left as it was found, however this ends."""

    def __init__(self, where: str, interval_s: float | None, look: Look) -> None:
        self._where = where
        self._interval_s = interval_s or _INTERVAL_S
        self._look = look
        self._before: Sample | None = None
        self._now: Sample | None = None
        self._terminal = sys.stdin.fileno()
        self._rest = ""                     # of a key that has several bytes

    def run(self) -> int:
        """Until q."""
        try:
            self._now = reading(self._where)
        except NoGatewayError as error:
            print(f"voltgw: {error}", file=sys.stderr)
            return REFUSED_STATUS
        except (OSError, ValueError, http.client.HTTPException) as error:
            print(f"voltgw: no gateway answers at {self._where}: {error}", file=sys.stderr)
            return UNREACHABLE_STATUS
        with self._drawing() as woken:
            self._loop(woken)
        return 0

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[int]:
        """The terminal without echo, on its other screen; yields what can be read from when its size has changed."""
        before = termios.tcgetattr(self._terminal)
        reads, writes = os.pipe()
        os.set_blocking(writes, False)
        wakeup = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
        signals = {number: signal.signal(number, handler) for number, handler in (
            (signal.SIGWINCH, _nothing), (signal.SIGTERM, _end))}
        try:
            tty.setcbreak(self._terminal)
            sys.stdout.write(_ENTER)
            yield reads
        finally:
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, before)
            signal.set_wakeup_fd(wakeup)
            for number, handler in signals.items():
                signal.signal(number, handler)
            os.close(reads)
            os.close(writes)

    def _loop(self, woken: int) -> None:
        due = time.monotonic() + min(self._interval_s, 0.5)             # the first numbers come soon
        while True:
            self._draw()
            ready, _, _ = select.select([self._terminal, woken], [], [], max(0.0, due - time.monotonic()))
            if woken in ready:
                os.read(woken, 4096)
            if self._terminal in ready:
                data = os.read(self._terminal, 1024)
                if not data or not self._keys(data.decode("utf-8", "replace")):
                    return
            if time.monotonic() >= due:
                if not self._look.paused:
                    self._read()
                due = time.monotonic() + self._interval_s

    def _read(self) -> None:
        try:
            found = reading(self._where)
        except NoGatewayError as error:
            self._look = self._look._replace(problem=str(error))
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._look = self._look._replace(problem=f"no gateway answers at {self._where}: {error}")
        else:
            self._look = self._look._replace(problem="")
            self._before, self._now = self._now, found

    def _draw(self) -> None:
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = screen(self._look, self._before, self._now, size.columns or 80, size.lines or 24)
        sys.stdout.write(_HOME + f"{_CLEAR_LINE}\r\n".join(lines) + _CLEAR_LINE + _CLEAR_REST)
        sys.stdout.flush()

    def _keys(self, text: str) -> bool:
        """Do what some keys ask for; False: to end."""
        text = self._rest + text
        self._rest = ""
        for sequence, key in _ARROWS.items():
            text = text.replace(sequence, key)
        if text.endswith(("\x1b", "\x1b[", "\x1bO")):
            text, _, rest = text.rpartition("\x1b")
            self._rest = f"\x1b{rest}" if len(rest) else ""
        look = self._look
        for key in text:
            if key in ("q", "Q", "\x03", "\x04"):
                return False
            if key in "hce":
                look = look._replace(view=next(view for view in VIEWS if view[0] == key), first=0)
            elif key in SORTS:
                look = look._replace(sort=key, first=0)
            elif key in "jk+-":
                look = look._replace(first=max(0, min(look.first + {"j": 1, "k": -1, "+": 10, "-": -10}[key], 100_000)))
            elif key == " ":
                look = look._replace(paused=not look.paused)
        self._look = look
        return True


def _nothing(number: int, frame: FrameType | None) -> None:
    """The pipe has heard of it."""


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
