"""How problems are shown: the format that CONFIG.md promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, judged, loaded, problems
from voltgw.config.show import MAX_WIDTH, effective, plain, render, report, summary
from voltgw.errors import ConfigError, Place, Severity


def problem(**fields: object) -> ConfigError:
    """A problem with some parts of its own."""
    values: dict[str, object] = {"code": "VG0101", "place": Place("f.yaml", 3, 5), "message": "wrong", **fields}
    return ConfigError(**values)            # type: ignore[arg-type]  # the tests below name what they set


class ReportTests(SynchronousTestCase):
    def test_a_dangling_reference(self) -> None:
        """Place, severity, code, who refers, what was meant, the line and a caret: to the letter."""
        found = judged(GOOD.replace("cluster: [{name: canary}]", "cluster: [{name: canry}]"))
        self.assertEqual(report(found).split("\n"), [
            ('voltgw.yaml:25:28: error[VG0107]: cluster "canry" not found (referred to by route "shop" at voltgw.yaml:14:3); '
             'did you mean "canary"?'),
            "            - cluster: [{name: canry}]",
            " " * 31 + "^",
            "1 error",
        ])

    def test_errors_come_before_warnings(self) -> None:
        """And are counted apart."""
        found = problems("objects:\n- {kind: tunnel, metadata: {name: f}}\n- {kind: nope, metadata: {name: f}}\n")
        self.assertEqual([one.severity for one in found], [Severity.ERROR, Severity.WARNING])
        self.assertTrue(report(found).endswith("\n1 error, 1 warning"))

    def test_all_at_once_up_to_twenty(self) -> None:
        """The rest is counted."""
        found = problems("gateway:\n" + "".join(f"  zz{n}: 1\n" for n in range(30)))
        self.assertEqual(len(found), 30)
        self.assertEqual(report(found).count("error[VG0101]"), 20)
        self.assertTrue(report(found).endswith("30 errors (10 not shown)"))
        self.assertEqual(report(found, limit=None).count("error[VG0101]"), 30)

    def test_files_in_their_order_and_lines_in_theirs(self) -> None:
        """However they were found."""
        found = problems("gateway: {x: 1}\nobjects: [{kind: nope, metadata: {name: a}}]\ndefaults: {y: 1}\n")
        self.assertEqual([one.place.line for one in found], [1, 2, 3])

    def test_nothing_to_say(self) -> None:
        """Not even a count."""
        self.assertEqual(report(()), "")
        self.assertEqual(summary(()), "")

    def test_a_file_as_a_whole(self) -> None:
        """No line, no caret."""
        self.assertEqual(render(problem(place=Place("f.yaml"))), ["f.yaml: error[VG0101]: wrong"])

    def test_tabs_before_the_caret(self) -> None:
        """They stay, so that it stands below its character whatever a tab's width."""
        self.assertEqual(render(problem(source='\t"a":\tx', place=Place("f", 1, 7))), [
            "f:1:7: error[VG0101]: wrong", '    \t"a":\tx', "    \t    \t^"])

    def test_a_very_long_line(self) -> None:
        """JSON may be one; the part around the place is shown."""
        lines = render(problem(source="x" * 500 + "HERE" + "y" * 500, place=Place("f", 1, 501)))
        self.assertIn("HERE", lines[1])
        self.assertLessEqual(len(lines[1]), MAX_WIDTH + 4)
        self.assertEqual(lines[1][lines[2].index("^")], "H")

    def test_several_related_places(self) -> None:
        """All of them, with their words."""
        (line,) = render(problem(hint="mend it", related=(("one", Place("a", 1, 2)), ("two", Place("b", 3, 4)))))
        self.assertEqual(line, "f.yaml:3:5: error[VG0101]: wrong (one at a:1:2, two at b:3:4); mend it")

    def test_plain_data(self) -> None:
        """For ``--json``: everything that the text has."""
        found = judged(GOOD.replace("cluster: [{name: canary}]", "cluster: [{name: canry}]"))
        self.assertEqual(plain(found[0]), {
            "code": "VG0107", "severity": "error", "file": "voltgw.yaml", "line": 25, "column": 28,
            "message": 'cluster "canry" not found', "hint": 'did you mean "canary"?',
            "source": "        - cluster: [{name: canry}]",
            "related": [{"words": 'referred to by route "shop"', "file": "voltgw.yaml", "line": 14, "column": 3}],
        })


class EffectiveTests(SynchronousTestCase):
    def test_plain_data_without_secrets(self) -> None:
        """For the admin page; it reads back as the same configuration, secrets apart."""
        config = loaded("""
            gateway: {port_map: {80: 8080}}
            objects:
            - kind: virtual_host
              metadata: {name: a}
              spec: {domains: [a], request_headers_to_add: [{name: x-k, secret_value: {clear_secret_info: {url: "string:///aHVudGVy"}}}]}
            - {kind: tunnel, metadata: {name: f}, spec: {fleet_label: x, list: [1, {a: b}]}}
        """)
        shown = effective(config)
        self.assertEqual(shown["gateway"], {"port_map": {80: 8080}})
        host, fleet = shown["objects"]
        self.assertEqual(host["spec"]["request_headers_to_add"][0]["secret_value"], {"clear_secret_info": {"url": "***"}})
        self.assertEqual(fleet["spec"]["fleet_label"], "x")
        self.assertNotIn("hunter", str(shown))
