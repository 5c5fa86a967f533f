"""``voltgw schema``."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run


class SchemaTests(SynchronousTestCase):
    def test_a_whole_file(self) -> None:
        """The parts of our own form."""
        done = run(["schema"])
        self.assertEqual(done.status, 0)
        self.assertEqual(set(json.loads(done.out)["else"]["properties"]),
                         {"gateway", "defaults", "include", "objects", "load_balancers"})

    def test_one_kind(self) -> None:
        """In any spelling of its name."""
        for spelling in ("cluster", "clusters"):
            self.assertEqual(json.loads(run(["schema", spelling]).out)["title"], "voltgw cluster")

    def test_an_unknown_kind(self) -> None:
        """With a suggestion."""
        done = run(["schema", "clustr"])
        self.assertEqual((done.status, done.err), (2, "voltgw schema: unknown kind 'clustr'; did you mean \"cluster\"?\n"))
