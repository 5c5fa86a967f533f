"""Kubernetes' own client of Python, run by the Python that has it: lists in pages, watches and changes at the URL, and prints JSON of it.

It is a program of its own because the client is not in the interpreter that the tests run on.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(url: str) -> list[Any]:
    """What it has seen."""
    from kubernetes import client, watch  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only in the other interpreter

    configuration = client.Configuration()
    configuration.host = url
    api = client.CoreV1Api(client.ApiClient(configuration))
    slices = client.DiscoveryV1Api(api.api_client)
    seen: list[Any] = []

    def refused(act: Any, *arguments: Any, **more: Any) -> int:
        try:
            act(*arguments, **more)
        except client.ApiException as error:
            return int(error.status)
        return 0

    names, token, pages = [], None, 0
    while True:
        page = api.list_service_for_all_namespaces(limit=2, _continue=token)
        names += [f"{one.metadata.namespace}/{one.metadata.name}" for one in page.items]
        token, pages = page.metadata._continue, pages + 1
        if not token:
            break
    seen.append([pages, names])
    chosen = api.list_namespaced_service("default", label_selector="app in (shop)")
    seen.append([one.metadata.name for one in chosen.items])
    found = slices.list_namespaced_endpoint_slice("default", label_selector="kubernetes.io/service-name=shop").items
    seen.append([[each.addresses, each.conditions.ready] for one in found for each in one.endpoints])

    version = chosen.metadata.resource_version
    body = client.V1Service(metadata=client.V1ObjectMeta(name="new", labels={"app": "shop"}), spec=client.V1ServiceSpec(
        ports=[client.V1ServicePort(port=80)]))
    made = api.create_namespaced_service("default", body)
    seen.append([made.metadata.name, refused(api.create_namespaced_service, "default", body)])
    made.metadata.labels = {"app": "other"}
    changed = api.replace_namespaced_service("new", "default", made)
    seen.append([changed.metadata.labels, refused(api.replace_namespaced_service, "new", "default", made)])
    api.delete_namespaced_service("new", "default")
    seen.append(refused(api.delete_namespaced_service, "new", "default"))
    events = []
    for event in watch.Watch().stream(api.list_namespaced_service, "default", resource_version=version, timeout_seconds=2):
        events.append([event["type"], event["object"].metadata.name])
    seen.append(events)
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
