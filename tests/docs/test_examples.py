"""Every configuration that a reader may copy is accepted: etc/, and each YAML block of the documentation."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.docs.test_pages import ROOT, pages
from tests.security.credentials import ADA
from tests.security.tokens import ec, jwks
from voltgw.cli.pki import run
from voltgw.config.check import check
from voltgw.config.gateway import Gateway
from voltgw.config.load import load
from voltgw.errors import ConfigErrors

_BLOCK: Final = re.compile(r"^( *)\.\. code-block:: yaml\n(?:\1   :.*\n)*\n((?:\1   .*\n|\n)+)", re.MULTILINE)
_INCLUDED: Final = re.compile(r"\.\. literalinclude:: (\S+\.yaml)")


def blocks(page: Path) -> Iterator[str]:
    """The YAML blocks of a page, as a reader would copy them."""
    for _, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        yield textwrap.dedent(block)


def files() -> list[Path]:
    """The configurations under etc/; what stands in ``scenarios`` is played by `tests.app.test_simulation`."""
    return sorted(path for path in (ROOT / "etc").rglob("*.yaml") if path.parent.name != "scenarios")


class ExamplesTests(SynchronousTestCase):
    def problems(self, path: Path) -> list[str]:
        """What the loader and the checks say of a file, warnings included."""
        try:
            config = load(path, environ={})
        except ConfigErrors as errors:
            found = errors.problems
        else:
            found = (*config.warnings, *check(config))
        return [f"{problem.place}: {problem.code}: {problem.message}" for problem in found]

    def with_certificates(self) -> Path:
        """A folder whose ``pki`` holds what the examples name, made as the how-to pages say."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        pki = str(folder / "pki")
        servers = ("shop.example.com", "api.example.com", "ledger.example.com", "origin.example.com", "broker.example.com")
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(run(["init", pki]), 0)
            for name in servers:
                self.assertEqual(run(["issue", pki, name]), 0)
            for name in ("gateway", "alice"):
                self.assertEqual(run(["issue", pki, name, "--client"]), 0)
        known = folder / "authentication"
        known.mkdir()
        known.joinpath("keys.json").write_bytes(jwks(ec()))
        known.joinpath("users.htpasswd").write_text(ADA, encoding="utf-8")
        known.joinpath("api-keys").write_text(f"robot:{'0' * 64}", encoding="utf-8")
        admin = folder / "admin"
        admin.mkdir()
        for name in ("deploy", "dashboard"):
            admin.joinpath(f"{name}.token").write_text("0123456789abcdef0123456789abcdef\n", encoding="utf-8")
        return folder

    def test_files(self) -> None:
        """Every file under etc/ loads and checks without an error or a warning."""
        self.assertTrue(files())
        folder = self.with_certificates()
        for path in files():
            self.assertEqual(self.problems(Path(shutil.copy(path, folder))), [])

    def test_blocks_of_the_documentation(self) -> None:
        """Every YAML block of README and docs/ is a whole file that loads and checks."""
        count = 0
        folder = self.with_certificates()
        for page in pages():
            for block in blocks(page):
                copy = folder / "block.yaml"
                copy.write_text(block, encoding="utf-8")
                self.assertEqual(self.problems(copy), [], f"{page.relative_to(ROOT)}:\n{block}")
                count += 1
        self.assertTrue(count)

    def test_the_annotated_file_names_every_key(self) -> None:
        """Every key of ``gateway`` stands in etc/voltgw.yaml, set or as a comment."""
        text = (ROOT / "etc" / "voltgw.yaml").read_text(encoding="utf-8")
        named = set(re.findall(r"^  (?:# )?(\w+): ", text, re.MULTILINE))
        keys = {field.name.removesuffix("_s").removesuffix("_bytes") for field in dataclasses.fields(Gateway)}
        self.assertEqual(keys - named, set())

    def test_every_example_is_shown(self) -> None:
        """A how-to shows each file of etc/examples, except the shortest, which the tutorial spells out."""
        shown = {
            (page.parent / name).resolve()
            for page in pages() for name in _INCLUDED.findall(page.read_text(encoding="utf-8"))
        }
        self.assertEqual(set(files()) - shown, {ROOT / "etc" / "examples" / "shortest.yaml"})
