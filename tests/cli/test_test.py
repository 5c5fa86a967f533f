"""``voltgw test``."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.docs.test_pages import ROOT

CANARY = str(ROOT / "etc" / "examples" / "canary.yaml")


class TestTests(SynchronousTestCase):
    def file(self, text: str) -> str:
        """A file of cases."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_all_is_well(self) -> None:
        """Status 0 and one line; with -v every case and claim."""
        cases = self.file("cases: [{request: GET http://reviews.example.com:8080/, expect: {route: reviews/1}}]\n"
                          "prove: [everything on reviews.example.com reaches any cluster]\n")
        result = run(["test", CANARY, cases])
        self.assertEqual((result.status, result.out, result.err), (0, "1 case, 1 claim: all as expected\n", ""))
        self.assertRegex(run(["test", "-v", CANARY, cases]).out, r"(?s)ok .*: GET .*ok .*: everything .*proved: \d+ kinds")

    def test_something_is_not_as_expected(self) -> None:
        """Status 1; what differs stands below the place."""
        cases = self.file("cases:\n- request: GET http://reviews.example.com:8080/\n  expect: {status: 404}\n"
                          "prove: [nothing reaches cluster reviews-v10]\n")
        result = run(["test", CANARY, cases])
        self.assertEqual(result.status, 1)
        self.assertIn(f"FAILED  {cases}:2:3: GET http://reviews.example.com:8080/\n    status: expected 404, got it is forwarded\n",
                      result.out)
        self.assertIn("    refuted by GET http://reviews.example.com:8080/", result.out)
        self.assertTrue(result.out.endswith("1 case, 1 claim: 2 failed\n"))

    def test_json(self) -> None:
        """Every result as data, with its explanation or verdict."""
        cases = self.file("cases: [{request: GET http://x:8080/, expect: {status: 404}}]\nprove: [nothing reaches route reviews/0]\n")
        result = run(["test", "--json", CANARY, cases])
        facts = json.loads(result.out)
        self.assertEqual((result.status, facts["ok"]), (1, False))
        case, claim = facts["results"]
        self.assertEqual((case["ok"], case["explanation"]["flag"]), (True, "NR"))
        self.assertEqual((claim["outcome"], claim["example"]["headers"]), ("refuted", ["x-canary: always"]))

    def test_files_that_cannot_be_understood(self) -> None:
        """Status 2 for the cases as for the configuration."""
        good = self.file("cases: [{request: GET http://x/, expect: {}}]\n")
        for arguments in ([CANARY, self.file("cases: [1]\n")], [self.file("objects: [1]\n"), good],
                          [CANARY, self.file("prove: [nothing at all]\n")], [CANARY]):
            result = run(["test", *arguments])
            self.assertEqual((result.status, result.out), (2, ""), arguments)

    def test_the_cases_of_the_documentation(self) -> None:
        """Each file of docs/cases is as expected for the example of its name."""
        files = sorted((ROOT / "docs" / "cases").glob("*.yaml"))
        self.assertTrue(files)
        for cases in files:
            result = run(["test", str(ROOT / "etc" / "examples" / cases.name), str(cases)])
            self.assertEqual((result.status, result.err), (0, ""), result.out)
