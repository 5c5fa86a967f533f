"""The arithmetic and the text of the benchmarks: `python -m unittest discover benchmarks`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent))

from profile import parse_strace

import scale_table
from charts import Axis, Bars, Lines, bars, lines
from compare import as_json, check_log, chosen, summary, table
from estate import Estate
from gateway import Voltgw, VoltgwCompiled
from harness import BenchmarkError, Cpu, Proc, cpu_time, stop_all
from jobs import JOBS
from machine import in_words
from openloop import quantile
from peers import Envoy, HAProxy, Nginx
from plots import plots
from proxies import Setup
from render import BEGIN, END, render, replace_between_markers
from targets import TARGETS, Verdict, judge, score
from turns import FIELDS, Collections, Record

ROUNDS: list[dict[str, Any]] = [
    {"proxy": "voltgw", "round": 0, "cpu_us": 30.0}, {"proxy": "nginx", "round": 0, "cpu_us": 20.0},
    {"proxy": "direct", "round": 0, "rps": 9.0},
    # The machine was twice as slow in this round: the ratio must not notice.
    {"proxy": "voltgw", "round": 1, "cpu_us": 60.0}, {"proxy": "nginx", "round": 1, "cpu_us": 40.0},
    {"proxy": "direct", "round": 1, "rps": 9.0},
    {"proxy": "voltgw", "round": 2, "cpu_us": 33.0}, {"proxy": "nginx", "round": 2, "cpu_us": 20.0},
    {"proxy": "direct", "round": 2, "rps": 9.0},
]

STRACE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 55.00    0.061000           3     20000           sendto
 45.00    0.050000           2     20100       100 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.111000           2     40100       100 total
"""


def result(**changes: Any) -> dict[str, Any]:
    """A result as `compare.finish` writes it."""
    python = {"implementation": "CPython", "version": "3.11.2", "compiler": "GCC", "pgo": "yes", "lto": "no",
              "twisted": "26.10", "orjson": "3"}
    machine = {"cpus": 2, "cpu": "Some CPU", "hypervisor": False, "memory": "1 kB", "system": "Some Linux", "kernel": "6",
               "proxy_cpu": 0, "load_cpu": 1, "python": python}
    return {
        "comparison": "http_newconn", "title": "A title", "unit": "request", "main": "cpu_us",
        "references": ["haproxy", "nginx", "envoy"], "notes": ["A note."],
        "columns": [["cpu_us", "CPU us/req", 1, 1.0], ["rps", "req/s", 0, 1.0]], "warnings": [], "when": "2026-01-02T03:04:05",
        "options": {"rounds": 3, "seconds": 1}, "machine": machine, "generator": "wrk 4",
        "proxies": {"voltgw": {"version": "1", "note": ""}, "nginx": {"version": "2", "note": "is nginx"},
                    "direct": {"version": "", "note": ""}},
        "rounds": ROUNDS, "summary": summary(ROUNDS, ["cpu_us"]), **changes}


class SummaryTests(unittest.TestCase):
    """`compare.summary`."""

    def test_a_slow_round_does_not_change_the_ratio(self) -> None:
        """Ratios are taken within rounds: 1.5, 1.5 and 1.65."""
        voltgw = summary(ROUNDS, ["cpu_us"])[0]
        self.assertEqual(voltgw["figures"]["cpu_us"], {"median": 33.0, "min": 30.0, "max": 60.0})
        self.assertEqual(voltgw["ratios"]["cpu_us"], {"nginx": {"median": 1.5, "min": 1.5, "max": 1.65}})

    def test_a_row_without_the_figure_has_no_ratio(self) -> None:
        """`direct` has no CPU of its own."""
        direct = summary(ROUNDS, ["cpu_us"])[2]
        self.assertEqual((direct["proxy"], direct["ratios"]), ("direct", {}))

    def test_cases_are_rows_of_their_own(self) -> None:
        """Two loads in one run are never mixed."""
        rows = summary([{"proxy": "nginx", "case": case, "round": 0, "p99_us": value}
                        for case, value in (("30 %", 1.0), ("70 %", 9.0))], ["p99_us"])
        self.assertEqual([(row["case"], row["figures"]["p99_us"]["median"]) for row in rows], [("30 %", 1.0), ("70 %", 9.0)])

    def test_the_terminal_table_has_every_proxy(self) -> None:
        """Medians, spread and ratio stand in one line; what a proxy has not is a dash."""
        lines = table(result()).splitlines()
        self.assertIn("33.0 [30.0-60.0]", next(line for line in lines if line.startswith("voltgw  ")))
        direct = next(line for line in lines if line.startswith("direct"))
        self.assertEqual(direct.split(), ["direct", "-", "9", "[9-9]", "-", "-", "-"])


class RenderTests(unittest.TestCase):
    """`render.py`."""

    def test_machine_and_versions_stand_once(self) -> None:
        """Results of one machine share one description, whichever proxies each has."""
        other = result(comparison="tcp_echo", proxies={"nginx": {"version": "2", "note": "is nginx"}})
        text = render([result(), other])
        self.assertEqual((text.count("Some CPU"), text.count("is nginx"), text.count("nginx 2")), (1, 1, 1))

    def test_another_version_is_not_hidden(self) -> None:
        """When one result had another nginx, each says which it had."""
        text = render([result(), result(proxies={"nginx": {"version": "3", "note": ""}})])
        self.assertEqual((text.count("nginx 2"), text.count("nginx 3"), text.count("Some CPU")), (1, 1, 2))

    def test_warnings_are_not_lost(self) -> None:
        """What makes a figure doubtful stands below its table."""
        self.assertIn("   * others were busy", render([result(warnings=["others were busy"])]))

    def test_the_text_around_the_markers_stays(self) -> None:
        """Only what is between them is replaced, and doing it twice changes nothing."""
        once = replace_between_markers(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new\n")
        self.assertEqual(once, f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n")
        self.assertEqual(replace_between_markers(once, "new\n"), once)

    def test_a_file_without_markers_is_refused(self) -> None:
        """Nothing is written where nobody asked for it."""
        with self.assertRaises(ValueError):
            replace_between_markers("text", "new")


class ReadingTests(unittest.TestCase):
    """What is read from other programs and from /proc."""

    def test_strace_counts_with_and_without_errors(self) -> None:
        """The total is no system call."""
        self.assertEqual(parse_strace(STRACE), {"sendto": 20000, "recvfrom": 20100})

    def test_quantiles_are_values_that_were_measured(self) -> None:
        """The least value that at least this share does not exceed."""
        values = [float(number) for number in range(1, 1001)]
        self.assertEqual([quantile(values, share) for share in (0.5, 0.99, 0.999, 1.0)], [500, 990, 999, 1000])
        self.assertEqual(quantile([7.0], 0.5), 7.0)

    def test_cpu_of_a_child_that_ended_is_kept(self) -> None:
        """The tree's time does not shrink when a child of it ends."""
        with tempfile.TemporaryDirectory() as directory:
            busy = "import time\nwhile time.process_time() < 0.15: pass"
            code = (f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {busy!r}]); "
                    "print(flush=True); time.sleep(30)")
            out = Path(directory, "out")
            process = Proc("tree", [sys.executable, "-c", code], 0, Path(directory, "log"), stdout=out)
            try:
                while not out.read_bytes():
                    process.check()
                self.assertGreaterEqual(process.cpu().total_s, 0.14)
                self.assertGreater(process.anonymous_kib(), 1000)
            finally:
                stop_all()
        self.assertEqual(process.pids(), [])

    def test_time_of_a_processor_grows(self) -> None:
        """And a difference of CPU times is one."""
        self.assertGreater(cpu_time(0).busy_s, 0)
        self.assertEqual((Cpu(3, 2) - Cpu(1, 1)).total_s, 3)


class LogTests(unittest.TestCase):
    """`compare.check_log`."""

    def test_lost_lines_are_noticed(self) -> None:
        """Some lost lines are a warning, half of them end the run."""
        bench, proxy = _Bench(), _Proxy(90)
        self.assertEqual(check_log(bench, proxy, 100), {"log_lines_pct": 90.0})  # type: ignore[arg-type]
        self.assertEqual(bench.warnings, ["voltgw wrote only 90% of its access-log lines"])
        with self.assertRaises(BenchmarkError):
            check_log(bench, _Proxy(10), 100)  # type: ignore[arg-type]


class _Bench:
    options = SimpleNamespace(features="on")

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class _Proxy:
    name = "voltgw"
    process = object()

    def __init__(self, lines: int) -> None:
        self._lines = lines

    def take_log_lines(self) -> int:
        return self._lines


class TargetTests(unittest.TestCase):
    """`targets.py`."""

    def judged(self, ours: float, build: str = "voltgw-compiled") -> Verdict:
        """The verdict on HTTP/1.1 beside nginx, when ours costs so much and nginx 20."""
        rounds = [{"proxy": build, "round": 0, "cpu_us": ours}, {"proxy": "nginx", "round": 0, "cpu_us": 20.0}]
        made = result(comparison="http_keepalive_full", rounds=rounds, summary=summary(rounds, ["cpu_us"]))
        ((target, found), *_) = judge([made], "_full")
        self.assertEqual((target.result, target.reference), ("http_keepalive", "nginx"))
        return found[build]

    def test_words(self) -> None:
        """At the bound it is met; at the goal that is said; beyond it stands by how much."""
        self.assertEqual([self.judged(ours).word for ours in (20.0, 21.0, 30.0, 30.1, 36.0)],
                         ["goal met", "met", "met", "just missed", "missed by 20%"])

    def test_builds_have_bounds_of_their_own(self) -> None:
        """1.8 times nginx is too much for one, and not for the other, which has no verdict where it was not measured."""
        self.assertEqual((self.judged(36.0).met, self.judged(36.0, "voltgw").met), (False, True))
        rounds = [{"proxy": "voltgw", "round": 0, "cpu_us": 9.0}, {"proxy": "nginx", "round": 0, "cpu_us": 9.0}]
        made = result(comparison="http_keepalive_full", rounds=rounds, summary=summary(rounds, ["cpu_us"]))
        ((_, found), *_) = judge([made], "_full")
        self.assertEqual((found["voltgw-compiled"].word, found["voltgw"].word), ("", "goal met"))
        self.assertEqual((score(judge([made], "_full"), "voltgw-compiled"), score(judge([made], "_full"), "voltgw")),
                         ("0 of 0", "1 of 1"))

    def test_a_bound_without_a_peer_is_for_the_figure(self) -> None:
        """Memory is not a ratio, and stands in the first table only."""
        rounds = [{"proxy": "voltgw", "round": 0, "started_mib": 61.0, "kib_per_connection": 5.0}]
        made = result(comparison="idle_http", main="kib_per_connection", rounds=rounds,
                      summary=summary(rounds, ["kib_per_connection"]))
        self.assertEqual([found["voltgw"].word for _, found in judge([made], "_full")], ["missed by 2%", "met"])
        self.assertEqual(judge([made], "_bare"), [])

    def test_every_target_is_measured_by_the_full_run(self) -> None:
        """A result of that name is made, and its case by an open loop that has it."""
        names = {job.name: job for job in JOBS if not job.more}
        for target in TARGETS:
            for suffix in ("",) if target.always else ("_full",):
                self.assertIn(target.result + suffix, names)
        self.assertIn("10,30,50,70,90", names["open_loop_full"].command)

    def test_the_table_has_a_row_for_each(self) -> None:
        """With the bound, the goal and the verdict."""
        rounds = [{"proxy": "voltgw-compiled", "round": 0, "cpu_us": 25.0}, {"proxy": "nginx", "round": 0, "cpu_us": 20.0}]
        made = result(comparison="http_keepalive_full", rounds=rounds, summary=summary(rounds, ["cpu_us"]))
        text = render([made])
        self.assertIn("     - 1.25\n     - 1.5 (goal 1)\n     - met\n", text)
        self.assertIn("Met: 1 of 1 by the compiled build, 0 of 0 by the other.", text)


class BuildTests(unittest.TestCase):
    """Both builds in one run."""

    def test_the_compiled_build_stands_before_the_other(self) -> None:
        """Where there is one, and it was not named."""
        self.assertEqual([kind.name for kind in chosen("haproxy,voltgw", "/python")], ["haproxy", "voltgw-compiled", "voltgw"])
        self.assertEqual([kind.name for kind in chosen("voltgw-compiled,nginx", "/python")], ["voltgw-compiled", "nginx"])
        self.assertEqual([kind.name for kind in chosen("voltgw,nginx")], ["voltgw", "nginx"])
        with self.assertRaises(BenchmarkError):
            chosen("voltgw,squid")

    def test_a_package_without_compiled_modules_is_refused(self) -> None:
        """Else figures of the interpreted build would stand under the other one's name."""
        with tempfile.TemporaryDirectory() as directory:
            package = Path(directory, "voltgw")
            package.mkdir()
            (package / "__init__.py").write_text('__version__ = "9"\n')
            compiled = VoltgwCompiled(Setup("http", False, False, (("127.0.0.1", 9),), Path(directory), sys.executable,
                                            compiled=sys.executable))
            shutil.move(package, compiled.directory)
            with self.assertRaises(BenchmarkError) as caught:
                compiled.start()
            self.assertIn("has no compiled module", str(caught.exception))
            compiled._build = None
            (compiled.directory / "voltgw" / "some.cpython-311.so").touch()
            self.assertEqual(compiled.version(), "9 (compiled, 1 modules)")

    def test_an_interpreter_of_its_own_is_told(self) -> None:
        """Of the compiled build."""
        machine = result()["machine"]
        other = {**machine["python"], "version": "3.13.1"}
        self.assertIn("compiled on CPython 3.13.1", in_words({**machine, "compiled_python": other}))
        self.assertNotIn("compiled on", in_words(machine))


class FileTests(unittest.TestCase):
    """What is kept of a run."""

    def test_json_has_everything(self) -> None:
        """Six digits of each figure, a round in one line."""
        made = result(rounds=[{"proxy": "nginx", "round": 0, "cpu_us": 12.3456789}], proxies={"a": {"config": '"rounds": []'}})
        text = as_json(made)
        read = json.loads(text)
        self.assertEqual(read["rounds"], [{"proxy": "nginx", "round": 0, "cpu_us": 12.3457}])
        self.assertEqual((read["title"], read["proxies"]), (made["title"], made["proxies"]))
        self.assertIn('\n  {"proxy": "nginx", "round": 0, "cpu_us": 12.3457}\n', text)


class PlotTests(unittest.TestCase):
    """`plots.py` and `charts.py`."""

    def series(self) -> dict[str, Any]:
        """Of an open loop with two loads."""
        rounds = [{"proxy": name, "case": f"{load:g} %", "round": 0, "p50_us": load * 10.0 * factor, "p99_us": 1e4 * factor}
                  for name, factor in (("voltgw", 2.0), ("nginx", 1.0), ("direct", 0.5)) for load in (90.0, 10.0)]
        return result(comparison="open_loop_full", main="p99_us", rounds=rounds, summary=summary(rounds, ["p99_us"]))

    def test_points_stand_where_they_belong(self) -> None:
        """In the order of the load, higher values higher on the page; who is no proxy is left out."""
        (plot,) = plots([self.series()])
        root = ElementTree.fromstring(plot.svg)
        drawn = [[tuple(float(part) for part in point.split(",")) for point in line.get("points", "").split()]
                 for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
        self.assertEqual(len(drawn), 4)                     # two panels of two proxies
        (left, low), (right, high) = drawn[0]
        self.assertLess(left, right)
        self.assertGreater(low, high)
        self.assertLess(drawn[0][0][1], drawn[1][0][1])     # voltgw's median is the larger one

    def test_bars_are_in_proportion(self) -> None:
        """From zero, within each panel."""
        root = ElementTree.fromstring(bars([Bars("a & b", "us", {"voltgw": 10.0, "knot": 5.0})]))
        wide = [float(bar.get("width", "0")) for bar in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
        self.assertAlmostEqual(wide[0] / wide[1], 2.0, places=2)

    def test_ticks_are_round_and_within(self) -> None:
        """On both kinds of axes."""
        self.assertEqual(Axis([0.3, 7.0], True, 0, 1, from_zero=True).ticks(), [0.5, 1, 2, 5])
        self.assertEqual(Axis([3.0, 47.0], False, 0, 1, from_zero=True).ticks(), [0, 10, 20, 30, 40])
        self.assertEqual(Axis([3.0, 3.0], False, 0, 1, from_zero=True).ticks()[0], 0)

    def test_one_value_can_be_drawn(self) -> None:
        """An axis without length divides by nothing."""
        ElementTree.fromstring(lines([Lines("t", "x", "y", {"voltgw": [(1.0, 2.0)]}, log_x=True, log_y=True)]))


class SetTests(unittest.TestCase):
    """What is asked of all proxies."""

    def test_the_full_set_is_in_every_configuration(self) -> None:
        """A thousand routes, a retry policy and a log, in the words of each; without them none."""
        for full in (True, False):
            with tempfile.TemporaryDirectory() as directory:
                setup = Setup("http", full, False, (("127.0.0.1", 9),), Path(directory), sys.executable, full=full,
                              routes=1000 if full else 1)
                for kind, last, retry in ((Voltgw, '"/service-998/"', "retry_policy"), (HAProxy, "routes.map", "retry-on"),
                                          (Nginx, "location /service-998/ ", "http_503"),
                                          (Envoy, '"/service-998/"', "gateway-error")):
                    text = kind(setup).write_config()
                    self.assertEqual((last in text, retry in text, "access" in text or "log-format" in text),
                                     (full, full, full or kind is Nginx), kind.name)
        self.assertEqual(len(setup.prefixes), 0)
class ScaleTests(unittest.TestCase):
    """The estate and the tables of scale.py."""

    def rows(self, **figures: float) -> list[dict[str, Any]]:
        """Two sizes of one shape; the larger one takes eleven times as much of everything."""
        names = {column.figure for column in (*scale_table.READING, *scale_table.SERVING)}
        return [{"hosts": hosts, "layout": "one", "shape": "5x10", "figures": {**dict.fromkeys(names, value), **figures}}
                for hosts, value in ((1000, 0.5), (10_000, 5.5))]

    def test_growth(self) -> None:
        """The line behind the sizes says how much more the largest takes."""
        shown = scale_table.table(self.rows(), scale_table.READING).split("\n")
        self.assertEqual(len(shown), 4)
        self.assertEqual(shown[-1].split(), ["x10", *["x11.0"] * len(scale_table.READING)])

    def test_verdicts(self) -> None:
        """Of the largest size alone, and only what was asked of its shape."""
        found = scale_table.verdicts(self.rows(pause_ms=2.5))
        ((what, lines),) = found.items()
        self.assertEqual(what, "10,000 hosts of 5x10, all in one file")
        self.assertEqual([line for line in lines if "pause" in line],
                         ["MISSED: longest pause of the cycle collector, ms: 2.5 (5.5 of them work), at most 2"])
        self.assertFalse([line for line in lines if line.startswith(("met: build", "MISSED: build"))])
        self.assertIn("met: longest turn, ms: 5.5 (5.5 of them work), at most 20", lines)
        self.assertIn("met: from a change of an endpoint to its effect, ms: 5.5, at most 100", lines)

    def test_the_estate(self) -> None:
        """As many objects and rules as asked for, and every endpoint has an address of its own."""
        with tempfile.TemporaryDirectory() as folder:
            estate = Estate(Path(folder) / "e", 7, "one", port=1, origin=2, routes=5, endpoints=10)
            estate.write()
            text = estate.file.read_text()
            self.assertEqual((text.count("kind: "), text.count("match: "), text.count("kind: endpoint")),
                             (estate.objects + 1, 7 * 4, 70))
            estate.change(3, timeout=5001)
            self.assertEqual((text.count("5001"), estate.file.read_text().count("5001")), (0, 1))
            estate.restore(3, timeout=5001)
            self.assertEqual(estate.file.read_text(), text)
        addresses = {estate.address(number, count) for number in range(10_000) for count in range(10)}
        self.assertEqual(len(addresses), 100_000)
        for parts in (address.split(".") for address in addresses):
            self.assertTrue(parts[0] == "127" and all(int(part) < 256 for part in parts))

    def test_collections(self) -> None:
        """The longest, and how many of which."""
        record = bytearray(FIELDS.size)
        noted = Collections(record)             # type: ignore[arg-type]  # a map of memory is as good
        for generation in (0, 2, 0):
            noted.note("start", {"generation": generation})
            noted.note("stop", {"generation": generation})
        found = Record._make(FIELDS.unpack(bytes(record)))
        self.assertEqual((found.collections, found.full), (3.0, 1.0))
        self.assertGreater(found.pause, 0.0)


if __name__ == "__main__":
    unittest.main()
