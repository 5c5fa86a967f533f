"""``voltgw import caddy``: five configurations, asked before (real Caddy) and after."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import ClassVar

from tests.cli.imports.running import ImportedTests, launch
from tests.cli.imports.table import Case
from tests.servers import Server, require


class CaddyTests(ImportedTests):
    language: ClassVar[str] = "caddy"
    names: ClassVar[tuple[str, ...]] = ("site", "routes", "balance", "guarded", "bare")

    def start(self, case: Case) -> Server:
        """Caddy in the foreground, with a home of its own."""
        program = require("caddy")
        config = case.folder / "original.caddyfile"
        text = case.text(case.original)
        if "admin off" not in text:
            config = case.folder / "original.json"
            source = case.folder / "Caddyfile"
            source.write_text(text, encoding="utf-8")
            adapted = self.adapted(program, case, source)
            config.write_text(adapted, encoding="utf-8")
            return launch(self, "caddy", [program, "run", "--config", str(config)], case.folder, self.home(case))
        config.write_text(text, encoding="utf-8")
        return launch(self, "caddy", [program, "run", "--adapter", "caddyfile", "--config", str(config)], case.folder,
                      self.home(case))

    def home(self, case: Case) -> dict[str, str]:
        """Where it keeps what it makes."""
        return {"XDG_DATA_HOME": str(case.folder / "home"), "XDG_CONFIG_HOME": str(case.folder / "home"), "HOME": str(case.folder)}

    def adapted(self, program: str, case: Case, source: Path) -> str:
        """Its own form of a Caddyfile without options, with the admin interface off, which would take a port that all share."""
        done = subprocess.run([program, "adapt", "--adapter", "caddyfile", "--config", str(source)], cwd=case.folder,
                              capture_output=True, text=True, check=True, timeout=20)
        facts = json.loads(done.stdout)
        facts["admin"] = {"disabled": True}
        return json.dumps(facts)

    def test_five_configurations(self) -> None:
        """A shop with TLS; matchers of all kinds; balancing and TLS to origins; who may; one site without braces.

        Each is asked the same by real clients in front of Caddy and in front of the gateway that it was imported into.
        """
        self.all_of_them()
