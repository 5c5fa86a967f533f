"""Single mistakes in the object files of ``objects/`` and in the examples of ``etc/`` are told on their line."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.config.mutations import SORTS, Estate, mistakes
from tests.config.test_objects import estates
from tests.docs.test_pages import ROOT
from tests.security.credentials import ADA
from tests.security.tokens import ec, jwks
from voltgw.cli.pki import run

#: Names of the certificates that the examples use: of servers, and of clients.
SERVERS: Final = ("shop.example.com", "api.example.com", "ledger.example.com", "origin.example.com", "broker.example.com")
CLIENTS: Final = ("gateway", "alice")


def beside(folder: Path) -> Path:
    """A folder with what the examples find in ``pki`` and ``authentication``, made as the how-to pages say."""
    pki = str(folder / "pki")
    orders = [["init", pki], *(["issue", pki, name] for name in SERVERS), *(["issue", pki, name, "--client"] for name in CLIENTS)]
    with contextlib.redirect_stdout(io.StringIO()):
        for order in orders:
            assert run(order) == 0, order
    known = folder / "authentication"
    known.mkdir()
    known.joinpath("keys.json").write_bytes(jwks(ec()))
    known.joinpath("users.htpasswd").write_text(ADA, encoding="utf-8")
    known.joinpath("api-keys").write_text(f"robot:{'0' * 64}", encoding="utf-8")
    return folder


def all_estates(work: Path) -> list[Estate]:
    """Every folder of ``objects/`` without errors, and every file of ``etc/``, copied below `work`."""
    found = [Estate(folder, "main.yaml", work / folder.name) for folder in estates() if folder.name != "refused-2024"]
    made = beside(work / "beside")
    for path in sorted(path for path in (ROOT / "etc").rglob("*.yaml") if path.parent.name != "scenarios"):
        found.append(Estate(path.parent, path.name, work / f"etc-{path.stem}", made))
    return found


class MutationTests(SynchronousTestCase):
    def test_mistakes_are_told_on_their_line(self) -> None:
        """At least 95 in 100, of every sort; none leads to a traceback, or this test ends with it."""
        work = Path(self.mktemp())
        work.mkdir()
        missed: list[str] = []
        counts: Counter[str] = Counter()
        for estate, mistake in mistakes(all_estates(work), seed=3, count=300):
            told = estate.told(mistake)
            if told is None:
                continue
            counts[mistake.sort] += 1
            if not told:
                missed.append(mistake.shown)
        self.assertEqual(set(counts), set(SORTS))
        self.assertGreater(counts.total(), 250)
        self.assertLessEqual(len(missed), counts.total() // 20, "\n".join(missed))
