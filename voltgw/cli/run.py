"""``voltgw run FILE``: the gateway in the foreground, its access log on standard output."""

from __future__ import annotations

import argparse
import os

from voltgw.app.load import Loader
from voltgw.tap import run as serve


def run(arguments: list[str]) -> int:
    """Serve until a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="voltgw run", description="Serve a configuration in the foreground; Ctrl-C drains and stops, twice stops at once.",
        epilog="SIGHUP reads the file again. Exit status: 0; 1 when it cannot start; 2 with configuration errors.")
    parser.add_argument("file", metavar="FILE", help="the configuration")
    parser.add_argument("--no-touch-addresses", action="store_true",
                        help="add no VIP to an interface, whatever the configuration says")
    parser.add_argument("--takeover", action="store_true",
                        help="take the place of the process that serves this configuration, on its sockets")
    options = parser.parse_args(arguments)
    return serve(Loader(options.file, os.environ), access_log_to_stdout=True, touch_addresses=not options.no_touch_addresses,
                 takeover=options.takeover)
