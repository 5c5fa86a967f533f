"""What ``voltgw drain``, ``undrain``, ``eject`` and ``weight`` share: an order for one endpoint of the running gateway."""

from __future__ import annotations

import argparse
import json
import sys
from urllib.parse import urlencode

from voltgw.cli.remote import REFUSED_STATUS, UNREACHABLE_STATUS, answer, parser


def command(act: str, doc: str) -> argparse.ArgumentParser:
    """The command line of one of them."""
    made = parser(act, f"{doc} Needs who may: the unix socket, a token, or a certificate. It holds until the process ends.")
    made.add_argument("endpoint", metavar="ENDPOINT", help="as `voltgw clusters` shows it: address:port")
    made.add_argument("--cluster", metavar="CLUSTER", default="", help="only of this one (default: of all that have it)")
    return made


def send(act: str, options: argparse.Namespace, value: str = "") -> int:
    """Exit status 0 when it is done, 1 when it was refused, 3 when nobody answers."""
    asked = urlencode({"endpoint": options.endpoint, "cluster": options.cluster, "value": value})
    got = answer(options.admin, "POST", f"/endpoints/{act}?{asked}")
    if got is None:
        return UNREACHABLE_STATUS
    status, facts = got
    if status != 200 or not isinstance(facts, dict) or "endpoints" not in facts:
        why = facts.get("error") if isinstance(facts, dict) else None
        print(f"voltgw {act}: {why or f'status {status}'}", file=sys.stderr)
        return REFUSED_STATUS
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        for each in facts["endpoints"]:
            print(f"{act} {each['endpoint']} of {each['cluster']}: done")
    return 0
