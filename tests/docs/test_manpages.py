"""The manual pages."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.test_pages import ROOT
from voltgw.cli.main import COMMANDS
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS
from voltgw.config.schema import plan_of

#: The requests of roff that the pages use.
REQUESTS: Final = {".TH", ".SH", ".SS", ".TP", ".PP", ".br", ".ad"}


def tool() -> ModuleType:
    """The script that writes them."""
    spec = importlib.util.spec_from_file_location("manpages", ROOT / "tools" / "manpages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ManualTests(SynchronousTestCase):
    pages: dict[str, str]

    def setUp(self) -> None:
        """They are made once."""
        if not hasattr(type(self), "pages"):
            type(self).pages = tool().pages()

    def test_every_command_has_a_page(self) -> None:
        """Beside the one of all commands and the one of the file."""
        self.assertEqual(set(self.pages), {"voltgw.1", "voltgw.yaml.5", *(f"voltgw-{name}.1" for name in COMMANDS)})
        for name in COMMANDS:
            self.assertIn(f"voltgw-{name}".replace("-", "\\-") + "\\fR(1)", self.pages["voltgw.1"])

    def test_a_page_has_all_that_the_help_has(self) -> None:
        """Usage, description, arguments, options, what stands below them, and the help of an action."""
        page = self.pages["voltgw-check.1"]
        self.assertRegex(page, r"\.SH SYNOPSIS\nvoltgw check .*\[FILE \.\.\.\]\n")
        for option in ("\\-\\-strict", "\\-\\-json", "\\-\\-all", "\\-q, \\-\\-quiet", "\\-\\-explain CODE"):
            self.assertIn(f".TP\n\\fB{option}\\fR\n", page)
        self.assertIn("Exit status: 0; 2 with errors", page)
        self.assertIn("\\fB\\-\\-effective\\fR", self.pages["voltgw-config.1"])

    def test_the_page_of_the_file(self) -> None:
        """Every key of `gateway`, and every kind: in full, or at least with what it is."""
        page = self.pages["voltgw.yaml.5"]
        for decl in plan_of(Gateway).decls:
            self.assertIn(f"\n\\fB{decl.name}\\fR: ", page)
        for kind in KINDS.values():
            self.assertTrue(f".SH SPEC OF THE KIND {kind.name.upper()}\n" in page or f"\\fB{kind.name}\\fR\n" in page,
                            kind.name)
        self.assertIn("A plain number is in milliseconds.", page)

    def test_nothing_is_taken_for_a_request_by_mistake(self) -> None:
        """Lines of text never begin with a dot or an apostrophe, and every escape is one that is meant."""
        for name, page in self.pages.items():
            used = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
            self.assertLessEqual(used, REQUESTS, name)
            self.assertEqual(set(re.findall(r"\\.", page)) - {"\\-", "\\f", "\\e", "\\&"}, set(), name)

    def test_groff_has_nothing_to_complain_about(self) -> None:
        """Where it is installed; the test before this one sees most of it anywhere."""
        groff = shutil.which("groff")
        folder = Path(self.mktemp())
        tool().write(folder)
        self.assertEqual({path.name for path in folder.iterdir()}, set(self.pages))
        for path in folder.iterdir() if groff is not None else ():
            done = subprocess.run([groff or "", "-man", "-Tutf8", "-ww", "-z", str(path)], capture_output=True, text=True,
                                  check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), path.name)

    def test_what_a_reader_sees(self) -> None:
        """`man -l` shows a page without a warning, with its exit statuses one below the other."""
        man = shutil.which("man")
        if man is None or shutil.which("groff") is None:
            raise SkipTest("man and groff are not installed")
        folder = Path(self.mktemp())
        tool().write(folder)
        done = subprocess.run([man, "--warnings=all", "-l", str(folder / "voltgw-import.1")], capture_output=True,
                              text=True, check=False,
                              env={**os.environ, "MANWIDTH": "100", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        said = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
        self.assertRegex(said, r"(?m)^EXIT STATUS\n +0 +All is well")
        self.assertIn("2      A file cannot be read or written", said)
