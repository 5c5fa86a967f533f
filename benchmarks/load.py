"""Load generators: wrk for requests, a process of our own for bulk and for open-loop load. All on the load's CPU.

Each returns what it counted, and raises `BenchmarkError` when anything but a good answer came: a figure with errors in it
is not a figure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness import HERE, LOAD_CPU, BenchmarkError, run
from proxies import TLS_NAME, first_line

WRK: Final = os.environ.get("WRK", "wrk")
#: What a browser says besides; `browser.lua` has the same for wrk.
BROWSER: Final = (
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "accept-language: en-US,en;q=0.5",
    "accept-encoding: gzip, deflate, br", "referer: http://shop.example.com/", "cookie: session=8a7b6c5d4e3f; theme=dark",
    "upgrade-insecure-requests: 1", "cache-control: max-age=0",
)
_ERRORS: Final = ("connect_errors", "read_errors", "write_errors", "status_errors", "timeouts")


def wrk(port: int, seconds: float, directory: Path, *, connections: int = 64, prefix: str = "/shop/item-", close: bool = False,
        bare: bool = False, body_bytes: int = 0, nice: int = 0, tls: bool = False, spread: int = 0) -> dict[str, Any]:
    """Closed-loop requests for `seconds`: the next one on a connection goes out when the answer to the last one is there.

    wrk counts whole seconds only, so `seconds` is rounded up. With `tls` it names the server as its URL does (`TLS_NAME`); its
    connections after the first resume the session of the one before. `body_bytes` is the least that each answer must have
    brought. With `spread` requests take turns among so many prefixes in place of `prefix`: those of `Setup.routes`.
    """
    whole = max(1, round(seconds))
    output = run([_wrk(), "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "5s", "-s", str(HERE / "browser.lua"),
                  f"https://{TLS_NAME}:{port}/" if tls else f"http://127.0.0.1:{port}/", "--",
                  "/service-" if spread else prefix, "close" if close else "keep-alive", "bare" if bare else "browser",
                  str(spread)],
                 cpu=LOAD_CPU, timeout_s=whole + 15, log=directory / "wrk.log", nice=nice)
    result = _json_line(output, "wrk")
    bad = {name: result.pop(name) for name in _ERRORS}
    if any(bad.values()):
        raise BenchmarkError(f"wrk met errors on port {port}: {bad} in {result['requests']} requests")
    if result["requests"] < connections or result["bytes"] < result["requests"] * body_bytes:
        raise BenchmarkError(f"wrk counted next to nothing on port {port}: {result}")
    return result


def h2load(
    port: int, paths: Path, directory: Path, *, count: int, connections: int, streams: int, nice: int = 0,
    version_1: bool = False,
) -> dict[str, Any]:
    """`count` requests over HTTP/2, `streams` at a time on each connection; `paths` is a file of URIs, taken in turn.

    With `version_1` they are HTTP/1.1 requests, one at a time on each connection.
    """
    first = ["h2load", "-t1", "--h1"] if version_1 else ["h2load", "-t1"]
    output = run([*first, f"-n{count}", f"-c{connections}", f"-m{streams}", f"--connect-to=127.0.0.1:{port}",
                  "-i", str(paths), *(part for field in BROWSER for part in ("-H", field))],
                 cpu=LOAD_CPU, timeout_s=120, log=directory / "h2load.log", nice=nice)
    done = re.search(r"finished in ([0-9.]+)(us|ms|s), ", output)
    if done is None or f" {count} succeeded, 0 failed, 0 errored" not in output:
        raise BenchmarkError(f"h2load met errors on port {port}: {output[-600:]}")
    seconds = float(done[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[done[2]]
    return {"requests": count, "seconds": seconds}


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
