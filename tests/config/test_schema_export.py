"""JSON Schema, judged by a validator of its own."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, text
from tests.config.test_views import TEN_LINES
from voltgw.config.kinds import KINDS
from voltgw.config.schema_export import named, schema_of, whole_schema


class SchemaTests(SynchronousTestCase):
    whole: jsonschema.Draft202012Validator

    def setUp(self) -> None:
        """The schema of a whole file is made once."""
        if not hasattr(type(self), "whole"):
            type(self).whole = jsonschema.Draft202012Validator(whole_schema())

    def errors(self, source: str) -> list[str]:
        """What the validator says of a text."""
        return [error.message for error in self.whole.iter_errors(yaml.safe_load(text(source)))]

    def test_they_are_schemas(self) -> None:
        """Of draft 2020-12, each of them."""
        jsonschema.Draft202012Validator.check_schema(self.whole.schema)
        jsonschema.Draft202012Validator.check_schema(schema_of(KINDS["healthcheck"]))

    def test_what_loads_is_valid(self) -> None:
        """The example with every kind, the short form, single objects, nulls, camel case, references of every spelling."""
        for source in (GOOD, TEN_LINES, "", """
            kind: endpoint
            metadata: {name: a, labels: null}
            spec: {dnsName: a.b, port: "443", ip: null}
            resource_version: null
        """, """
            defaults: {cluster: {connection_timeout: 1s}, route: {route_destination: {timeout: 5}}}
            include: [a.yaml, {path: b, kind: route, on_error: keep_last}]
            objects:
            - kind: cluster
              metadata: {name: c}
              spec: {endpoints: a, health_checks: [n/h, {name: x}], connection_timeout: 250ms, circuit_breaker: {retries: 3}}
            - kind: tunnel
              metadata: {name: f}
              spec: {whatever: [1, {a: b}]}
        """):
            data = yaml.safe_load(text(source))
            self.assertEqual([error.message for error in self.whole.iter_errors(data if data is not None else {})], [], source)

    def test_mistakes_are_seen_in_the_editor(self) -> None:
        """Unknown fields, wrong types, limits, spellings, what is missing."""
        for fields, kind in (
            ("endpoint_s: [a]", "cluster"), ("connection_timeout: [1]", "cluster"), ("connection_timeout: soon", "cluster"),
            ("loadbalancer_algorithm: ROUND ROBIN", "cluster"), ("endpoints: [{nam: a}]", "cluster"), ("port: 70000", "endpoint"),
            ("routes: []", "route"), ("", "route"), ("no_challenge: {a: 1}", "virtual_host"), ("domains: a", "virtual_host"),
        ):
            source = f"objects: [{{kind: {kind}, metadata: {{name: x}}, spec: {{{fields}}}}}]"
            self.assertNotEqual(self.errors(source), [], source)
        for source in ("gatewy: {}", "gateway: {sit: x}", "load_balancers: [{name: x, orgins: []}]", "objects: [{kind: nope}]",
                       "objects: [{kind: cluster}]"):
            self.assertNotEqual(self.errors(source), [], source)

    def test_one_kind(self) -> None:
        """For a folder of objects of that kind."""
        schema = named("cluster")
        assert schema is not None
        validator = jsonschema.Draft202012Validator(schema)
        good: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"endpoints": [{"name": "b"}]}}
        self.assertEqual(list(validator.iter_errors(good)), [])
        self.assertNotEqual(list(validator.iter_errors({"metadata": {"name": "a"}, "spec": {"endpont": []}})), [])
        self.assertIsNone(named("nope"))

    def test_fields_are_described(self) -> None:
        """So that an editor can show what they are."""
        definitions = self.whole.schema["$defs"]
        self.assertEqual(definitions["ClusterSpec"]["properties"]["endpoints"]["description"], "Members.")
        self.assertIn("deprecated", definitions["EndpointSpec"]["properties"]["dns_name_advance"])
