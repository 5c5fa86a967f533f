"""``voltgw replay ACCESS_LOG [OLD] NEW``: which requests of the past would go elsewhere; nobody is asked, nothing is sent.

Each distinct request of an access log in JSON is put to both configurations, as ``voltgw explain`` would. What the log does not
have (header fields but the user agent, cookies, bodies, secrets of queries) takes no part. Exit status 0; 1 when any request
would go elsewhere; 2 when a configuration or the log cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import QuestionError, read_question
from voltgw.cli.fates import fate
from voltgw.cli.plan import WRONG_STATUS, compared, old_config
from voltgw.cli.progress import Progress
from voltgw.config.show import report
from voltgw.control.generations import NotKept
from voltgw.errors import ConfigErrors

if TYPE_CHECKING:
    from voltgw.config.model import Config

#: Exit status when a request would go elsewhere.
DIFFERENT_STATUS: Final = 1
#: Distinct requests whose answers are remembered at a time, and different changes that are told apart.
MOST_REMEMBERED: Final = 50_000
MOST_CHANGES: Final = 1_000
#: Longest line of a log that is read; longer ones are counted as not understood.
_MOST_LINE: Final = 1 << 20


class _Request(NamedTuple):
    """What the log says of a request."""

    method: str
    url: str
    agent: str
    source: str
    listener: str


class Replay:
    """Two configurations, and what has been found. `changes` has, by what becomes of it before and after, how many requests
    and the first of them.
    """

    def __init__(self, old: Config, new: Config) -> None:
        self.requests = self.distinct = self.others = self.different = 0
        self.changes: dict[tuple[str, str], tuple[int, str]] = {}
        self.more = 0                       # requests of further changes
        self._explainers = Explainer(dry_runtime(old)), Explainer(dry_runtime(new))
        self._known: dict[_Request, tuple[str, str] | None] = {}

    def take(self, line: bytes) -> None:
        """One line of the log."""
        request = _read(line)
        if request is None:
            self.others += 1
            return
        if request not in self._known:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()         # those that come again are asked again
            self.distinct += 1
            try:
                before, after = (_fate(explainer, request) for explainer in self._explainers)
            except QuestionError:
                self._known[request] = ("", "")
            else:
                self._known[request] = None if before == after else (before, after)
        change = self._known[request]
        if change == ("", ""):
            self.others += 1
            return
        self.requests += 1
        if change is None:
            return
        self.different += 1
        if change in self.changes or len(self.changes) < MOST_CHANGES:
            count, first = self.changes.get(change, (0, f"{request.method} {request.url}"))
            self.changes[change] = count + 1, first
        else:
            self.more += 1


def _read(line: bytes) -> _Request | None:
    """None where it is no request over HTTP."""
    try:
        said: Any = json.loads(line) if len(line) < _MOST_LINE else None
        if not isinstance(said, dict) or not said.get("method") or not said.get("original_authority"):
            return None
        query = said.get("req_params", "")
        url = f"{said['scheme']}://{said['original_authority']}{said['original_path']}{query and '?'}{query}"
        return _Request(str(said["method"]), url, str(said.get("user_agent", "")), str(said.get("src_ip", "")),
                        str(said.get("listener", "")))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _fate(explainer: Explainer, request: _Request) -> str:
    """What becomes of it, in words. Raises `QuestionError`."""
    fields = (f"user-agent: {request.agent}",) if request.agent else ()
    return fate(explainer.explain(read_question(request.method, request.url, fields, request.source, request.listener)))


def _lines(name: str) -> Iterator[bytes]:
    """Of a file, or (``-``) of standard input. Raises OSError."""
    with nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb") as file:
        while line := file.readline(_MOST_LINE):
            yield line
            while len(line) == _MOST_LINE and not line.endswith(b"\n"):
                line = file.readline(_MOST_LINE)        # the rest of one that is too long is no line of its own


def run(arguments: list[str]) -> int:
    """Replay what `arguments` name; returns the exit status."""
    options, new = compared(_parser(), arguments)
    if new is None:
        return WRONG_STATUS
    try:
        replay = Replay(old_config(options.files, options.generation, new)[1], new)
        size = None if options.log == "-" else os.stat(options.log).st_size or None
        read = 0
        with Progress("replay", size, quiet=options.quiet) as progress:
            for line in _lines(options.log):
                replay.take(line)
                read += len(line)
                progress.at(read, f"{replay.requests} requests, {replay.different} elsewhere")
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return WRONG_STATUS
    except (NotKept, OSError) as error:
        print(f"voltgw replay: {error}", file=sys.stderr)
        return WRONG_STATUS
    _show(replay, as_json=options.json)
    return DIFFERENT_STATUS if replay.different else 0


def _show(replay: Replay, *, as_json: bool) -> None:
    found = sorted(((count, first, *change) for change, (count, first) in replay.changes.items()), reverse=True)
    if as_json:
        print(json.dumps({
            "requests": replay.requests, "distinct": replay.distinct, "other_lines": replay.others,
            "different": replay.different, "changes": [{"requests": count, "first": first, "before": before, "after": after}
                        for count, first, before, after in found], "more": replay.more}, indent=2))
        return
    for count, first, before, after in found:
        print(f"{count:>8}  {first}\n          was: {before}\n          new: {after}")
    if replay.more:
        print(f"{replay.more:>8}  in further changes")
    print(f"{replay.different} of {replay.requests} requests ({replay.distinct} distinct) would go elsewhere; "
          f"{replay.others} lines are no requests that can be asked about")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw replay", description="Say which requests of an access log in JSON would go elsewhere. Without OLD, it is "
        "compared with the newest configuration that is kept in the data_dir that NEW names.",
        epilog="Exit status: 0; 1 when any would; 2 when a configuration or the log cannot be used.")
    parser.add_argument("log", metavar="ACCESS_LOG", help="- reads standard input")
    parser.add_argument("files", metavar="FILE", nargs="+", help="NEW, or OLD and NEW")
    parser.add_argument("--generation", metavar="NUMBER", type=int, default=0,
                        help="compare with this one of those that are kept, instead of the newest")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not show how far it is")
    return parser
