"""README's two commands and the scripts behind them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.servers import require
from voltgw.values.defaults import DRAIN_TIMEOUT_S

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = ("apt", "demo", "servers", "setup", "test")


class ReadmeTests(SynchronousTestCase):
    def test_the_two_commands(self) -> None:
        """README's first two commands are the demo and the tests, word for word as scripts that exist."""
        text = (ROOT / "README.rst").read_text(encoding="utf-8")
        blocks = re.findall(r"\.\. code-block:: sh\n\n((?:   .*\n)+)", text)
        self.assertEqual([block.strip() for block in blocks[:2]], ["sh tools/demo", "sh tools/test"])

    def test_ci_runs_the_second(self) -> None:
        """What CI runs is what README says."""
        self.assertIn("exec sh tools/test\n", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
        self.assertTrue(os.access(ROOT / ".ci" / "run", os.X_OK))


class ScriptTests(SynchronousTestCase):
    def run_script(self, name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script in a copy of the checkout that has nothing but the scripts and what they read."""
        copy = Path(self.mktemp())
        shutil.copytree(ROOT / "tools", copy / "tools")
        for file in ("setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / file, copy)
        return subprocess.run(
            [require("sh"), str(copy / "tools" / name), *arguments], capture_output=True, text=True, check=False,
            env={"PATH": os.environ["PATH"]} | environ,
        )

    def test_each_is_a_posix_shell_script(self) -> None:
        """The shell reads every script to its end."""
        for name in SCRIPTS:
            done = subprocess.run(
                [require("sh"), "-n", str(ROOT / "tools" / name)], capture_output=True, text=True, check=False)
            self.assertEqual((name, done.stderr), (name, ""))

    def test_no_python_that_is_new_enough(self) -> None:
        """A machine without one is told what it has, what is needed and how to get it."""
        old = Path(self.mktemp()).absolute()
        old.write_text('#!/bin/sh\n[ "$1" = -c ] || exit 1\ncase $2 in *print*) echo 3.9;; *) exit 1;; esac\n',
                       encoding="ascii")
        old.chmod(0o755)
        done = self.run_script("setup", PYTHON=str(old))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"Python 3.11 or newer is needed. Found: {old} is 3.9.", done.stderr)
        self.assertIn("sudo apt install python3 python3-venv", done.stderr)

    def test_apt_can_be_forbidden(self) -> None:
        """With VOLTGW_APT=no nothing is installed outside of .venv, and the caller is told by status 3."""
        self.assertEqual(self.run_script("apt", "nginx", VOLTGW_APT="no").returncode, 3)

    def test_servers_that_may_not_be_installed(self) -> None:
        """Missing programs are named and are no failure of the script: the tests that need them say so, too."""
        programs = Path(self.mktemp()).absolute()
        programs.mkdir(parents=True)
        for program in ("sh", "dirname"):
            (programs / program).symlink_to(require(program))
        done = self.run_script("servers", VOLTGW_APT="no", PATH=str(programs))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, "not installed:.* curl.*; the tests that need them will be skipped by name")


class UnitTests(SynchronousTestCase):
    def test_the_systemd_unit(self) -> None:
        """The unit drops what the gateway does not need, reloads by SIGHUP, and waits longer than a drain takes."""
        unit = configparser.RawConfigParser(strict=False, comment_prefixes="#")
        unit.optionxform = str              # type: ignore[assignment,method-assign]  # keep the case of the names
        unit.read(ROOT / "etc" / "voltgw.service", encoding="utf-8")
        service = unit["Service"]
        self.assertEqual(service["Type"], "notify")
        self.assertEqual(service["NoNewPrivileges"], "yes")
        self.assertEqual(service["ProtectSystem"], "strict")
        self.assertEqual(service["CapabilityBoundingSet"], "CAP_NET_BIND_SERVICE")
        self.assertEqual(service["ExecReload"], "/bin/kill -HUP $MAINPID")
        self.assertTrue(int(service["LimitNOFILE"]) >= 65536)
        self.assertTrue(int(service["TimeoutStopSec"]) > DRAIN_TIMEOUT_S)
