"""``voltgw explain``."""

from __future__ import annotations

import json
import os
import re
import shlex
import textwrap
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import Run, run
from tests.docs.test_pages import ROOT

CANARY = str(ROOT / "etc" / "examples" / "canary.yaml")
TCP = str(ROOT / "etc" / "examples" / "tcp.yaml")
URL = "http://reviews.example.com:8080/"


class ExplainTests(SynchronousTestCase):
    def lines(self, result: Run) -> list[str]:
        """The lines of what was printed, without places and without spaces between columns."""
        self.assertEqual((result.status, result.err), (0, ""))
        return [" ".join(line.partition("  [")[0].split()) for line in result.out.splitlines()]

    def test_text(self) -> None:
        """Question first, then every decision."""
        lines = self.lines(run(["explain", CANARY, "GET", URL]))
        self.assertEqual(lines[0], f"GET {URL}")
        for line in ("cluster default/reviews-v10 95.0% weight 95",
                     "rule reviews/0 does not match it is not so that header x-canary is 'always'",
                     "whole answer none the route sets none"):
            self.assertIn(line, lines)

    def test_fields_client_and_listener(self) -> None:
        """-H, --from and --listener are parts of the question."""
        lines = self.lines(run(["explain", CANARY, "GET", "http://reviews.example.com/", "-H", "x-canary: always", "--from",
                                "203.0.113.9", "--listener", "127.0.0.1:8080"]))
        self.assertIn("x-real-ip: 203.0.113.9", lines)
        self.assertIn("cluster default/reviews-v11 100.0%", lines)

    def test_json(self) -> None:
        """The same as data."""
        result = run(["explain", CANARY, "GET", URL, "--json"])
        facts = json.loads(result.out)
        self.assertEqual((facts["outcome"], facts["route"], facts["shares"]), (
            "forwarded", "reviews/1", {"default/reviews-v10": 0.95, "default/reviews-v11": 0.05}))
        self.assertEqual(facts["question"], {"method": "GET", "url": URL})

    def test_a_connection(self) -> None:
        """METHOD - and tcp:// explain a listener that relays."""
        lines = self.lines(run(["explain", TCP, "-", "tcp://127.0.0.1:5432"]))
        self.assertIn("endpoint 127.0.0.1:15432 50.0% its health is unknown, nobody was asked", lines)

    def test_wrong_questions(self) -> None:
        """Status 2, and the reason on standard error."""
        for arguments, words in (
            (["GET", "nowhere"], "is not a URL"), (["GET", "/x"], "virtual host of a path alone"), (["-", "dns://x:1"], "not a question of DNS"),
            (["-", "tcp://x"], "names no port"), (["GET", URL, "-H", "x"], "is not a header field"),
            (["GET", URL, "--from", "me"], "is not an IP address"), (["GET", URL, "--listener", "x"], "is not a listener"),
            (["GET", URL, "--listener", "x:1"], "is not an IP address"), (["GET"], "FILE, METHOD and URL are needed"),
            (["-", "tcp://127.0.0.1:1", "-H", "a: b"], "no header fields"), (["GET", "tcp://x:1"], "is asked for as"),
            (["GET", "http://x:port/"], "is not a URL"),
        ):
            result = run(["explain", CANARY, *arguments])
            self.assertEqual((result.status, result.out), (2, ""), arguments)
            self.assertIn(words, result.err)

    def test_a_configuration_with_errors(self) -> None:
        """Status 2 with the same report as check's."""
        path = Path(self.mktemp())
        path.write_text("objects: [{kind: virtual_hots}]\n", encoding="utf-8")
        result = run(["explain", str(path), "GET", URL])
        self.assertEqual((result.status, result.out), (2, ""))
        self.assertIn("VG0108", result.err)

    def test_live_without_a_gateway(self) -> None:
        """Status 3 when nobody answers; FILE has no place there."""
        result = run(["explain", "--live", "GET", URL, "--admin", str(Path(self.mktemp()).absolute())])
        self.assertEqual((result.status, result.out), (3, ""))
        self.assertEqual(run(["explain", "--live", CANARY, "GET", URL]).status, 2)


class DocumentationTests(SynchronousTestCase):
    def test_what_the_page_shows_is_what_is_printed(self) -> None:
        """Each command of docs/explain.rst prints, in the checkout, what stands below it."""
        page = (ROOT / "docs" / "explain.rst").read_text(encoding="utf-8")
        blocks = [textwrap.dedent(block) for block in re.findall(r"\.\. code-block:: text\n\n((?:   .*\n|\n)+)", page)]
        self.assertEqual(len(blocks), 4)
        before = os.getcwd()
        os.chdir(ROOT)
        self.addCleanup(os.chdir, before)
        for block in blocks:
            command, _, shown = block.partition("\n")
            self.assertTrue(command.startswith("$ voltgw "), command)
            result = run(shlex.split(command)[2:])
            self.assertEqual(result.status, 0, result.err)
            self.assertEqual([line.rstrip() for line in result.out.strip().splitlines()],
                             [line.rstrip() for line in shown.strip().splitlines()])


class WhereTests(SynchronousTestCase):
    """``explain FILE --where KIND/NAME`` and names of DNS."""

    def setUp(self) -> None:
        self.file = self.mktemp()
        Path(self.file).write_text("""\
objects:
- {kind: site, metadata: {name: lyon, namespace: system, labels: {zone: eu}}, spec: {site_type: CUSTOMER_EDGE}}
- {kind: virtual_site, metadata: {name: eu, namespace: shared}, spec: {site_type: CUSTOMER_EDGE, site_selector: {expressions: [zone]}}}
- {kind: advertise_policy, metadata: {name: p}, spec: {where: {virtual_site: {ref: [shared/eu]}}, port: 80}}
- {kind: discovery, metadata: {name: n, namespace: system}, spec: {where: {}, voltgw: {dns_delegation: {zone: apps.example}}}}
""", encoding="utf-8")

    def test_sites(self) -> None:
        """Each known site, whether it is selected, and why."""
        for name in ("advertise_policy/p", "advertise_policy/default/p"):
            shown = run(["explain", self.file, "--where", name])
            self.assertEqual(shown.status, 0, shown.err)
            self.assertIn("  not       local (this gateway): its labels do not match `zone` of virtual_site", shown.out)
            self.assertIn("  selected  lyon: its labels match `zone` of virtual_site", shown.out)
        found = json.loads(run(["explain", self.file, "--where", "advertise_policy/p", "--json"]).out)
        self.assertEqual([(each["site"], each["selected"]) for each in found["sites"]], [("local", False), ("lyon", True)])

    def test_what_has_no_sites(self) -> None:
        """Kinds and objects that are not there, objects without a ``where``, and a question beside it."""
        for name in ("nothing/p", "advertise_policy/q", "advertise_policy/other/p", "virtual_site/eu", "p"):
            shown = run(["explain", self.file, "--where", name])
            self.assertEqual((shown.status, shown.out), (2, ""))
            self.assertIn("names no object with a `where`", shown.err)
        self.assertIn("needs FILE", run(["explain", self.file, "GET", "/", "--where", "x/y"]).err)

    def test_a_vip_out_of_a_range(self) -> None:
        """It is shown with the site."""
        with open(self.file, "a", encoding="utf-8") as file:
            file.write("- {kind: site, metadata: {name: local, namespace: system}, spec: {site_type: CUSTOMER_EDGE, "
                       "voltgw: {outside_vip_range: 192.0.2.0/24}}}\n- {kind: advertise_policy, metadata: {name: q}, spec: {port: 81}}\n")
        self.assertRegex(run(["explain", self.file, "--where", "advertise_policy/q"]).out, r"\n +VIP 192\.0\.2\.\d+, out of the site's outside range")

    def test_names(self) -> None:
        """What is answered to a name; a type or a name that is none is a wrong question."""
        self.assertIn("NXDOMAIN", run(["explain", self.file, "-", "dns:a.apps.example/A"]).out)
        for question, words in (("dns:a.apps.example/ODD", "is not a type"), ("dns:a..b", "has a label of 0 bytes")):
            shown = run(["explain", self.file, "-", question])
            self.assertEqual(shown.status, 2)
            self.assertIn(words, shown.err)
