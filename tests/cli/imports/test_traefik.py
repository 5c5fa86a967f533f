"""``voltgw import traefik``: five configurations, and what Traefik's documentation says they answer.

There is no package of Traefik to run beside it: the tables hold what its published rules give.
"""

from __future__ import annotations

from typing import ClassVar

from tests.cli.imports.running import ImportedTests


class TraefikTests(ImportedTests):
    language: ClassVar[str] = "traefik"
    names: ClassVar[tuple[str, ...]] = ("site", "rules", "weighted", "relays", "guarded")
    originals: ClassVar[bool] = False

    def test_five_configurations(self) -> None:
        """A shop with TLS; rules of all kinds; shares, standbys and TLS to origins, in TOML; relays; who may."""
        self.all_of_them()
