"""Registries are killed and come back, one after the other, while requests come: none of them fails because of it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.api_server import ApiServer
from tests.certificates import inline
from tests.consul_agent import Agent
from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.test_http import origin


class Load:
    """Asks without a pause, in a thread, until it is stopped."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                got = ask(self._port)
            except OSError as error:
                self.answers[repr(error)] += 1
            else:
                self.answers[got.body.decode().split()[0] if got.status == 200 else str(got.status)] += 1

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join(20)


class DeathTests(SynchronousTestCase):
    """A cluster whose members stand in Consul and in Kubernetes, and a host that is published in both."""

    def test_each_in_turn(self) -> None:
        """The registry is gone long enough to be missed; meanwhile a member comes in the other one, and after it is back one comes in it."""
        folders = [os.path.abspath(self.mktemp()) for _ in range(4)]
        for folder in folders:
            os.makedirs(folder)
        shops = {name: origin(self, name, folder) for name, folder in zip(("one", "two", "three", "four"), folders, strict=True)}
        agent, api = Agent().start(), ApiServer().start()
        self.addCleanup(lambda: agent.stop())       # noqa: PLW0108 - each is started anew in between
        self.addCleanup(lambda: api.stop())         # noqa: PLW0108
        agent.register("shop", shops["one"].port, id="one")
        api.service("shop")
        api.slice("shop", ("127.0.0.1", True), port=shops["two"].port)
        gateway = self.start(agent, api)
        until("both serve", lambda: {ask(self.port).body.decode().split()[0] for _ in range(8)} == {"one", "two"})
        load = Load(self.port)
        self.addCleanup(load.stop)

        def failures() -> list[str]:
            return [each["discovery"] for each in gateway.admin("/names").json["discoveries"] if each["last_error"]]

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
        load.stop()
        self.assertEqual(set(load.answers), {"one", "two", "three", "four"})
        self.assertGreater(min(load.answers.values()), 10)

    def start(self, agent: Agent, api: ApiServer) -> Gateway:
        """Serve."""
        self.port = free_port()
        kubeconfig = inline(yaml.safe_dump({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}], "users": [{"name": "u", "user": {}}]}).encode())
        ours = {"allowed_addresses": ["127.0.0.0/8"], "publish": {"owner": "edge-1", "interval": "1s", "hold_down": "0s"}}
        methods: dict[str, dict[str, Any]] = {
            "consul": {"discovery_consul": {"access_info": {"connection_info": {"api_server": agent.address}}, "publish_info": {"publish": {}}}},
            "kubernetes": {"discovery_k8s": {
                "access_info": {"kubeconfig_url": {"clear_secret_info": {"url": kubeconfig}}, "reachable": {}},
                "publish_info": {"publish": {"namespace": "default"}}}}}
        objects: list[dict[str, Any]] = [
            {"kind": "virtual_host", "metadata": {"name": "shop"}, "spec": {
                "domains": ["shop.example.com", "store", "*"], "advertise_policies": ["p"], "routes": ["r"]}},
            {"kind": "advertise_policy", "metadata": {"name": "p"}, "spec": {"address": "127.0.0.1", "port": self.port}},
            {"kind": "route", "metadata": {"name": "r"}, "spec": {"routes": [{"route_destination": {"destinations": [{"cluster": ["shop"]}]}}]}},
            {"kind": "cluster", "metadata": {"name": "shop"}, "spec": {"endpoints": ["a", "b"]}},
            {"kind": "endpoint", "metadata": {"name": "a"}, "spec": {"service_info": {"discovery_type": "CONSUL", "service_name": "shop"}}},
            {"kind": "endpoint", "metadata": {"name": "b"}, "spec": {
                "port": 80, "service_info": {"discovery_type": "K8S", "service_name": "shop.default"}}},
            *({"kind": "discovery", "metadata": {"name": name, "namespace": "system"}, "spec": {"where": {}, **method, "voltgw": ours}}
              for name, method in methods.items())]
        gateway = Gateway(self, yaml.safe_dump({"gateway": {"admin": {"port": "ADMIN"}}, "objects": objects}).replace("'ADMIN'", "ADMIN"))
        gateway.wait_ready()
        return gateway
