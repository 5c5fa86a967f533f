"""Simulations: the gateway's own parts in a world that is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config
from voltgw.app.simulation.play import Simulation
from voltgw.app.simulation.report import plain, text
from voltgw.app.simulation.scenario import addresses_of, read_scenario
from voltgw.app.simulation.world import World
from voltgw.config.show import report
from voltgw.errors import ConfigErrors

ROOT: Final = Path(__file__).resolve().parents[2]
ETC: Final = ROOT / "etc"
_CHECK: Final = "{http_health_check: {path: /}, interval: 5, timeout: 1, healthy_threshold: 2, unhealthy_threshold: 2}"


def gateway(cluster: str = "", route: str = "", count: int = 4, check: bool = False) -> str:
    """A configuration with one cluster of endpoints 10.0.0.1…; `cluster` and `route` are more fields of theirs."""
    names = ", ".join(f"e{number}" for number in range(1, count + 1))
    lines = [
        ("- {kind: virtual_host, metadata: {name: v}, spec: {domains: [shop.test], proxy: HTTP_PROXY, advertise_policies: [p], "
        "routes: [r]}}"),
        "- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: 8080}}",
        ("- {kind: route, metadata: {name: r}, spec: {routes: [{match: [{path: {prefix: /}}], "
        f"route_destination: {{destinations: [{{cluster: [c]}}]{route}}}}}]}}}}"),
        f"- {{kind: cluster, metadata: {{name: c}}, spec: {{endpoints: [{names}]{', health_checks: [h]' if check else ''}{cluster}}}}}",
        *(f"- {{kind: endpoint, metadata: {{name: e{number}, labels: {{half: {'one' if number % 2 else 'two'}}}}}, "
          f"spec: {{ip: 10.0.0.{number}, port: 80}}}}" for number in range(1, count + 1)),
    ]
    if check:
        lines.append(f"- {{kind: healthcheck, metadata: {{name: h}}, spec: {_CHECK}}}")
    return "\n".join(lines) + "\n"


class SimulationTests(SynchronousTestCase):
    def scenario(self, words: str) -> str:
        """A file with the scenario `words`."""
        path: str = os.path.abspath(self.mktemp())
        Path(path).write_text(words, encoding="utf-8")
        return path

    def play(self, configuration: str, words: str) -> dict[str, Any]:
        """What comes of it."""
        path = self.scenario(words)
        simulation = Simulation(config(configuration), read_scenario(path), path)
        simulation.run()
        facts = plain(simulation)
        self.assertEqual(facts["unfinished"], 0)
        self.assertEqual(facts["requests"], sum(one["requests"] for one in facts["clusters"]))
        self.assertTrue(text(facts))
        return facts

    def refused(self, words: str, configuration: str | None = None) -> str:
        """What is said of a scenario that cannot be played."""
        path = self.scenario(words)
        with self.assertRaises(ConfigErrors) as caught:
            Simulation(config(configuration or gateway()), read_scenario(path), path)
        return report(caught.exception.problems).replace(path, "FILE")

    def test_whoever_wants_to_know_how_far_it_is(self) -> None:
        """Is told, a hundredth at a time, and nothing comes of it."""
        path = self.scenario("{duration: 20s, traffic: [{request: GET http://shop.test/, rate: 20}]}")
        alone, watched = (Simulation(config(gateway()), read_scenario(path), path) for _ in range(2))
        told: list[float] = []
        alone.run()
        watched.run(told.append)
        self.assertEqual(plain(watched), plain(alone))
        self.assertEqual(told, [part / 100 for part in range(1, 100)])

    def states(self, facts: dict[str, Any], state: str) -> list[tuple[float, str]]:
        """When and to whom something has happened."""
        return [(one["at_s"], one["endpoint"]) for one in facts["time_line"] if one["state"] == state]

    def test_everybody_is_well(self) -> None:
        """Round robin gives each of four the same, and an answer takes what connecting and the endpoint take."""
        facts = self.play(gateway(), "{duration: 10s, traffic: [{request: GET http://shop.test/, rate: 100}]}")
        (cluster,) = facts["clusters"]
        self.assertEqual((cluster["requests"], cluster["errors"], cluster["retries"]), (999, 0, 0))
        self.assertEqual(cluster["statuses"], {"200": 999})
        self.assertEqual(cluster["latency_s"], {"p50": 0.01, "p90": 0.01, "p99": 0.01, "max": 0.011})
        self.assertEqual(sorted(one["requests"] for one in facts["endpoints"]), [249, 250, 250, 250])

    def test_steps_between_requests(self) -> None:
        """An even request comes when its gap is over, however many steps are in between."""
        steps = ", ".join(f"{{at: {at}s, rate: 0.1}}" for at in range(5, 100, 5))
        facts = self.play(gateway(), f"{{duration: 100s, traffic: [{{request: GET http://shop.test/, rate: 0.1, steps: [{steps}]}}]}}")
        self.assertEqual(facts["requests"], 9)

    def test_an_endpoint_that_refuses(self) -> None:
        """Its requests go to another one, and its health check takes it out and brings it back."""
        facts = self.play(gateway(check=True), """
duration: 60s
traffic: [{request: GET http://shop.test/, rate: 40}]
events: [{at: 10s, for: 20s, which: {addresses: 10.0.0.2}, behave: {standing: refuses}}]
""")
        (cluster,) = facts["clusters"]
        self.assertEqual(cluster["errors"], 0)
        self.assertGreater(cluster["retries"], 0)
        self.assertEqual(cluster["retries"], sum(one["retries"] for one in facts["endpoints"]))
        ((out_s, out),) = self.states(facts, "unhealthy")
        back_s = [at_s for at_s, endpoint in self.states(facts, "healthy") if at_s > 0.0 and endpoint == out]
        self.assertEqual(out, "10.0.0.2:80")
        self.assertTrue(10.0 < out_s <= 20.0, out_s)            # two failures in a row, 5 s apart
        self.assertEqual(len(back_s), 1)
        self.assertTrue(30.0 < back_s[0] <= 40.0, back_s)

    def test_an_endpoint_that_swallows_packets(self) -> None:
        """Connections to it time out, and the request goes elsewhere after that."""
        facts = self.play(gateway(", connection_timeout: 500", count=2), """
duration: 1s
traffic: [{request: GET http://shop.test/, rate: 10, new_connections: true}]
endpoints: [{which: {addresses: 10.0.0.1}, behave: {standing: silent}}]
""")
        (cluster,) = facts["clusters"]
        self.assertEqual(cluster["errors"], 0)
        self.assertEqual(cluster["latency_s"]["max"], 0.511)

    def test_outliers(self) -> None:
        """Five errors in a row eject an endpoint for its time."""
        facts = self.play(gateway(", outlier_detection: {consecutive_5xx: 5, base_ejection_time: 30000, "
                                  "max_ejection_percent: 50}"), """
duration: 60s
traffic: [{request: GET http://shop.test/, rate: 40}]
events: [{at: 10s, for: 5s, which: {addresses: 10.0.0.3}, behave: {errors: 100, status: 500}}]
""")
        (cluster,) = facts["clusters"]
        self.assertEqual(cluster["statuses"]["500"], 5)
        ((out_s, out),), ((back_s, back),) = self.states(facts, "ejected"), self.states(facts, "returned")
        self.assertEqual((out, back), ("10.0.0.3:80", "10.0.0.3:80"))
        self.assertTrue(10.0 < out_s < 11.0)
        self.assertTrue(30.0 <= back_s - out_s <= 41.0)
        self.assertEqual(next(one for one in facts["endpoints"] if one["endpoint"] == out)["ejections"], 1)

    def test_a_breaker_opens_and_closes(self) -> None:
        """More requests than may be under way are refused, and the time line says from when to when."""
        facts = self.play(gateway(", circuit_breaker: {max_requests: 10}"), """
duration: 20s
traffic: [{request: GET http://shop.test/, rate: 100}]
events: [{at: 5s, for: 5s, behave: {latency: 1s}}]
""")
        (cluster,) = facts["clusters"]
        self.assertEqual(cluster["most_active"], 10)
        self.assertGreater(cluster["overflow"], 300)
        self.assertEqual(cluster["flags"], {"UO": cluster["overflow"]})
        ((opens_s, _),), ((closes_s, _),) = self.states(facts, "breaker opens"), self.states(facts, "breaker closes")
        self.assertTrue(5.0 < opens_s < 5.2)
        self.assertTrue(10.0 < closes_s < 13.0)

    def test_labels_and_flapping(self) -> None:
        """Changes come again, for those alone that have the label."""
        facts = self.play(gateway(), """
duration: 20s
traffic: [{request: GET http://shop.test/, rate: 100}]
events: [{at: 2s, for: 1s, every: 4s, which: {labels: {half: two}}, behave: {standing: refuses}, why: flaps}]
""")
        begins = [one["at_s"] for one in facts["time_line"] if one["reason"] == "flaps"]
        self.assertEqual(begins, [2.0, 6.0, 10.0, 14.0, 18.0])
        failures = {one["endpoint"]: one["connect_failures"] for one in facts["endpoints"]}
        self.assertEqual(failures["10.0.0.1:80"] + failures["10.0.0.3:80"], 0)
        self.assertGreater(min(failures["10.0.0.2:80"], failures["10.0.0.4:80"]), 0)

    def test_workers(self) -> None:
        """Requests wait for a worker: at 1.5 times what two can serve, the last waits half of the time that they came."""
        facts = self.play(gateway(count=1), """
duration: 10s
traffic: [{request: GET http://shop.test/, rate: 30}]
endpoints: [{behave: {latency: 100ms, workers: 2}}]
""")
        (cluster,) = facts["clusters"]
        self.assertEqual(cluster["errors"], 0)
        self.assertTrue(4.75 < cluster["latency_s"]["max"] < 5.25)

    def test_chance_is_of_the_seed(self) -> None:
        """The same seed gives the same, in another process with other hashes; another seed gives something else."""
        found = []
        for seed, hashes in ((7, "1"), (7, "2"), (8, "1")):
            path = self.scenario((ETC / "scenarios" / "outage.yaml").read_text(encoding="utf-8").replace("seed: 7", f"seed: {seed}"))
            command = [sys.executable, "-m", "voltgw.cli.main", "simulate", "--json", str(ETC / "examples" / "simulate.yaml"), path]
            found.append(subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=60,
                                        env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": str(ROOT)}).stdout)
        self.assertEqual(found[0], found[1])
        self.assertNotEqual(json.loads(found[0])["clusters"], json.loads(found[2])["clusters"])

    def test_poisson_arrivals(self) -> None:
        """About as many as the rate says, and not evenly."""
        facts = self.play(gateway(), "{duration: 100s, traffic: [{request: GET http://shop.test/, rate: 50, spacing: random}]}")
        self.assertTrue(4700 < facts["requests"] < 5300)                # four standard deviations
        self.assertNotEqual(facts["requests"], 4999)

    def test_steps(self) -> None:
        """Another rate from a moment on."""
        facts = self.play(gateway(), """
duration: 10s
traffic: [{request: GET http://shop.test/, rate: 10, until: 8s, steps: [{at: 4s, rate: 100}, {at: 6s, rate: 0}]}]
""")
        self.assertIn(facts["requests"], range(39 + 199, 41 + 201))     # the last of each may round to the end

    def test_mistakes(self) -> None:
        """Each has its place, and what was probably meant."""
        said = self.refused("duration: 1s\ntrafic: []\nevents: [{at: 1s, behave: {standing: refusess}}]\n")
        self.assertIn('FILE:2:1: error[VG0101]: unknown field "trafic"; did you mean "traffic"?', said)
        self.assertIn('did you mean "refuses"?', said)
        one = "duration: 1s\ntraffic: [{request: GET http://shop.test/, rate: 1}]\n"
        self.assertIn("FILE:3:26: error[VG0110]: no endpoint is one of these", self.refused(
            one + "events: [{at: 1s, which: {addresses: 10.9.9.9}, behave: {slower: 2}}]\n"))
        self.assertIn("no endpoint has the name shop.internal", self.refused(one + "names: {shop.internal: 10.0.0.1}\n"))
        self.assertIn("no listener takes GET http://shop.test:81/", self.refused(one.replace("shop.test/", "shop.test:81/")))
        self.assertIn("is no address, prefix or first-last", self.refused(one + "names: {a: nonsense}\n"))

    def test_addresses(self) -> None:
        """Single ones, prefixes and ranges, each once."""
        self.assertEqual(addresses_of(["10.0.0.1-10.0.0.3", "10.0.0.2", "10.0.1.0/30"]),
                         ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "10.0.1.2"))

    def test_timers_of_the_world(self) -> None:
        """Timers come in order; one that is put off or brought forward comes once, one that is cancelled never."""
        world, seen = World(), []
        begin = world.now

        def note(name: str) -> None:
            seen.append((name, world.now - begin))

        world.callLater(3, note, "c")
        later = world.callLater(1, note, "late")
        sooner = world.callLater(5, note, "soon")
        world.callLater(2, note, "never").cancel()
        later.reset(4)
        sooner.reset(2)
        world.run(begin + 10)
        self.assertEqual(seen, [("soon", 2), ("c", 3), ("late", 4)])
        self.assertEqual((world.now, world.getDelayedCalls()), (begin + 10, []))
