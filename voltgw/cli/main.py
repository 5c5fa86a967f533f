"""The ``voltgw`` command: a table of subcommands, each imported when it is asked for.

A new command is one line of `COMMANDS`: its module has a function ``run(arguments: list[str]) -> int`` (the exit status).
"""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, NamedTuple

import voltgw
from voltgw.config.suggest import did_you_mean
from voltgw.values.compiling import build

#: Exit status of a wrong command line, as argparse has it.
USAGE_STATUS: Final = 2
#: Exit status after SIGINT, as shells show it.
INTERRUPTED_STATUS: Final = 130


class Command(NamedTuple):
    """One subcommand: the module whose ``run`` does it, and what the help says."""

    module: str
    doc: str


COMMANDS: Final[Mapping[str, Command]] = {
    "blame": Command("voltgw.cli.blame", "blame FILE METHOD URL: say which change has a request decided as it is now"),
    "check": Command("voltgw.cli.check", "say what is wrong with a configuration, without opening anything"),
    "clusters": Command("voltgw.cli.clusters", "show the endpoints of the running gateway, and why they do or do not serve"),
    "completion": Command("voltgw.cli.completion", "completion bash|zsh|fish: print what a shell completes commands by"),
    "config": Command("voltgw.cli.show", "config show [--effective] FILE: print the configuration as it was understood"),
    "demo": Command("voltgw.cli.demo", "run the gateway with three origins of its own, to try it"),
    "drain": Command("voltgw.cli.drain", "drain ENDPOINT: give an endpoint nothing new; what is under way may finish"),
    "eject": Command("voltgw.cli.eject", "eject ENDPOINT [TIME]: give an endpoint nothing new for a while"),
    "events": Command("voltgw.cli.events", "show what has changed lately in the running gateway, and --follow it"),
    "explain": Command("voltgw.cli.explain", "explain FILE METHOD URL: say what becomes of a request, and why"),
    "generations": Command("voltgw.cli.generations", "show the configurations that the running gateway has kept"),
    "import": Command("voltgw.cli.importing", "import PROXY FILE: translate a configuration of nginx, HAProxy, Caddy, Traefik"),
    "log-level": Command("voltgw.cli.log_level", "log-level [LOGGER] [LEVEL|reset]: show more or less in the process log"),
    "names": Command("voltgw.cli.names", "show which names are answered or published for virtual hosts, and with what"),
    "pki": Command("voltgw.cli.pki", "pki init|issue|renew|revoke FOLDER: make certificates for labs and first steps"),
    "plan": Command("voltgw.cli.plan", "plan [OLD] NEW: say what changes between configurations, and what a reload would do"),
    "proxy": Command("voltgw.cli.proxy", "proxy LISTEN ORIGIN...: a load balancer from the command line alone"),
    "reload": Command("voltgw.cli.reload", "have the running gateway read its configuration again"),
    "reopen-logs": Command("voltgw.cli.reopen_logs", "have the running gateway open its log files anew, after rotation"),
    "replay": Command("voltgw.cli.replay", "replay ACCESS_LOG [OLD] NEW: say which requests of the past would go elsewhere"),
    "rollback": Command("voltgw.cli.rollback", "rollback [NUMBER]: have the running gateway serve a kept configuration"),
    "rollout": Command("voltgw.cli.rollout", "rollout approve|pause|resume|rollback|promote|restart NAME: decide for one"),
    "rollouts": Command("voltgw.cli.rollouts", "show how far each rollout of the running gateway is, and why"),
    "rules": Command("voltgw.cli.rules", "rules FILE: print the packet rules that capture connections for a forward proxy"),
    "run": Command("voltgw.cli.run", "run FILE: serve a configuration in the foreground"),
    "schema": Command("voltgw.cli.schema", "print the JSON Schema of a file or of one kind of object"),
    "simulate": Command("voltgw.cli.simulate", "simulate FILE SCENARIO: play traffic and failures, and see what comes of them"),
    "status": Command("voltgw.cli.status", "say whether the running gateway is ready, and what it serves"),
    "test": Command("voltgw.cli.test", "test FILE CASES: check where requests go, and what none may reach"),
    "top": Command("voltgw.cli.top", "show requests, errors and times of the running gateway, as they happen"),
    "undrain": Command("voltgw.cli.undrain", "undrain ENDPOINT: let an endpoint serve that was drained or ejected by hand"),
    "weight": Command("voltgw.cli.weight", "weight ENDPOINT N|reset: give an endpoint another weight until the process ends"),
    "why": Command("voltgw.cli.why", "why REQUEST_ID: say why a request of the past was answered as it was"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (None = those of the process) name; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if given else USAGE_STATUS
    if given[0] in ("-V", "--version", "version"):
        print(f"voltgw {voltgw.__version__} ({build()}, {platform.python_implementation()} {platform.python_version()})")
        return 0
    command = COMMANDS.get(given[0])
    if command is None:
        hint = did_you_mean(given[0], COMMANDS)
        print(f"voltgw: there is no command {given[0]!r}" + (f"; {hint}" if hint else "; try: voltgw --help"), file=sys.stderr)
        return USAGE_STATUS
    try:
        status: int = import_module(command.module).run(given[1:])
        sys.stdout.flush()
        gc.freeze()         # the interpreter's last collection, at its end, need not go over a large configuration
        return status
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); without this the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS


def usage() -> str:
    """The help: every command with a line of its own."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.doc}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: voltgw COMMAND ...", "", *lines, "", "voltgw COMMAND --help says more; voltgw --version."])


if __name__ == "__main__":
    sys.exit(main())
