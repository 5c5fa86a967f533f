"""``voltgw blame FILE METHOD URL``: since when a request is decided as it is now, and by which change.

The request is put to the configuration as it is, and to earlier ones, from the newest back, until one decides otherwise: those
that the gateway has kept in its data_dir, or with ``--git`` the commits of the checkout in which the file stands. Nobody is
asked, and nothing is sent. Exit status 0 when the change was found, 1 when no earlier configuration decides otherwise, 2 when
something cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.generations import kept_loader
from voltgw.app.load import Loader, at_once
from voltgw.app.question import QuestionError, read_question
from voltgw.cli.check import examine
from voltgw.cli.commits import Commit, NoCommits, commits, state
from voltgw.cli.fates import differences, facts, fate
from voltgw.config.collector import without_collector
from voltgw.config.diff import diff
from voltgw.config.show import report
from voltgw.control.generations import GenerationStore, NotKept
from voltgw.errors import ConfigErrors

if TYPE_CHECKING:
    from voltgw.app.explain import Explanation
    from voltgw.app.question import Question
    from voltgw.config.model import Config

#: Exit status when no earlier configuration decides otherwise…
SAME_STATUS: Final = 1
#: …and when something cannot be used.
WRONG_STATUS: Final = 2
#: Commits that are looked at, unless the command line says another number.
MOST_COMMITS: Final = 200
#: Changes of the configuration that are shown.
_MOST_CHANGES: Final = 20


class Earlier(NamedTuple):
    """A configuration of the past: its name for people, and how it is read (raises `ConfigErrors`, `NotKept`, `NoCommits`)."""

    name: str
    read: Callable[[], Config]


def run(arguments: list[str]) -> int:
    """Look for the change that `arguments` ask for; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        question = read_question(options.method, options.url, options.header, options.source or "", options.listener or "")
    except QuestionError as error:
        print(f"voltgw blame: {error}", file=sys.stderr)
        return WRONG_STATUS
    config, problems = examine([options.file])
    if config is None:
        print(report(problems), file=sys.stderr)
        return WRONG_STATUS
    try:
        now = _explained(config, question)
        past = list(_commits(options) if options.git else _kept(config, options.file))
    except (NotKept, NoCommits, QuestionError) as error:
        print(f"voltgw blame: {error}", file=sys.stderr)
        return WRONG_STATUS
    found = _search(config, now, question, past)
    _show(options, now, found)
    return 0 if found.otherwise is not None else SAME_STATUS


class _Found:
    """What the search has come to: the configuration `since` which it is so, and the one before, which decides `otherwise`."""

    def __init__(self, since: str, config: Config) -> None:
        self.since = since
        self.config = config
        self.before = ""
        self.old: Config | None = None
        self.otherwise: Explanation | None = None
        self.asked = 0                      # earlier configurations that were asked
        self.skipped: list[str] = []        # those that could not be, and why


def _search(config: Config, now: Explanation, question: Question, past: list[Earlier]) -> _Found:
    found = _Found("the file as it is", config)
    said = facts(now)
    for earlier in past:
        try:
            old = earlier.read()
            explained = _explained(old, question)
        except ConfigErrors as errors:
            found.skipped.append(f"{earlier.name}: it cannot be used any more: {errors.problems[0].message}")
            continue
        except (NotKept, NoCommits, QuestionError) as error:
            found.skipped.append(f"{earlier.name}: {error}")
            continue
        found.asked += 1
        if facts(explained) != said:
            found.before, found.old, found.otherwise = earlier.name, old, explained
            return found
        found.since, found.config = earlier.name, old
    return found


def _explained(config: Config, question: Question) -> Explanation:
    """Raises `ConfigErrors` and `QuestionError`."""
    return Explainer(dry_runtime(config)).explain(question)


def _kept(config: Config, file: str) -> Iterator[Earlier]:
    """The kept configurations, the newest first. Raises `NotKept` when there are none."""
    folder = config.gateway.data_dir
    if folder is None:
        raise NotKept(f"{file} names no gateway.data_dir in which generations would be kept; --git asks its checkout")
    kept = GenerationStore(folder).all()
    if not kept:
        raise NotKept(f"no generation is kept in {folder}; --git asks the checkout of {file}")
    for each in kept:
        def read(number: int = each.number) -> Config:
            with without_collector():
                return at_once(kept_loader(folder, number, os.environ))

        yield Earlier(f"number {each.number} ({_utc(each.wall)}, {each.main})", read)


def _commits(options: argparse.Namespace) -> Iterator[Earlier]:
    """The commits, the newest first. Raises `NoCommits`."""
    found = commits(options.file, options.most)
    if not found:
        raise NoCommits(f"no commit has {options.file}")
    for each in found:
        def read(commit: Commit = each) -> Config:
            with state(options.file, commit) as there, without_collector():
                return at_once(Loader(there, os.environ))

        yield Earlier(str(each), read)


def _show(options: argparse.Namespace, now: Explanation, found: _Found) -> None:
    changes = [] if found.old is None else _changes(found.old, found.config)
    what = [] if found.otherwise is None else differences(facts(found.otherwise), facts(now))
    if options.json:
        print(json.dumps({
            "now": fate(now), "since": found.since, "asked": found.asked, "skipped": found.skipped,
            "before": None if found.otherwise is None else {"name": found.before, "fate": fate(found.otherwise)},
            "differs": what, "changes": changes}, indent=2, ensure_ascii=False))
        return
    print(f"{options.method} {options.url}\n  now:    {fate(now)}")
    if found.otherwise is None:
        print(f"no earlier configuration decides otherwise; {found.asked} were asked, back to {found.since}")
    else:
        print(f"  before: {fate(found.otherwise)}\nchanged by {found.since};\n{found.before} decided otherwise")
        for line in what:
            print(f"  {line}")
        print("what else is in that change:" if len(changes) > 1 else "the change:")
        for line in changes[:_MOST_CHANGES]:
            print(f"  {line}")
        if len(changes) > _MOST_CHANGES:
            print(f"  and {len(changes) - _MOST_CHANGES} more")
    for line in found.skipped:
        print(f"not asked: {line}")


def _utc(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _changes(old: Config, new: Config) -> list[str]:
    changed = diff(old, new)
    return [*changed.gateway, *map(str, changed.changes)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw blame", description="Say since when a request is decided as it is now, and which change has brought that "
        "about: by the configurations that are kept in the data_dir that FILE names, or by git.",
        epilog="Exit status: 0; 1 when no earlier configuration decides otherwise; 2 when something cannot be used.")
    parser.add_argument("file", metavar="FILE", help="the configuration as it is now")
    parser.add_argument("method", metavar="METHOD", help="GET, POST, ...; - for a connection")
    parser.add_argument("url", metavar="URL", help="http://HOST[:PORT]/PATH, or what is relayed")
    parser.add_argument("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[],
                        help="a field of the request; may be given again")
    parser.add_argument("--from", metavar="IP", dest="source", help="the client's address")
    parser.add_argument("--listener", metavar="ADDR:PORT", help="the listener, where the URL does not tell it")
    parser.add_argument("--git", action="store_true", help="ask the commits of the checkout in which FILE stands")
    parser.add_argument("--most", metavar="N", type=int, default=MOST_COMMITS,
                        help="of --git: how many commits to go back (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    return parser
