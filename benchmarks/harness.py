"""Starts processes on one CPU, reads what they cost from /proc, and makes sure that none outlives the benchmark.

Everything here is Linux: affinity, /proc and PR_SET_PDEATHSIG. Nothing here knows of proxies or HTTP.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = Path(__file__).resolve().parent

#: The proxy under test has a CPU of its own; origin and load generator share the other one.
PROXY_CPU: Final = 0
LOAD_CPU: Final = 1

#: How long a process may take to open its port.
START_S: Final = 20.0
#: After the load ends: proxies write their logs in batches, and that work belongs to the requests just made.
SETTLE_S: Final = 0.4

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG: Final = 1


class BenchmarkError(Exception):
    """The run says nothing: a process died, a response was wrong, nothing was counted."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of a process tree since it began.

    Only the sum is exact; kernels with tick accounting sample the split between user and system.
    """

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """User and system."""
        return self.user_s + self.system_s

    def __sub__(self, earlier: Cpu) -> Cpu:
        return Cpu(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


@dataclass(frozen=True, slots=True)
class CpuTime:
    """What one processor has done since boot, seconds: `busy_s` for anybody, `stolen_s` by the hypervisor."""

    busy_s: float
    stolen_s: float


class Proc:
    """A child in a session of its own, pinned to one CPU, killed with its whole session.

    `log` takes its standard error, and its standard output unless `stdout` names another file.
    """

    def __init__(self, name: str, command: Sequence[str], cpu: int, log: Path, *, stdout: Path | None = None,
                 environment: Mapping[str, str] | None = None, directory: Path | None = None, nice: int = 0) -> None:
        self.name = name
        self.log = log
        # There are no threads here, so `preexec_fn` is safe; loaded before fork, so that the child makes system calls only.
        libc = ctypes.CDLL(None, use_errno=True)

        def prepare() -> None:
            os.sched_setaffinity(0, {cpu})
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)

        with log.open("ab") as errors, contextlib.ExitStack() as stack:
            # Appending, so that a log can be emptied between two rounds while its writer has it open.
            output = stack.enter_context(stdout.open("ab")) if stdout is not None else errors
            self.process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, preexec_fn=prepare,  # noqa: PLW1509
                start_new_session=True, cwd=directory, env=None if environment is None else dict(environment))
        _alive.append(self)
        if nice:
            # With autogroups nice has no weight between sessions; the autogroup's own has.
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.pid}/autogroup").write_text(str(nice))

    @property
    def pid(self) -> int:
        """Of the leader."""
        return self.process.pid

    def pids(self) -> list[int]:
        """Every live process of the session."""
        return [pid for pid, fields in _stats() if int(fields[3]) == self.pid]

    def cpu(self) -> Cpu:
        """CPU time of the whole tree, children that have ended included."""
        user = system = 0
        for _, fields in _stats():
            if int(fields[3]) == self.pid:
                user += int(fields[11]) + int(fields[13])
                system += int(fields[12]) + int(fields[14])
        return Cpu(user / _TICKS_PER_S, system / _TICKS_PER_S)

    def anonymous_kib(self) -> int:
        """Anonymous resident memory of the tree; file pages say more about the page cache than about the process."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        total += int(line.split()[1])
        return total

    def open_files(self) -> int:
        """Open descriptors of the tree."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += len(os.listdir(f"/proc/{pid}/fd"))
        return total

    def check(self) -> None:
        """Raise if it has ended."""
        status = self.process.poll()
        if status is not None:
            raise BenchmarkError(f"{self.name} ended with status {status}:\n{tail(self.log)}")

    def wait_for_port(self, port: int, timeout_s: float = START_S) -> None:
        """Return when 127.0.0.1:`port` accepts connections."""
        give_up = time.monotonic() + timeout_s
        while True:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                return
            except OSError as error:
                if time.monotonic() > give_up:
                    raise BenchmarkError(
                        f"{self.name} does not listen on port {port} after {timeout_s:g} s:\n{tail(self.log)}") from error
            time.sleep(0.05)

    def wait(self, timeout_s: float) -> int:
        """Its exit status; raises when it takes longer than `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{self.name} did not end within {timeout_s:g} s:\n{tail(self.log)}") from error

    def stop(self) -> None:
        """End the session: ask, then kill. Safe to call twice."""
        if self not in _alive:
            return
        self._signal(signal.SIGTERM)
        give_up = time.monotonic() + 3.0
        while self.process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self.process.wait()
        _alive.remove(self)

    def _signal(self, number: int) -> None:
        # The session's id is the group's id, and a child that is gone but not yet waited for keeps both from being reused.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


#: Children that have not been stopped; `stop_all` is their only other reader.
_alive: list[Proc] = []


def stop_all() -> None:
    """End every child."""
    for process in list(reversed(_alive)):
        process.stop()


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def guard() -> None:
    """Whatever ends this program, its children end with it."""
    atexit.register(stop_all)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _interrupted)
    os.sched_setaffinity(0, {LOAD_CPU})


@contextlib.contextmanager
def work_directory(keep: bool) -> Iterator[Path]:
    """A directory for configurations and logs; removed afterwards unless `keep`."""
    path = Path(tempfile.mkdtemp(prefix="voltgw-bench-"))
    try:
        yield path
    finally:
        stop_all()
        if keep:
            print(f"kept: {path}", file=sys.stderr)
        else:
            shutil.rmtree(path, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody holds right now, below the range from which the kernel takes those of clients."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(range(20000, 32000), 500):
            sock = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == count:
                return ports
    raise BenchmarkError("no free ports")


def cpu_time(cpu: int) -> CpuTime:
    """What processor `cpu` has done since boot."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(number) / _TICKS_PER_S for number in numbers[:8])
            return CpuTime(user + nice + system + irq + softirq, steal)
    raise BenchmarkError(f"this machine has no CPU {cpu}: two are needed, one for the proxy and one for the load")


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def run(command: Sequence[str], *, cpu: int, timeout_s: float, log: Path, environment: Mapping[str, str] | None = None,
        nice: int = 0) -> str:
    """Run a program to its end on `cpu`; its standard output. Raises if it fails or takes too long."""
    output = log.with_suffix(".out")
    output.write_bytes(b"")
    process = Proc(os.path.basename(command[0]), command, cpu, log, stdout=output, environment=environment, nice=nice)
    try:
        status = process.wait(timeout_s)
    finally:
        process.stop()
    if status:
        raise BenchmarkError(f"{process.name} ended with status {status}:\n{tail(log)}\n{tail(output)}")
    return output.read_text(errors="replace")


def _stats() -> Iterator[tuple[int, list[str]]]:
    """(pid, fields of /proc/PID/stat from the state on) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue                            # it has just ended
            yield int(name), text[text.rindex(")") + 2:].split()
