"""Registries are killed and come back, one after the other, while requests come: none of them fails because of it."""

from __future__ import annotations

from typing import Any

from tests.api_server import ApiServer
from tests.consul_agent import Agent
from tests.integration.discovered import DiscoveredCase, Load, kubeconfig
from tests.integration.gateway import Gateway, until


class DeathTests(DiscoveredCase):
    """A cluster whose members stand in Consul and in Kubernetes, and a host that is published in both."""

    names = ("one", "two", "three", "four")

    def test_each_in_turn(self) -> None:
        """The registry is gone long enough to be missed; meanwhile a member comes in the other one, and after it is back one comes in it."""
        shops = self.shops
        agent, api = Agent().start(), ApiServer().start()
        self.addCleanup(lambda: agent.stop())       # noqa: PLW0108 - each is started anew in between
        self.addCleanup(lambda: api.stop())         # noqa: PLW0108
        agent.register("shop", shops["one"].port, id="one")
        api.service("shop")
        api.slice("shop", ("127.0.0.1", True), port=shops["two"].port)
        gateway = self.start(agent, api)
        until("both serve", lambda: set(self.answers(8)) == {"one", "two"})

        def failures() -> list[str]:
            return [each["discovery"] for each in gateway.admin("/names").json["discoveries"] if each["last_error"]]

        with Load(self.port) as load:
            agent.stop()
            until("Consul is missed", lambda: failures() == ["system/consul"])
            api.slice("shop", ("127.0.0.1", True), port=shops["three"].port, part="b")
            until("three has come", lambda: load.answers["three"])
            agent.start()
            until("Consul is back", lambda: not failures())
            api.stop()
            until("Kubernetes is missed", lambda: failures() == ["system/kubernetes"])
            agent.register("shop", shops["four"].port, id="four")
            until("four has come", lambda: load.answers["four"])
            api.start()
            until("Kubernetes is back", lambda: not failures())
            until("the host is published in both", lambda: any(one["Service"] == "shop-example-com" for one in agent.services.values())
                  and ("default", "store") in api.objects["services"])
        self.assertEqual(set(load.answers), {"one", "two", "three", "four"})
        self.assertGreater(min(load.answers.values()), 10)

    def start(self, agent: Agent, api: ApiServer) -> Gateway:
        """Serve."""
        ours = {"allowed_addresses": ["127.0.0.0/8"], "publish": {"owner": "edge-1", "interval": "1s", "hold_down": "0s"}}
        methods: dict[str, dict[str, Any]] = {
            "consul": {"discovery_consul": {"access_info": {"connection_info": {"api_server": agent.address}}, "publish_info": {"publish": {}}}},
            "kubernetes": {"discovery_k8s": {
                "access_info": {"kubeconfig_url": {"clear_secret_info": {"url": kubeconfig(api.port)}}, "reachable": {}},
                "publish_info": {"publish": {"namespace": "default"}}}}}
        endpoints: list[dict[str, Any]] = [
            {"service_info": {"discovery_type": "CONSUL", "service_name": "shop"}},
            {"port": 80, "service_info": {"discovery_type": "K8S", "service_name": "shop.default"}}]
        discoveries = tuple({"kind": "discovery", "metadata": {"name": name, "namespace": "system"}, "spec": {"where": {}, **method, "voltgw": ours}}
                            for name, method in methods.items())
        return self.serve(endpoints, discoveries, domains=("shop.example.com", "store", "*"))
