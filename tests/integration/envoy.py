"""Envoy as a plain reverse proxy, for tests that want a second opinion or a peer of another make."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.servers import envoy

PREFIX: Final = "type.googleapis.com/envoy.extensions"


def start_envoy(test: SynchronousTestCase, port: int, origin: int, manager: dict[str, Any],
                cluster: dict[str, Any] | None = None, admin: int = 0) -> None:
    """Envoy on 127.0.0.1:`port` before `origin`; the test stops it. It answers a moment later.

    `manager` and `cluster` are added to its HTTP connection manager and to its one cluster; `admin` is the port of its admin
    interface, 0 = none. Where Envoy is not installed, the
    test is skipped, or fails under ``CI=true``.
    """
    program = envoy()
    config = Path(test.mktemp())
    config.write_text(json.dumps(_config(port, origin, manager, cluster or {}, admin)), encoding="utf-8")
    with config.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config), "--concurrency", "1", "--disable-hot-restart",
                                    "--log-level", "error"], stdout=log, stderr=log)

    def stop() -> None:
        process.terminate()
        process.wait()

    test.addCleanup(stop)


def _config(port: int, origin: int, manager: dict[str, Any], cluster: dict[str, Any], admin: int) -> dict[str, Any]:
    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    router = {"name": "router", "typed_config": {"@type": f"{PREFIX}.filters.http.router.v3.Router"}}
    whole = {"@type": f"{PREFIX}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
             "http_filters": [router], "route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [
                 {"match": {"prefix": "/"}, "route": {"cluster": "x"}}]}]}, **manager}
    return {**({"admin": {"address": address(admin)}} if admin else {}), "static_resources": {
        "listeners": [{"address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": whole}]}]}],
        "clusters": [{"name": "x", "type": "STATIC", "load_assignment": {"cluster_name": "x", "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": address(origin)}}]}]}, **cluster}]}}
