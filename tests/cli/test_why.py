"""``voltgw why`` and ``voltgw explain --live``, which ask a gateway: what they make of its answers."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import Run, run

RECORD: dict[str, Any] = {
    "request_id": "f282", "time": "2022-03-28T23:09:53.748000Z", "kind": "error", "generation": 3, "method": "GET",
    "authority": "shop.example", "target": "/cart", "http_version": "HTTP/1.1",
    "decisions": [{"about": "route", "outcome": "shop/0", "why": "the first rule that matches", "place": "a.yaml:3:7",
                   "steps": [{"about": "rule shop/0", "outcome": "matches"}]}],
}


class AskingCase(SynchronousTestCase):
    def asked(self, arguments: list[str], status: int, facts: object) -> tuple[Run, str]:
        """What becomes of a command when the gateway answers so, and which path it asked for."""
        with mock.patch("voltgw.cli.remote.ask", return_value=(status, facts)) as ask:
            result = run(arguments)
        where, method, path = ask.call_args.args[:3]
        self.assertEqual((where, method), ("9901", "GET"))
        return result, path


class WhyTests(AskingCase):
    def test_text(self) -> None:
        """When and what it was, then the decisions."""
        result, path = self.asked(["why", "f282", "--admin", "9901"], 200, RECORD)
        self.assertEqual((result.status, path), (0, "/why?id=f282"))
        self.assertEqual(result.out, (
            "f282  2022-03-28T23:09:53.748000Z  an error, generation 3\nGET shop.example/cart HTTP/1.1\n\n"
            "route  shop/0  the first rule that matches  [a.yaml:3:7]\n  rule shop/0  matches\n"))

    def test_json(self) -> None:
        """The record as it came."""
        result, _ = self.asked(["why", "f282", "--admin", "9901", "--json"], 200, RECORD)
        self.assertEqual(json.loads(result.out), RECORD)

    def test_nobody_knows(self) -> None:
        """Status 1 and the gateway's words."""
        result, path = self.asked(["why", "a&b", "--admin", "9901"], 404, {"error": "nothing is known of this request"})
        self.assertEqual((result.status, result.out, path), (1, "", "/why?id=a%26b"))
        self.assertIn("nothing is known", result.err)


class ExplainLiveTests(AskingCase):
    def test_the_question(self) -> None:
        """All parts of it reach the gateway; the text is the same as without --live."""
        facts = {"question": {"method": "GET", "url": "http://x/"}, "decisions": RECORD["decisions"]}
        result, path = self.asked(["explain", "--live", "GET", "http://x/?a=b", "-H", "a: b", "-H", "c: d", "--from", "::1",
                                   "--listener", "80", "--admin", "9901"], 200, facts)
        self.assertEqual(result.status, 0)
        self.assertEqual(path, "/explain?method=GET&url=http%3A%2F%2Fx%2F%3Fa%3Db&header=a%3A+b&header=c%3A+d&from=%3A%3A1&listener=80")
        self.assertEqual(result.out, "GET http://x/\n\nroute  shop/0  the first rule that matches  [a.yaml:3:7]\n"
                                     "  rule shop/0  matches\n")

    def test_answers_that_explain_nothing(self) -> None:
        """A question that is refused: status 2; anything else: status 1."""
        for status, facts, expected in ((400, {"error": "no"}, 2), (404, {"error": "there is no such page"}, 1), (200, [], 1)):
            result, _ = self.asked(["explain", "--live", "GET", "http://x/", "--admin", "9901"], status, facts)
            self.assertEqual((result.status, result.out), (expected, ""))
