"""ext_authz over gRPC: an authorizer by grpcio, and Envoy in front of the same one as a second opinion."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import Gateway, Response, ask, free_port, until
from tests.integration.test_authentication import objects
from tests.servers import grpc_python, nginx

_PEER: Final = Path(__file__).with_name("authz_peer.py")


class ExtAuthzTests(SynchronousTestCase):
    def setUp(self) -> None:
        """The authorizer and an origin that says what it hears."""
        server = subprocess.Popen([grpc_python(), str(_PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdin is not None and server.stdout is not None
        self.addCleanup(server.wait, 20)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.stdin.close)
        self.authorizer = int(server.stdout.readline())
        self.origin = nginx(self, 'location / { return 200 "$http_x_seen|$http_x_user|$http_x_drop|"; }').port

    def serve(self, **more: Any) -> int:
        """The port of a gateway that asks it."""
        port = free_port()
        text = json.loads(objects(port, self.origin, {"voltgw": {"authentication": {"forward_auth": {
            "cluster": ["guard"], "grpc": True, "headers_to_endpoint": ["x-user", "x-seen"], "user_from": "x-user", **more}}}}
        ).replace("ADMIN", '"ADMIN"'))
        text["objects"] += [
            {"kind": "cluster", "metadata": {"name": "guard"}, "spec": {"endpoints": ["guard"], "http2_options": {"enabled": True}}},
            {"kind": "endpoint", "metadata": {"name": "guard"}, "spec": {"ip": "127.0.0.1", "port": self.authorizer}}]
        self.gateway = Gateway(self, json.dumps(text).replace('"ADMIN"', "ADMIN"))
        self.gateway.wait_ready()
        return port

    def asked(self, port: int, verdict: str, **headers: str) -> Response:
        """The answer to a request that asks for a verdict."""
        return ask(port, "/a/b?q=1", headers={"X-Verdict": verdict, "Cookie": "a=b", **headers}, host="shop.example")

    def test_each_verdict(self) -> None:
        """What is let pass has the authorizer's headers and not the client's; a refusal is the client's; errors refuse."""
        port = self.serve(cookies_to_client=True, timeout="700ms")
        good = self.asked(port, "ok", **{"X-User": "root", "X-Drop": "x"})
        seen, user, dropped, _ = good.body.decode().split("|")
        self.assertEqual((good.status, user, dropped, good.headers["set-cookie"]), (200, "ada", "", "s=1"))
        self.assertEqual(json.loads(seen), {
            "method": "GET", "path": "/a/b?q=1", "host": "shop.example", "scheme": "http", "protocol": "HTTP/1.1", "size": None,
            "source": "127.0.0.1", "principal": None, "pseudo": "/a/b?q=1", "cookie": "a=b"})
        refused = self.asked(port, "deny")
        self.assertEqual((refused.status, refused.headers["x-why"], refused.body), (401, "because", b"go away"))
        self.assertEqual(self.asked(port, "plain").status, 403)
        for verdict in ("fail", "garbage", "stall"):
            self.assertEqual(self.asked(port, verdict).status, 503, verdict)
        metrics = self.gateway.admin("/metrics").body.decode()
        for result, count in (("accepted", 1), ("refused", 2), ("error", 3)):
            self.assertIn(f'voltgw_auth_requests_total{{method="forward_auth",result="{result}",virtual_host="default/h"}} {count}.0', metrics)

    def test_open_by_option(self) -> None:
        """Errors let pass, refusals do not."""
        port = self.serve(fail_open=True, timeout="700ms")
        for verdict, status in (("fail", 200), ("garbage", 200), ("deny", 401)):
            self.assertEqual(self.asked(port, verdict).status, status, verdict)

    def test_as_envoy_asks(self) -> None:
        """The same authorizer is asked the same by Envoy, and what becomes of each verdict is the same."""
        theirs = free_port()
        start_envoy(self, theirs, self.origin, {"http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": {
                "@type": f"{PREFIX}.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
                "status_on_error": {"code": "ServiceUnavailable"},
                "grpc_service": {"google_grpc": {"target_uri": f"127.0.0.1:{self.authorizer}", "stat_prefix": "x"}, "timeout": "2s"}}},
            {"name": "router", "typed_config": {"@type": f"{PREFIX}.filters.http.router.v3.Router"}}]})

        def answers() -> bool:
            try:
                return ask(theirs).status == 401
            except OSError:
                return False

        until("Envoy answers", answers)
        ours = self.serve()
        for verdict in ("ok", "deny", "plain", "fail", "garbage"):
            mine, their = self.asked(ours, verdict), self.asked(theirs, verdict)
            self.assertEqual(mine.status, their.status, verdict)
            self.assertEqual(mine.headers["x-why"], their.headers["x-why"])
            if verdict == "ok":
                seen = [json.loads(each.body.decode().split("|")[0]) for each in (mine, their)]
                self.assertEqual(seen[0], seen[1])
            elif verdict == "deny":
                self.assertEqual(mine.body, their.body)
