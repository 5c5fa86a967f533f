"""The file of ``voltgw test``: requests with what is expected of them, and claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy
from voltgw.app.cases import Result, check_cases, plain_result, read_cases
from voltgw.app.dry import dry_runtime
from voltgw.errors import ConfigErrors

TEXT = objects(
    host("shop", domains="[shop.example]"), policy("p", "address: 127.0.0.1, port: 8080"), """\
- kind: route
  metadata: {name: r}
  spec:
    routes:
    - match: [{path: {path: /old}}]
      route_redirect: {path_redirect: /new}
    - match: [{path: {prefix: /split}}]
      route_destination: {destinations: [{cluster: [a], weight: 2}, {cluster: [b], weight: 1}, {cluster: [c], weight: 0}]}
    - route_destination: {destinations: [{cluster: [a]}], prefix_rewrite: /in/}
      request_headers_to_remove: [x-debug]
      response_headers_to_add: [{name: x-served, value: "yes"}]
- {kind: cluster, metadata: {name: a}, spec: {endpoints: [e]}}
- {kind: cluster, metadata: {name: b}, spec: {endpoints: [e]}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 10.0.0.1, port: 80}}
""")
URL = "http://shop.example:8080"


class CasesTests(SynchronousTestCase):
    def results(self, text: str) -> list[Result]:
        """What became of the cases that stand in `text`."""
        path = Path(self.mktemp())
        path.write_text(text, encoding="utf-8")
        return check_cases(dry_runtime(config(TEXT)), read_cases(str(path)), "cases.yaml")

    def wrong(self, request: str, expect: str, more: str = "") -> list[str]:
        """What is wrong with one case."""
        result, = self.results(f"cases:\n- {{request: {request}, expect: {{{expect}}}{more}}}\n")
        return result.wrong

    def problems(self, text: str) -> list[str]:
        """What the reader says of a file."""
        errors = self.assertRaises(ConfigErrors, self.results, text)
        assert isinstance(errors, ConfigErrors)
        return [problem.message for problem in errors.problems]

    def test_who_refuses(self) -> None:
        """A rule, a limit or a method by its name, of which the namespace and the end may be left out; or nobody."""
        policy = ("- {kind: service_policy, metadata: {name: edge}, spec: {rule_list: {rules: [{metadata: {name: no-admin}, spec: "
                  "{action: DENY, path: {prefix_values: [/admin]}}}, {metadata: {name: rest}, spec: {action: ALLOW}}]}}}\n")
        text = TEXT.replace('domains: ["shop.example"]', "").replace(
            "proxy: HTTP_PROXY,", "proxy: HTTP_PROXY, active_service_policies: {policies: [edge]},", 1) + policy
        runtime = dry_runtime(config(text))

        def wrong(target: str, expect: str) -> list[str]:
            path = Path(self.mktemp())
            path.write_text(f"cases:\n- {{request: GET {URL}{target}, expect: {{{expect}}}}}\n", encoding="utf-8")
            result, = check_cases(runtime, read_cases(str(path)), "cases.yaml")
            return result.wrong

        for name in ("default/edge/no-admin", "edge/no-admin", "default/edge", "edge"):
            self.assertEqual(wrong("/x/../admin", f"status: 403, refused_by: {name}"), [])
        self.assertEqual(wrong("/x", "refused_by: nobody"), [])
        self.assertEqual(wrong("/x", "refused_by: edge"), ["refused by: expected edge, got nobody"])
        self.assertEqual(wrong("/admin", "refused_by: edge/rest"), ["refused by: expected edge/rest, got default/edge/no-admin"])
        self.assertEqual(wrong("/admin", "refused_by: nobody"), ["refused by: expected nobody, got default/edge/no-admin"])

    def test_all_is_as_expected(self) -> None:
        """Every kind of expectation, met."""
        self.assertEqual(self.wrong(
            f"GET {URL}/x?y", "listener: 127.0.0.1:8080, virtual_host: shop, route: r/2, cluster: a, target: /in/x?y, "
            "headers: {host: 'shop.example:8080', x-a: '1'}, no_headers: [x-debug], answer_headers: {x-served: 'yes'}, "
            "no_answer_headers: [x-a]", ", headers: {x-a: 1, x-debug: 2}"), [])
        self.assertEqual(self.wrong(f"GET {URL}/old", f"status: 301, route: r, answer_headers: {{location: '{URL}/new'}}"), [])
        self.assertEqual(self.wrong(f"GET {URL}/split", "clusters: {a: 66.7%, default/b: 33.3%}"), [])
        self.assertEqual(self.wrong("GET http://else:8080/", "virtual_host: '', status: 404, flag: NR"), [])
        self.assertEqual(self.wrong(
            f"GET {URL}/x", "headers: {x-real-ip: 203.0.113.9}", ", from: 203.0.113.9, listener: 127.0.0.1:8080"), [])

    def test_what_is_not_as_expected(self) -> None:
        """Each difference is told with both sides."""
        self.assertEqual(self.wrong(
            f"GET {URL}/x", "listener: 127.0.0.1:81, virtual_host: other, route: r/0, cluster: b, status: 200, flag: NR, "
            "target: /x, headers: {x-a: '1'}, no_headers: [host], answer_headers: {x-served: 'no'}"), [
            "listener: expected 127.0.0.1:81, got 127.0.0.1:8080",
            "virtual host: expected other, got default/shop",
            "route: expected r/0, got r/2",
            "cluster: expected b, got default/a 100.0%",
            "status: expected 200, got it is forwarded",
            "flag: expected NR, got none",
            "target: expected /x, got /in/x",
            "header x-a: expected '1', got it is not there",
            "header host: expected none, got 'shop.example:8080'",
            "answer header x-served: expected 'no', got 'yes'",
        ])
        self.assertEqual(self.wrong(f"GET {URL}/split", "cluster: a"), ["cluster: expected a, got default/a 66.7%, default/b 33.3%"])
        self.assertEqual(len(self.wrong(f"GET {URL}/split", "clusters: {a: 0.6, b: 0.4}")), 1)
        self.assertEqual(len(self.wrong(f"GET {URL}/split", "clusters: {a: 66.7%}")), 1)
        self.assertEqual(self.wrong(f"GET {URL}/old", "headers: {host: x}"),
                         ["headers are expected, but there is no such message: it is answered"])

    def test_claims(self) -> None:
        """A claim that holds, and one that does not, with its counter-example."""
        good, bad = self.results("prove: [nothing reaches cluster c, nothing under /split/x reaches cluster b]\n")
        self.assertEqual(good.wrong, [])
        self.assertRegex(bad.wrong[0], rf"^refuted by GET {URL}/split/x at 127.0.0.1:8080: virtual host default/shop, route r/1 "
                         r"\[voltgw.yaml:\d+:7\], cluster default/a or default/b$")
        plain: dict[str, Any] = plain_result(bad)
        self.assertEqual((plain["outcome"], plain["example"]["url"], plain["ok"]), ("refuted", f"{URL}/split/x", False))

    def test_places(self) -> None:
        """Each result knows where it stands."""
        results = self.results(f"# first\ncases:\n- request: GET {URL}/\n  expect: {{}}\nprove:\n- nothing reaches cluster c\n")
        self.assertEqual([(str(result.place), result.name) for result in results],
                         [("cases.yaml:3:3", f"GET {URL}/"), ("cases.yaml:6:3", "nothing reaches cluster c")])

    def test_files_that_cannot_be_understood(self) -> None:
        """Unknown fields, missing ones, questions and claims that are none: all of them are errors, with places."""
        self.assertIn('unknown field "virtual_hosst"', self.problems(
            f"cases: [{{request: GET {URL}/, expect: {{virtual_hosst: x}}}}]")[0])
        self.assertIn('"expect" is missing', self.problems(f"cases: [{{request: GET {URL}/}}]")[0])
        self.assertIn("is not a number between", self.problems(
            f"cases: [{{request: GET {URL}/, expect: {{clusters: {{a: most}}}}}}]")[0])
        self.assertEqual(len(self.problems(
            "cases: [{request: GET nowhere, expect: {}}, {request: GET http://x/, from: me, expect: {}}]\n"
            "prove: [nothing reaches cluster x]\n")), 3)
        self.assertIn("neither", self.problems("cases: []")[0])
        for text in ("", "- 1\n", "cases: [\n"):
            self.assertTrue(self.problems(text))

    def test_a_file_that_is_not_there(self) -> None:
        """It is an error like any other."""
        self.assertRaises(ConfigErrors, read_cases, "/nowhere/cases.yaml")
