"""Load generators: wrk for requests, a process of our own for bulk and for open-loop load. All on the load's CPU.

Each returns what it counted, and raises `BenchmarkError` when anything but a good answer came: a figure with errors in it
is not a figure.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness import HERE, LOAD_CPU, BenchmarkError, run
from proxies import first_line

WRK: Final = os.environ.get("WRK", "wrk")
_ERRORS: Final = ("connect_errors", "read_errors", "write_errors", "status_errors", "timeouts")


def wrk(port: int, seconds: float, directory: Path, *, connections: int = 64, prefix: str = "/shop/item-", close: bool = False,
        bare: bool = False, body_bytes: int = 0, nice: int = 0) -> dict[str, Any]:
    """Closed-loop requests for `seconds`: the next one on a connection goes out when the answer to the last one is there.

    wrk counts whole seconds only, so `seconds` is rounded up. `body_bytes` is the least that each answer must have brought.
    """
    whole = max(1, round(seconds))
    output = run([_wrk(), "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "5s", "-s", str(HERE / "browser.lua"),
                  f"http://127.0.0.1:{port}/", "--", prefix, "close" if close else "keep-alive", "bare" if bare else "browser"],
                 cpu=LOAD_CPU, timeout_s=whole + 15, log=directory / "wrk.log", nice=nice)
    result = _json_line(output, "wrk")
    bad = {name: result.pop(name) for name in _ERRORS}
    if any(bad.values()):
        raise BenchmarkError(f"wrk met errors on port {port}: {bad} in {result['requests']} requests")
    if result["requests"] < connections or result["bytes"] < result["requests"] * body_bytes:
        raise BenchmarkError(f"wrk counted next to nothing on port {port}: {result}")
    return result


def client(program: str, arguments: Sequence[str], seconds: float, directory: Path, nice: int = 0) -> dict[str, Any]:
    """Run one of our own generators; its last line is one JSON object. It raises on wrong answers by its exit status."""
    output = run([sys.executable, str(HERE / program), *arguments], cpu=LOAD_CPU, timeout_s=seconds + 30,
                 log=directory / f"{program}.log", nice=nice)
    return _json_line(output, program)


def wrk_version() -> str:
    """As `wrk -v` says."""
    return first_line([_wrk(), "-v"]).split(" Copyright")[0]


def _wrk() -> str:
    path = shutil.which(WRK)
    if path is None:
        raise BenchmarkError("wrk is needed to make the load (apt-get install wrk); WRK may name its path")
    return path


def _json_line(output: str, program: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            result: dict[str, Any] = json.loads(line)
            return result
    raise BenchmarkError(f"{program} printed no result:\n{output}")
