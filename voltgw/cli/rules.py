"""``voltgw rules FILE``: the packet rules of a configuration, for those who install them by themselves."""

from __future__ import annotations

import argparse
import os
import sys

from voltgw.app.dry import dry_build
from voltgw.app.load import Loader, at_once
from voltgw.app.packet_rules import printed, rules_of
from voltgw.config.show import report
from voltgw.errors import ConfigErrors

#: Exit status of a configuration with errors.
CONFIG_STATUS = 2


def run(arguments: list[str]) -> int:
    """Print a shell script; nothing is installed. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="voltgw rules", description="Print, as a shell script, the packet rules and routes by which connections of inside "
        "hosts are captured for a forward proxy. Nothing is installed or asked.",
        epilog="With `gateway: {packet_rules: untouched}` the gateway installs none of them itself. Exit status: 0; 2 with "
        "configuration errors.")
    parser.add_argument("--print", action="store_true", help="what it does in any case")
    parser.add_argument("file", metavar="FILE", help="the configuration")
    options = parser.parse_args(arguments)
    try:
        script = printed(rules_of(dry_build(at_once(Loader(options.file, os.environ))).listeners))
    except ConfigErrors as errors:
        print(report(errors.problems), file=sys.stderr)
        return CONFIG_STATUS
    print(script or "# nothing is captured", end="\n" if not script else "")
    return 0
