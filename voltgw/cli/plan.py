"""``voltgw plan [OLD] NEW``: what changes from one configuration to another, and what a reload would do; nothing is opened.

Exit status 0, whether anything changes or not; 2 when one of the two cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from voltgw.app.build import build
from voltgw.app.dry import dry_build, dry_makings
from voltgw.app.generations import kept_loader
from voltgw.app.load import at_once
from voltgw.app.reload import plan_reload
from voltgw.cli.check import examine
from voltgw.config.collector import without_collector
from voltgw.config.diff import diff
from voltgw.config.show import report
from voltgw.control.generations import GenerationStore, NotKept
from voltgw.errors import ConfigErrors

if TYPE_CHECKING:
    from voltgw.config.model import Config

#: Exit status of a wrong command line, and of a configuration with errors.
WRONG_STATUS: Final = 2


def compared(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, Config | None]:
    """What the command line says, and its NEW; None after saying what is wrong with that."""
    options = parser.parse_args(arguments)
    if len(options.files) > 2 or len(options.files) == 2 and options.generation:
        parser.error("NEW is needed, and perhaps OLD or a --generation")
    new, problems = examine(options.files[-1:])
    if new is None:
        print(report(problems), file=sys.stderr)
    return options, new


def run(arguments: list[str]) -> int:
    """Compare what `arguments` name; returns the exit status."""
    options, new = compared(_parser(), arguments)
    if new is None:
        return WRONG_STATUS
    try:
        name, old = old_config(options.files, options.generation, new)
        before = dry_build(old)
        with without_collector():
            after = build(new, before, dry_makings())
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return WRONG_STATUS
    except NotKept as error:
        print(f"voltgw plan: {error}; name an OLD file to compare with", file=sys.stderr)
        return WRONG_STATUS
    found, plan = diff(old, new), plan_reload(before, after)
    changes = [*found.gateway, *map(str, found.changes)]
    if options.json:
        print(json.dumps({"old": name, "changes": changes, "reload": plan.describe(),
                          "listeners_kept": len(plan.listeners_keep), "clusters_kept": len(plan.clusters_keep)}, indent=2))
        return 0
    print(f"from {name} to {options.files[-1]}:" if found else f"{options.files[-1]} says what {name} says")
    for change in changes:
        print(f"  {change}")
    if found:
        print("a reload would do this:")
        for line in plan.describe() or ["only values change"]:
            print(f"  {line}")
        print(f"  kept as they are: {len(plan.listeners_keep)} listeners, {len(plan.clusters_keep)} clusters with their "
              "connections and health")
    return 0


def old_config(files: list[str], number: int, new: Config) -> tuple[str, Config]:
    """What to compare `new` with, and its name: the first of two files, else what is kept as `number` (0 = the newest).

    Raises `NotKept` or `ConfigErrors`.
    """
    if len(files) == 2:
        config, problems = examine(files[:1])
        if config is None:
            raise ConfigErrors(problems)
        return files[0], config
    folder = new.gateway.data_dir
    if folder is None:
        raise NotKept(f"{files[0]} names no gateway.data_dir in which generations would be kept")
    number = number or next((each.number for each in GenerationStore(folder).all()), 0)
    if not number:
        raise NotKept(f"no generation is kept in {folder}")
    with without_collector():
        return f"number {number}", at_once(kept_loader(folder, number, os.environ))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw plan", description="Say what changes from one configuration to another, and what a reload would do. "
        "Without OLD, from the newest that is kept in the data_dir that NEW names.",
        epilog="Exit status: 0; 2 when one of the two cannot be used.")
    parser.add_argument("files", metavar="FILE", nargs="+", help="NEW, or OLD and NEW")
    parser.add_argument("--generation", metavar="NUMBER", type=int, default=0,
                        help="compare with this one of those that are kept, instead of the newest")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser
