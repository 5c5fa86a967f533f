"""What a rollout says must fit its route, and somebody must remember it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import judged, loaded
from voltgw.config.rollouts import moved

BASE = """\
gateway: {data_dir: /var/lib/voltgw}
objects:
- {kind: virtual_host, metadata: {name: shop}, spec: {domains: ["*"], proxy: HTTP_PROXY, advertise_policies: [p], routes: [shop]}}
- {kind: advertise_policy, metadata: {name: p}, spec: {port: 8080}}
- kind: route
  metadata: {name: shop}
  spec:
    routes:
    - route_destination:
        destinations: [{cluster: [shop], endpoint_subsets: {version: v1}, weight: 1}, {cluster: [shop], endpoint_subsets: {version: v2}}]
- {kind: cluster, metadata: {name: shop}, spec: {endpoints: [v1, v2], endpoint_subsets: [{keys: [version]}]}}
- {kind: endpoint, metadata: {name: v1, labels: {version: v1}}, spec: {ip: 192.0.2.1, port: 80}}
- {kind: endpoint, metadata: {name: v2, labels: {version: v2}}, spec: {ip: 192.0.2.2, port: 80}}
"""
ROLLOUT = """\
- kind: rollout
  metadata: {name: shop}
  spec:
    route: shop
    baseline: {cluster: shop, endpoint_subsets: {version: v1}}
    candidate: {cluster: shop, endpoint_subsets: {version: v2}}
    steps: [{weight: 5}, {weight: 50}]
"""
TEXT = BASE + ROLLOUT
VIEW = """\
gateway: {data_dir: /var/lib/voltgw}
objects:
- kind: http_loadbalancer
  metadata: {name: shop}
  spec:
    domains: [shop.example.com]
    http: {port: 8080}
    advertise_custom: {advertise_where: [{site: {site: {name: local}, network: SITE_NETWORK_INSIDE_AND_OUTSIDE}, port: 8080}]}
    default_route_pools: [{pool: {name: v1}, weight: 100}, {pool: {name: v2}, weight: 1}]
- {kind: origin_pool, metadata: {name: v1}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.1}}], port: 80, no_tls: {}}}
- {kind: origin_pool, metadata: {name: v2}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.2}}], port: 80, no_tls: {}}}
- kind: rollout
  metadata: {name: shop}
  spec:
    route: ves-io-http-loadbalancer-shop
    baseline: {cluster: ves-io-origin-pool-v1}
    candidate: {cluster: ves-io-origin-pool-v2}
    steps: [{weight: 5}]
"""


class RolloutTests(SynchronousTestCase):
    def wrong(self, text: str, code: str, words: str) -> None:
        """There is one such problem, and it says so."""
        found = [one for one in judged(text) if one.code == code]
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0].message)

    def test_a_good_one(self) -> None:
        """Nothing is said of it, and its rule is found."""
        self.assertEqual(judged(TEXT), ())
        config = loaded(TEXT)
        (rule,) = moved(config, config.of("rollout")["default", "shop"])
        self.assertEqual((rule.rule, str(rule.baseline), str(rule.candidate)),
                         (0, "default/shop?version=v1", "default/shop?version=v2"))

    def test_labels_of_the_rule(self) -> None:
        """What the rule asks of both need not be said again."""
        text = TEXT.replace("        destinations:", "        endpoint_subsets: {tier: front}\n        destinations:")
        text = text.replace("{keys: [version]}", "{keys: [version, tier]}").replace("labels: {version", "labels: {tier: front, version")
        self.assertEqual(judged(text), ())

    def test_two_clusters(self) -> None:
        """Versions may be clusters of their own; how they are balanced does not matter."""
        text = TEXT.replace("{cluster: [shop], endpoint_subsets: {version: v2}}", "{cluster: [next]}")
        text = text.replace("{cluster: shop, endpoint_subsets: {version: v2}}", "{cluster: next}")
        text += "- {kind: cluster, metadata: {name: next}, spec: {endpoints: [v2]}}\n"
        self.assertEqual(judged(text), ())

    def test_views(self) -> None:
        """Pools of a load balancer are moved by the names of what they stand for."""
        text = VIEW
        self.assertEqual(judged(text), ())
        config = loaded(text)
        (rule,) = moved(config, config.of("rollout")["default", "shop"])
        self.assertEqual(str(rule.candidate), "default/ves-io-origin-pool-v2")

    def test_no_such_rule(self) -> None:
        """A third destination, or another version: nobody would know what to move."""
        words = 'no rule of route "shop" has exactly the two destinations'
        self.wrong(TEXT.replace("weight: 1}, {", "weight: 1}, {cluster: [shop], endpoint_subsets: {version: v3}}, {"),
                   "VG0235", words)
        self.wrong(TEXT.replace("candidate: {cluster: shop, endpoint_subsets: {version: v2}}",
                                "candidate: {cluster: shop, endpoint_subsets: {version: v3}}"), "VG0235", words)

    def test_twice_the_same(self) -> None:
        """A version is not compared with itself."""
        self.wrong(TEXT.replace("candidate: {cluster: shop, endpoint_subsets: {version: v2}}",
                                "candidate: {cluster: shop, endpoint_subsets: {version: v1}}"), "VG0235", "are the same")

    def test_labels_that_do_not_count(self) -> None:
        """Without their key set both destinations would be the whole cluster."""
        found = [one for one in judged(TEXT.replace(", endpoint_subsets: [{keys: [version]}]", "")) if one.code == "VG0235"]
        self.assertEqual(len(found), 2)
        self.assertIn("is not told apart: [version] is no key set of", found[0].message)

    def test_priorities(self) -> None:
        """One that stands by gets nothing, whatever its weight is."""
        self.wrong(TEXT.replace("weight: 1}", "weight: 1, priority: 1}"), "VG0235", "one of them only stands by")

    def test_two_of_one_rule(self) -> None:
        """They would pull at the same weights."""
        self.wrong(TEXT + ROLLOUT.replace("name: shop}", "name: too}", 1), "VG0235", "move the same requests")

    def test_datagrams(self) -> None:
        """Nothing is known of how they fared."""
        text = TEXT.replace('domains: ["*"], proxy: HTTP_PROXY', "proxy: UDP_PROXY").replace(
            "spec: {port: 8080}", "spec: {port: 8080, protocol: UDP}")
        self.wrong(text, "VG0235", "is a UDP_PROXY")

    def test_no_folder(self) -> None:
        """It would be forgotten that a version was rolled back."""
        self.wrong(TEXT.replace("gateway: {data_dir: /var/lib/voltgw}\n", ""), "VG0236", "no folder in which its state outlives")

    def test_steps_that_lead_nowhere(self) -> None:
        """Each is greater than the last, and can be passed in time."""
        self.wrong(TEXT.replace("{weight: 50}", "{weight: 5}"), "VG0105", "leads nowhere")
        self.wrong(TEXT + "    step_deadline: 30s\n", "VG0105", "none could be passed within 30 s")
        self.wrong(TEXT.replace("{weight: 50}", "{weight: 101}"), "VG0103", "outside 0.1 to 100")

    def test_a_limit_of_nothing(self) -> None:
        """A quantile needs something to hold it against."""
        self.wrong(TEXT + "    analysis: {latency: [{quantile_percent: 95}]}\n", "VG0105", "needs `max_increase_percent` or `max`")
