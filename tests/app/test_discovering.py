"""From discovery and endpoint objects to what registries are asked."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from tests.certificates import authority, client, inline
from voltgw.app import discovering
from voltgw.errors import ConfigErrors
from voltgw.values.discovery import RegistryAccess, ServiceQuery

BASE = """
objects:
- kind: discovery
  metadata: {name: cluster, namespace: system}
  spec:
    where: {}
    discovery_k8s:
      access_info: {connection_info: {api_server: "127.0.0.1:6443"}}
      MAPPING
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: endpoint, metadata: {name: e}, spec: {port: 80, service_info: {discovery_type: K8S, service_name: NAME}}}
- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: [{cluster: [c]}]}}]}}
- {kind: virtual_host, metadata: {name: h}, spec: {domains: ["*"], routes: [r], advertise_policies: [p]}}
- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: 80}}
"""


def query(kind: str, method: dict[str, Any], ours: dict[str, Any] | None = None) -> ServiceQuery:
    """What an endpoint asks, where one discovery object says how its registry is reached."""
    field = "discovery_consul" if kind == "CONSUL" else "discovery_k8s"
    objects = [each for each in yaml.safe_load(BASE.replace("MAPPING", "").replace("NAME", "shop"))["objects"] if each["kind"] != "discovery"]
    next(each for each in objects if each["kind"] == "endpoint")["spec"]["service_info"]["discovery_type"] = kind
    objects.append({"kind": "discovery", "metadata": {"name": "d", "namespace": "system"}, "spec": {
        "where": {}, field: {"access_info": method}, **({"voltgw": ours} if ours else {})}})
    (member,) = runtime(yaml.safe_dump({"objects": objects})).plans["default/c"].members
    assert member.query is not None
    return member.query


def access(kind: str, method: dict[str, Any], ours: dict[str, Any] | None = None) -> RegistryAccess:
    """How it is reached."""
    (found,) = query(kind, method, ours).registries
    return found


def secret(data: bytes) -> dict[str, Any]:
    """A secret that stands there."""
    return {"clear_secret_info": {"url": inline(data)}}


def asked(name: str, *pairs: tuple[str, str]) -> list[str]:
    """The registries that an endpoint asks for a service, where these namespaces of ours have these of the cluster."""
    items = ", ".join(f"{{namespace: {ours}, namespace_regex: '{theirs}'}}" for ours, theirs in pairs)
    made = runtime(BASE.replace("NAME", name).replace("MAPPING", f"namespace_mapping: {{items: [{items}]}}" if pairs else "default_all: {}"))
    (member,) = made.plans["default/c"].members
    assert member.query is not None
    return [each.name for each in member.query.registries]


class NamespaceTests(SynchronousTestCase):
    def test_all_of_them(self) -> None:
        """Where nothing is mapped, every namespace may be named."""
        self.assertEqual(asked("shop.team-a"), ["system/cluster"])

    def test_those_that_are_ours(self) -> None:
        """By patterns that match the whole name."""
        self.assertEqual(asked("shop.team-a", ("other", ".*"), ("default", "team-.")), ["system/cluster"])
        self.assertEqual(asked("shop", ("default", "default")), ["system/cluster"])
        for name, theirs in (("shop.team-ab", "team-."), ("shop", "team-.")):
            with self.assertRaises(ConfigErrors) as raised:
                asked(name, ("other", ".*"), ("default", theirs))
            (error,) = raised.exception.problems
            self.assertEqual(error.code, "VG0232")
            self.assertIn("gives to namespace default", error.message)

    def test_a_pattern_that_cannot_be(self) -> None:
        """It is named."""
        with self.assertRaises(ConfigErrors) as raised:
            asked("shop", ("default", "a{2,1}"))
        (error,) = raised.exception.problems
        self.assertEqual((error.code, error.place.line), ("VG0232", 9))


class AccessTests(SynchronousTestCase):
    """How a registry is reached."""

    MINE = client("gateway", "gateway.example")
    CA = authority().certificate

    def test_who_it_is_and_who_we_are(self) -> None:
        """The trust store, a client certificate and the name to check, in each of both spellings."""
        spellings: list[dict[str, Any]] = [
            {"trusted_ca_url": inline(self.CA), "certificate": inline(self.MINE.certificate)},
            {"ca_certificate_url": secret(self.CA), "certificate_url": secret(self.MINE.certificate)}]
        for tls in spellings:
            tls |= {"key_url": secret(self.MINE.key), "server_name": "registry.example"}
            for kind in ("CONSUL", "K8S"):
                found = access(kind, {"connection_info": {"api_server": "192.0.2.1:8501", "tls_info": tls}})
                self.assertEqual(
                    (found.url, found.ca, found.certificate, found.key, found.server_name),
                    ("https://192.0.2.1:8501", self.CA, self.MINE.certificate, self.MINE.key, "registry.example"))
        with self.assertRaises(ConfigErrors) as raised:
            access("CONSUL", {"connection_info": {"api_server": "192.0.2.1:8501", "tls_info": {"key_url": secret(self.MINE.key)}}})
        self.assertEqual([each.code for each in raised.exception.problems], ["VG0232"])

    def test_proofs_that_are_none(self) -> None:
        """What is no PEM, a part of a pair, or parts of two, is an error of the configuration, wherever it stands."""
        other = client("other", "other.example")
        cases: list[dict[str, bytes]] = [
            {"ca": b"nonsense"}, {"certificate": b"nonsense", "key": self.MINE.key}, {"certificate": self.MINE.certificate, "key": b"nonsense"},
            {"certificate": self.MINE.certificate}, {"key": self.MINE.key}, {"certificate": self.MINE.certificate, "key": other.key}]
        for said in cases:
            encoded = {name: base64.b64encode(data).decode() for name, data in said.items()}
            kubeconfig = yaml.safe_dump({
                "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": "https://192.0.2.1", "certificate-authority-data": encoded.get("ca", "")}}],
                "users": [{"name": "u", "user": {
                    "client-certificate-data": encoded.get("certificate", ""), "client-key-data": encoded.get("key", "")}}]})
            fields = {"ca": "ca_certificate_url", "certificate": "certificate_url", "key": "key_url"}
            tls = {"connection_info": {"api_server": "192.0.2.1:8501", "tls_info": {fields[name]: secret(data) for name, data in said.items()}}}
            for kind, method in (("CONSUL", tls), ("K8S", tls), ("K8S", {"kubeconfig_url": secret(kubeconfig.encode())})):
                with self.assertRaises(ConfigErrors) as raised:
                    access(kind, method)
                (problem,) = raised.exception.problems
                self.assertEqual((problem.code, "PEM" in problem.hint), ("VG0232", True), said)

    def test_consul(self) -> None:
        """Scheme, user, token, datacenter, namespace and partition; addresses that it may name."""
        at = {"connection_info": {"api_server": "192.0.2.1:8500"}}
        self.assertEqual(access("CONSUL", at).url, "http://192.0.2.1:8500")
        found = access(
            "CONSUL", {**at, "scheme": "HTTPS", "http_basic_auth_info": {"user_name": "ada", "passwd_url": secret(b"lovelace")}},
            {"consul": {"token": inline(b"t"), "datacenter": "dc2", "namespace": "n", "partition": "p"}, "allowed_addresses": ["127.0.0.0/8"]})
        self.assertEqual(found.url, "https://192.0.2.1:8500")
        self.assertEqual((found.user, found.password, found.token), ("ada", "lovelace", "t"))
        self.assertEqual((found.datacenter, found.namespace, found.partition, found.allowed), ("dc2", "n", "p", ("127.0.0.0/8",)))

    def test_how_pods_are_reached(self) -> None:
        """By themselves unless they are isolated; then by nodes from outside, and by the service's address from inside."""
        at = {"connection_info": {"api_server": "192.0.2.1:6443"}}
        self.assertEqual(access("K8S", at).reach, "pods")
        self.assertEqual(access("K8S", {**at, "reachable": {}}).reach, "pods")
        self.assertEqual(access("K8S", {**at, "isolated": {}}).reach, "nodes")
        self.assertEqual(query("K8S", at).port, 80)

    def test_inside_a_pod(self) -> None:
        """What every pod is given, and an error where it is not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.patch(discovering, "SERVICE_ACCOUNT", str(folder))
        self.patch(os, "environ", {**os.environ, "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"})
        with self.assertRaises(ConfigErrors) as raised:
            access("K8S", {"in_cluster": True})
        self.assertIn("no pod with a service account", raised.exception.problems[0].message)
        (folder / "ca.crt").write_bytes(self.CA)
        (folder / "token").write_text("t")
        found = access("K8S", {"in_cluster": True, "isolated": {}})
        self.assertEqual((found.url, found.ca, found.token_file, found.reach),
                         ("https://[fd00::1]:6443", self.CA, str(folder / "token"), "cluster"))
