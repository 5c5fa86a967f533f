"""The subsets of etc/examples, as somebody tries them: three origins, told apart by the labels of their endpoints."""

from __future__ import annotations

import http.client
from collections import Counter
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import PATIENCE_S, Gateway, free_port, until
from tests.integration.test_canary import off
from tests.servers import nginx

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "examples" / "subsets.yaml"
REQUESTS: Final = 2000
BETA: Final = {"x-beta": "yes"}


class SubsetsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port = free_port()
        self.origins = [nginx(self, f'location / {{ return 200 "{name}"; }}') for name in ("v10-a", "v10-b", "v11")]
        text = "gateway: {admin: {port: ADMIN}}\n" + _EXAMPLE.read_text(encoding="utf-8")
        ports = (self.port, *(origin.port for origin in self.origins))
        for ours, theirs in zip(("port: 8080", "port: 9001", "port: 9002", "port: 9003"), ports, strict=True):
            self.assertEqual(text.count(ours), 1)
            text = text.replace(ours, f"port: {theirs}")
        self.text = text

    def started(self, text: str) -> Gateway:
        """The gateway, when it serves."""
        gateway = Gateway(self, text)
        gateway.wait_ready()
        return gateway

    def asked(self, path: str, headers: dict[str, str], times: int) -> Counter[str]:
        """Who answered how often; an error counts as its status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        found: Counter[str] = Counter()
        for _ in range(times):
            connection.request("GET", path, headers={"Host": "reviews.example.com", **headers})
            response = connection.getresponse()
            body = response.read().decode()
            found[body if response.status == 200 else str(response.status)] += 1
        connection.close()
        return found

    def test_one_cluster_split_by_labels(self) -> None:
        """Only requests with the path and the header are split, 95 to 5; all others fall to the rules behind."""
        self.started(self.text)
        found = self.asked("/reviews/1", BETA, REQUESTS)
        self.assertEqual(set(found), {"v10-a", "v10-b", "v11"})
        self.assertLess(off(found["v11"], REQUESTS, 0.05), 4)
        self.assertEqual(set(self.asked("/reviews/1", {}, 60)), {"v10-a", "v10-b"})
        self.assertEqual(set(self.asked("/other", BETA, 60)), {"v10-a", "v10-b"})
        self.assertEqual(set(self.asked("/preview/1", {}, 60)), {"v11"})

    def test_a_subset_that_is_down(self) -> None:
        """Its requests fail and do not go to the other version; the admin interface says who is in which subset."""
        gateway = self.started(self.text.replace("interval: 5, timeout: 2", "interval: 1, timeout: 1"))
        self.origins[2].stop()
        until("its health check to notice", lambda: set(self.asked("/preview/1", {}, 5)) == {"503"})
        self.assertEqual(set(self.asked("/other", {}, 40)), {"v10-a", "v10-b"})
        shown = {each["subset"]: each for each in gateway.cluster("default/reviews")["subsets"]}
        self.assertEqual({name: (len(each["endpoints"]), each["ready"]) for name, each in shown.items()}, {
            "version=10": (2, 2), "version=11": (1, 0), "upcoming": (1, 0), "none asked for": (2, 2)})

    def test_labels_change(self) -> None:
        """An endpoint that is relabelled and reloaded changes sides; nothing else does."""
        gateway = self.started(self.text)
        self.assertEqual(set(self.asked("/preview/1", {}, 40)), {"v11"})
        line = 'name: reviews-v10-b, labels: {version: "10"}'
        self.assertEqual(self.text.count(line), 1)
        gateway.write(self.text.replace(line, line.replace("10\"", "11\"")))
        gateway.reload()
        self.assertEqual(set(self.asked("/preview/1", {}, 40)), {"v10-b", "v11"})
        self.assertEqual(set(self.asked("/other", {}, 40)), {"v10-a"})

    def test_affinity_inside_a_subset(self) -> None:
        """With ring hash and a hash policy each user has an endpoint of the subset; others than its users stay when it dies."""
        text = self.text.replace("loadbalancer_algorithm: LEAST_REQUEST", "loadbalancer_algorithm: RING_HASH")
        text = text.replace("    - route_destination:                #", "    - route_destination:\n        hash_policy: [{header_name: x-user}]  #")
        self.assertIn("hash_policy", text)
        self.started(text)
        users = [{"x-user": f"u{number}"} for number in range(40)]
        before = [set(self.asked("/", user, 5)) for user in users]
        self.assertEqual({len(each) for each in before}, {1})
        self.assertEqual(set().union(*before), {"v10-a", "v10-b"})
        self.origins[0].stop()
        after = [set(self.asked("/", user, 3)) for user in users]
        self.assertEqual(after, [{"v10-b"}] * len(users))
