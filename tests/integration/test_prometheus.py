"""The alerts and the dashboard of ``etc/``: a real Prometheus takes them, and its answers to them have what they ask for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port, until
from tests.servers import nginx, require
from voltgw.observe.names import METRICS

_ETC: Final = Path(__file__).resolve().parents[2] / "etc"
_ALERTS: Final = _ETC / "prometheus/alerts.yml"
_BOARD: Final = _ETC / "grafana/voltgw.json"
#: What a dashboard puts in place of its variables.
_VARIABLES: Final = (("$__rate_interval", "4s"), ("$instance", ".*"), ("$virtual_host", ".*"), ("$cluster", ".*"))
#: Panels that have something to show of any gateway that serves requests.
_ALWAYS: Final = {
    "Ready", "Requests", "99 of 100 within", "Requests by host", "Answers by class", "Latency", "Bytes",
    "Endpoints that are ready", "Under way", "Open connections", "New connections", "CPU", "Memory", "Slow turns of the loop",
    "Latency of clusters", "Turns and timers"}


def expressions(panels: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Title and expression of everything that panels show."""
    for panel in panels:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


class FileTests(SynchronousTestCase):
    """What can be seen in the files."""

    def setUp(self) -> None:
        self.board = json.loads(_BOARD.read_text(encoding="utf-8"))
        self.alerts = _ALERTS.read_text(encoding="utf-8")

    def test_metrics_and_labels_exist(self) -> None:
        """Every name is one of ours, and every label that is asked for one of its labels."""
        known = {metric.name: set(metric.labels) for metric in METRICS}
        texts = [expression for _, expression in expressions(self.board["panels"])]
        texts += [each["query"]["query"] for each in self.board["templating"]["list"] if isinstance(each["query"], dict)]
        texts += [rule["expr"] for group in yaml.safe_load(self.alerts)["groups"] for rule in group["rules"]]
        found = 0
        for text in texts:
            for name, _, labels in re.findall(r"\b((?:voltgw|process)_\w+)(\{([^}]*)\})?", text):
                base = name.removesuffix("_bucket") if name not in known else name
                self.assertIn(base, known, text)
                asked = set(re.findall(r"(\w+) *[=!]~?", labels)) - {"instance", "job"}
                self.assertLessEqual(asked, known[base], text)
                found += 1
        self.assertGreater(found, 50)

    def test_panels_have_room(self) -> None:
        """None lies on another, and none stands over the edge."""
        taken: set[tuple[int, int]] = set()
        for panel in self.board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in self.board["panels"]}), len(self.board["panels"]))

    def test_promtool(self) -> None:
        """Prometheus' own checker has no complaint."""
        promtool = require("promtool")
        for kind, path in (("rules", _ALERTS), ("config", _ETC / "prometheus/prometheus.yml")):
            ran = subprocess.run([promtool, "check", kind, str(path)], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)


class PrometheusTests(SynchronousTestCase):
    """A real one scrapes a real gateway."""

    def test_every_panel_and_every_alert(self) -> None:
        """Prometheus answers every expression; the usual panels have values, and what is wrong raises its alert."""
        program = require("prometheus")
        origin = nginx(self, 'location / { return 200 "ok"; } location /bad { return 500; }')
        port, monitor, web = free_port(), free_port(), free_port()
        gateway = Gateway(self, f"""
gateway: {{admin: {{port: ADMIN}}, monitor: {{address: 127.0.0.1, port: {monitor}}}}}
load_balancers:
- {{name: shop, listen: "127.0.0.1:{port}", origins: ["127.0.0.1:{origin.port}"]}}
- {{name: gone, listen: "127.0.0.1:{free_port()}", origins: ["127.0.0.1:{free_port()}"], health_check: {{path: /, interval: 1s}}}}
""")
        gateway.wait_ready()
        folder = gateway.folder
        # the alerts as they are, but for their patience
        (folder / "alerts.yml").write_text(re.sub(r"    for: \w+\n", "", _ALERTS.read_text(encoding="utf-8")), encoding="utf-8")
        config = (_ETC / "prometheus/prometheus.yml").read_text(encoding="utf-8")
        config = config.replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")
        (folder / "prometheus.yml").write_text(config.replace("9902", str(monitor)), encoding="utf-8")
        with (folder / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [program, "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{web}"],
                cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait, 20)
        self.addCleanup(process.kill)

        def query(expression: str) -> Any:
            for name, value in _VARIABLES:
                expression = expression.replace(name, value)
            answer = ask(web, f"/api/v1/query?query={quote(expression)}").json
            self.assertEqual(answer["status"], "success", f"{expression}: {answer}")
            return answer["data"]["result"]

        def has_answered() -> bool:
            for _ in range(5):
                ask(port, "/")
                ask(port, "/bad")
            return bool(query("rate(voltgw_requests_total[4s]) > 0"))

        def is_up() -> bool:
            try:
                return ask(web, "/-/ready").status == 200
            except OSError:
                return False

        until("Prometheus is up", is_up)
        until("Prometheus has seen requests", has_answered)
        panels = json.loads(_BOARD.read_text(encoding="utf-8"))["panels"]
        shown = {title for title, expression in expressions(panels) if query(expression)}
        self.assertLessEqual(_ALWAYS, shown)
        wanted = {"VoltgwNoEndpoint", "VoltgwErrors"}

        def raised() -> set[str]:
            has_answered()
            return {each["labels"]["alertname"] for each in ask(web, "/api/v1/alerts").json["data"]["alerts"]}

        until("the alerts are raised", lambda: wanted <= raised())
        self.assertFalse(raised() & {"VoltgwDown", "VoltgwReloadRejected", "VoltgwBug", "VoltgwLogLinesLost"})
