"""``voltgw test FILE CASES``: whether requests go where they should, and whether claims about all requests hold.

Exit status 0 when everything is as expected; 1 when a case is not, or a claim is refuted or left open; 2 when the
configuration has errors or the cases cannot be understood.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from voltgw.app.cases import Result, check_cases, plain_result, read_cases
from voltgw.app.dry import dry_runtime
from voltgw.cli.check import examine
from voltgw.config.show import report
from voltgw.errors import ConfigErrors

FAILED_STATUS: Final = 1
WRONG_STATUS: Final = 2


def run(arguments: list[str]) -> int:
    """Test what `arguments` name; returns the exit status."""
    options = _parser().parse_args(arguments)
    config, problems = examine([options.file])
    if config is None:
        print(report(problems), file=sys.stderr)
        return WRONG_STATUS
    runtime = dry_runtime(config)
    results: list[Result] = []
    try:
        for path in options.cases:
            results += check_cases(runtime, read_cases(path), path)
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return WRONG_STATUS
    failed = sum(not result.ok for result in results)
    if options.json:
        print(json.dumps({"ok": not failed, "results": [plain_result(result) for result in results]}, indent=2,
                         ensure_ascii=False))
    else:
        _show(results, failed, verbose=options.verbose)
    return FAILED_STATUS if failed else 0


def _show(results: list[Result], failed: int, *, verbose: bool) -> None:
    for result in results:
        if result.ok and not verbose:
            continue
        print(f"{'ok' if result.ok else 'FAILED'}  {result.place}: {result.name}")
        for why in result.wrong:
            print(f"    {why}")
        for note in result.verdict.notes if result.verdict is not None else ():
            print(f"    note: {note}")
        if result.ok and result.verdict is not None:
            print(f"    proved: {result.verdict.looked_at} kinds of requests were looked at")
    cases = sum(result.kind == "case" for result in results)
    claims = len(results) - cases
    counts = [f"{count} {word}{'s' * (count != 1)}" for count, word in ((cases, "case"), (claims, "claim")) if count]
    print(f"{', '.join(counts)}: {f'{failed} failed' if failed else 'all as expected'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw test", description="Check where requests go by a configuration, without opening anything.",
        epilog="Exit status: 0; 1 when something is not as expected; 2 when a file cannot be understood.")
    parser.add_argument("file", metavar="FILE", help="the configuration")
    parser.add_argument("cases", metavar="CASES", nargs="+", help="a file with `cases:` and `prove:`")
    parser.add_argument("-v", "--verbose", action="store_true", help="also show what is as expected")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser
