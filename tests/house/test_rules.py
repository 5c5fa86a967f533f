"""The rules of the house that no other tool holds."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.servers import missing

ROOT: Final = Path(__file__).resolve().parents[2]
#: Words that name nothing. (The object model's own names may hold them.)
EMPTY_WORDS: Final = {"manager", "helper", "helpers", "util", "utils"}
#: Suffixes of what people write and read.
TEXTS: Final = {"", ".py", ".rst", ".cfg", ".toml", ".ini", ".yaml", ".service", ".txt", ".feature", ".bugfix", ".doc"}
#: Folders of the machine on which something was written; split, so that this file does not hold them.
MACHINE_PATHS: Final = ("/" + "work/", "/" + "root/", "/home" + "/", "/opt/" + "vg")


def sources(*folders: str) -> Iterator[Path]:
    """The Python files of these folders."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


class NameTests(SynchronousTestCase):
    def test_modules_and_classes_say_what_they_are(self) -> None:
        """No module and no class is called a manager, a helper or a util."""
        found = []
        for path in sources("voltgw"):
            names = [path.stem]
            names += [node.name for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.ClassDef)]
            for name in names:
                words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}
                if words & EMPTY_WORDS:
                    found.append(f"{path.relative_to(ROOT)}: {name}")
        self.assertEqual(found, [])

    def test_no_place_of_one_machine(self) -> None:
        """Nothing in code, documentation, scripts or examples depends on where it was written."""
        found = []
        for folder in ("voltgw", "twisted", "tests", "docs", "etc", "tools", "benchmarks", "newsfragments", ".ci", "."):
            pattern = "*" if folder == "." else "**/*"
            for path in sorted((ROOT / folder).glob(pattern)):
                hidden = any(part[0] == "." for part in path.relative_to(ROOT / folder).parts)
                if path.is_file() and path.suffix in TEXTS and not hidden and "_build" not in path.parts:
                    text = path.read_text(encoding="utf-8", errors="replace")
                    found += [f"{path.relative_to(ROOT)}: {place}" for place in MACHINE_PATHS if place in text]
        self.assertEqual(found, [])


class ImportTests(SynchronousTestCase):
    def test_rooms_keep_their_order(self) -> None:
        """Every import contract of setup.cfg is kept; the two of the architecture are among them."""
        if importlib.util.find_spec("importlinter") is None:
            raise missing("import-linter is not installed")
        code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
        done = subprocess.run(
            [sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("Rooms stand in order KEPT", done.stdout)
        self.assertIn("Pure rooms know nothing of Twisted KEPT", done.stdout)

    def test_extras_hold_no_runtime_dependency(self) -> None:
        """What the gateway needs to run is installed without naming an extra."""
        config = configparser.RawConfigParser()
        config.read(ROOT / "setup.cfg", encoding="utf-8")
        lines = config["options"]["install_requires"].split("\n")
        self.assertEqual({re.split(r"[ <>=!~\[]", line)[0] for line in lines if line}, {
            "twisted", "cffi", "cryptography", "pyopenssl", "service-identity", "treq", "zope.interface", "prometheus-client",
            "pyyaml", "dnspython", "joserfc"})

    def test_only_tap_imports_the_reactor(self) -> None:
        """No other module of voltgw imports the reactor, not even inside a function."""
        found = []
        for path in sources("voltgw"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.ImportFrom):
                    imported = [f"{node.module}.{alias.name}" for alias in node.names]
                elif isinstance(node, ast.Import):
                    imported = [alias.name for alias in node.names]
                else:
                    continue
                if "twisted.internet.reactor" in imported and path != ROOT / "voltgw" / "tap.py":
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
        self.assertEqual(found, [])


class TestTests(SynchronousTestCase):
    def test_every_test_says_what_it_promises(self) -> None:
        """Each test has a docstring: its name is the situation, its docstring the promise."""
        found = []
        for path in sources("tests"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                if node.name.startswith("test_") and ast.get_docstring(node) is None:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
        self.assertEqual(found, [])
