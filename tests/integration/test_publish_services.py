"""Virtual hosts published as services of Consul and of Kubernetes: what a client that others have written finds there."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import Any

import consul  # type: ignore[import-untyped]  # it has no types
import dns.message
import dns.query
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.api_server import ApiServer
from tests.certificates import inline
from tests.consul_agent import Agent
from tests.control.publish.test_cluster_dns import KUBEADM, parsed
from tests.integration.gateway import Gateway, free_port, until
from tests.integration.test_http import origin
from tests.servers import require


class Case(SynchronousTestCase):
    """A gateway with a shop that is published."""

    def start(self, domains: list[str], discovery: dict[str, Any], voltgw: dict[str, Any] | None = None,
              gateway: dict[str, Any] | None = None) -> Gateway:
        """Serve it."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.origin = origin(self, "shop", folder)
        self.port = free_port()
        self.text = yaml.safe_dump({
            "gateway": {"admin": {"port": "ADMIN"}, **(gateway or {})},
            "load_balancers": [{"name": "shop", "listen": f"127.0.0.1:{self.port}", "domains": domains, "origins": [f"127.0.0.1:{self.origin.port}"],
                                "health_check": {"path": "/healthz", "interval": 1, "timeout": 1, "healthy_threshold": 1, "unhealthy_threshold": 1}}],
            "objects": [{"kind": "discovery", "metadata": {"name": "registry", "namespace": "system"}, "spec": {
                "where": {}, **discovery, "voltgw": {"publish": {
                    "owner": "edge-1", "interval": "1s", "hold_down": "0s", "when_down": "nodata", "on_shutdown": "remove"}, **(voltgw or {})}}}],
        }).replace("'ADMIN'", "ADMIN")
        made = Gateway(self, self.text)
        made.wait_ready()
        return made

    def entry(self, gateway: Gateway, name: str) -> dict[str, Any]:
        """What the gateway says of a name."""
        return next((one for one in gateway.admin("/names").json["names"] if one["name"] == name and one["by"] != "delegation"), {})


class ConsulTests(Case):
    """Services of Consul."""

    def test_services(self) -> None:
        """A VIP with its port and a check that passes; repaired when somebody changes it; withdrawn and brought back with health;
        taken out with the host, and at the end; what is somebody else's is never touched."""
        agent = Agent(token="secret").start()
        self.addCleanup(agent.stop)
        agent.register("taken-example-com", 99, id="theirs")
        gateway = self.start(["shop.example.com", "taken.example.com"], {"discovery_consul": {
            "access_info": {"connection_info": {"api_server": agent.address}}, "publish_info": {"publish": {}}}},
            {"consul": {"token": inline(b"secret")}})
        asking = consul.Consul("127.0.0.1", agent.port, token="secret")

        def found(name: str = "shop-example-com") -> list[tuple[str, int]]:
            return [(one["Service"]["Address"], one["Service"]["Port"]) for one in asking.health.service(name, passing=True)[1]]

        until("it is there", lambda: found() == [("127.0.0.1", self.port)])
        id = next(id for id in agent.services if id != "theirs")
        agent.register("shop-example-com", 1, id=id, meta=agent.services[id]["Meta"])
        until("it is repaired", lambda: found() == [("127.0.0.1", self.port)])
        agent.mark(id, "critical")
        until("its check is renewed", lambda: found() == [("127.0.0.1", self.port)])
        agent.register("shop-example-com", self.port, id=id, meta=agent.services[id]["Meta"])
        until("it has its check again, by which it goes after us", lambda: id in agent.ttls)
        port = self.origin.port
        self.origin.stop()
        until("it is withdrawn", lambda: found() == [])
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.origin = origin(self, "shop", folder, port)
        until("it is back", lambda: found() == [("127.0.0.1", self.port)])
        self.assertEqual(agent.services["theirs"]["Port"], 99)
        until("it says why", lambda: "without our mark" in json.dumps(gateway.admin("/names").json))
        gateway.write(self.text.replace("shop.example.com", "store.example.com"))
        gateway.reload()
        until("the other name is there", lambda: found("store-example-com") == [("127.0.0.1", self.port)])
        until("the old one is gone", lambda: not any(one["Service"] == "shop-example-com" for one in agent.services.values()))
        gateway.process.terminate()
        gateway.process.wait(20)
        self.assertEqual(list(agent.services), ["theirs"])

    def test_no_right_to_write(self) -> None:
        """It is said, and nothing else suffers."""
        agent = Agent(token="secret").start()
        self.addCleanup(agent.stop)
        gateway = self.start(["shop.example.com"], {"discovery_consul": {
            "access_info": {"connection_info": {"api_server": agent.address}}, "publish_info": {"publish": {}}}})
        until("it is said", lambda: "403" in json.dumps(gateway.admin("/names").json["registries"]))
        self.assertEqual(agent.services, {})


class KubernetesTests(Case):
    """Services of a cluster."""

    def test_services(self) -> None:
        """A headless service and a slice that lead to the VIP, as kubectl shows them; repaired, withdrawn, taken out; what is somebody
        else's is never touched."""
        api = ApiServer().start()
        self.addCleanup(api.stop)
        api.service("taken", "shops")
        cache = tempfile.mkdtemp()
        kubeconfig = yaml.safe_dump({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}]})
        gateway = self.start(["shop", "web.other", "taken", "shop.example.com"], {"discovery_k8s": {
            "access_info": {"kubeconfig_url": {"clear_secret_info": {"url": inline(kubeconfig.encode())}}},
            "publish_info": {"publish": {"namespace": "shops"}}}})

        def kubectl(*arguments: str) -> str:
            return subprocess.run([require("kubectl"), f"--server=http://127.0.0.1:{api.port}", f"--cache-dir={cache}", "--kubeconfig=/dev/null",
                                   *arguments], check=False, capture_output=True, text=True, timeout=60).stdout

        def leads(name: str = "shop", namespace: str = "shops") -> str:
            return kubectl("get", "endpointslices", "-n", namespace, "-l", f"kubernetes.io/service-name={name}",
                           "-o", "jsonpath={.items[*].endpoints[*].addresses[0]}:{.items[*].ports[*].port}")

        until("it is there", lambda: leads() == f"127.0.0.1:{self.port}")
        self.assertEqual(leads("web", "other"), f"127.0.0.1:{self.port}")
        self.assertEqual(kubectl("get", "svc", "shop", "-n", "shops", "-o", "jsonpath={.spec.clusterIP}"), "None")
        own = next(key for key in api.objects["endpointslices"] if key[0] == "shops")
        api.delete("endpointslices", own[1], own[0])
        until("it is repaired", lambda: leads() == f"127.0.0.1:{self.port}")
        self.assertEqual(api.objects["services"]["shops", "taken"]["spec"]["type"], "ClusterIP")
        until("it says why", lambda: "without our mark" in json.dumps(gateway.admin("/names").json))
        self.assertIn("NAME.NAMESPACE", json.dumps(gateway.admin("/names").json))
        self.origin.stop()
        until("it is withdrawn", lambda: leads() == ":" and ("shops", "shop") in api.objects["services"])
        gateway.process.terminate()
        gateway.process.wait(20)
        self.assertEqual(list(api.objects["services"]), [("shops", "taken")])
        self.assertEqual(api.objects["endpointslices"], {})

    def test_a_delegated_zone(self) -> None:
        """CoreDNS's Corefile, as kubectl shows it, gets a server block that forwards the zone to where this gateway answers for it:
        repaired, moved with the zone, taken out at the end; every other byte stays. Without the right to write that is said."""
        api = ApiServer().start()
        self.addCleanup(api.stop)
        api.put("configmaps", "coredns", "kube-system", data={"Corefile": KUBEADM, "theirs": "x"})
        cache, port = tempfile.mkdtemp(), free_port()
        kubeconfig = yaml.safe_dump({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}]})
        gateway = self.start(["shop.apps.example.com"], {"discovery_k8s": {
            "access_info": {"kubeconfig_url": {"clear_secret_info": {"url": inline(kubeconfig.encode())}}},
            "publish_info": {"dns_delegation": {"subdomain": "apps.example.com", "dns_mode": "CORE_DNS"}}}},
            {"dns_delegation": {"zone": "example.com"}}, {"dns": [{"address": "127.0.0.1", "port": port}]})

        def servers() -> dict[str, list[list[str]]]:
            said = subprocess.run(
                [require("kubectl"), f"--server=http://127.0.0.1:{api.port}", f"--cache-dir={cache}", "--kubeconfig=/dev/null", "get",
                 "configmap", "coredns", "-n", "kube-system", "-o", "jsonpath={.data.Corefile}"],
                check=False, capture_output=True, text=True, timeout=60).stdout
            return parsed(said)

        ours = [["errors"], ["cache", "30"], ["forward", ".", f"127.0.0.1:{port}"]]
        until("it is there", lambda: servers().get("apps.example.com:53") == ours)
        self.assertEqual(servers()[".:53"], parsed(KUBEADM)[".:53"])
        address = servers()["apps.example.com:53"][2][2].rpartition(":")
        query = dns.message.make_query("shop.apps.example.com", "A")
        answer = dns.query.udp(query, address[0], 5.0, int(address[2]))
        self.assertEqual(answer.answer[0][0].to_text(), "127.0.0.1")
        entry = self.entry(gateway, "apps.example.com")
        self.assertEqual((entry["by"], entry["state"], entry["addresses"]), ("cluster_dns", "bound", ["127.0.0.1"]))
        api.put("configmaps", "coredns", "kube-system", data={"Corefile": KUBEADM})
        until("it is repaired", lambda: servers().get("apps.example.com:53") == ours)
        api.forbidden.add("configmaps")
        until("it is said", lambda: "403" in json.dumps(gateway.admin("/names").json["registries"]))
        api.forbidden.clear()
        gateway.write(self.text.replace("subdomain: apps.example.com", "subdomain: shop.apps.example.com"))
        gateway.reload()
        until("the zone is another one", lambda: list(servers()) == [".:53", "shop.apps.example.com:53"])
        gateway.process.terminate()
        gateway.process.wait(20)
        self.assertEqual(api.objects["configmaps"]["kube-system", "coredns"]["data"]["Corefile"], KUBEADM)
