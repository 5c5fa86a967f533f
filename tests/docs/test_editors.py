"""The schema in an editor: what loads is not underlined, and what is underlined does not load."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.config.lowering import test_places
from tests.config.lowering.making import balancer, pool, tcp
from tests.config.making import text
from tests.docs.test_examples import blocks, files
from tests.docs.test_pages import ROOT, pages
from voltgw.config.load import load_text
from voltgw.errors import ConfigErrors

MODELINE = re.compile(r"#\s*yaml-language-server:\s*\$schema=(\S+)")


class EditorTests(SynchronousTestCase):
    """A validator stands for the language server: it reads the line at the top of a file and applies what that names.

    Servers differ in the draft of JSON Schema that they know, so the schema must mean the same in draft 7 and in 2020-12.
    """

    schema: ClassVar[dict[str, Any] | None] = None

    def underlined(self, source: str) -> list[str]:
        """What an editor says of a text."""
        if EditorTests.schema is None:
            EditorTests.schema = json.loads(run(["schema"]).out)
        schema = EditorTests.schema
        data = list(yaml.safe_load_all(source))
        said: list[list[str]] = []
        for validator in (jsonschema.Draft202012Validator, jsonschema.Draft7Validator):
            said.append([error.message for one in data for error in validator(schema).iter_errors(one if one is not None else {})])
        self.assertEqual(said[0], said[1])
        return said[0]

    def test_examples(self) -> None:
        """Every file under etc/ and every block of the documentation."""
        for path in files():
            self.assertEqual(self.underlined(path.read_text(encoding="utf-8")), [], path.name)
        for page in pages():
            for block in blocks(page):
                self.assertEqual(self.underlined(block), [], page.name)

    def test_views(self) -> None:
        """With all that the tests of lowering use at once, and our own additions."""
        for source in (text(test_places.SOURCE), "objects:\n" + balancer("advertise_on_public_default_vip: {}, routes: [{simple_route: {path: "
                       "{prefix: /a}}, voltgw: {segment_prefix: true}}], voltgw: {via: true}") + pool("healthcheck: [h, {name: x}]",
                       "[{public_ip: {ip: 192.0.2.7}, voltgw: {weight: 2}}]") + tcp("advertise_custom: {advertise_where: [{site: {site: s}}]}")):
            self.assertEqual(self.underlined(source), [])

    def test_mistakes(self) -> None:
        """In views as in other objects; the loader refuses each of them, too."""
        for source in (balancer("htp: {}"), balancer("http: {port: 0}"), balancer("advertise_custom: {advertise_where: [{site: {network: INSIDE}}]}"),
                       balancer("routes: [{simple_route: {path: {prefx: /}}}]"), pool("loadbalancer_algorithm: LEAST"),
                       pool(servers="[{public_ip: {ip: []}}]"), tcp("listen_port: 70000"), "- {kind: origin_pol, metadata: {name: x}}\n"):
            whole = "objects:\n" + source
            self.assertNotEqual(self.underlined(whole), [], source)
            self.assertRaises(ConfigErrors, load_text, whole)

    def test_the_line_at_the_top(self) -> None:
        """As the documentation writes it: its path is relative to the file, and the file loads with it."""
        page = (ROOT / "docs" / "configuration.rst").read_text(encoding="utf-8")
        line = re.search(r"'1i (# yaml-language-server:[^']*)'", page)
        assert line is not None
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "voltgw.schema.json").write_text(run(["schema"]).out)
        (folder / "voltgw.yaml").write_text(f"{line[1]}\nload_balancers: [{{name: shop, listen: 8080, orgins: [9001]}}]\n")
        found = MODELINE.match((folder / "voltgw.yaml").read_text())
        assert found is not None
        schema = json.loads((folder / found[1]).read_text())
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load((folder / "voltgw.yaml").read_text())))
        self.assertIn("orgins", errors[0].message)
        load_text((folder / "voltgw.yaml").read_text().replace("orgins: [9001]", "origins: ['127.0.0.1:9001']"))
