"""``voltgw check FILE``: load, check, build and lint a configuration; no sockets, no network.

Exit status 0; 2 with errors; 1 with warnings under ``--strict``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from voltgw.app.dry import dry_build
from voltgw.app.lint import after_refusal, lint
from voltgw.config.codes import CODES
from voltgw.config.collector import without_collector
from voltgw.config.load import checked, load, load_text
from voltgw.config.mistake import explain
from voltgw.config.show import arranged, plain, report
from voltgw.config.suggest import did_you_mean
from voltgw.errors import ConfigError, ConfigErrors, Severity

if TYPE_CHECKING:
    from voltgw.config.model import Config

ERRORS_STATUS: Final = 2
WARNINGS_STATUS: Final = 1


def run(arguments: list[str]) -> int:
    """Check the file that `arguments` name; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.explain is not None:
        return _explain(options.explain)
    if not options.files:
        print("voltgw check: FILE is missing", file=sys.stderr)
        return ERRORS_STATUS
    config, problems = examine(options.files)
    errors = any(problem.severity is Severity.ERROR for problem in problems)
    if options.json:
        print(json.dumps({"ok": not errors, "problems": [plain(problem) for problem in problems]}, indent=2,
                         ensure_ascii=False))
    else:
        if problems:
            print(report(problems, limit=None if options.all else 20))
        if config is not None and not options.quiet:
            print(f"{', '.join(options.files)}: ok ({_counts(config)})")
    if errors:
        return ERRORS_STATUS
    return WARNINGS_STATUS if problems and options.strict else 0


def examine(files: list[str], now: datetime | None = None) -> tuple[Config | None, tuple[ConfigError, ...]]:
    """The configuration of some files (``-`` = standard input), None with errors; and every problem of it, as of `now`."""
    try:
        with without_collector():
            if files == ["-"]:
                config = checked(load_text(sys.stdin.read(), name="<stdin>", folder=os.getcwd(), environ=os.environ))
            else:
                config = checked(load(files, environ=os.environ))
    except ConfigErrors as errors:
        return None, errors.problems
    now = now or datetime.now(UTC)
    try:
        with without_collector():
            found = lint(config, dry_build(config), now)
    except ConfigErrors as errors:
        return None, after_refusal(config, errors, now)
    problems = arranged((*config.warnings, *found), list(config.files), config.line)
    return None if any(one.severity is Severity.ERROR for one in problems) else config, problems


def _explain(code: str) -> int:
    text = explain(code)
    if text is None:
        hint = did_you_mean(code.upper(), CODES)
        print(f"voltgw check: there is no code {code}" + (f"; {hint}" if hint else ""), file=sys.stderr)
        return ERRORS_STATUS
    print(text)
    return 0


def _counts(config: Config) -> str:
    """How many objects of the kinds that matter there are."""
    words = {"virtual_host": "virtual host", "route": "route", "cluster": "cluster", "endpoint": "endpoint"}
    counts = [(len(config.of(kind)), word) for kind, word in words.items()]
    return ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw check", description="Say what is wrong with a configuration, without opening anything.",
        epilog="Exit status: 0; 2 with errors; 1 with warnings under --strict.")
    parser.add_argument("files", metavar="FILE", nargs="*", help="the main file; - reads standard input")
    parser.add_argument("--strict", action="store_true", help="warnings change the exit status, too")
    parser.add_argument("--json", action="store_true", help="print the problems as JSON")
    parser.add_argument("--all", action="store_true", help="show all problems instead of the first 20")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when all is well")
    parser.add_argument("--explain", metavar="CODE", help="explain an error code, such as VG0107")
    return parser
