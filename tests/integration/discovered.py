"""Gateways whose endpoints stand in registries of services, and requests without a pause while those change."""

from __future__ import annotations

import os
import threading
from collections import Counter
from types import TracebackType
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import inline
from tests.integration.gateway import Gateway, ask, free_port
from tests.integration.test_http import origin
from tests.servers import Server


class Load:
    """Asks without a pause, in a thread, for as long as its block lasts. `answers` counts who has answered, else the status or what
    was raised instead."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(20)

    def _ask(self) -> None:
        while not self._over.is_set():
            self.answers[who_answers(self._port)] += 1


def who_answers(port: int) -> str:
    """One request: the name of the origin, the status of an error, or what was raised."""
    try:
        got = ask(port)
    except OSError as error:
        return repr(error)
    return got.body.decode().split()[0] if got.status == 200 else str(got.status)


def kubeconfig(port: int, **user: str) -> str:
    """A URL that holds the file that says where an API server is."""
    return inline(yaml.safe_dump({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}], "users": [{"name": "u", "user": user}]}).encode())


class DiscoveredCase(SynchronousTestCase):
    """A gateway in a process of its own, and shops on ports of their own, of which registries tell."""

    names: tuple[str, ...] = ("one", "two")

    def setUp(self) -> None:
        """Have the shops open."""
        self.port = free_port()
        self.shops: dict[str, Server] = {}
        for name in self.names:
            folder = os.path.abspath(self.mktemp())
            os.makedirs(folder)
            self.shops[name] = origin(self, name, folder)

    def serve(self, endpoints: list[dict[str, Any]], discoveries: tuple[dict[str, Any], ...], routes: list[Any] | None = None,
              domains: tuple[str, ...] = ("*",), **cluster: Any) -> Gateway:
        """A host, whose cluster has these endpoints."""
        known = {f"e{number}": spec for number, spec in enumerate(endpoints)}
        objects = [
            {"kind": "virtual_host", "metadata": {"name": "shop"}, "spec": {
                "domains": list(domains), "advertise_policies": ["p"], "routes": ["r"]}},
            {"kind": "advertise_policy", "metadata": {"name": "p"}, "spec": {"address": "127.0.0.1", "port": self.port}},
            {"kind": "route", "metadata": {"name": "r"}, "spec": {"routes": routes or [
                {"route_destination": {"destinations": [{"cluster": ["shop"]}]}}]}},
            {"kind": "cluster", "metadata": {"name": "shop"}, "spec": {"endpoints": list(known), **cluster}},
            *({"kind": "endpoint", "metadata": {"name": name}, "spec": spec} for name, spec in known.items()), *discoveries]
        gateway = Gateway(self, yaml.safe_dump({"gateway": {"admin": {"port": "ADMIN"}}, "objects": objects}).replace("'ADMIN'", "ADMIN"))
        gateway.wait_ready()
        return gateway

    def answers(self, count: int = 20) -> Counter[str]:
        """Who answers so many requests."""
        return Counter(who_answers(self.port) for _ in range(count))
