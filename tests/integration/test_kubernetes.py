"""Services of a Kubernetes cluster behind a whole gateway, and the API server of these tests held to kubectl."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.api_server import ApiServer
from tests.integration.discovered import DiscoveredCase, Load, kubeconfig
from tests.integration.gateway import Gateway, until
from tests.servers import require


class FakeTests(SynchronousTestCase):
    """What the API server of these tests answers, as kubectl understands it."""

    def setUp(self) -> None:
        """Some objects."""
        self.api = ApiServer().start()
        self.addCleanup(self.api.stop)
        self.cache = tempfile.mkdtemp()
        self.api.service("shop", labels={"app": "shop"})
        self.api.service("shop", "other")
        self.api.slice("shop", ("10.0.0.1", True), ("10.0.0.2", False))

    def kubectl(self, *arguments: str) -> subprocess.Popen[str]:
        """One that asks it."""
        return subprocess.Popen([require("kubectl"), f"--server=http://127.0.0.1:{self.api.port}", f"--cache-dir={self.cache}",
                                 "--kubeconfig=/dev/null", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def says(self, *arguments: str) -> str:
        """All that it says."""
        output, errors = self.kubectl(*arguments).communicate(timeout=60)
        self.assertEqual(errors, "")
        return output

    def test_lists(self) -> None:
        """By namespace, by label, by name, in pages."""
        self.assertEqual(self.says("get", "svc", "-A", "-o", "name").split(), ["service/shop", "service/shop"])
        self.assertEqual(self.says("get", "svc", "-n", "other", "-o", "jsonpath={.items[*].spec.clusterIP}"), "10.96.0.7")
        self.assertEqual(self.says("get", "svc", "-A", "-l", "app in (shop)", "-o", "name").split(), ["service/shop"])
        self.assertEqual(self.says("get", "endpointslices", "-A", "-o", "jsonpath={.items[*].endpoints[*].addresses[0]}"), "10.0.0.1 10.0.0.2")
        self.assertIn("shop-a", self.says("get", "endpointslice", "shop-a"))
        for number in range(20):
            self.api.service(f"s{number}", "many")
        self.assertEqual(len(self.says("get", "svc", "-n", "many", "--chunk-size=3", "-o", "name").split()), 20)

    def test_watches(self) -> None:
        """Each change comes; an end of the stream is one."""
        watching = self.kubectl("get", "svc", "-A", "--watch-only", "-o", "name")
        try:
            until("it watches", lambda: any("watch=true" in path for path in self.api.asked))
            self.api.service("new", labels={"x": "y"})
            self.api.service("new", labels={"x": "z"})
            self.api.delete("services", "new")
            assert watching.stdout is not None
            self.assertEqual([watching.stdout.readline().strip() for _ in range(3)], ["service/new"] * 3)
        finally:
            watching.kill()
            watching.communicate()


class GatewayTests(DiscoveredCase):
    """Its endpoints stand in a cluster."""

    def setUp(self) -> None:
        """An API server."""
        super().setUp()
        self.token = Path(os.path.abspath(self.mktemp()))
        self.api = ApiServer().start()
        self.addCleanup(self.api.stop)

    def discovery(self, name: str, api: ApiServer, user: dict[str, str] | None = None, **access: Any) -> dict[str, Any]:
        """A discovery object."""
        return {"kind": "discovery", "metadata": {"name": name, "namespace": "system"}, "spec": {
            "where": {}, "discovery_k8s": {"access_info": {
                "kubeconfig_url": {"clear_secret_info": {"url": kubeconfig(api.port, **(user or {}))}}, **(access or {"reachable": {}})}},
            "voltgw": {"allowed_addresses": ["127.0.0.0/8"]}}}

    def start(self, *discoveries: dict[str, Any], info: dict[str, Any] | None = None, routes: list[Any] | None = None, port: int | None = 80,
              **cluster: Any) -> Gateway:
        """Serve; `info` is what the endpoint asks for."""
        endpoint: dict[str, Any] = {"service_info": {"discovery_type": "K8S", **(info or {"service_name": "shop.default"})}}
        if port is not None:
            endpoint["port"] = port
        return self.serve([endpoint], discoveries, routes, **cluster)

    def slices(self, *names: str, api: ApiServer | None = None, **ready: bool) -> None:
        """The endpoints of the service are these shops: one slice for each, as their ports differ. Those that come do so before
        others go, as in a rollout."""
        api = api or self.api
        for name in names:
            api.slice("shop", {
                "addresses": ["127.0.0.1"], "conditions": {"ready": ready.get(name, True)}, "zone": "z1", "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": f"shop-{name}"}}, port=self.shops[name].port, part=name)
        for name in self.shops:
            if name not in names and ("default", f"shop-{name}") in api.objects["endpointslices"]:
                api.delete("endpointslices", f"shop-{name}")

    def members(self, gateway: Gateway) -> set[str]:
        """The shops that are members of the cluster."""
        ports = {shop.port: name for name, shop in self.shops.items()}
        return {ports[one["port"]] for one in gateway.admin("/clusters").json["clusters"][0]["endpoints"]}

    def state(self, gateway: Gateway) -> dict[str, Any]:
        """Of the first discovery."""
        found: dict[str, Any] = gateway.admin("/names").json["discoveries"][0]
        return found

    def test_members_follow(self) -> None:
        """A deployment is scaled up and down, pods become unready, the API server dies and comes back, forgets versions, cuts
        watches in the middle of a line: no request fails for it, and members follow within seconds."""
        self.api.service("shop")
        self.slices("one")
        gateway = self.start(self.discovery("cluster", self.api))
        until("the first serves", lambda: self.answers(3) == {"one": 3})
        with Load(self.port) as load:
            def serve(what: str, *names: str, patience_s: float = 20.0) -> None:
                until(what, lambda: self.members(gateway) == set(names), patience_s)
                until("requests go there", lambda: set(self.answers(10)) <= set(names))

            self.slices("one", "two")
            serve("both serve", "one", "two")
            self.slices("one", "two", one=False)
            serve("the ready one serves", "two")
            self.slices("one", "two")
            serve("both serve again", "one", "two")
            self.api.forget()
            self.slices("two")
            serve("it has listed anew", "two")
            self.api.mangle = lambda line: line[:len(line) // 2] + b"\n"
            self.slices("one", "two")
            self.api.mangle = None
            serve("it has listed anew after half a line", "one", "two")
            self.api.mangle = lambda line: line[:len(line) // 2]
            self.slices("one")
            self.api.cut()
            self.api.mangle = None
            serve("it goes on after a cut", "one", patience_s=40.0)
            port = self.api.port
            self.api.stop()
            until("it is known", lambda: self.state(gateway)["state"] == "failed", 40.0)
            self.assertEqual(set(self.answers(10)), {"one"})
            self.slices("two")
            self.api.start(port)
            serve("it has caught up", "two", patience_s=60.0)
        self.assertEqual(set(load.answers) - set(self.names), set())
        until("all is well", lambda: (self.state(gateway)["state"], self.state(gateway)["services"]) == ("bound", {"shop.default": 1}))

    def test_subsets_by_labels_of_pods(self) -> None:
        """A canary by a label of pods; a pod, or a service, that is labelled anew changes its subset with the configuration frozen."""
        self.api.service("shop", labels={"team": "a"})
        self.slices("one", "two")
        self.api.put("pods", "shop-one", labels={"version": "v1"})
        self.api.put("pods", "shop-two", labels={"version": "v2"})
        gateway = self.start(self.discovery("cluster", self.api), routes=[{"route_destination": {"destinations": [
            {"cluster": ["shop"], "endpoint_subsets": {"version": "v1"}}]}}], endpoint_subsets=[{"keys": ["version"]}], fallback_policy="NO_FALLBACK")
        until("v1 serves", lambda: self.answers(5) == {"one": 5})
        self.api.put("pods", "shop-one", labels={"version": "v2"})
        self.api.put("pods", "shop-two", labels={"version": "v1"})
        until("the other one is v1 now", lambda: self.answers(5) == {"two": 5})
        self.assertEqual(gateway.admin("/").json["generation"], 1)
        labels = gateway.admin("/clusters").json["clusters"][0]["endpoints"][0]["labels"]
        self.assertEqual((labels["team"], labels["kubernetes.service"], labels["kubernetes.node"]), ("a", "shop", "n1"))

    def test_without_the_right_to_read_pods(self) -> None:
        """Labels of services are there all the same."""
        self.api.forbidden.add("pods")
        self.api.service("shop", labels={"version": "v1"})
        self.slices("one")
        self.start(self.discovery("cluster", self.api), routes=[{"route_destination": {"destinations": [
            {"cluster": ["shop"], "endpoint_subsets": {"version": "v1"}}]}}], endpoint_subsets=[{"keys": ["version"]}], fallback_policy="NO_FALLBACK")
        until("v1 serves", lambda: self.answers(5) == {"one": 5})

    def test_namespaces_that_are_for_others(self) -> None:
        """An endpoint object is given services of the namespaces that are mapped to its own, whatever labels others have."""
        for name, namespace in (("one", "team-a"), ("two", "team-b")):
            self.api.service("shop", namespace, labels={"app": "shop"})
            self.api.slice("shop", ("127.0.0.1", True), namespace=namespace, port=self.shops[name].port)
        found = self.discovery("cluster", self.api)
        found["spec"]["discovery_k8s"]["namespace_mapping"] = {"items": [
            {"namespace": "default", "namespace_regex": "team-[b-z]"}, {"namespace": "others", "namespace_regex": ".*"}]}
        self.start(found, info={"service_selector": {"expressions": ["app in (shop)"]}}, port=None)
        until("it serves", lambda: self.answers(5) == {"two": 5})

    def test_chosen_by_labels(self) -> None:
        """Services of all namespaces that have the labels, by their only port; one that gains them joins."""
        for name, namespace in (("one", "a"), ("two", "b")):
            self.api.service("shop", namespace, labels={"app": "reviews"} if name == "one" else {})
            self.api.slice("shop", ("127.0.0.1", True), namespace=namespace, port=self.shops[name].port)
        self.start(self.discovery("cluster", self.api), info={"service_selector": {"expressions": ["app in (reviews)"]}}, port=None)
        until("one serves", lambda: self.answers(5) == {"one": 5})
        self.api.service("shop", "b", labels={"app": "reviews"})
        until("both serve", lambda: set(self.answers(10)) == {"one", "two"})

    def test_from_outside(self) -> None:
        """Where pods cannot be reached: the ports of ready nodes; a service that has none is said to be out of reach, and why."""
        self.api.service("shop")
        self.api.put("nodes", "n1", status={"conditions": [{"type": "Ready", "status": "True"}], "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"}]})
        self.api.put("nodes", "n2", status={"conditions": [{"type": "Ready", "status": "False"}], "addresses": [
            {"type": "InternalIP", "address": "127.0.0.9"}]})
        gateway = self.start(self.discovery("cluster", self.api, isolated={}))
        until("it says why", lambda: "no node port" in gateway.admin("/clusters").body.decode())
        self.assertEqual(self.answers(1), {"503": 1})
        self.api.service("shop", kind="NodePort", node_port=self.shops["one"].port)
        until("it serves", lambda: self.answers(5) == {"one": 5})

    def test_a_token_that_is_replaced(self) -> None:
        """The file is read again for each request; while the old one is refused, members stay."""
        api = ApiServer(token="first").start()
        self.addCleanup(api.stop)
        api.service("shop")
        self.slices("one", api=api)
        self.token.write_text("first\n")
        gateway = self.start(self.discovery("cluster", api, {"tokenFile": str(self.token)}))
        until("it serves", lambda: self.answers(5) == {"one": 5})
        api.token = "second"
        api.cut()
        until("it is refused", lambda: "401" in self.state(gateway)["last_error"])
        self.assertEqual(self.answers(5), {"one": 5})
        self.token.write_text("second\n")
        self.slices("two", api=api)
        until("it is let in again", lambda: set(self.answers(10)) == {"two"}, 40.0)
        shown = gateway.output + gateway.admin("/names").body.decode() + gateway.admin("/config").body.decode()
        self.assertNotIn("second", shown)

    def test_two_clusters(self) -> None:
        """Members of both; the failure of one leaves its own and the other's. With a cluster_id only that one is asked."""
        other = ApiServer().start()
        self.addCleanup(other.stop)
        for api, name in ((self.api, "one"), (other, "two")):
            api.service("shop")
            self.slices(name, api=api)
        gateway = self.start(self.discovery("a", self.api), self.discovery("b", other))
        until("both serve", lambda: set(self.answers(10)) == {"one", "two"})
        self.api.stop()
        until("it is known", lambda: "failed" in {each["state"] for each in gateway.admin("/names").json["discoveries"]}, 40.0)
        time.sleep(0.1)
        self.assertEqual(set(self.answers(20)), {"one", "two"})
