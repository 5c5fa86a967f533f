"""What scale.py has found, as tables and words: for a terminal, and between the markers of a page of the documentation."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

#: What the documentation says of the tables.
_WORDS: Final = """\
The *shape* is how many rules each virtual host's route object has and how many endpoints its cluster has: 10,000 hosts of 5x10
are 50,000 routes, 10,000 clusters and 100,000 endpoints (``benchmarks/estate.py``), all in one file or in a file for each host.
A row with a cross says how much the largest estate of a shape takes in comparison with the smallest one.

*load*, *check* and *build* are steps of one process, *voltgw check* is the whole command, *start* is the time until the gateway
is ready. *MiB* is memory once it serves, *later* after the reloads without traffic. *reload* and *max* are the median and the
longest of the reloads after one changed route, *cluster* of those after one changed cluster, *added* is one with a host more.

*turn* is the longest turn of the reactor in all of these and in traffic, *pause* the longest run of Python's cycle collector,
*full* counts runs over all generations while there is traffic. The *CPU* columns behind say how much of it was work: the rest
was waiting for a processor that this machine shares with other programs. *effect* is the longest time from an order (drain an
endpoint, let it serve again) until requests follow it, *reloading* while reloads are under way. *idle* is the share of a
processor that a gateway without traffic takes. *CPU us* is what a request takes, spread over 50 of the hosts, *small* the same
of a gateway that has no more than these, in the same rounds. *p99* is that of requests in an open loop, in rounds, each first
without and then with a reload in between. Ratios are taken in each round; shown is the median."""

#: Between these lines of a file its section stands.
BEGIN: Final = ".. scale: begin"
END: Final = ".. scale: end"
LAYOUTS_IN_WORDS: Final = {"one": "all in one file", "many": "a file for each"}


class Target(NamedTuple):
    """What shall be true of the largest estates."""

    figure: str
    limit: float
    words: str
    shapes: tuple[str, ...] = ()            # of which shapes it was asked; () = of all
    work: str = ""                          # the figure that says how much of it was CPU time


TARGETS: Final = (
    Target("check_command_s", 10.0, "voltgw check, s", ("3x1",)),
    Target("build_s", 5.0, "build, s", ("3x1",)),
    Target("reload_max_s", 0.5, "one changed host reloads, s", ("3x1",)),
    Target("effect_ms", 100.0, "from a change of an endpoint to its effect, ms"),
    Target("effect_reload_ms", 100.0, "the same while reloads are under way, ms"),
    Target("turn_ms", 20.0, "longest turn, ms", work="turn_cpu_ms"),
    Target("pause_ms", 2.0, "longest pause of the cycle collector, ms", work="pause_cpu_ms"),
    Target("p99_ratio", 1.2, "p99 with reloads to p99 without"),
)


class Column(NamedTuple):
    """A figure of a table."""

    heading: str
    figure: str
    decimals: int
    grows: bool = True                      # whether to say how it grows


READING: Final = (
    Column("load s", "load_s", 2), Column("check s", "check_s", 2), Column("build s", "build_s", 2),
    Column("voltgw check s", "check_command_s", 2), Column("start s", "start_s", 1), Column("MiB", "memory_mib", 0),
    Column("later", "memory_reloads_mib", 0), Column("reload s", "reload_s", 3), Column("max", "reload_max_s", 3),
    Column("CPU s", "reload_cpu_s", 2), Column("cluster s", "reload_cluster_s", 3), Column("added s", "reload_added_s", 3),
)
SERVING: Final = (
    Column("turn ms", "turn_ms", 1, False), Column("CPU ms", "turn_cpu_ms", 1, False), Column("pause ms", "pause_ms", 2, False),
    Column("CPU ms", "pause_cpu_ms", 2, False), Column("full", "full_collections", 0, False),
    Column("effect ms", "effect_ms", 1, False), Column("reloading", "effect_reload_ms", 1, False),
    Column("idle %", "idle_percent", 1, False), Column("CPU us", "request_us", 1), Column("small", "small_us", 1, False),
    Column("ratio", "request_ratio", 2, False), Column("p99 ms", "p99_ms", 2, False),
    Column("with reloads", "p99_reload_ms", 2, False), Column("ratio", "p99_ratio", 2, False),
    Column("in a reload", "p99_during_ms", 2, False),
)

Row = dict[str, Any]


def families(rows: list[Row]) -> list[list[Row]]:
    """Rows of one layout and shape, in the order of sizes."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["layout"], row["shape"]), []).append(row)
    return list(found.values())


def table(rows: list[Row], columns: tuple[Column, ...]) -> str:
    """One line for each estate, and one for how the figures of a family grow."""
    widths = [max(len(column.heading), 6) for column in columns]
    lines = [" ".join((f"{'hosts':>6} {'shape':>5} {'files':>5}",
                       *(f"{column.heading:>{width}}" for column, width in zip(columns, widths, strict=True))))]
    for family in families(rows):
        for row in family:
            lines.append(" ".join((f"{row['hosts']:>6} {row['shape']:>5} {row['layout']:>5}", *(
                f"{row['figures'][column.figure]:>{width}.{column.decimals}f}"
                for column, width in zip(columns, widths, strict=True)))))
        least, most = family[0], family[-1]
        if least is not most:
            times = [f"x{most['figures'][column.figure] / (least['figures'][column.figure] or 1.0):.1f}" if column.grows else ""
                     for column in columns]
            lines.append(" ".join((f"{'x%g' % (most['hosts'] / least['hosts']):>6} {'':>5} {'':>5}", *(
                f"{each:>{width}}" for each, width in zip(times, widths, strict=True)))).rstrip())
    return "\n".join(lines)


def shown_rows(rows: list[Row]) -> str:
    """Both tables."""
    return f"{table(rows, READING)}\n\n{table(rows, SERVING)}"


def verdicts(rows: list[Row]) -> dict[str, list[str]]:
    """Which targets are met, of the largest estate of each family, by what that is in words."""
    found: dict[str, list[str]] = {}
    for family in families(rows):
        row = family[-1]
        found[f"{row['hosts']:,} hosts of {row['shape']}, {LAYOUTS_IN_WORDS[row['layout']]}"] = [
            _verdict(target, row["figures"]) for target in TARGETS if not target.shapes or row["shape"] in target.shapes]
    return found


def _verdict(target: Target, figures: dict[str, float]) -> str:
    value = figures[target.figure]
    work = f" ({figures[target.work]:.3g} of them work)" if target.work else ""
    return f"{'met' if value <= target.limit else 'MISSED'}: {target.words}: {value:.3g}{work}, at most {target.limit:g}"


def section(machine: str, rows: list[Row], command: str) -> str:
    """The section of the documentation: what was measured, by which command, and which targets were met."""
    made = f"Made by ``{command} --into docs/performance.rst``. {machine}"
    paragraphs = ["Many virtual hosts\n==================", _WORDS, made]
    for columns in (READING, SERVING):
        paragraphs.append(".. code-block:: text\n\n" + "\n".join(
            f"   {line}".rstrip() for line in table(rows, columns).split("\n")))
    for what, lines in verdicts(rows).items():
        paragraphs += [f"{what}:", "\n".join(f"* {line}" for line in lines)]
    return "\n\n".join(paragraphs) + "\n"


def placed(text: str, section: str) -> str:
    """`text` with `section` between the markers; raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the file must have the line {BEGIN!r}, and {END!r} after it")
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"
