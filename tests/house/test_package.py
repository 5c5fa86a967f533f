"""What `pip install .` gives: the wheel's contents and both commands."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import ClassVar, Final

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.servers import missing

ROOT: Final = Path(__file__).resolve().parents[2]


def _can_build() -> bool:
    """Whether this environment builds wheels without fetching anything (setuptools since 70.1 does by itself)."""
    try:
        version = importlib.metadata.version("setuptools").split(".")
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(version[0]), int(version[1])) >= (70, 1) or importlib.util.find_spec("wheel") is not None


class PluginTests(SynchronousTestCase):
    def test_twistd_finds_the_plugin(self) -> None:
        """``twistd voltgw`` is offered exactly once, and its options and service come from `voltgw.tap`."""
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "voltgw"]
        verifyObject(IServiceMaker, maker)
        self.assertEqual(maker.options.__module__, "voltgw.tap")


class WheelTests(SynchronousTestCase):
    """One wheel for all tests of the class, built from a copy of the checkout and unpacked as an installer would."""

    wheel: ClassVar[Path | None] = None

    def setUp(self) -> None:
        if not _can_build():
            raise missing("setuptools 70.1 or newer is not installed")
        if WheelTests.wheel is None:
            WheelTests.wheel = self.build()
        with zipfile.ZipFile(WheelTests.wheel) as archive:
            self.names = archive.namelist()
            self.installed = Path(self.mktemp()).absolute()
            archive.extractall(self.installed)

    def build(self) -> Path:
        """Build the wheel without a network."""
        copy = Path(self.mktemp()).absolute()
        output = Path(self.mktemp()).absolute()
        output.mkdir(parents=True)
        copy.mkdir(parents=True)
        for file in ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE"):
            shutil.copy(ROOT / file, copy)
        for folder in ("voltgw", "twisted", "tests"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        done = subprocess.run(
            [sys.executable, "-c", f"import setuptools.build_meta as b; print(b.build_wheel({str(output)!r}))"],
            cwd=copy, capture_output=True, text=True, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        (wheel,) = output.glob("*.whl")
        return wheel

    def run_installed(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run code where only the unpacked wheel and the installed dependencies can be imported."""
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=self.installed, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(self.installed), "PYTHONSAFEPATH": "1"},
        )

    def test_every_module_and_the_plugin_are_in_it(self) -> None:
        """The wheel holds all of voltgw, the plugin, and the mark that it is typed."""
        wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "voltgw").rglob("*.py")}
        wanted |= {"twisted/plugins/voltgw_plugin.py", "voltgw/py.typed"}
        self.assertEqual(sorted(wanted - set(self.names)), [])

    def test_nothing_else_is_in_it(self) -> None:
        """No tests, no __init__.py that would hide Twisted, nothing beside the two packages."""
        tops = {name.split("/")[0] for name in self.names if ".dist-info/" not in name}
        self.assertEqual(tops, {"voltgw", "twisted"})
        twisted = [name for name in self.names if name.startswith("twisted/")]
        self.assertEqual(twisted, ["twisted/plugins/voltgw_plugin.py"])

    def test_twistd_command(self) -> None:
        """``twistd voltgw --help`` works from the wheel."""
        code = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; sys.exit(run())"
        done = self.run_installed(code, "voltgw", "--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--config", done.stdout)

    def test_voltgw_command(self) -> None:
        """``voltgw --help`` works from the wheel, by its entry point, and knows the version."""
        code = (
            "import sys, importlib.metadata as m\n"
            "(entry,) = [e for e in m.distribution('voltgw').entry_points if e.group == 'console_scripts']\n"
            "sys.argv[0] = 'voltgw'; sys.exit(entry.load()())\n"
        )
        done = self.run_installed(code, "--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("check", done.stdout)
