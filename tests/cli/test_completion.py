"""Completion on the command line, by the shells themselves."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.cli.test_main import ROOT
from tests.servers import require
from voltgw.cli.completion import PLACES
from voltgw.cli.helps import Help, told
from voltgw.cli.main import COMMANDS

#: A shell on a terminal has answered within this (seconds).
_PATIENCE_S: Final = 20.0


def of(command: str, *words: str) -> Help:
    """What a command tells of itself."""
    return told(import_module(COMMANDS[command].module).run, *words)


class HelpTests(SynchronousTestCase):
    def test_every_command_tells(self) -> None:
        """Its options, with --help among them."""
        for name in COMMANDS:
            self.assertIn("--help", [each for option in of(name).options for each in option.names], name)

    def test_options_and_arguments(self) -> None:
        """Names, values, choices, what they are for; words that only the text lists; actions with a help of their own."""
        found = of("import")
        self.assertIn((("-o", "--output"), "FILE", (), "write there instead of to standard output"), found.options)
        self.assertEqual(found.words, ("nginx", "haproxy", "caddy", "traefik"))
        self.assertTrue(found.takes_files)
        self.assertEqual(of("rollout").words, ("approve", "pause", "resume", "rollback", "promote", "restart"))
        self.assertEqual(list(of("pki").actions), ["init", "issue", "renew", "revoke"])
        self.assertIn("--san", [name for option in of("pki", "issue").options for name in option.names])
        self.assertFalse(of("status").takes_files)

    def test_the_environment_is_as_it_was(self) -> None:
        """The width of the help is ours alone."""
        self.patch(os, "environ", {**os.environ, "COLUMNS": "77"})
        of("check")
        self.assertEqual(os.environ["COLUMNS"], "77")

    def test_a_shell_that_is_not_known(self) -> None:
        """argparse's refusal names those that are."""
        done = run(["completion", "tcsh"])
        self.assertEqual(done.status, 2)
        for shell in PLACES:
            self.assertIn(shell, done.err)


class ShellCase(SynchronousTestCase):
    """Base: a script for a shell, in a folder with two files."""

    shell = ""

    def setUp(self) -> None:
        self.program = require(self.shell)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        done = run(["completion", self.shell])
        self.assertEqual((done.status, done.err), (0, ""))
        self.script = self.folder / ("_voltgw" if self.shell == "zsh" else f"voltgw.{self.shell}")
        self.script.write_text(done.out, encoding="utf-8")
        here = self.folder / "here"
        here.mkdir()
        for name in ("gateway.yaml", "old.yaml"):
            (here / name).touch()
        self.here = here

    def ask(self, code: str, *arguments: str) -> str:
        """What the shell prints for some code."""
        done = subprocess.run([self.program, *arguments, "-c", code], cwd=self.here, capture_output=True, text=True,
                              check=False,
                              timeout=_PATIENCE_S, env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "dumb"})
        self.assertEqual(done.stderr, "")
        return done.stdout


class BashTests(ShellCase):
    shell = "bash"

    def offered(self, *words: str) -> list[str]:
        """What it offers at the last word."""
        line = " ".join(f"'{word}'" for word in ("voltgw", *words))
        return self.ask(f"source {self.script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _voltgw; "
                        'printf "%s\\n" "${COMPREPLY[@]}"', "--norc").split()

    def test_commands(self) -> None:
        """By their beginning; all of them without one."""
        self.assertEqual(self.offered("che"), ["check"])
        self.assertEqual(set(self.offered("")), {*COMMANDS, "--help", "--version"})

    def test_options(self) -> None:
        """Those of the command, and their values."""
        self.assertEqual(self.offered("import", "--st"), ["--strict"])
        self.assertEqual(self.offered("import", "n"), ["nginx"])
        self.assertEqual(self.offered("import", "nginx", "-o", "g"), ["gateway.yaml"])
        self.assertEqual(self.offered("status", "--admin", ""), [])

    def test_files(self) -> None:
        """Where a command takes some, and not where it does not."""
        self.assertEqual(set(self.offered("check", "")) - set(self.offered("check", "-")),
                         {"gateway.yaml", "old.yaml"})
        self.assertEqual(self.offered("status", "g"), [])

    def test_actions(self) -> None:
        """And what each of them takes."""
        self.assertEqual(self.offered("pki", "is"), ["issue"])
        self.assertEqual(self.offered("pki", "issue", "--sa"), ["--san"])
        self.assertEqual(self.offered("rollout", "pa"), ["pause"])


class FishTests(ShellCase):
    shell = "fish"

    def offered(self, line: str) -> list[str]:
        """What it offers at the end of a line, without the descriptions."""
        return [each.partition("\t")[0] for each in self.ask(f"source {self.script}; complete -C '{line}'",
                                                             "--no-config").splitlines()]

    def test_all(self) -> None:
        """Commands, options, values, files, actions."""
        self.assertEqual(self.offered("voltgw che"), ["check"])
        self.assertEqual(set(self.offered("voltgw ")), set(COMMANDS))
        self.assertEqual(self.offered("voltgw import --st"), ["--strict"])
        self.assertIn("nginx", self.offered("voltgw import n"))
        self.assertIn("gateway.yaml", self.offered("voltgw check g"))
        self.assertEqual(self.offered("voltgw status g"), [])
        self.assertIn("issue", self.offered("voltgw pki is"))
        self.assertIn("--san", self.offered("voltgw pki issue --sa"))


class ZshTests(ShellCase):
    shell = "zsh"

    def typed(self, line: str) -> str:
        """What stands on its line after `line` and the tabulator were typed."""
        pid, terminal = pty.fork()
        if pid == 0:                            # pragma: no cover  # another process
            os.chdir(self.here)
            os.execve(self.program, [self.program, "-f", "-i"], {
                "PATH": os.environ["PATH"], "HOME": str(self.folder), "TERM": "dumb", "PS1": "> "})
        try:
            os.write(terminal,
                     f"autoload -U compinit; compinit -u -d {self.folder}/dump; source {self.script}; echo rea''dy\n".encode())
            self.read(terminal, "ready")
            os.write(terminal, line.encode() + b"\t\x01echo '\x05'\n")      # behind it: to the front, echo, to the end
            return self.read(terminal, "\r\nvoltgw").rpartition("\r\nvoltgw")[2].split("\r\n")[0].strip()
        finally:
            os.close(terminal)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
            os.waitpid(pid, 0)

    def read(self, terminal: int, wanted: str) -> str:
        """What it writes, until `wanted` and the end of that line are among it."""
        text, end = "", time.monotonic() + _PATIENCE_S
        while wanted not in text or not text.rpartition(wanted)[2].count("\n"):
            if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"zsh wrote only {text!r}")
            text += os.read(terminal, 65536).decode("utf-8", "replace")
        return text

    def test_all(self) -> None:
        """Commands, options, values, files, actions."""
        for line, whole in (
            ("voltgw impo", "import"), ("voltgw import ng", "import nginx"), ("voltgw import --stri", "import --strict"),
            ("voltgw check ga", "check gateway.yaml"), ("voltgw pki iss", "pki issue"),
            ("voltgw pki issue --sa", "pki issue --san"),
        ):
            self.assertEqual(self.typed(line), whole)


class PlaceTests(SynchronousTestCase):
    def test_it_needs_no_gateway(self) -> None:
        """A process of its own prints it, for `eval` in a start-up file."""
        done = subprocess.run([sys.executable, "-m", "voltgw.cli.main", "completion", "bash"], capture_output=True, text=True,
                              check=False, timeout=60, env={**os.environ, "PYTHONPATH": ROOT})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.endswith("complete -o filenames -F _voltgw voltgw\n"))
