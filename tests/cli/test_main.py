"""The ``voltgw`` command itself: its table, its help, its exit status."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import import_module
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

import voltgw
from tests.cli.running import Run, run
from voltgw.cli.main import COMMANDS, usage
from voltgw.values.compiling import build

ROOT: Final = os.path.dirname(os.path.dirname(voltgw.__file__))


class MainTests(SynchronousTestCase):
    def test_help(self) -> None:
        """Asked for it is the answer; without a command it is a complaint."""
        for arguments, status in ((["--help"], 0), (["-h"], 0), (["help"], 0), ([], 2)):
            self.assertEqual(run(arguments), Run(status, usage() + "\n", ""))

    def test_the_help_has_every_command(self) -> None:
        """With a line of its own."""
        for name, command in COMMANDS.items():
            self.assertIn(f"  {name} ", usage())
            self.assertIn(command.doc, usage())

    def test_version(self) -> None:
        """For scripts, one line."""
        for option in ("--version", "-V"):
            python = f"{platform.python_implementation()} {platform.python_version()}"
            self.assertEqual(run([option]), Run(0, f"voltgw {voltgw.__version__} ({build()}, {python})\n", ""))

    def test_a_command_that_does_not_exist(self) -> None:
        """With a suggestion, or with where to look."""
        self.assertEqual(run(["chek"]), Run(2, "", "voltgw: there is no command 'chek'; did you mean \"check\"?\n"))
        self.assertEqual(run(["zzz"]), Run(2, "", "voltgw: there is no command 'zzz'; try: voltgw --help\n"))

    def test_every_command_can_be_run(self) -> None:
        """Its module is there and has the function that the table promises."""
        for name, command in COMMANDS.items():
            self.assertTrue(callable(import_module(command.module).run), name)

    def test_a_wrong_option(self) -> None:
        """argparse's status, with the name of the command."""
        done = run(["check", "--nope"])
        self.assertEqual(done.status, 2)
        self.assertIn("voltgw check", done.err)


class ProcessTests(SynchronousTestCase):
    """Real processes, since these are about what a process does."""

    def process(self, *arguments: str, code: str = "from voltgw.cli.main import main; raise SystemExit(main())") -> str:
        """Standard output of a process that is asked for some modules at its end."""
        done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
                              timeout=60, env={**os.environ, "PYTHONPATH": ROOT})
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_checking_needs_no_reactor(self) -> None:
        """Nor web servers or TLS: the start-up of a small check must stay short."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("load_balancers: [{name: shop, listen: 8080, origins: ['127.0.0.1:9001']}]\n")
        code = ("import sys; from voltgw.cli.main import main; status = main(); "
                "print(sorted(m for m in sys.modules if m in ('twisted.internet.reactor', 'twisted.web', 'OpenSSL', "
                "'prometheus_client', 'voltgw.tap', 'voltgw.proxy.http1'))); raise SystemExit(status)")
        self.assertEqual(self.process("check", os.path.abspath(path), code=code).split("\n")[1], "[]")

    def test_help_imports_no_command(self) -> None:
        """Each is imported when it is asked for."""
        code = ("import sys; from voltgw.cli.main import main; main(); "
                "print([m for m in sys.modules if m.startswith(('twisted', 'yaml', 'voltgw.cli.')) and m != 'voltgw.cli.main'])")
        self.assertEqual(self.process("--help", code=code).strip().split("\n")[-1], "[]")

    def test_a_reader_that_goes_away(self) -> None:
        """``voltgw schema | head`` ends without a traceback."""
        done = subprocess.run(f"{sys.executable} -m voltgw.cli.main schema | head -1", shell=True, cwd=ROOT, capture_output=True,
                              text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": ROOT})
        self.assertEqual((done.stdout, done.stderr), ("{\n", ""))
