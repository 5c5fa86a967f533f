"""``voltgw top``: what it makes of metrics, how it looks, and itself on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pyte
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.imports.origins import HttpOrigin
from tests.cli.running import run
from tests.cli.test_main import ROOT
from tests.integration.gateway import Gateway, ask, free_port
from voltgw.cli.top_facts import Sample, parsed, quantile, rows, totals
from voltgw.cli.top_screen import PLAIN, RED, SORTS, YELLOW, Look, screen, table

_PATIENCE_S: Final = 20.0


def endpoint(name: str, ready: bool = True, **facts: Any) -> dict[str, Any]:
    """An endpoint as ``/clusters`` shows it."""
    return {"endpoint": name, "active": 0, "ready": ready, "health": "healthy" if ready else "unhealthy", "why": "it is told",
            "latency_ms": None, "ejection": None, **facts}


def sample(at: float, metrics: str, *clusters: dict[str, Any], events: list[dict[str, Any]] | None = None) -> Sample:
    """A reading."""
    return Sample(at, parsed(metrics), list(clusters), events or [], {"version": "1.0", "ready": True, "generation": 3})


def cluster(name: str, *endpoints: dict[str, Any]) -> dict[str, Any]:
    """A cluster as ``/clusters`` shows it."""
    return {"cluster": name, "active": 2, "ready": sum(each["ready"] for each in endpoints), "panic": False,
            "endpoints": endpoints}


def requests(host: str, ok: int, bad: int, route: str = "r/0") -> str:
    """Counters of a host."""
    return "".join(f'voltgw_requests_total{{code_class="{name}",route="{route}",virtual_host="{host}"}} {count}.0\n'
                   for name, count in (("2xx", ok), ("5xx", bad)))


class FactsTests(SynchronousTestCase):
    def test_the_text_format(self) -> None:
        """Names, labels with anything in them, numbers; remarks, exemplars and nonsense are passed over."""
        found = parsed('# HELP a b\na 1\nb{x="1\\"2",y="\\\\n\\n"} 2.5e3 # {trace_id="1"} 1.0\nc NaNsense\n}{\nd{z=""} +Inf\n')
        self.assertEqual(found,
                         {"a": {(): 1.0}, "b": {(("x", '1"2'), ("y", "\\n\n")): 2500.0}, "d": {(("z", ""),): float("inf")}})

    def test_hosts(self) -> None:
        """Rates of what lies between two readings, over all routes of a host."""
        before = sample(10.0, requests("d/shop", 100, 10))
        now = sample(12.0, requests("d/shop", 140, 20) + requests("d/shop", 10, 0, "r/1") + requests("", 0, 4))
        found = rows("hosts", before, now)
        self.assertEqual([(row.name, row.requests_per_s, row.errors_per_s) for row in found],
                         [("(none)", 2.0, 2.0), ("d/shop", 30.0, 5.0)])
        self.assertEqual(found[0].error_percent, 100.0)

    def test_another_process(self) -> None:
        """Counters that went back begin from nothing: no rate is ever negative."""
        found = rows("hosts", sample(0.0, requests("d/a", 1000, 9)), sample(1.0, requests("d/a", 5, 0)))
        self.assertEqual([(row.requests_per_s, row.errors_per_s) for row in found], [(5.0, 0.0)])

    def test_clusters(self) -> None:
        """Errors are bad answers and those that never came; ejections and panic are told."""
        def at(count: int) -> str:
            return (f'voltgw_cluster_requests_total{{cluster="d/c"}} {count}\n'
                    f'voltgw_cluster_responses_total{{cluster="d/c",code_class="5xx"}} {count / 10}\n'
                    f'voltgw_cluster_timeouts_total{{cluster="d/c"}} {count / 10}\n')

        shown = cluster("d/c", endpoint("192.0.2.1:80"), endpoint("192.0.2.2:80", False, ejection={"ejected": True}))
        row = rows("clusters", sample(0.0, at(0)), sample(2.0, at(100), shown))[0]
        self.assertEqual((row.requests_per_s, row.errors_per_s, row.ready, row.endpoints, row.active, row.note),
                         (50.0, 10.0, 1, 2, 2, "1 ejected"))
        shown["panic"] = True
        self.assertIn("panic", rows("clusters", sample(0.0, at(0)), sample(2.0, at(100), shown))[0].note)

    def test_endpoints(self) -> None:
        """With why one gets nothing, and the time that it takes lately where there is no histogram."""
        shown = cluster("d/c", endpoint("192.0.2.1:80", latency_ms=3.5), endpoint("192.0.2.2:80", False, why="it is drained"))
        text = 'voltgw_endpoint_requests_total{cluster="d/c",endpoint="192.0.2.1:80"} 10\n'
        found = rows("endpoints", sample(0.0, ""), sample(1.0, text, shown))
        self.assertEqual([(row.name, row.requests_per_s, row.p50_ms, row.ready, row.note) for row in found], [
            ("d/c 192.0.2.1:80", 10.0, 3.5, 1, ""), ("d/c 192.0.2.2:80", 0.0, None, 0, "it is drained")])

    def test_quantiles(self) -> None:
        """Inside a bucket requests lie evenly; beyond the last bound nothing is known but that."""
        buckets = {0.001: 50.0, 0.002: 90.0, 0.004: 100.0, float("inf"): 100.0}
        self.assertAlmostEqual(quantile(buckets, 0.5) or 0, 1.0)
        self.assertAlmostEqual(quantile(buckets, 0.9) or 0, 2.0)
        self.assertAlmostEqual(quantile(buckets, 0.99) or 0, 3.8)
        self.assertEqual(quantile({0.001: 0.0, float("inf"): 10.0}, 0.5), 1.0)
        self.assertIsNone(quantile({0.001: 0.0}, 0.5))
        self.assertIsNone(quantile({}, 0.5))

    def test_the_head(self) -> None:
        """Of the whole process."""
        before = sample(0.0, requests("d/a", 0, 0) + "process_cpu_seconds_total 1.0\n")
        now = sample(2.0, requests("d/a", 90, 10) + "process_cpu_seconds_total 2.0\nprocess_resident_memory_bytes 83886080\n"
                     'voltgw_listener_open_connections{listener="a"} 3\nvoltgw_listener_open_connections{listener="b"} 4\n')
        self.assertEqual(dict(totals(before, now)), {
            "req/s": "50.0", "errors": "10.0%", "open": "7", "cpu": "50%", "memory": "80 MiB"})


class ScreenTests(SynchronousTestCase):
    def drawn(self, look: Look, width: int = 100, height: int = 24, hosts: int = 3) -> list[str]:
        """The lines for some hosts, each of which has one request a second more than the one before."""
        text = "".join(requests(f"d/host-{n}", n * 10, int(n == 1)) for n in range(1, hosts + 1))
        events = [{"time": "2026-01-31T12:00:00.123Z", "level": "warn", "message": f"event {n}\x1b[2J"} for n in range(9)]
        return screen(look, sample(0.0, ""), sample(1.0, text, events=events), width, height)

    def names(self, lines: list[str]) -> list[str]:
        """Of hosts, in their order."""
        return [line.split()[0].removeprefix(YELLOW) for line in lines if "d/host" in line]

    def test_it_fits(self) -> None:
        """On every size that a terminal may have."""
        for width, height in ((1, 1), (20, 3), (40, 10), (80, 24), (300, 100)):
            for look in (Look(), Look(colour=False)):
                lines = self.drawn(look, width, height)
                self.assertEqual(len(lines), height)
                for line in lines:
                    bare = line.replace(PLAIN, "")
                    for how in (YELLOW, RED, "\x1b[1m", "\x1b[7m"):
                        bare = bare.removeprefix(how)
                    self.assertLessEqual(len(bare), width)

    def test_order(self) -> None:
        """The largest first, or by name; the title shows by what."""
        self.assertEqual(self.names(self.drawn(Look())), ["d/host-3", "d/host-2", "d/host-1"])
        self.assertEqual(self.names(self.drawn(Look(sort="n"))), ["d/host-1", "d/host-2", "d/host-3"])
        self.assertEqual(self.names(self.drawn(Look(sort="x")))[0], "d/host-1")
        for key, (name, _) in SORTS.items():
            shown = "host*" if key == "n" else f"{name}*"
            self.assertIn(shown, "\n".join(self.drawn(Look(sort=key))))

    def test_scrolling(self) -> None:
        """Never past the end."""
        self.assertEqual(self.names(self.drawn(Look(sort="n", first=5), height=20, hosts=40))[0], "d/host-14")
        last = self.names(self.drawn(Look(sort="n", first=9999), height=20, hosts=40))
        self.assertEqual(last[-1], "d/host-9")

    def test_colours(self) -> None:
        """Errors stand out; without colours no escape is left at all, whatever a name or an event has in it."""
        self.assertTrue(any(line.startswith(YELLOW) and "d/host-1" in line for line in self.drawn(Look())))
        self.assertNotIn("\x1b", "".join(self.drawn(Look(colour=False))))
        self.assertIn("12:00:00 warn    event 8?[2J", self.drawn(Look(colour=False)))

    def test_a_table_for_scripts(self) -> None:
        """No escapes, no columns cut off."""
        name = "d/" + "x" * 90
        lines = list(table("hosts", "r", sample(0.0, ""), sample(1.0, requests(name, 5, 0))))
        self.assertEqual(lines[1].split(), [name, "5.0", "0.0", "0.0", "-", "-", "0"])
        self.assertEqual(lines[0].split(), ["host", "req/s*", "errors", "err%", "p50", "p99", "active"])


class Terminal:
    """``voltgw top`` on a terminal of its own, whose screen can be read."""

    def __init__(self, *arguments: str, colour: bool = True, size: tuple[int, int] = (24, 110)) -> None:
        self.screen = pyte.Screen(size[1], size[0])
        self._stream = pyte.ByteStream(self.screen)
        self.heard = b""
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        environ |= {"PYTHONPATH": ROOT, "TERM": "xterm", **({} if colour else {"NO_COLOR": "1"})}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:                       # pragma: no cover  # another process
            os.execve(sys.executable, [sys.executable, "-m", "voltgw.cli.main", "top", *arguments], environ)
        self.resize(*size)

    def resize(self, lines: int, columns: int) -> None:
        """As a window does it."""
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.terminal, keys.encode())

    def until(self, what: str, true: Callable[[str], Any]) -> str:
        """Until the screen is so; what it shows."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            shown = "\n".join(self.screen.display)
            if true(shown):
                return shown
            if not select.select([self.terminal], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"after {_PATIENCE_S:g} s still not: {what}\n{shown}")
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                raise AssertionError(f"it ended before: {what}\n{shown}") from None
            self.heard += data
            self._stream.feed(data)

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        with contextlib.suppress(OSError):
            while data := os.read(self.terminal, 65536):
                self.heard += data
        _, status = os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


class LiveTests(SynchronousTestCase):
    def setUp(self) -> None:
        origin = HttpOrigin("one")
        self.addCleanup(origin.stop)
        self.port = free_port()
        self.gateway = Gateway(self, (
            "gateway: {admin: {address: 127.0.0.1, port: ADMIN}, access_log: {path: access.log}}\nload_balancers:\n"
            f"- {{name: shop, listen: 127.0.0.1:{self.port}, origins: [127.0.0.1:{origin.port}, 127.0.0.1:1]}}\n"))
        self.gateway.wait_ready()
        self.admin = str(self.gateway.admin_port)
        self._stop = threading.Event()
        thread = threading.Thread(target=self._load)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self._stop.set)

    def _load(self) -> None:
        while not self._stop.wait(0.01):
            with contextlib.suppress(OSError):
                ask(self.port, "/x")

    def test_on_a_terminal(self) -> None:
        """It draws, follows keys and the size of its window, tells of a gateway that went, and leaves all as it was."""
        terminal = Terminal("--admin", self.admin, "--interval", "0.2")
        shown = terminal.until("requests are shown", lambda text: "default/shop" in text and "req/s*" in text)
        self.assertIn("generation 1", shown)
        self.assertGreater(float(next(line for line in shown.split("\n") if "default/shop" in line).split()[1]), 1.0)
        terminal.press("e")
        terminal.until("endpoints are shown", lambda text: any(
            line.startswith("default/shop 127.0.0.1:1 ") and " NO " in line for line in text.split("\n")))
        terminal.press("cn")
        terminal.until("clusters are shown, by name", lambda text: "cluster*" in text and "1/2" in text)
        terminal.press(" ")
        terminal.until("it stands still", lambda text: "PAUSED" in text)
        terminal.press(" ")
        terminal.resize(12, 60)
        os.kill(terminal.pid, signal.SIGWINCH)
        terminal.until("it fits the new size", lambda text: "PAUSED" not in text and "cluster*" in text
                       and text.split("\n")[-1].startswith("h hosts"))
        self.gateway.stop()
        terminal.until("the gateway has gone", lambda text: "no gateway answers" in text)
        terminal.press("q")
        self.assertEqual(terminal.ended(), 0)
        self.assertIn(b"\x1b[?1049l", terminal.heard)
        self.assertIn(b"\x1b[?25h", terminal.heard)

    def test_without_colours(self) -> None:
        """NO_COLOR is heeded; SIGTERM leaves the terminal as it was."""
        terminal = Terminal("--admin", self.admin, "--interval", "0.2", "--view", "endpoints", colour=False)
        terminal.until("endpoints are shown", lambda text: "127.0.0.1:1 " in text)
        self.assertNotIn(b"m", b"".join(each[:3] for each in terminal.heard.split(b"\x1b[")[1:] if each[:1].isdigit()))
        os.kill(terminal.pid, signal.SIGTERM)
        self.assertEqual(terminal.ended(), 130)
        self.assertIn(b"\x1b[?1049l", terminal.heard)

    def test_for_scripts(self) -> None:
        """Where there is no terminal, or with --once: three tables without escapes; JSON."""
        done = run(["top", "--once", "--interval", "0.3", "--admin", self.admin])
        self.assertEqual((done.status, done.err), (0, ""))
        hosts, clusters, endpoints = done.out.split("\n\n")
        self.assertRegex(hosts, r"\Ahost .*\ndefault/shop +[1-9]\d*\.\d ")
        self.assertRegex(clusters, r"\Acluster .*\ndefault/shop .* 1/2\Z")
        self.assertIn("NO receives no traffic", endpoints)
        self.assertNotIn("\x1b", done.out)
        done = run(["top", "--json", "--interval", "0.3", "--admin", self.admin])
        found = json.loads(done.out)
        self.assertEqual([found["clusters"][0][name] for name in ("name", "ready", "endpoints")], ["default/shop", 1, 2])
        self.assertGreater(found["hosts"][0]["requests_per_s"], 1.0)


class RefusedTests(SynchronousTestCase):
    def test_nobody_answers(self) -> None:
        """Status 3."""
        done = run(["top", "--once", "--admin", str(free_port())])
        self.assertEqual((done.status, done.out), (3, ""))
        self.assertIn("no gateway answers", done.err)

    def test_what_answers_is_no_gateway(self) -> None:
        """Status 1."""
        origin = HttpOrigin("one")
        self.addCleanup(origin.stop)
        done = run(["top", "--once", "--admin", str(origin.port)])
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn("is not the admin interface of a gateway", done.err)

    def test_an_interval_that_cannot_be(self) -> None:
        """argparse's refusal."""
        for text in ("0", "-1", "x", "1e9"):
            self.assertEqual(run(["top", "--interval", text]).status, 2)
