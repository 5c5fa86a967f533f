"""The vendors' own clients of Google Cloud DNS and Azure DNS, run by the Python that has them: ``google URL`` and ``azure URL``.

Each makes, lists, changes and takes out record sets at a stand-in, and prints JSON of what it has seen. It is a program of its own
because the clients are not in the interpreter that the tests run on.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def _google(url: str) -> list[Any]:
    import google.api_core.exceptions as errors  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only in the other one
    from google.auth.credentials import AnonymousCredentials  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from google.cloud import dns  # type: ignore[import-not-found,import-untyped,unused-ignore,attr-defined]

    client = dns.Client(project="shop", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    zone = client.zone("apps", "apps.example.")
    seen: list[Any] = []

    def change(act: str, *sets: Any) -> None:
        made = zone.changes()
        for each in sets:
            getattr(made, f"{act}_record_set")(each)
        try:
            made.create()
            seen.append(made.status)
        except errors.GoogleAPICallError as error:
            seen.append([error.code, error.message])

    one = zone.resource_record_set("a.apps.example.", "A", 30, ["192.0.2.1"])
    change("add", one, zone.resource_record_set("_voltgw.a.apps.example.", "TXT", 30, ['"x y"']))
    change("add", one)
    change("delete", zone.resource_record_set("a.apps.example.", "A", 30, ["192.0.2.9"]))
    change("delete", zone.resource_record_set("b.apps.example.", "A", 30, ["192.0.2.9"]))
    seen.append([[each.name, each.record_type, each.ttl, each.rrdatas] for each in zone.list_resource_record_sets(max_results=100)
                 if each.record_type != "SOA"])
    change("delete", one)
    return seen


def _azure(url: str) -> list[Any]:
    from azure.core import MatchConditions  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from azure.core.credentials import AccessToken  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from azure.core.exceptions import HttpResponseError  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from azure.core.pipeline.policies import SansIOHTTPPolicy  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from azure.mgmt.dns import DnsManagementClient  # type: ignore[import-not-found,import-untyped,unused-ignore]

    class Nobody:
        def get_token(self, *scopes: str, **more: Any) -> Any:
            return AccessToken("x", 1 << 40)

    client = DnsManagementClient(Nobody(), "sub", base_url=url, authentication_policy=SansIOHTTPPolicy())
    seen: list[Any] = []

    def put(name: str, address: str, **more: Any) -> Any:
        body = {"properties": {"TTL": 30, "ARecords": [{"ipv4Address": address}], "metadata": {"voltgw": "heritage=voltgw owner=me"}}}
        try:
            made = client.record_sets.create_or_update("dns", "apps.example", name, "A", body, **more)
            seen.append(["made", made.name, [each.ipv4_address for each in made.a_records], made.metadata])
            return made.etag
        except HttpResponseError as error:
            seen.append([error.status_code, error.error.code if error.error is not None else ""])
            return ""

    absent = {"etag": "*", "match_condition": MatchConditions.IfMissing}
    etag = ""
    try:
        etag = put("a", "192.0.2.1", **absent)
        put("a", "192.0.2.2", **absent)
        put("a", "192.0.2.3", etag="other", match_condition=MatchConditions.IfNotModified)
        put("a", "192.0.2.4", etag=etag, match_condition=MatchConditions.IfNotModified)
    except TypeError:                       # older clients name the two header fields instead
        etag = put("a", "192.0.2.1", if_none_match="*")
        put("a", "192.0.2.2", if_none_match="*")
        put("a", "192.0.2.3", if_match="other")
        put("a", "192.0.2.4", if_match=etag)
    seen.append(sorted([each.name, each.type.rpartition("/")[2], each.ttl] for each in client.record_sets.list_all_by_dns_zone(
        "dns", "apps.example")))
    client.record_sets.delete("dns", "apps.example", "a", "A")
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"google": _google, "azure": _azure}[sys.argv[1]](sys.argv[2])))
