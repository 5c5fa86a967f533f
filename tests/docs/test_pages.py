"""The documentation builds without a warning, and what it names exists."""

from __future__ import annotations

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

#: One word per thing: those of the style guide that name things rather than forbid words.
WORDS: Final = (
    "downstream", "upstream", "listener", "virtual host", "route", "action", "filter", "cluster", "endpoint", "subset",
    "scheduler", "pool", "exchange", "head", "body", "local reply", "eject", "return", "outlier", "drain", "feed",
    "publish", "site", "ingress", "egress",
)
_PATH: Final = re.compile(r"(?<![\w/.-])(?:voltgw|tests|tools|etc|docs|benchmarks|newsfragments|twisted)/[\w./+-]*\w/?")


def pages() -> Iterator[Path]:
    """README and every page of the documentation."""
    yield ROOT / "README.rst"
    yield from sorted(page for page in (ROOT / "docs").rglob("*.rst") if "_build" not in page.parts)


class PagesTests(SynchronousTestCase):
    def test_the_documentation_builds(self) -> None:
        """Sphinx finds no broken reference, no page outside the contents, no error in the generated pages."""
        if importlib.util.find_spec("sphinx") is None:
            raise missing("sphinx is not installed")
        done = subprocess.run(
            [sys.executable, "-m", "sphinx", "-nWq", "--keep-going", "-b", "html", str(ROOT / "docs"), self.mktemp()],
            capture_output=True, text=True, check=False,
        )
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.returncode, 0)

    def test_named_files_exist(self) -> None:
        """A page that sends its reader to a file sends him to one that is there."""
        lost = [
            f"{page.relative_to(ROOT)}: {path}"
            for page in pages()
            for path in _PATH.findall(page.read_text(encoding="utf-8"))
            if not (ROOT / path).exists() and "_build" not in path
        ]
        self.assertEqual(lost, [])

    def test_the_glossary_has_every_word(self) -> None:
        """Every word that the code and the documentation agree on is explained."""
        text = (ROOT / "docs" / "glossary.rst").read_text(encoding="utf-8")
        explained = set(re.findall(r"^   (\S.*)$", text, re.MULTILINE))
        self.assertEqual([word for word in WORDS if word not in explained], [])
