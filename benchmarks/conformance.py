"""A scoreboard of strictness: the framing catalogue of the tests, put to every proxy in one run.

Each case is sent on a connection of its own, with a second request behind it. h11 says what the client's bytes mean, and, as
the origin, what came out. What a proxy does with a case is one of:

as said      the origin has read what the client said, all of it
refused      it has read nothing, or only what came before the fault, and the client was told so (or cut off)
answered     it has read less than was said, and the client was told that all is well: the proxy answered by itself
put right    what strictly is no message was made one, and passed on: harmless alone, and what a chain of proxies that put
             right in different ways is attacked with
otherwise    the origin has read another request than the client said
garbage      what reached the origin was no HTTP; a message that was only cut off is none of these
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from machine import describe, in_words  # noqa: E402
from twisted.trial.unittest import SynchronousTestCase  # noqa: E402

from tests import servers  # noqa: E402  # of this checkout
from tests.integration import test_smuggling_peers as catalogue  # noqa: E402
from tests.integration.envoy import start_envoy  # noqa: E402
from tests.integration.gateway import Gateway, free_port, until  # noqa: E402

OUTCOMES: Final = ("as said", "refused", "answered", "put right", "otherwise", "garbage")

#: What h11 says of a message whose connection ended in the middle.
_CUT: Final = "peer closed connection without sending complete message body"


class Bench(SynchronousTestCase):
    """What the tests' helpers expect of a test: folders, and what is done at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__("run")
        self._folder = folder
        self._made = 0
        self._after: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def mktemp(self) -> str:
        """A path that nobody has."""
        self._made += 1
        return str(self._folder / str(self._made))

    def addCleanup(self, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Call at the end, the last first."""
        self._after.append((call, arguments))

    def close(self) -> None:
        """The end."""
        while self._after:
            call, arguments = self._after.pop()
            call(*arguments)


def start(bench: Bench, name: str, origin: int) -> int:
    """Start a proxy before `origin`, with its own defaults; its port."""
    if name == "nginx":
        server = f"location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_request_buffering off; }}"
        return servers.nginx(bench, server).port
    if name == "haproxy":
        return servers.haproxy(bench, "  default_backend o", sections=f"backend o\n  server o 127.0.0.1:{origin}").port
    port = free_port()
    if name == "envoy":
        start_envoy(bench, port, origin, {"codec_type": "HTTP1", "delayed_close_timeout": "0.05s"})
    else:
        Gateway(bench, catalogue.CONFIG.format(port=port, origin=origin)).wait_ready()
    return port


def outcome(origin: catalogue.Origin, port: int, data: bytes, said: list[catalogue.Read]) -> str:
    """What a proxy does with one case."""
    origin.seen.clear()
    origin.broken.clear()
    try:
        statuses = catalogue.told(port, data)
    except (AssertionError, OSError):           # no end of it: nobody was told that all is well
        statuses = []
    if any(_CUT not in each for each in origin.broken):
        return "garbage"
    seen = list(origin.seen)
    if seen != said[:len(seen)]:
        return "put right" if seen[:len(said)] == said else "otherwise"
    if len(seen) == len(said):
        return "as said"
    return "answered" if statuses and all(status < 400 for status in statuses) and len(statuses) > len(seen) else "refused"


def measure(name: str, cases: dict[str, tuple[bytes, list[catalogue.Read]]]) -> dict[str, str]:
    """The outcome of every case at one proxy."""
    folder = Path(tempfile.mkdtemp(prefix="voltgw-conformance-"))
    bench = Bench(folder)
    try:
        origin = catalogue.Origin()
        bench.addCleanup(origin.stop)
        port = start(bench, name, origin.port)
        valid = catalogue._BEHIND

        def answers() -> bool:
            try:
                return catalogue.told(port, valid) == [200]
            except ConnectionError:
                return False

        until(f"{name} answers", answers)
        return {case: outcome(origin, port, data, said) for case, (data, said) in cases.items()}
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)


def table(result: dict[str, Any]) -> str:
    """The scoreboard, and by name what somebody read otherwise."""
    proxies = result["outcomes"]
    lines = [f"{'':10}" + "".join(f"{word:>11}" for word in OUTCOMES)]
    for name, outcomes in proxies.items():
        count = Counter(outcomes.values())
        lines.append(f"{name:10}" + "".join(f"{count[word]:>11}" for word in OUTCOMES))
    lines += ["", "What reaches the origin otherwise than said, or as garbage, and valid messages that do not reach it:"]
    some = next(iter(proxies.values()))
    for case in some:
        words = {name: outcomes[case] for name, outcomes in proxies.items()}
        bad = {name: word for name, word in words.items()
               if word in ("otherwise", "garbage") or (case in result["valid"] and word != "as said")}
        if bad:
            lines.append(f"  {case}: " + ", ".join(f"{name} {word}" for name, word in bad.items()))
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxies", default="voltgw,haproxy,nginx,envoy")
    parser.add_argument("--python", default=sys.executable, help="that runs voltgw")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    sys.executable = options.python             # it is what the tests' helpers start the gateway with
    cases = catalogue.cases()
    valid = [name for name, (data, said) in cases.items() if len(said) == 2]
    machine = describe(sys.executable, 0)
    result: dict[str, Any] = {"comparison": "conformance", "machine": machine, "valid": valid, "outcomes": {}}
    for name in options.proxies.split(","):
        result["outcomes"][name] = measure(name, cases)
    print(f"{len(cases)} cases, {len(valid)} of them valid. {in_words(machine)}")
    print(table(result))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
