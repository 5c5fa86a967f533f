"""One scenario played live and simulated: the same requests are answered alike, and endpoints are put out alike."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port
from tests.integration.test_http import origin
from tests.servers import nginx
from voltgw.app.simulation.play import Simulation
from voltgw.app.simulation.report import plain
from voltgw.app.simulation.scenario import read_scenario
from voltgw.config.load import load

REQUESTS: Final = 400
OUTLIERS: Final = "{consecutive_5xx: 5, consecutive_gateway_failure: 5, base_ejection_time: 300000, max_ejection_percent: 50}"


class LiveTests(SynchronousTestCase):
    """Two endpoints are well, one answers 503, and one does not exist."""

    def test_the_same_counts(self) -> None:
        """Round robin, a retry after connections that fail, and ejection after five failures in a row: statuses to clients and requests
        of the bad endpoint are the same to the last one; so is who is out at the end."""
        folder = Path(os.path.abspath(self.mktemp()))
        folder.mkdir()
        good = [origin(self, name, str(folder)).port for name in ("one", "two")]
        bad = nginx(self, "location / { return 503; }").port
        nobody = free_port()
        port = free_port()
        endpoints = [good[0], bad, good[1], nobody]
        text = "\n".join((
            "gateway: {admin: {port: ADMIN}}", "objects:",
            "- {kind: virtual_host, metadata: {name: v}, spec: {domains: ['*'], advertise_policies: [p], routes: [r]}}",
            f"- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {port}}}}}",
            "- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}",
            "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e0, e1, e2, e3], loadbalancer_algorithm: ROUND_ROBIN, outlier_detection: " + OUTLIERS + "}}",
            *(f"- {{kind: endpoint, metadata: {{name: e{number}}}, spec: {{ip: 127.0.0.1, port: {each}}}}}" for number, each in enumerate(endpoints))))
        gateway = Gateway(self, text)
        gateway.wait_ready()
        live: Counter[str] = Counter()
        for _ in range(REQUESTS):
            got = ask(port)
            live[got.body.decode().split()[0] if got.status == 200 else str(got.status)] += 1
        out = {one["port"] for one in gateway.cluster("default/c")["endpoints"] if "ejected" in one["why"]}

        config = folder / "simulated.yaml"
        config.write_text(text.replace("ADMIN", "0"), encoding="utf-8")
        scenario = folder / "scenario.yaml"
        scenario.write_text(f"""
duration: {(REQUESTS + 1) / 10:g}s
traffic: [{{request: "GET http://127.0.0.1:{port}/", rate: 10}}]
endpoints:
- {{which: {{port: {bad}}}, behave: {{errors: 100}}}}
- {{which: {{port: {nobody}}}, behave: {{standing: refuses}}}}
""", encoding="utf-8")
        simulation = Simulation(load(config, environ={}), read_scenario(str(scenario)), str(scenario))
        simulation.run()
        facts = plain(simulation)
        (cluster,) = facts["clusters"]
        self.assertEqual(facts["requests"], REQUESTS)
        asked = {int(one["endpoint"].rpartition(":")[2]): one["requests"] for one in facts["endpoints"]}
        self.assertEqual({"200": live["one"] + live["two"], "503": live["503"]}, cluster["statuses"])
        for number, name in zip(good, ("one", "two"), strict=True):       # round robin begins anywhere, and is built anew at each ejection
            self.assertLessEqual(abs(asked[number] - live[name]), 6, (asked, live))
        self.assertEqual((asked[bad], out), (5, {bad, nobody}))
        self.assertEqual({int(one["endpoint"].rpartition(":")[2]) for one in facts["time_line"] if one["state"] == "ejected"}, out)
