"""``voltgw check``."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.config.making import GOOD, write

WARNED = GOOD.replace("loadbalancer_algorithm: ROUND_ROBIN", "dns_lookup_family: V4_ONLY")
WRONG = GOOD.replace("cluster: [{name: canary}]", "cluster: [{name: canry}]")


class CheckTests(SynchronousTestCase):
    def file(self, source: str) -> str:
        """The path of a file."""
        return str(write(self.mktemp(), {"voltgw.yaml": source}) / "voltgw.yaml")

    def test_all_is_well(self) -> None:
        """Status 0, and a line that says how much there is."""
        path = self.file(GOOD)
        done = run(["check", path])
        self.assertEqual((done.status, done.out, done.err),
                         (0, f"{path}: ok (1 virtual host, 1 route, 2 clusters, 3 endpoints)\n", ""))
        self.assertEqual(run(["check", "--quiet", path]).out, "")

    def test_errors(self) -> None:
        """Status 2; every problem with its place, line and caret."""
        path = self.file(WRONG)
        done = run(["check", path])
        self.assertEqual(done.status, 2)
        self.assertIn(f'{path}:25:28: error[VG0107]: cluster "canry" not found', done.out)
        self.assertTrue(done.out.endswith("^\n1 error\n"))

    def test_warnings(self) -> None:
        """Status 0, and 1 under ``--strict``."""
        path = self.file(WARNED)
        for arguments, status in (([path], 0), (["--strict", path], 1)):
            done = run(["check", *arguments])
            self.assertEqual(done.status, status)
            self.assertIn("warning[VG0114]", done.out)
        self.assertEqual(run(["check", "--strict", self.file(GOOD)]).status, 0)

    def test_what_is_hardly_meant(self) -> None:
        """Lint's warnings stand among the others; its errors (a key that does not fit) count as such."""
        path = self.file(GOOD.replace("    - match: [{path: {path: /old}}]\n      ", "    - "))
        done = run(["check", "--strict", path])
        self.assertEqual(done.status, 1, done.out)
        self.assertIn("warning[VG0303]", done.out)
        done = run(["check", self.file(GOOD + "- kind: certificate\n  metadata: {name: k}\n  spec: {certificate_url: 'string:///YQ=='}\n")])
        self.assertEqual(done.status, 2, done.out)
        self.assertIn("error[VG0405]", done.out)

    def test_json(self) -> None:
        """For programs: the same problems as data."""
        done = run(["check", "--json", self.file(WRONG)])
        data = json.loads(done.out)
        self.assertEqual((done.status, data["ok"], [one["code"] for one in data["problems"]]), (2, False, ["VG0107"]))
        self.assertEqual(json.loads(run(["check", "--json", self.file(GOOD)]).out), {"ok": True, "problems": []})

    def test_what_only_building_finds(self) -> None:
        """A pattern whose table would be too large cannot be seen by reading."""
        path = self.file(GOOD.replace("path: {path: /old}", "path: {regex: '/(.*a.{20}|.*b.{20}|.*c.{20})x'}"))
        done = run(["check", path])
        self.assertEqual(done.status, 2, done.out)
        self.assertIn(f"{path}:28:", done.out)
        self.assertIn("error[VG0301]", done.out)

    def test_twenty_and_all(self) -> None:
        """The first twenty are shown, unless all are asked for."""
        path = self.file("gateway:\n" + "".join(f"  zz{n}: 1\n" for n in range(25)))
        self.assertIn("25 errors (5 not shown)", run(["check", path]).out)
        self.assertEqual(run(["check", "--all", path]).out.count("error[VG0101]"), 25)

    def test_standard_input(self) -> None:
        """For editors and pipes."""
        self.assertEqual(run(["check", "-"], stdin=GOOD).status, 0)
        done = run(["check", "-"], stdin=WRONG)
        self.assertIn("<stdin>:25:28: error[VG0107]", done.out)

    def test_no_file(self) -> None:
        """None given, and one that is not there."""
        self.assertEqual(run(["check"]).status, 2)
        done = run(["check", "nowhere.yaml"])
        self.assertEqual((done.status, done.out.split("\n")[0]),
                         (2, "nowhere.yaml: error[VG0002]: nowhere.yaml cannot be read: No such file or directory"))

    def test_explanations(self) -> None:
        """Of a code that a message had."""
        done = run(["check", "--explain", "VG0107"])
        self.assertEqual(done.status, 0)
        self.assertTrue(done.out.startswith("VG0107: Not found\n"))
        done = run(["check", "--explain", "VG9107"])
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn("there is no code VG9107", done.err)
