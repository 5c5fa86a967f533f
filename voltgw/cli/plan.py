"""``voltgw plan [OLD] NEW``: what changes from one configuration to another, and what a reload would do; nothing is opened.

With ``--live`` the running gateway is asked which configuration serves, and for its latest requests, which are put to both.

Exit status 0, whether anything changes or not; 2 when one of the two cannot be used; with ``--live`` 1 when the gateway
refuses, 3 when none answers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.build import build
from voltgw.app.dry import dry_build, dry_makings, dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.generations import kept_loader
from voltgw.app.load import at_once
from voltgw.app.question import QuestionError, read_question
from voltgw.app.reload import plan_reload
from voltgw.cli.check import examine
from voltgw.cli.fates import fate
from voltgw.cli.remote import REFUSED_STATUS, Parser, question
from voltgw.cli.top_screen import printable
from voltgw.config.collector import without_collector
from voltgw.config.diff import diff
from voltgw.config.show import report
from voltgw.control.generations import GenerationStore, NotKept
from voltgw.errors import ConfigErrors

if TYPE_CHECKING:
    from voltgw.config.model import Config

#: Requests that the gateway is asked for, and that are shown one by one.
_MOST_RECENT: Final = 1000
_MOST_SHOWN: Final = 20
#: Exit status of a wrong command line, and of a configuration with errors.
WRONG_STATUS: Final = 2


def compared(parser: argparse.ArgumentParser, arguments: list[str]) -> tuple[argparse.Namespace, Config | None]:
    """What the command line says, and its NEW; None after saying what is wrong with that."""
    options = parser.parse_args(arguments)
    if len(options.files) > 2 or len(options.files) == 2 and (options.generation or getattr(options, "live", False)):
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
    number, recent = options.generation, None
    if options.live:
        failed, number, recent = _running(options.admin)
        if failed:
            return failed
    try:
        name, old = old_config(options.files, number, new)
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
    moved = [] if recent is None else list(_moved(old, new, recent))
    changes = [*found.gateway, *map(str, found.changes)]
    if options.json:
        print(json.dumps({"old": name, "changes": changes, "reload": plan.describe(),
                          "listeners_kept": len(plan.listeners_keep), "clusters_kept": len(plan.clusters_keep),
                          **({} if recent is None else {"recent": {"requests": len(recent), "elsewhere": moved}})}, indent=2))
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
    if recent is not None:
        print(f"of the latest {len(recent)} requests that the gateway remembers, {len(moved)} would go elsewhere")
        for each in moved[:_MOST_SHOWN]:
            for label, what in (("  ", "request"), ("      was: ", "before"), ("      new: ", "after")):
                print(printable(label + each[what]))        # clients have chosen what stands in it
        if len(moved) > _MOST_SHOWN:
            print(f"  and {len(moved) - _MOST_SHOWN} more; --json has them all")
    return 0


def _running(admin: str) -> tuple[int, int, list[dict[str, Any]]]:
    """An exit status for failures (0 = none), the number under which what serves is kept, and its latest requests."""
    failed, kept = question(admin, "/generations", "generations", "current")
    if failed:
        return failed, 0, []
    if kept["current"] is None:
        why = kept["problem"] or "it has no data_dir"
        print(f"voltgw plan: what the gateway at {admin} serves is not kept ({why}); name an OLD file to compare with",
              file=sys.stderr)
        return REFUSED_STATUS, 0, []
    failed, recent = question(admin, f"/recent?most={_MOST_RECENT}", "requests")
    return failed, int(kept["current"]), recent.get("requests", [])


def _moved(old: Config, new: Config, recent: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Of these requests, those of which something else would become: which, and what becomes of them before and after."""
    before, after = Explainer(dry_runtime(old)), Explainer(dry_runtime(new))
    known: set[tuple[str, ...]] = set()
    for each in recent:
        said = tuple(str(each.get(name, "")) for name in ("method", "authority", "target", "client", "listener"))
        if said in known:
            continue
        known.add(said)
        method, authority, target, client, listener = said
        for scheme in ("http", "https"):
            url = f"{scheme}://{authority}{target}"
            try:
                asked = read_question(method, url, (), client, listener)
                was, will = before.explain(asked), after.explain(asked)
            except QuestionError:
                continue
            if was.listener:
                if fate(was) != fate(will):
                    yield {"request": f"{method} {url}", "before": fate(was), "after": fate(will)}
                break


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


def _parser() -> Parser:
    parser = Parser(
        prog="voltgw plan", description="Say what changes from one configuration to another, and what a reload would do. "
        "Without OLD, from the newest that is kept in the data_dir that NEW names.",
        epilog="Exit status: 0; 2 when one of the two cannot be used; with --live 1 when the gateway refuses, 3 when none "
        "answers.")
    parser.add_argument("files", metavar="FILE", nargs="+", help="NEW, or OLD and NEW")
    parser.add_argument("--generation", metavar="NUMBER", type=int, default=0,
                        help="compare with this one of those that are kept, instead of the newest")
    parser.add_argument("--live", action="store_true",
                        help="from what the running gateway serves, and with the latest requests that it remembers")
    parser.add_admin("--live")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser
