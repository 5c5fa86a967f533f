"""The parts of scale.py that run: the gateway of an estate, traffic to it, and the steps of reading it in one process."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from estate import Estate
from harness import HERE, LOAD_CPU, PROXY_CPU, ROOT, SETTLE_S, BenchmarkError, Proc, tail
from openloop import quantile
from origin import SMALL
from turns import FIELDS, LONGEST, Record

Figures = dict[str, float]
#: Virtual hosts that traffic goes to, spread evenly over all of them.
ASKED: Final = 50


class Reload(NamedTuple):
    """What one cost: seconds until its answer, CPU seconds of the process meanwhile, and what turns and collections were.

    On a machine that has other work times count waiting for the processor, too. CPU time includes that of traffic.
    """

    took: float
    cpu: float
    longest: Record


class Gateway:
    """The gateway of an estate, on its own CPU."""

    def __init__(self, estate: Estate, python: str, nice: int) -> None:
        self.estate = estate
        self.turns = estate.directory / "turns"
        self.turns.write_bytes(bytes(FIELDS.size))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONPATH": str(ROOT), "VOLTGW_TURNS": str(self.turns)}
        began = time.perf_counter()
        self.process = Proc(
            "voltgw", [python, str(HERE / "turns.py"), "-n", "--pidfile=", "voltgw", "--config", str(estate.file)], PROXY_CPU,
            estate.directory / "gateway.log", environment=environment, directory=estate.directory,
            nice=nice)
        give_up = began + 120
        while self._ready() != 200:
            self.process.check()
            if time.perf_counter() > give_up:
                raise BenchmarkError(f"the gateway is not ready after two minutes:\n{tail(self.process.log)}")
            time.sleep(0.05)
        self.start_s = time.perf_counter() - began

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer of the admin interface."""
        connection = http.client.HTTPConnection("localhost", timeout=120)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(120)
        connection.sock.connect(str(self.estate.admin))
        connection.request(method, path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    def _ready(self) -> int:
        try:
            return self.ask("GET", "/ready")[0]
        except OSError:
            return 0

    def record(self, forget: bool = False) -> Record:
        """What turns and collections were; with `forget` the longest ones are those from now on."""
        found = Record._make(FIELDS.unpack(self.turns.read_bytes()))
        if forget:
            with self.turns.open("r+b") as file:
                file.write(bytes(LONGEST))
        return found

    def idle(self, seconds: float) -> float:
        """The share of a processor that it takes without traffic."""
        before = self.process.cpu()
        time.sleep(seconds)
        return (self.process.cpu() - before).total_s / seconds

    def reload(self) -> Reload:
        """Make one, and see what it costs."""
        self.record(forget=True)
        began, before = time.perf_counter(), self.process.cpu()
        status, answer = self.ask("POST", "/reload")
        took = time.perf_counter() - began
        if status != 200 or not answer["ok"]:
            raise BenchmarkError(f"the reload was refused: {answer}")
        time.sleep(0.1)                             # what comes after the answer is part of it
        return Reload(took, (self.process.cpu() - before).total_s, self.record())


class Traffic:
    """One run of openloop.py over some of the hosts, the latency of every request and what each cost the gateway (`cpu_us`)."""

    def __init__(self, gateway: Gateway, options: argparse.Namespace, meanwhile: Callable[[], None] | None = None,
                 seconds: float | None = None) -> None:
        estate, directory = gateway.estate, gateway.estate.directory
        raw, log = directory / "latencies", directory / "load.log"
        hosts = ",".join(estate.domain(number * estate.hosts // ASKED) for number in range(ASKED))
        seconds = options.seconds if seconds is None else seconds
        before = gateway.process.cpu()
        process = Proc("load", [sys.executable, str(HERE / "openloop.py"), str(gateway.estate.port), str(options.rate),
                                str(seconds), "0.5", "64", str(len(SMALL)), "constant", str(raw), hosts],
                       LOAD_CPU, log, stdout=directory / "load.out", nice=options.nice)
        thread = threading.Thread(target=meanwhile) if meanwhile is not None else None
        if thread is not None:
            thread.start()
        status = process.wait(seconds + 60)
        if thread is not None:
            thread.join()
        process.stop()
        if status:
            raise BenchmarkError(f"the load generator ended with status {status}:\n{tail(log)}")
        time.sleep(SETTLE_S)
        spent = (gateway.process.cpu() - before).total_s
        data = raw.read_bytes()
        self.began, skip, count = struct.unpack_from("dqq", data)
        self.due, self.latency = array("d"), array("d")
        self.due.frombytes(data[24:24 + 8 * count])
        self.latency.frombytes(data[24 + 8 * count:])
        self.measured = sorted(self.latency[skip:])
        self.cpu_us = spent / count * 1e6

    def p99_s(self) -> float:
        """Of the whole run without its beginning."""
        return quantile(self.measured, 0.99)

    def during(self, spans: list[tuple[float, float]]) -> float:
        """The p99 of the requests that were due in these spans of `time.perf_counter`."""
        found = sorted(latency for due, latency in zip(self.due, self.latency, strict=True)
                       if any(start <= self.began + due <= end for start, end in spans))
        return quantile(found, 0.99) if found else 0.0


class Steps:
    """scale_steps.py, running."""

    def __init__(self, estate: Estate, python: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen([python, str(HERE / "scale_steps.py"), str(estate.file)], env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def figures(self) -> Figures:
        """Those of the round that is under way."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"scale_steps.py ended with status {self._process.wait()}")
        found: Figures = json.loads(line)
        return found

    def again(self) -> Figures:
        """Those of one more round."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.figures()

    def stop(self) -> None:
        """End it."""
        self._process.communicate("")
