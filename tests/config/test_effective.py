"""``voltgw config show``: the configuration as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, loaded, text, write
from voltgw.config.diff import diff
from voltgw.config.effective import text_of
from voltgw.config.load import load, load_text

SHORT = """\
load_balancers: [{name: shop, listen: 8080, origins: ['127.0.0.1:9001', {address: 'a.b:1', weight: 2}],
  health_check: /healthz, routes: [{path: /old, redirect: /new}]}]
"""


class TextTests(SynchronousTestCase):
    def test_what_is_printed_reads_back_as_the_same(self) -> None:
        """Both ways of printing, for primitive objects and for what was made from the short form."""
        for source in (GOOD, SHORT):
            config = load_text(source)
            for everything in (False, True):
                printed = text_of(config, everything=everything)
                again = load_text(printed)
                self.assertFalse(diff(config, again), printed)
                self.assertEqual(config.gateway, again.gateway)

    def test_every_value_with_its_origin(self) -> None:
        """The file, the defaults, the form that it was made from, or built in."""
        folder = write(self.mktemp(), {
            "main.yaml": "defaults: {cluster: {connection_timeout: 1s}}\ninclude: [a.yaml]\n",
            "a.yaml": "kind: cluster\nmetadata: {name: a}\nspec: {http_idle_timeout: 5s}\n"})
        lines = text_of(load(folder / "main.yaml", environ={}), everything=True).split("\n")

        def origin(start: str) -> str:
            (line,) = [line for line in lines if line.strip().startswith(start)]
            return line.split("#")[-1].strip()

        self.assertTrue(origin("http_idle_timeout: 5s").endswith("a.yaml:3:27"))
        self.assertRegex(origin("connection_timeout: 1s"), r"^defaults, .*main\.yaml:1:42$")
        self.assertEqual(origin("# circuit_breaker"), "built-in")
        self.assertRegex(origin("- kind: cluster"), r"a\.yaml:1:1$")

    def test_what_files_say_alone(self) -> None:
        """Without defaults and without comments."""
        printed = text_of(loaded("""
            defaults: {cluster: {connection_timeout: 1s}}
            objects: [{kind: cluster, metadata: {name: a}, spec: {http_idle_timeout: 5s}}]
        """), everything=False)
        self.assertNotIn("connection_timeout", printed)
        self.assertNotIn("#", printed)

    def test_the_short_form_is_lowered(self) -> None:
        """And says so."""
        printed = text_of(load_text(SHORT), everything=True)
        self.assertIn('- kind: virtual_host', printed)
        self.assertIn('# made from load_balancer "shop", <text>:1:18', printed)

    def test_text_that_looks_like_something_else_is_quoted(self) -> None:
        """Whoever reads it, with whatever YAML."""
        printed = text_of(load_text(text("""
            kind: endpoint
            metadata: {name: a, labels: {a: "NO", b: "1.0", c: "x: y", d: "", e: "ok", f: "#", g: "1e3", h: ü}}
            spec: {ip: 192.0.2.1, port: 1}
        """)), everything=False)
        self.assertIn('labels: {a: "NO", b: "1.0", c: "x: y", d: "", e: ok, f: "#", g: "1e3", h: "ü"}', printed)

    def test_secrets_are_not_printed(self) -> None:
        """Printed configurations are pasted into issues."""
        printed = text_of(loaded("kind: virtual_host\nmetadata: {name: a}\nspec: {domains: [a], request_headers_to_add: [{name: x, "
                                 "secret_value: {clear_secret_info: {url: 'string:///aHVudGVy'}}}]}\n"), everything=True)
        self.assertIn("***", printed)
        self.assertNotIn("aHVudGVy", printed)
