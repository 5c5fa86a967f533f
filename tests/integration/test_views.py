"""Load balancers and pools in the spelling of F5 Distributed Cloud, served."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port
from tests.integration.test_http import origin

CONFIG = """\
gateway: {{admin: {{port: ADMIN}}}}
objects:
- kind: http_loadbalancer
  metadata: {{name: shop}}
  spec:
    domains: [shop.example.com]
    http: {{port: {port}}}
    advertise_custom: {{advertise_where: [{{site: {{site: local, network: SITE_NETWORK_OUTSIDE, ip: 127.0.0.1}}}}]}}
    routes:
    - redirect_route: {{path: {{path: /old}}, route_redirect: {{path_redirect: /new}}}}
    - simple_route:
        path: {{prefix: /api/}}
        origin_pools: [{{pool: {{name: api}}}}]
        advanced_options: {{prefix_rewrite: /v1/}}
    - custom_route_object: {{route_ref: {{name: hand}}}}
    default_route_pools: [{{pool: {{name: web}}, weight: {weight}, priority: 1}}, {{pool: {{name: api}}, weight: 1, priority: 2}}]
- kind: route
  metadata: {{name: hand}}
  spec: {{routes: [{{match: [{{path: {{prefix: /hand/}}}}], route_destination: {{destinations: [{{cluster: [{{name: ves-io-origin-pool-web}}]}}]}}}}]}}
- kind: origin_pool
  metadata: {{name: web}}
  spec: {{origin_servers: [{{public_ip: {{ip: 127.0.0.1}}}}], port: {web}, healthcheck: [{{name: http}}]}}
- kind: origin_pool
  metadata: {{name: api}}
  spec: {{origin_servers: [{{private_ip: {{ip: 127.0.0.1, outside_network: {{}}, site_locator: {{site: local}}}}}}], port: {api}}}
- kind: healthcheck
  metadata: {{name: http}}
  spec: {{http_health_check: {{path: /healthz}}, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}}
- kind: tcp_loadbalancer
  metadata: {{name: raw}}
  spec:
    listen_port: {raw}
    origin_pools_weights: [{{pool: {{name: web}}}}]
    advertise_custom: {{advertise_where: [{{site: {{site: local, network: SITE_NETWORK_OUTSIDE, ip: 127.0.0.1}}}}]}}
"""


class ViewTests(SynchronousTestCase):
    def test_a_load_balancer_and_its_pools(self) -> None:
        """Routes of each kind, a route object between them, pools in stand-by, a relay; and all of it over a reload."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        web, api = (origin(self, name, folder) for name in ("web", "api"))
        port, raw = free_port(), free_port()
        gateway = Gateway(self, CONFIG.format(port=port, raw=raw, web=web.port, api=api.port, weight=1))
        gateway.wait_ready()
        host = "shop.example.com"
        for path, body in (("/x", "web GET /x\n"), ("/api/y?z", "api GET /v1/y?z\n"), ("/hand/z", "web GET /hand/z\n")):
            self.assertEqual(ask(port, path, host=host).body.decode(), body)
        redirect = ask(port, "/old", host=host)
        self.assertEqual((redirect.status, redirect.headers["Location"]), (301, f"http://{host}/new"))
        self.assertEqual(ask(port, "/x", host="other.example.com").status, 404)
        self.assertEqual(ask(raw, "/x", host="any").body.decode(), "web GET /x\n")
        self.assertEqual(gateway.cluster("default/ves-io-origin-pool-web")["endpoints"][0]["port"], web.port)
        gateway.write(CONFIG.format(port=port, raw=raw, web=web.port, api=api.port, weight=0))
        gateway.reload()
        self.assertEqual(ask(port, "/x", host=host).body.decode(), "api GET /x\n")
