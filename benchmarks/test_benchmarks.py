"""The arithmetic and the text of the benchmarks: `python -m unittest discover benchmarks`."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from profile import parse_strace

from compare import check_log, summary, table
from harness import BenchmarkError, Cpu, Proc, cpu_time, stop_all
from openloop import quantile
from render import BEGIN, END, render, replace_between_markers

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


if __name__ == "__main__":
    unittest.main()
