"""One comparison: start everything, prove that all do the same, measure in interleaved rounds, summarise, say it.

Rounds go A, B, C, A, B, C: a machine that grows slower or busier in the middle of a run does so for all. A ratio to another
proxy is taken within each round first, and the median of those is the result.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway import Voltgw, VoltgwCompiled
from harness import LOAD_CPU, PROXY_CPU, SETTLE_S, BenchmarkError, cpu_time, guard, run, work_directory
from load import wrk_version
from machine import describe, in_words
from origin import Origin
from peers import Envoy, HAProxy, Nginx
from proxies import HOST, ROUTES, Direct, Proxy, Setup

PROXIES: Final[dict[str, type[Proxy]]] = {kind.name: kind for kind in (VoltgwCompiled, Voltgw, HAProxy, Nginx, Envoy, Direct)}
#: Those to which ratios are given.
REFERENCES: Final = ("haproxy", "nginx", "envoy")

#: A round in which others had more of the proxy's CPU than this, or the hypervisor took more, is called doubtful.
OTHERS_PCT: Final = 10.0
STEAL_PCT: Final = 5.0

#: Kept of each configuration in a result.
_CONFIG_CHARACTERS: Final = 5000

#: Sets of features, and what is added to the names of their results.
FEATURES: Final = {"on": "", "off": "_bare", "full": "_full", "ten": "_ten"}

#: One proxy in one round: figures by name.
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Column:
    """A figure in the printed table: its name in `Figures`, its heading, its decimals, and what it is multiplied by."""

    figure: str
    heading: str
    decimals: int = 1
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared.

    `name` names the result file and the section of the docs; `main` is the figure for which ratios are given, and lower is
    better (empty: none); `ratios_of` adds figures for which ratios are kept beside it; `references` are the proxies to which
    they are; `files` are what the origin must
    have. With `tls` clients speak TLS, and the certificate has a key of `KEYS`.
    """

    name: str
    title: str
    unit: str
    main: str
    columns: tuple[Column, ...]
    mode: str = "http"
    version_2: bool = False
    websocket: bool = False
    tls: bool = False
    key: str = "ec"
    files: tuple[str, ...] = ()
    ratios_of: tuple[str, ...] = ()
    references: tuple[str, ...] = REFERENCES
    notes: tuple[str, ...] = ()


#: Of every comparison that counts requests.
REQUEST_COLUMNS: Final = (
    Column("cpu_us", "CPU us/req"), Column("system_pct", "of it system %", 0), Column("rps", "req/s", 0),
    Column("p50_us", "p50 ms", 2, 1e-3), Column("p99_us", "p99 ms", 2, 1e-3), Column("p999_us", "p99.9 ms", 2, 1e-3),
)


def arguments(comparison: str, *, seconds: float = 3, rounds: int = 5, proxies: str = "voltgw,haproxy,nginx,envoy,direct",
              connections: int = 64) -> argparse.ArgumentParser:
    """The options that all comparisons share."""
    parser = argparse.ArgumentParser(description=comparison, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help="of load, for each proxy in each round")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--warm-up", type=float, default=1, help="seconds of load before the first round, not counted")
    parser.add_argument("--proxies", default=proxies, help="in this order; of " + ", ".join(PROXIES))
    parser.add_argument("--connections", type=int, default=connections, help="of clients")
    parser.add_argument("--features", choices=tuple(FEATURES), default="on",
                        help="access log, request id, forwarded-for, one header edit each way: in all or in none; full: also a "
                             "retry policy, a time for the answer and 1,000 routes; ten: also a sticky cookie and CORS")
    parser.add_argument("--routes", type=int, default=0, help="of the virtual host (0: 1,000 with full and ten, else 1)")
    parser.add_argument("--buffers", choices=("default", "big"), default="default",
                        help="as each proxy comes, or 256 KiB to 1 MiB where it can be told so")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    parser.add_argument("--compiled", default="", metavar="PYTHON",
                        help="that has voltgw's compiled build installed: measure it too, as voltgw-compiled")
    parser.add_argument("--nice", type=int, default=0, help="autogroup priority of all processes alike; needs root below 0")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    return parser


@dataclass(slots=True)
class Bench:
    """A running comparison: its origin, its proxies, and what was measured so far."""

    comparison: Comparison
    options: argparse.Namespace
    directory: Path
    origin: Origin | None
    proxies: list[Proxy]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Say once, at the end and in the result, what makes a figure doubtful."""
        if text not in self.warnings:
            self.warnings.append(text)

    def record(self, proxy: Proxy, number: int, figures: Figures, case: str = "") -> None:
        """Keep one measurement and say that it was made."""
        self.rounds.append({"proxy": proxy.name, "round": number, **({"case": case} if case else {}), **figures})
        told = ", ".join(f"{column.heading} {figures[column.figure] * column.scale:.{column.decimals}f}"
                         for column in self.comparison.columns if column.figure in figures)
        print(f"round {number + 1}: {case + ' ' if case else ''}{proxy.name}: {told}", file=sys.stderr, flush=True)

    def each_round(self) -> Iterator[tuple[int, Proxy]]:
        """(round, proxy), interleaved."""
        for number in range(self.options.rounds):
            for proxy in self.proxies:
                yield number, proxy


@contextmanager
def servers(comparison: Comparison, options: argparse.Namespace, kinds: Mapping[str, type[Proxy]], *,
            directory: Path | None = None, endpoints: tuple[tuple[str, int], ...] = ()) -> Iterator[Bench]:
    """Servers of `kinds`, which need no origin of ours, started and proved."""
    guard()
    with contextlib.ExitStack() as stack:
        folder = directory or stack.enter_context(work_directory(options.keep))
        setup = Setup(comparison.mode, options.features != "off", False, endpoints, folder, options.python, options.nice,
                      compiled=options.compiled)
        proxies = [kind(setup) for kind in chosen(options.proxies, options.compiled, kinds)]
        for proxy in proxies:
            proxy.start()
            proxy.prove()
        yield Bench(comparison, options, folder, None, proxies)
        _still_run(proxies)


@contextmanager
def bench(comparison: Comparison, options: argparse.Namespace, *, endpoints: tuple[tuple[str, int], ...] | None = None,
          everywhere: Callable[[int], tuple[tuple[str, int], ...]] | None = None, probe_interval_s: int = 0) -> Iterator[Bench]:
    """Origin and proxies, started and proved; everything is ended on the way out.

    `endpoints` replaces the one endpoint of the origin; `everywhere` makes them from the port that the origin has on all of
    127/8.
    """
    guard()
    with work_directory(options.keep) as directory:
        by_name = comparison.mode == "sni"          # TLS ends at the origin
        own = certificate(directory, comparison.key) if comparison.tls or by_name else None
        origin = Origin(directory, files=comparison.files, everywhere=everywhere is not None, nice=options.nice,
                        certificate=own if by_name else None)
        if everywhere is not None:
            endpoints = everywhere(origin.everywhere_port)
        setup = Setup(comparison.mode, options.features != "off", options.buffers == "big",
                      endpoints or (("127.0.0.1", origin.tls_port if by_name else origin.port),), directory, options.python,
                      options.nice, probe_interval_s, comparison.version_2, own if comparison.tls else None,
                      options.features == "ten", options.features in {"full", "ten"},
                      spread(options) or 1, comparison.websocket, options.compiled)
        proxies = [kind(setup) for kind in chosen(options.proxies, options.compiled)]
        for proxy in proxies:
            proxy.start()
        for proxy in proxies:
            proxy.prove()
            proxy.take_log_lines()
        yield Bench(comparison, options, directory, origin, proxies)
        _still_run(proxies)


def _still_run(proxies: Sequence[Proxy]) -> None:
    """Fails where one of them has ended under way."""
    for proxy in proxies:
        if proxy.process is not None:
            proxy.process.check()


#: What `openssl req` makes a key with: both are as strong as certificates of the web are.
KEYS: Final = {"ec": ("ec", "ec_paramgen_curve:P-256"), "rsa": ("rsa", "rsa_keygen_bits:2048")}


def certificate(directory: Path, kind: str = "ec") -> Path:
    """A certificate of its own issue, with its key (one of `KEYS`), in one file."""
    key, cert, both = (directory / name for name in ("key.pem", "cert.pem", "both.pem"))
    run(["openssl", "req", "-x509", "-newkey", KEYS[kind][0], "-pkeyopt", KEYS[kind][1], "-nodes", "-days", "30",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out", str(cert)],
        cpu=LOAD_CPU, timeout_s=30, log=directory / "openssl.log")
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    both.chmod(0o644)
    return both


def spread(options: argparse.Namespace) -> int:
    """Among how many routes the requests take turns; 0 when there is one."""
    routes = options.routes or (ROUTES if options.features in {"full", "ten"} else 1)
    return int(routes) if routes > 1 else 0


def chosen(names: str, compiled: str = "", kinds: Mapping[str, type[Proxy]] = PROXIES) -> list[type[Proxy]]:
    """Those of `kinds` that were asked for, in that order; a `compiled` build of voltgw stands before the other one."""
    wanted = names.split(",")
    if compiled and Voltgw.name in wanted and VoltgwCompiled.name not in wanted:
        wanted.insert(wanted.index(Voltgw.name), VoltgwCompiled.name)
    if unknown := [name for name in wanted if name not in kinds]:
        raise BenchmarkError(f"no proxy {unknown[0]!r}: there are {', '.join(kinds)}")
    return [kinds[name] for name in wanted]


def measured(proxy: Proxy, load: Callable[[], dict[str, Any]], count: str = "requests") -> Figures:
    """Put load on a proxy and read what it cost; `count` names what the load counted, per which the cost is given.

    The window begins before the load and ends when the proxy has had time to write its log. `others_pct` is what other
    processes took of the proxy's CPU meanwhile, `steal_pct` what the hypervisor took.
    """
    machine_before, before, began = cpu_time(PROXY_CPU), proxy.cpu(), time.monotonic()
    try:
        result = load()
    except BenchmarkError:
        if proxy.process is not None:
            proxy.process.check()                   # that it has died says more than what the generator met
        raise
    load_s = time.monotonic() - began
    time.sleep(SETTLE_S)
    after, machine_after = proxy.cpu(), cpu_time(PROXY_CPU)
    wall_s = time.monotonic() - began
    used = after - before
    counted = result[count]
    if not counted:
        raise BenchmarkError(f"{proxy.name}: no {count} were counted")
    figures: Figures = {key: float(value) for key, value in result.items() if isinstance(value, int | float)}
    figures["load_s"] = load_s
    figures["others_pct"] = max(0.0, (machine_after.busy_s - machine_before.busy_s - used.total_s) / wall_s * 100)
    figures["steal_pct"] = (machine_after.stolen_s - machine_before.stolen_s) / wall_s * 100
    if proxy.process is not None:
        if used.total_s < 0.02:
            raise BenchmarkError(f"{proxy.name} used no CPU for {counted:.0f} {count}: is the load going past it?")
        figures |= {"cpu_s": used.total_s, "user_s": used.user_s, "system_s": used.system_s,
                    "cpu_us": used.total_s / counted * 1e6, "system_pct": used.system_s / used.total_s * 100}
    return figures


def check_log(bench_: Bench, proxy: Proxy, expected: float) -> Figures:
    """Compare the access log with what was counted; a proxy that loses lines has done less work."""
    if proxy.process is None or bench_.options.features == "off":
        return {}
    lines = proxy.take_log_lines()
    share = lines / expected if expected else 0.0
    if share < 0.5:
        raise BenchmarkError(f"{proxy.name} wrote {lines} access-log lines for {expected:.0f}")
    if share < 0.99:
        bench_.warn(f"{proxy.name} wrote only {share:.0%} of its access-log lines")
    return {"log_lines_pct": share * 100}


def summary(
    rounds: Sequence[dict[str, Any]], ratios_of: Sequence[str], references: Sequence[str] = REFERENCES,
) -> list[dict[str, Any]]:
    """One row for each proxy (and case): median, least and most of every figure, and ratios to the references."""
    rows = []
    for case, name in dict.fromkeys((entry.get("case", ""), entry["proxy"]) for entry in rounds):
        same_case = [entry for entry in rounds if entry.get("case", "") == case]
        mine = [entry for entry in same_case if entry["proxy"] == name]
        figures = {key: _spread([entry[key] for entry in mine]) for key, value in mine[0].items()
                   if isinstance(value, float) and all(key in entry for entry in mine)}
        ratios: dict[str, dict[str, Any]] = {}
        for figure in ratios_of:
            for reference in references:
                theirs = {entry["round"]: entry.get(figure) for entry in same_case if entry["proxy"] == reference}
                pairs = [entry[figure] / theirs[entry["round"]] for entry in mine
                         if figure in entry and theirs.get(entry["round"])]
                if pairs:
                    ratios.setdefault(figure, {})[reference] = _spread(pairs)
        rows.append({"proxy": name, **({"case": case} if case else {}), "figures": figures, "ratios": ratios})
    return rows


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def request_rounds(
    bench_: Bench, load: Callable[[Proxy, Any], dict[str, Any]], much: float, little: float, *, logged: bool = True,
) -> None:
    """Warm each proxy up with a `little` load, put `much` on each in every round, and finish.

    `logged`: each request must stand in the proxy's access log.
    """
    for proxy in bench_.proxies:
        load(proxy, little)
    for number, proxy in bench_.each_round():
        proxy.take_log_lines()
        figures = measured(proxy, partial(load, proxy, much))
        figures["rps"] = figures["requests"] / figures["seconds"]
        if logged:
            figures |= check_log(bench_, proxy, figures["requests"])
        bench_.record(proxy, number, figures)
    finish(bench_)


def finish(bench_: Bench) -> dict[str, Any]:
    """Summarise, print the table, write the JSON file if one was asked for."""
    comparison, options = bench_.comparison, bench_.options
    disturbed = {entry["proxy"] for entry in bench_.rounds
                 if entry.get("others_pct", 0) > OTHERS_PCT or entry.get("steal_pct", 0) > STEAL_PCT}
    if disturbed:
        bench_.warn(f"the proxy's CPU was not its own in some rounds (others > {OTHERS_PCT:g} % or steal > {STEAL_PCT:g} %): "
                    f"{', '.join(sorted(disturbed))}")
    ratios_of = [name for name in (comparison.main, *comparison.ratios_of) if name]
    rows = summary(bench_.rounds, ratios_of, comparison.references)
    told = {*ratios_of, *(column.figure for column in comparison.columns)}
    for row in rows:                        # the others stand in the rounds
        row["figures"] = {name: spread for name, spread in row["figures"].items() if name in told}
    result = {
        "comparison": comparison.name, "title": comparison.title, "unit": comparison.unit, "main": comparison.main,
        "columns": [[column.figure, column.heading, column.decimals, column.scale] for column in comparison.columns],
        "references": list(comparison.references), "notes": list(comparison.notes), "warnings": bench_.warnings,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "options": {name: value for name, value in vars(options).items() if name not in {"json", "python", "compiled", "keep"}},
        "machine": describe(options.python, options.nice, options.compiled), "generator": wrk_version(),
        "proxies": {proxy.name: {"version": proxy.version(), "note": proxy.note, "config": _shortened(proxy.config_text)}
                    for proxy in bench_.proxies},
        "rounds": bench_.rounds, "summary": rows,
    }
    print(table(result))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(as_json(result))
    return result


def table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    options = result["options"]
    load = f" x {options['seconds']:g} s" if options["seconds"] else ""
    lines = [f"{result['title']} (rounds: {options['rounds']}{load}; median [min-max])",
             in_words(result["machine"]),
             ", ".join(f"{name} {about['version']}" for name, about in result["proxies"].items() if about["version"])]
    return "\n".join([*lines, *grid(result), *(f"WARNING: {text}" for text in result["warnings"])])


def grid(result: dict[str, Any]) -> list[str]:
    """A line for each proxy, under a line of headings, in columns."""
    columns = [Column(*column) for column in result["columns"]]
    references = result["references"] if result["main"] else ()
    rows = [["", *(column.heading for column in columns), *(f"x {name}" for name in references)]]
    for row in result["summary"]:
        cells = [f"{row.get('case', '')} {row['proxy']}".strip()]
        for column in columns:
            figure = row["figures"].get(column.figure)
            cells.append(_cell(figure, column) if figure else "-")
        ratios = row["ratios"].get(result["main"], {})
        cells += [f"{ratios[name]['median']:.2f}" if name in ratios else "-" for name in references]
        rows.append(cells)
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if index == 0 else cell.rjust(width)
                      for index, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]


def as_json(result: dict[str, Any]) -> str:
    """For the file: a round or a row in one line, and of each figure six digits, which is more than it has."""
    parts = []
    for key, value in _rounded(result).items():
        if key in {"rounds", "summary"}:
            text = "[\n  " + ",\n  ".join(json.dumps(entry) for entry in value) + "\n ]"
        else:
            text = json.dumps(value, indent=1).replace("\n", "\n ")
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shortened(text: str) -> str:
    """A configuration with thousands of endpoints says no more than one with a few."""
    if len(text) <= _CONFIG_CHARACTERS:
        return text
    half = _CONFIG_CHARACTERS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _cell(figure: dict[str, float], column: Column) -> str:
    middle, least, most = (f"{figure[key] * column.scale:.{column.decimals}f}" for key in ("median", "min", "max"))
    return f"{middle} [{least}-{most}]"


def main(body: Callable[[], None]) -> None:
    """Run a comparison as a program: what is wrong is said in one line, with exit status 1."""
    try:
        body()
    except BenchmarkError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        raise SystemExit(1) from None
