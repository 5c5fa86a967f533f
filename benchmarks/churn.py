"""A soak in which nothing stays as it is: endpoints, the configuration, the certificate and clients come and go.

Every two seconds one of four flapping origins stops listening or listens again, every five seconds the configuration is
another one (a host with its listener and cluster comes or goes, weights, a route), every fifteen the certificate is replaced.
Meanwhile clients ask over HTTP/1.1 with and without keep-alive, with TLS, and through a TCP relay; some leave before their
answer. Once a minute memory, descriptors, timers and deadlines are written down, and how much of the memory is the journal of
past requests, which fills up to its bound of 8 MiB; the result can be drawn (``--svg``).

The load is light on purpose (a few hundred requests a second): what grows with changes must not drown in what grows with load.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from compare import certificate
from harness import PROXY_CPU, ROOT, BenchmarkError, Proc, free_ports, guard, work_directory
from svg import chart

#: Origins that come and go, beside one that stays.
FLAPPING: Final = 4
FLAP_S: Final = 2.0
RELOAD_S: Final = 5.0
CERTIFICATE_S: Final = 15.0
#: Clients at a time, and how long each waits between two requests.
CLIENTS: Final = 24
PAUSE_S: Final = 0.06
BODY: Final = b"x" * 2000
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
_TWISTD: Final = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
#: What is asked of /metrics, by the name that it has in the result.
METRICS: Final = {
    "timers": "voltgw_timers", "deadlines": "voltgw_deadlines", "streams": "voltgw_open_streams",
    "generation": "voltgw_config_generation", "failures": "voltgw_internal_failures_total",
    "slow_turns": "voltgw_loop_slow_turns_total",
}


class Origin:
    """An HTTP server that may stop listening for a while; what is under way is answered."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._busy: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pause(self) -> None:
        """Listen no more, and close what is idle."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open - self._busy:
            writer.close()

    async def end(self) -> None:
        """Close everything."""
        await self.pause()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def listens(self) -> bool:
        """Whether it does."""
        return self._server is not None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self._busy.add(writer)
                await asyncio.sleep(random.random() * 0.01)
                writer.write(_ANSWER)
                await writer.drain()
                self._busy.discard(writer)
                if self._server is None:
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass                            # the gateway has closed it
        finally:
            self._busy.discard(writer)
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.close()


class Churn:
    """The gateway, its origins, its clients, and what was seen."""

    def __init__(self, directory: Path, python: str) -> None:
        self.directory = directory
        self.python = python
        self.counts: Counter[str] = Counter()
        self.series: list[dict[str, float]] = []
        self.wrong: list[str] = []          # lines of the access log of what was not answered 200, some
        self.origins = [Origin() for _ in range(FLAPPING + 1)]
        self.http, self.https, self.tcp, self.extra, self.admin = free_ports(5)
        self.turn = 0
        self.certificates: list[tuple[bytes, bytes]] = []
        self.process: Proc | None = None

    # -- what changes ----------------------------------------------------------------------------------------------

    def write_config(self) -> None:
        """The next configuration."""
        turn = self.turn = self.turn + 1
        names = [f"127.0.0.1:{origin.port}" for origin in self.origins]
        check = {"path": "/", "interval": "1s", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 2}
        balancers: list[dict[str, Any]] = [
            {"name": "shop", "protocol": "http", "listen": f"127.0.0.1:{self.http}", "health_check": check,
             "origins": [{"address": name, "weight": 1 + (turn + place) % 3} for place, name in enumerate(names)]},
            {"name": "secure", "protocol": "https", "listen": f"127.0.0.1:{self.https}", "health_check": check,
             "tls": {"cert": "shop.crt", "key": "shop.key"}, "origins": names,
             "routes": [{"path": f"/old{turn % 7}", "redirect": "/new"}]},
            {"name": "relay", "protocol": "tcp", "listen": f"127.0.0.1:{self.tcp}", "origins": names[:1]},
        ]
        if turn % 2:
            balancers.append({"name": f"extra{turn % 5}", "protocol": "http", "listen": f"127.0.0.1:{self.extra}",
                              "origins": names[turn % 3:], "health_check": check})
        config = {"gateway": {"admin": {"port": self.admin}, "drain_timeout": "2s", "watch": False,
                              "access_log": {"path": "access.log", "format": "json"},
                              "data_dir": str(self.directory / "data")},
                  "load_balancers": balancers}
        self._put("voltgw.yaml", json.dumps(config).encode())

    def write_certificate(self) -> None:
        """The next certificate."""
        cert, key = self.certificates[0]
        self.certificates.append(self.certificates.pop(0))
        self._put("shop.key", key)
        self._put("shop.crt", cert)

    def _put(self, name: str, data: bytes) -> None:
        new = self.directory / f".{name}.new"
        new.write_bytes(data)
        new.rename(self.directory / name)

    async def flap(self) -> None:
        """One origin goes or comes."""
        for turn in range(1 << 30):
            await asyncio.sleep(FLAP_S)
            origin = self.origins[1 + turn // 2 % FLAPPING]     # one at a time: a request has one more try, and that must do
            await (origin.pause() if origin.listens else origin.listen())
            self.counts["flaps"] += 1

    async def reload(self) -> None:
        """Another configuration."""
        assert self.process is not None
        while True:
            await asyncio.sleep(RELOAD_S)
            self.write_config()
            self.process.process.send_signal(signal.SIGHUP)
            self.counts["reloads"] += 1

    async def renew(self) -> None:
        """Another certificate, which the gateway notices by itself."""
        while True:
            await asyncio.sleep(CERTIFICATE_S)
            self.write_certificate()
            self.counts["certificates"] += 1

    async def rotate(self) -> None:
        """The access log is not what is measured."""
        while True:
            await asyncio.sleep(60)
            self.read_log()

    def read_log(self) -> None:
        """Keep what the log says of answers that were not 200, and empty it."""
        with contextlib.suppress(OSError), (self.directory / "access.log").open("r+b") as log:
            for line in log:
                if b'"rsp_code":"5' in line.replace(b" ", b"") and len(self.wrong) < 20:
                    self.wrong.append(line.decode(errors="replace")[:2000])
            log.truncate(0)

    # -- clients ---------------------------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        """One client after another."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        tls = context if number % 3 == 1 else None
        port = (self.http, self.https, self.tcp)[number % 3]
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 20)
            except OSError:
                self.counts["refused"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                for _ in range(random.choice((1, 1, 5, 50))):
                    await asyncio.sleep(PAUSE_S * random.random() * 2)
                    writer.write(b"GET /item HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")
                    await writer.drain()
                    if random.random() < 0.02:
                        self.counts["left"] += 1
                        break
                    await self._read(reader, writer)
            except (OSError, asyncio.IncompleteReadError) as error:
                # between two requests a connection may end for a reload or a drain; before an answer's first byte, too
                self.counts["closed" if isinstance(error, asyncio.IncompleteReadError) and not error.partial else "broken"] += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        await reader.readexactly(next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0))
        status = head[9:12].decode()
        self.counts["requests"] += 1
        self.counts[status] += 1
        if b"connection: close" in head.lower():
            raise asyncio.IncompleteReadError(b"", 1)

    # -- looking ---------------------------------------------------------------------------------------------------

    async def watch(self, minutes: float, every_s: float) -> None:
        """Write down how it stands, until the time is up."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(every_s)
            self.series.append({"minutes": (time.monotonic() - began) / 60, **await self.look()})
            told = ", ".join(f"{name} {value:g}" for name, value in self.series[-1].items())
            print(told, file=sys.stderr, flush=True)
            if time.monotonic() - began >= minutes * 60:
                return

    async def look(self) -> dict[str, float]:
        """How it stands now."""
        process = self.process
        assert process is not None
        process.check()
        numbers: dict[str, float] = {"memory_mib": process.anonymous_kib() / 1024, "descriptors": process.open_files()}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        lines = dict(line.rpartition(" ")[::2] for line in (await reader.read()).decode().splitlines())
        writer.close()
        numbers |= {name: float(lines[metric]) for name, metric in METRICS.items()}
        numbers["journal_mib"] = float(lines["voltgw_journal_bytes"]) / (1 << 20)
        return {**numbers, "requests": self.counts["requests"], "reloads": self.counts["reloads"]}

    async def run(self, minutes: float, every_s: float) -> None:
        """All of it."""
        for origin in self.origins:
            await origin.listen()
        for number in range(3):
            folder = self.directory / f"certificate{number}"
            folder.mkdir()
            text = certificate(folder).read_bytes()
            cert, _, key = text.partition(b"-----BEGIN PRIVATE KEY")
            self.certificates.append((cert, b"-----BEGIN PRIVATE KEY" + key))
        self.write_certificate()
        self.write_config()
        command = [self.python, "-c", _TWISTD, "-n", "--pidfile=", "voltgw", "--config", "voltgw.yaml"]
        self.process = Proc("voltgw", command, PROXY_CPU, self.directory / "process.log", directory=self.directory,
                            environment={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
        self.process.wait_for_port(self.http)
        others = [self.flap(), self.reload(), self.renew(), self.rotate(), *map(self.client, range(CLIENTS))]
        tasks = [asyncio.ensure_future(each) for each in others]
        try:
            await self.watch(minutes, every_s)
        finally:
            self.read_log()
            for task in tasks:
                if task.done() and not task.cancelled() and task.exception() is not None:
                    print(f"a part has failed: {task.exception()!r}", file=sys.stderr)
                    self.counts["parts_failed"] += 1
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for origin in self.origins:
                await origin.end()


def slope(series: list[dict[str, float]], name: str) -> float:
    """Growth in an hour, by least squares over the second half: the first is warming up."""
    half = series[len(series) // 2:]
    times, values = [each["minutes"] / 60 for each in half], [each[name] for each in half]
    middle_t, middle_v = sum(times) / len(times), sum(values) / len(values)
    spread = sum((each - middle_t) ** 2 for each in times)
    return sum((t - middle_t) * (v - middle_v) for t, v in zip(times, values, strict=True)) / spread if spread else 0.0


def main() -> int:
    """The command; exit status 1 when something failed that must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=60, help="seconds between two looks")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--svg", type=Path, help="draw it here")
    options = parser.parse_args()
    guard()
    with work_directory(False) as directory:
        churn = Churn(directory, options.python)
        asyncio.run(churn.run(options.minutes, options.every))
        log = (directory / "process.log").read_text(errors="replace")
        if "Traceback" in log:
            print(log[log.index("Traceback") - 400:][:4000], file=sys.stderr)
    counts = dict(churn.counts)
    growth = {name: slope(churn.series, name) for name in ("memory_mib", "journal_mib", "descriptors", "timers", "deadlines")}
    result = {"comparison": "churn", "minutes": options.minutes, "counts": counts, "growth_per_hour": growth,
              "series": churn.series}
    print(json.dumps({"counts": counts, "growth_per_hour": growth}, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.svg is not None:
        options.svg.write_text(chart(churn.series))
    served = counts.get("requests", 0)
    if churn.wrong:
        print("\n".join(churn.wrong), file=sys.stderr)
    wrong = served - counts.get("200", 0)
    if not served or "parts_failed" in counts or churn.series[-1]["failures"] or wrong > served * 0.001 or "Traceback" in log:
        print(f"FAILED: {wrong} of {served} answers were not 200", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        sys.exit(1)
