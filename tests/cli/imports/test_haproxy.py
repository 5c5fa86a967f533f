"""``voltgw import haproxy``: five configurations, asked before (real HAProxy) and after."""

from __future__ import annotations

from typing import ClassVar

from tests.cli.imports.running import ImportedTests, launch
from tests.cli.imports.table import Case
from tests.servers import Server, require


class HAProxyTests(ImportedTests):
    language: ClassVar[str] = "haproxy"
    names: ClassVar[tuple[str, ...]] = ("web", "micro", "tcp", "secure", "maps")

    def start(self, case: Case) -> Server:
        """HAProxy in the foreground."""
        program = require("haproxy")
        config = case.folder / "original.cfg"
        config.write_text(case.text(case.original), encoding="utf-8")
        return launch(self, "haproxy", [program, "-db", "-f", str(config)], case.folder)

    def test_five_configurations(self) -> None:
        """A site with TLS, sticky sessions and probes; conditions of all kinds; relays; who may; tenants by a map.

        Each is asked the same by real clients in front of HAProxy and in front of the gateway that it was imported into.
        """
        self.all_of_them()
