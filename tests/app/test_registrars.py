"""A registrar of an installed package: the one of the documentation."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import INTERFACES, config
from tests.app.test_publishing import ONE, ROUTE, host
from voltgw.app.build import Makings, Runtime, build
from voltgw.app.publishing import Publishing
from voltgw.errors import ConfigErrors
from voltgw.proxy.pool import Pool
from voltgw.registry import BUILT_IN, Registry

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "example-registrar"


class RegistrarTests(SynchronousTestCase):
    """``voltgw: {registrar: ...}``."""

    def setUp(self) -> None:
        sys.path.insert(0, str(EXAMPLE))
        self.addCleanup(sys.path.remove, str(EXAMPLE))
        self.addCleanup(sys.modules.pop, "voltgw_hosts_file", None)
        self.file = Path(self.mktemp()).absolute()
        self.clock = Clock()
        deps: Any = SimpleNamespace(reactor=None, wall=self.clock.seconds, random=SimpleNamespace(random=lambda: 0.5))
        self.publishing = Publishing(deps, self.clock, lambda host: True)
        self.addCleanup(self.publishing.abandon)

    def build(self, use: str, *parts: str, declared: bool = True) -> Runtime:
        """What serves it."""
        registry = Registry(BUILT_IN, lambda group: [EntryPoint("hosts-file", "voltgw_hosts_file:HostsFile", group)]
                            if declared and group == "voltgw.registrars" else [])
        text = ROUTE + ONE + "".join(parts) + ("- {kind: discovery, metadata: {name: names, namespace: system}, spec: {where: {}, voltgw: "
                                               f"{{publish: {{owner: edge-1, interval: 10s}}, registrar: {{{use}}}}}}}}}\n")
        return build(config(text), None, Makings(lambda key: Pool(), Random(0), registry, lambda kind, network: INTERFACES[kind]))

    def serve(self, *parts: str, zone: str = "") -> Runtime:
        """With it."""
        made = self.build(f"name: hosts-file, options: {{path: {self.file}}}{zone}", *parts)
        self.publishing.install(made.publications)
        self.pass_by(1.0)
        return made

    def pass_by(self, seconds: float) -> None:
        """As the gateway does."""
        for _ in range(int(seconds)):
            for _ in self.publishing.look():
                pass
            self.clock.pump([0.25] * 4)

    def test_the_example_of_the_documentation(self) -> None:
        """Names come, are repaired, and go; lines of somebody else stay; what it cannot have is said."""
        self.file.write_text("192.0.2.9 printer.example\n192.0.2.8 b.apps.example\n")
        made = self.serve(host("a"), host("b"), host("w", domains="'*.w.apps.example'"))
        mine = "192.0.2.1 a.apps.example # voltgw owner=edge-1\n"
        others = "192.0.2.9 printer.example\n192.0.2.8 b.apps.example\n"
        self.assertEqual(self.file.read_text(), others + mine)
        self.assertEqual(made.publications[0].left_out, [("*.w.apps.example", "a hosts file has no wildcards")])
        self.assertEqual({each["name"]: each["state"] for each in self.publishing.names(10)},
                         {"a.apps.example": "bound", "b.apps.example": "foreign", "*.w.apps.example": "left out"})
        self.assertEqual(self.publishing.registries()[0]["by"], "registrar")
        self.file.write_text(others + mine.replace("192.0.2.1", "203.0.113.1"))
        self.pass_by(12.0)
        self.assertEqual(self.file.read_text(), others + mine)
        self.serve(host("c"))
        self.pass_by(1.0)
        self.assertEqual(self.file.read_text(), others + mine.replace("a.apps", "c.apps"))

    def test_a_zone(self) -> None:
        """Only names in it."""
        made = self.serve(host("a"), host("e", domains="e.example"), zone=", zone: apps.example")
        self.assertEqual([name.text for name in made.publications[0].names.values()], ["a.apps.example"])

    def test_what_cannot_be(self) -> None:
        """A kind that nobody knows, options that are none, and a failure of the package itself."""
        for use, declared, code, words in (
            ("name: hosts-fil", True, "VG0302", "did you mean 'hosts-file'"), ("name: hosts-file", False, "VG0302", "there is no 'hosts-file'"),
            ("name: hosts-file, options: {paht: x}", True, "VG0231", "a hosts file needs options"),
        ):
            with self.assertRaises(ConfigErrors) as raised:
                self.build(use, declared=declared)
            (problem,) = raised.exception.problems
            self.assertEqual((problem.code, words in problem.message), (code, True), problem.message)

    def test_a_package_that_fails(self) -> None:
        """What it raises is an error at its place, or leaves out one name; the gateway goes on."""
        use = f"name: hosts-file, options: {{path: {self.file}}}"
        kind = importlib.import_module("voltgw_hosts_file").HostsFile

        def refuses(self: Any, options: Any, name: str) -> str:
            raise ZeroDivisionError("theirs")

        def build(self: Any, options: Any, zone: str, owner: str, reactor: Any, clock: Any) -> Any:
            raise ZeroDivisionError("theirs")

        with patch.object(kind, "refuses", refuses):
            self.assertEqual(self.build(use, host("a")).publications[0].left_out, [("a.apps.example", "ZeroDivisionError: theirs")])
        with patch.object(kind, "build", build), self.assertRaises(ConfigErrors) as raised:
            self.build(use, host("a"))
        self.assertIn("ZeroDivisionError: theirs", raised.exception.problems[0].message)
