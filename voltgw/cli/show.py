"""``voltgw config show [--effective] FILE``: the configuration as it was understood."""

from __future__ import annotations

import argparse
import os
import sys

from voltgw.config.effective import text_of
from voltgw.config.load import load
from voltgw.config.show import report
from voltgw.errors import ConfigErrors


def run(arguments: list[str]) -> int:
    """Print the configuration that `arguments` name; returns the exit status."""
    parser = argparse.ArgumentParser(prog="voltgw config", description="Show a configuration.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print the configuration as it was understood")
    show.add_argument("files", metavar="FILE", nargs="+", help="the main file")
    show.add_argument("--effective", action="store_true",
                      help="with friendly forms lowered, defaults laid under, and the origin of every value")
    options = parser.parse_args(arguments)
    try:
        config = load(options.files, environ=os.environ)
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return 2
    if config.warnings:
        print(report(config.warnings), file=sys.stderr)
    print(text_of(config, everything=options.effective), end="")
    return 0
