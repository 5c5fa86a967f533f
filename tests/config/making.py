"""Configurations in a few lines, and what is wrong with them, for the tests of `voltgw.config`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

from voltgw.config.load import checked, load_text
from voltgw.config.model import Config
from voltgw.config.show import report
from voltgw.errors import ConfigError, ConfigErrors, Severity


def text(source: str) -> str:
    """A block of a test without its indent."""
    return textwrap.dedent(source).lstrip("\n")


def loaded(source: str, environ: Mapping[str, str] | None = None, folder: str = ".") -> Config:
    """The configuration of a text; a refusal fails the test with the whole report."""
    try:
        return load_text(text(source), name="voltgw.yaml", folder=folder, environ=environ or {})
    except ConfigErrors as errors:
        raise AssertionError(report(errors.problems, limit=None)) from None


def problems(source: str, environ: Mapping[str, str] | None = None, folder: str = ".") -> tuple[ConfigError, ...]:
    """Everything that reading a text finds wrong, warnings too."""
    try:
        return load_text(text(source), name="voltgw.yaml", folder=folder, environ=environ or {}).warnings
    except ConfigErrors as errors:
        return errors.problems


def judged(source: str) -> tuple[ConfigError, ...]:
    """Everything that reading a text and checking it finds wrong."""
    try:
        return checked(load_text(text(source), name="voltgw.yaml")).warnings
    except ConfigErrors as errors:
        return errors.problems


def lines(found: tuple[ConfigError, ...]) -> list[str]:
    """Problems as ``line:column code message``, warnings with a W in front."""
    return [f"{'W ' if one.severity is Severity.WARNING else ''}{one.place.line}:{one.place.column} {one.code} {one.message}"
            for one in found]


def codes(found: tuple[ConfigError, ...]) -> list[str]:
    """The codes of problems, in order."""
    return [one.code for one in found]


def write(folder: str, files: Mapping[str, str]) -> Path:
    """Write files below a folder; returns it."""
    root = Path(folder)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(content), encoding="utf-8")
    return root


#: A whole configuration that serves, with every kind in it and no problem.
GOOD = text("""
    gateway:
      admin: {address: 127.0.0.1, port: 9901}
    objects:
    - kind: virtual_host
      metadata: {name: shop, labels: {ves.io/app_type: shop}}
      spec:
        domains: [shop.example.com, "*.shop.example.com"]
        proxy: HTTP_PROXY
        advertise_policies: [{name: public}]
        routes: [{name: shop}]
    - kind: advertise_policy
      metadata: {name: public}
      spec: {address: 127.0.0.1, protocol: TCP, port: 8080}
    - kind: route
      metadata: {name: shop}
      spec:
        routes:
        - match:
          - path: {prefix: /api/}
            http_method: GET
          route_destination:
            destinations:
            - cluster: [{name: shop}]
              weight: 9
            - cluster: [{name: canary}]
              weight: 1
            timeout: 5000
        - match: [{path: {path: /old}}]
          route_redirect: {path_redirect: /new, response_code: 302}
        - route_destination:
            destinations: [{cluster: [{name: shop}]}]
    - kind: cluster
      metadata: {name: shop}
      spec:
        endpoints: [{name: shop-1}, {name: shop-2}]
        health_checks: [{name: http}]
        loadbalancer_algorithm: ROUND_ROBIN
        connection_timeout: 500
    - kind: cluster
      metadata: {name: canary}
      spec: {endpoints: [{name: canary-1}]}
    - kind: endpoint
      metadata: {name: shop-1}
      spec: {ip: 127.0.0.1, port: 9001}
    - kind: endpoint
      metadata: {name: shop-2}
      spec: {ip: 127.0.0.1, port: 9002}
    - kind: endpoint
      metadata: {name: canary-1}
      spec: {dns_name: canary.internal, port: 9003}
    - kind: healthcheck
      metadata: {name: http}
      spec:
        http_health_check: {path: /healthz}
        interval: 5
        timeout: 2
        healthy_threshold: 1
        unhealthy_threshold: 2
    - kind: site
      metadata: {name: local, namespace: system}
      spec: {site_type: CUSTOMER_EDGE, outside_vip: 192.0.2.1}
""")
