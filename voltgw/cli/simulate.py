"""``voltgw simulate FILE SCENARIO``: what a configuration makes of traffic and failures that are made up.

Exit status 0 when it was played, whatever came of it; 2 when a file cannot be understood.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from voltgw.app.simulation.play import Simulation
from voltgw.app.simulation.report import plain, text
from voltgw.app.simulation.scenario import read_scenario
from voltgw.cli.check import examine
from voltgw.cli.progress import Progress
from voltgw.config.show import report
from voltgw.errors import ConfigErrors

WRONG_STATUS: Final = 2


def run(arguments: list[str]) -> int:
    """Play what `arguments` name; returns the exit status."""
    options = _parser().parse_args(arguments)
    config, problems = examine([options.file])
    if config is None:
        print(report(problems), file=sys.stderr)
        return WRONG_STATUS
    try:
        simulation = Simulation(config, read_scenario(options.scenario), options.scenario)
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return WRONG_STATUS
    with Progress("simulate", 1.0, quiet=options.quiet or options.json) as progress:
        simulation.run(progress.at)
    facts = plain(simulation)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if options.json else text(facts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw simulate",
        description="Play traffic and failures against a configuration, in time and on a network that are made up: nothing is "
        "opened, nobody is connected to. The same seed gives the same result.",
        epilog="Exit status: 0; 2 when a file cannot be understood.")
    parser.add_argument("file", metavar="FILE", help="the configuration")
    parser.add_argument("scenario", metavar="SCENARIO", help="a file with `duration:`, `traffic:`, `endpoints:` and `events:`")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not show how far it is")
    return parser
