"""AWS as far as publishing needs it, run by the Python that has moto: its server, and botocore's signer.

``server PORT``: moto's Route 53 on that port of 127.0.0.1, with batches of changes as AWS documents them: one after the other, as a
whole or not at all (moto looks for records that exist before it takes out those that the same batch deletes, and takes a DELETE of
what once was). ``sign``: for each line of JSON (method, url, headers, body, keys, region, service, wall) botocore's header fields.
It is a program of its own because moto is not in the interpreter that the tests run on.
"""

from __future__ import annotations

import copy
import datetime
import json
import sys
from typing import Any


def _serve(port: int) -> None:
    from moto.route53 import models  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only in the other interpreter
    from moto.route53.exceptions import Route53ClientError  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from moto.server import main  # type: ignore[import-not-found,import-untyped,unused-ignore]

    def change(self: Any, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        zone = self.get_hosted_zone(zoneid)
        there = {(each.name, each.type): (str(each.ttl), sorted(each.records)) for each in zone.rrsets}
        problems = []
        for value in change_list:
            found = value["ResourceRecordSet"]
            name, kind = found["Name"].rstrip(".") + ".", found["Type"]
            said = str(found["TTL"]), sorted(each["Value"] for each in found["ResourceRecords"])
            shown = f"resource record set [name='{name}', type='{kind}']"
            if not name.endswith(f".{zone.name}") and name != zone.name:
                problems.append(f"RRSet with DNS name {name} is not permitted in zone {zone.name}")
            elif value["Action"] == "CREATE" and (name, kind) in there:
                problems.append(f"Tried to create {shown} but it already exists")
            elif value["Action"] == "CREATE":
                there[name, kind] = said
            elif (name, kind) not in there:
                problems.append(f"Tried to delete {shown} but it was not found")
            elif there[name, kind] != said:
                problems.append(f"Tried to delete {shown} but the values provided do not match the current values")
            else:
                del there[name, kind]
        if problems:
            raise Route53ClientError("InvalidChangeBatch", "[" + ", ".join(problems) + "]")
        for value in copy.deepcopy(change_list):
            found = value["ResourceRecordSet"]
            found["Name"] = found["Name"].rstrip(".") + "."
            if value["Action"] == "DELETE":
                zone.delete_rrset(found)
            else:
                zone.add_rrset({**found, "ResourceRecords": [each["Value"] for each in found["ResourceRecords"]]})

    models.Route53Backend.change_resource_record_sets = change
    main(["-H", "127.0.0.1", "-p", str(port)])


def _sign() -> None:
    import botocore.auth  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from botocore.awsrequest import AWSRequest  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from botocore.credentials import Credentials  # type: ignore[import-not-found,import-untyped,unused-ignore]

    for line in sys.stdin:
        asked = json.loads(line)
        moment = datetime.datetime.fromtimestamp(asked["wall"], datetime.UTC)
        botocore.auth.get_current_datetime = lambda remove_tzinfo=True, moment=moment: moment.replace(tzinfo=None)
        request = AWSRequest(asked["method"], asked["url"], asked["headers"], asked["body"].encode())
        botocore.auth.SigV4Auth(Credentials(*asked["keys"]), asked["service"], asked["region"]).add_auth(request)
        sys.stdout.write(json.dumps({name.lower(): value for name, value in request.headers.items()}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "server":
        _serve(int(sys.argv[2]))
    else:
        _sign()
