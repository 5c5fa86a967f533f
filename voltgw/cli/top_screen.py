"""How ``voltgw top`` looks: lines of text for a terminal of some size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from voltgw.cli.top_facts import Row, Sample, rows, totals

#: How lines are shown that are not like the others; without colours all of them are the same.
BOLD, RED, YELLOW, REVERSE, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[7m", "\x1b[0m"
#: Events below the table.
_EVENTS: Final = 5

#: What lines may be sorted by, with the key that chooses it; numbers begin with the largest.
SORTS: Final[Mapping[str, tuple[str, Callable[[Row], Any]]]] = {
    "n": ("name", lambda row: row.name),
    "r": ("req/s", lambda row: (-row.requests_per_s, row.name)),
    "x": ("errors", lambda row: (-row.errors_per_s, -row.error_percent, row.name)),
    "5": ("p50", lambda row: (-(row.p50_ms or 0.0), row.name)),
    "9": ("p99", lambda row: (-(row.p99_ms or 0.0), row.name)),
    "a": ("active", lambda row: (-row.active, row.name)),
}
_HELP: Final = ("h hosts  c clusters  e endpoints | sort: n name  r req/s  x errors  5 p50  9 p99  a active | "
                "j k scroll  space pause  q quit")


class Look(NamedTuple):
    """What is on the screen: the view, the key of the order, the first line that is shown, whether it stands still."""

    view: str = "hosts"
    sort: str = "r"
    first: int = 0
    paused: bool = False
    colour: bool = True
    problem: str = ""


def screen(look: Look, before: Sample | None, now: Sample | None, width: int, height: int) -> list[str]:
    """Exactly `height` lines of at most `width` characters (without what colours them)."""
    if now is None or before is None:
        return _fitted([look.problem or "waiting for a second reading"], width, height)
    head = _head(look, before, now)
    found = sorted(rows(look.view, before, now), key=SORTS[look.sort][1])
    events = [shown_event(each) for each in now.events[-_EVENTS:][::-1]] if height >= 16 else []
    room = max(1, height - len(head) - 2 - (len(events) + 1 if events else 0))
    first = max(0, min(look.first, len(found) - room))
    lines = [*head, _coloured(_titles(look, room_of(width))[:width].ljust(width), REVERSE, look.colour)]
    lines += [_line(row, look, room_of(width)) for row in found[first:first + room]]
    lines += [""] * (room - len(found[first:first + room]))
    if events:
        lines += [_coloured("latest events", BOLD, look.colour), *(each[:width] for each in events)]
    lines.append(_HELP[:width])
    return _fitted(lines, width, height)


def table(view: str, sort: str, before: Sample, now: Sample) -> Iterator[str]:
    """A view as lines without an end on their width, for scripts and people who scroll."""
    found = sorted(rows(view, before, now), key=SORTS[sort][1])
    look = Look(view, sort, colour=False)
    room = max([len(printable(row.name)) for row in found] + [12])
    yield _titles(look, room).rstrip()
    yield from (_line(row, look, room).rstrip() for row in found)


def _head(look: Look, before: Sample, now: Sample) -> list[str]:
    facts = now.gateway
    state = "draining" if facts.get("draining") else "ready" if facts.get("ready") else "not ready"
    said = "  ".join(f"{name} {value}" for name, value in totals(before, now))
    first = f"voltgw {printable(str(facts.get('version', '')))}  {state}  generation {facts.get('generation', '?')}  {said}"
    if look.paused:
        first += "  PAUSED"
    lines = [_coloured(first, BOLD, look.colour)]
    if look.problem:
        lines.append(_coloured(printable(look.problem), RED, look.colour))
    return lines


def _titles(look: Look, room: int) -> str:
    mark = {name: name + ("*" if key == look.sort else "") for key, (name, _) in SORTS.items()}
    ready = "" if look.view == "hosts" else "ready"
    name = f"{look.view[:-1]}" + ("*" if look.sort == "n" else "")
    return (f"{name:<{room}} {mark['req/s']:>10} {mark['errors']:>9} {'err%':>6} {mark['p50']:>9} {mark['p99']:>9} "
            f"{mark['active']:>8} {ready:>7}")


def room_of(width: int) -> int:
    """Columns for names on a screen of some width."""
    return max(12, min(60, width - 78))


def _line(row: Row, look: Look, room: int) -> str:
    name = printable(row.name)
    if len(name) > room:
        name = f"{name[:room // 2 - 1]}…{name[-(room - room // 2):]}"
    ready = "" if look.view == "hosts" else f"{row.ready}/{row.endpoints}"
    if look.view == "endpoints":
        ready = "yes" if row.ready else "NO"
    line = (f"{name:<{room}} {row.requests_per_s:>10.1f} {row.errors_per_s:>9.1f} {row.error_percent:>6.1f} "
            f"{_ms(row.p50_ms):>9} {_ms(row.p99_ms):>9} {row.active:>8} {ready:>7} {printable(row.note)}")
    if look.view != "hosts" and row.ready == 0 and row.endpoints:
        return _coloured(line, RED, look.colour)
    if row.error_percent >= 1 or row.note:
        return _coloured(line, YELLOW, look.colour)
    return line


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f}s" if value >= 1000 else f"{value:.1f}ms" if value >= 10 else f"{value:.2f}ms"


def shown_event(event: Mapping[str, Any]) -> str:
    """One event in a line."""
    return printable(f"{str(event.get('time', ''))[11:19]} {event.get('level', ''):<7} {event.get('message', '')}")


def printable(text: str) -> str:
    """Text without what would do something to a terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _coloured(text: str, how: str, colour: bool) -> str:
    return f"{how}{text}{PLAIN}" if colour else text


def _fitted(lines: Sequence[str], width: int, height: int) -> list[str]:
    """As many lines as there is room for, none too wide: what colours them has no width."""
    made = []
    for line in lines[:height]:
        start = next((how for how in (BOLD, RED, YELLOW, REVERSE) if line.startswith(how)), "")
        text = line.removeprefix(start).removesuffix(PLAIN) if start else line
        made.append(f"{start}{text[:width]}{PLAIN}" if start else text[:width])
    return made + [""] * (height - len(made))
