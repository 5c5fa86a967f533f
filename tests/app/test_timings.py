"""Durations as a scraper of a running gateway gets them: of clusters, of endpoints where that is asked for, with exemplars."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from twisted.internet.threads import deferToThread

from tests.app.making import balancer
from tests.app.running import GatewayCase
from tests.integration.gateway import ask

TRACE = "0af7651916cd43dd8448eb211c80319c"


class TimingTests(GatewayCase):
    async def scrape(self) -> list[Sample]:
        """What Prometheus gets."""
        port = int(self.gateway.admin.addresses[0].rpartition(":")[2])
        answer = await deferToThread(ask, port, "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
        return [sample for family in text_string_to_metric_families(answer.body.decode()) for sample in family.samples]

    async def durations(self, name: str, count: int) -> dict[str, float]:
        """Counts of one histogram by endpoint (or cluster), once there are so many of them."""
        while True:
            found = {sample.labels.get("endpoint") or sample.labels.get("cluster") or "": sample.value
                     for sample in await self.scrape() if sample.name == f"{name}_count"}
            if sum(found.values()) >= count:
                return found

    async def test_clusters_and_endpoints(self) -> None:
        """Each answer counts once for its cluster; for its endpoint only where that is asked for, from then on."""
        one, two = self.ok_origin(), self.ok_origin()
        entry = balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}")
        gateway = self.start(entry)
        await self.warm()
        for _ in range(4):
            await self.ask()
        self.assertEqual(await self.durations("voltgw_cluster_request_duration_seconds", 4), {"default/shop": 4})
        samples = await self.scrape()
        self.assertFalse([each for each in samples if each.name.startswith("voltgw_endpoint_request_duration")])
        totals = {each.name: each.value for each in samples if not each.labels}
        self.assertGreater(totals["voltgw_loop_turn_duration_seconds_count"], 4)
        self.assertGreater(totals["voltgw_timer_lateness_seconds_count"], 0)
        self.assertLess(totals["voltgw_timer_lateness_seconds_sum"], totals["voltgw_timer_lateness_seconds_count"])
        self.write(entry, gateway="metrics: {endpoint_durations: true}")
        self.assertTrue((await gateway.reload())["ok"])
        for _ in range(4):
            await self.ask()
        self.assertEqual(await self.durations("voltgw_endpoint_request_duration_seconds", 4), {
            f"127.0.0.1:{one.port}": 2, f"127.0.0.1:{two.port}": 2})
        self.assertEqual(await self.durations("voltgw_cluster_request_duration_seconds", 8), {"default/shop": 8})

    async def test_exemplars(self) -> None:
        """A request that is recorded is the exemplar of its buckets: of its route's, and of its cluster's."""
        origin = self.ok_origin()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"), gateway="tracing: {sample: 0}")
        await self.warm()
        await self.ask()
        peer = await self.client(self.port)
        peer.send(f"GET / HTTP/1.1\r\nHost: shop.example\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n\r\n".encode())
        await peer.heard(b"ok")
        await self.durations("voltgw_cluster_request_duration_seconds", 2)
        shown = {each.name: each.exemplar for each in await self.scrape() if each.exemplar is not None}
        self.assertEqual(set(shown), {"voltgw_request_duration_seconds_bucket", "voltgw_cluster_request_duration_seconds_bucket"})
        for name, one in shown.items():
            assert one is not None
            self.assertEqual(one.labels, {"trace_id": TRACE}, name)
            self.assertTrue(0 < one.value < 5, name)
