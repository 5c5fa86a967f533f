"""Google Cloud DNS and Azure DNS as their published APIs say, as far as publishing needs them, in trial's own reactor.

Neither has an emulator. `tests.integration.test_clouds` holds these stand-ins to the vendors' own clients.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

Row = dict[str, Any]
#: A key of the kind that Google gives out for a service account.
RSA: Final = RSAKey.generate_key(2048, private=True)


class Cloud(Resource):
    """What both have: tokens that expire when the test says so, answers that the test puts in the way, and a log of requests."""

    isLeaf = True

    def __init__(self, test: TestCase) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.lasts_s = 3600
        self.instead: list[tuple[int, object, dict[str, str]]] = []     # for the next requests to the API
        self.asked: list[str] = []
        self._port: Any = None
        self.revive()
        test.addCleanup(self.die)
        self.url = f"http://127.0.0.1:{self._number}"

    _number = 0

    def die(self) -> Any:
        """Nobody answers any more."""
        return self._port.stopListening()

    def revive(self) -> None:
        """Somebody does again, on the same port."""
        self._port = reactor.listenTCP(self._number, Site(self), interface="127.0.0.1")     # type: ignore[arg-type]
        self._number = self._port.getHost().port

    def render(self, request: Request) -> bytes:
        """Any request."""
        path = request.path.decode()
        status, said, fields = self._answer(request, path)
        request.setResponseCode(status)
        for name, value in fields.items():
            request.setHeader(name, value)
        request.setHeader("content-type", "application/json")
        return b"" if said is None else json.dumps(said).encode()

    def _answer(self, request: Request, path: str) -> tuple[int, object, dict[str, str]]:
        if path.endswith("/token"):
            form = {name: values[0] for name, values in parse_qs(_body(request).decode()).items()}
            why = self.refuses_grant(form, request)
            if why:
                return 400, {"error": "invalid_grant", "error_description": why}, {}
            token = f"token-{len(self.tokens)}"
            self.tokens.append(token)
            self.valid.add(token)
            return 200, {"access_token": token, "expires_in": self.lasts_s, "token_type": "Bearer"}, {}
        self.asked.append(f"{request.method.decode()} {path}")
        if self.instead:
            return self.instead.pop(0)
        if self.authorized(request.getHeader("authorization") or ""):
            return self.serve(request, request.method.decode(), unquote(path))
        return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "Request had invalid authentication credentials."}}, {}

    def authorized(self, said: str) -> bool:
        """Whether a token is one of ours and still good."""
        return said.removeprefix("Bearer ") in self.valid

    def refuses_grant(self, form: dict[str, str], request: Request) -> str:
        """Why no token is given, "" = one is."""
        raise NotImplementedError

    def serve(self, request: Request, method: str, path: str) -> tuple[int, object, dict[str, str]]:
        """The API."""
        raise NotImplementedError


class GoogleCloud(Cloud):
    """One managed zone, ``apps`` of the project ``shop``, which is ``apps.example.``."""

    def __init__(self, test: TestCase) -> None:
        super().__init__(test)
        self.page = 1000
        self.sets: dict[tuple[str, str], Row] = {}
        self.add("apps.example.", "SOA", 21600, ["ns-cloud-a1.googledomains.com. cloud-dns-hostmaster.google.com. 1 21600 3600 259200 300"])

    def add(self, name: str, kind: str, ttl: int, values: list[str], **more: Any) -> None:
        """Somebody's record set."""
        self.sets[name, kind] = {"kind": "dns#resourceRecordSet", "name": name, "type": kind, "ttl": ttl, "rrdatas": values, **more}

    def key_file(self, url: str = "") -> bytes:
        """A service account's key."""
        return json.dumps({"type": "service_account", "client_email": "voltgw@shop.iam.gserviceaccount.com", "private_key_id": "k1",
                           "private_key": RSA.as_pem(private=True).decode(), "token_uri": url or f"{self.url}/token"}).encode()

    def refuses_grant(self, form: dict[str, str], request: Request) -> str:
        """The assertion must be signed by the account's key, be for us, and be fresh (RFC 7523 3)."""
        try:
            token = jwt.decode(form["assertion"], RSA, algorithms=["RS256"])
        except (KeyError, JoseError):
            return "Invalid JWT Signature."
        claims = token.claims
        good = (form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer" and claims["aud"] == f"{self.url}/token"
                and claims["iss"] == "voltgw@shop.iam.gserviceaccount.com" and 0 < claims["exp"] - claims["iat"] <= 3600
                and claims["scope"] == "https://www.googleapis.com/auth/ndev.clouddns.readwrite")
        return "" if good else f"not for us: {claims}"

    def serve(self, request: Request, method: str, path: str) -> tuple[int, object, dict[str, str]]:
        """Record sets, and changes of them."""
        base = "/dns/v1/projects/shop/managedZones/apps"
        if not path.startswith(f"{base}/"):
            return 404, _google(404, "notFound", "The 'parameters.managedZone' resource named 'nobody' does not exist."), {}
        if method == "GET":
            rows = [self.sets[key] for key in sorted(self.sets)]
            start = int((request.args.get(b"pageToken") or [b"0"])[0])
            some = rows[start:start + self.page]
            more = {"nextPageToken": str(start + self.page)} if start + self.page < len(rows) else {}
            return 200, {"kind": "dns#resourceRecordSetsListResponse", "rrsets": some, **more}, {}
        change = json.loads(_body(request))
        after = dict(self.sets)
        for at, row in enumerate(change.get("deletions", ())):
            where = f"entity.change.deletions[{at}]"
            there = after.pop((row["name"], row["type"]), None)
            if there is None:
                return 404, _google(404, "notFound", f"The '{where}' resource named '{row['name']} ({row['type']})' does not exist."), {}
            if (int(there["ttl"]), sorted(there["rrdatas"])) != (int(row["ttl"]), sorted(row["rrdatas"])):
                return 412, _google(412, "conditionNotMet", f"Precondition not met for '{where}'"), {}
        for at, row in enumerate(change.get("additions", ())):
            where = f"entity.change.additions[{at}]"
            if (row["name"], row["type"]) in after:
                return 409, _google(409, "alreadyExists", f"The resource '{where}' named '{row['name']} ({row['type']})' already exists"), {}
            if not row["name"].endswith(".apps.example.") and row["name"] != "apps.example.":
                return 400, _google(400, "invalid", f"Invalid value for '{where}.name': '{row['name']}'"), {}
            after[row["name"], row["type"]] = {"kind": "dns#resourceRecordSet", **row, "ttl": int(row["ttl"])}
        self.sets = after
        return 200, {"kind": "dns#change", "id": "1", "status": "pending", "startTime": "2024-01-01T00:00:00.000Z", **change}, {}


def _body(request: Request) -> bytes:
    assert request.content is not None
    body: bytes = request.content.read()
    return body


def _google(code: int, reason: str, message: str) -> Row:
    return {"error": {"code": code, "message": message, "errors": [{"message": message, "domain": "global", "reason": reason}]}}


@dataclass
class AzureSet:
    """One record set."""

    kind: str
    properties: Row
    etag: str = field(default="")


class AzureCloud(Cloud):
    """One zone, ``apps.example`` in the group ``dns`` of the subscription ``sub``."""

    base = "/subscriptions/sub/resourceGroups/dns/providers/Microsoft.Network/dnsZones/apps.example"

    def __init__(self, test: TestCase) -> None:
        super().__init__(test)
        self.page = 500
        self.edits = 0
        self.sets: dict[tuple[str, str], AzureSet] = {}
        self.add("@", "SOA", {"TTL": 3600, "SOARecord": {"host": "ns1", "email": "azuredns-hostmaster.microsoft.com"}})
        self.before_put: Any = None         # called with a name and a type before a record set is written

    def add(self, name: str, kind: str, properties: Row) -> AzureSet:
        """Somebody's record set."""
        self.edits += 1
        made = self.sets[name, kind] = AzureSet(kind, properties, f"etag-{self.edits}")
        return made

    def addresses(self, name: str) -> list[str]:
        """Those of a name."""
        return [each["ipv4Address"] for each in self.sets[name, "A"].properties["ARecords"]] if (name, "A") in self.sets else []

    def refuses_grant(self, form: dict[str, str], request: Request) -> str:
        """The secret must be right (RFC 6749 4.4.2)."""
        if request.method == b"GET":
            return "" if request.getHeader("metadata") == "true" else "no Metadata header"
        good = form == {"grant_type": "client_credentials", "client_id": "app", "client_secret": "s+/ cret",
                        "scope": f"{self.url}/.default"}
        return "" if good and request.path == b"/tenant/oauth2/v2.0/token" else "AADSTS7000215: Invalid client secret provided."

    def serve(self, request: Request, method: str, path: str) -> tuple[int, object, dict[str, str]]:
        """Record sets one by one, and all of them."""
        if not path.lower().startswith(f"{self.base}/".lower()):
            return 404, {"error": {"code": "ResourceNotFound", "message": f"The Resource '{path}' was not found."}}, {}
        rest = path[len(self.base) + 1:]
        if rest in ("all", "recordsets"):
            rows = [self._shown(name, self.sets[name, kind]) for name, kind in sorted(self.sets)]
            start = int((request.args.get(b"$skipToken") or [b"0"])[0])
            more = {"nextLink": f"{self.url}{self.base}/all?api-version=2018-05-01&$skipToken={start + self.page}"}
            return 200, {"value": rows[start:start + self.page], **(more if start + self.page < len(rows) else {})}, {}
        kind, _, name = rest.partition("/")
        if method == "PUT" and self.before_put is not None:
            self.before_put(name, kind)
        there = self.sets.get((name, kind))
        if_match, if_none = request.getHeader("if-match"), request.getHeader("if-none-match")
        if if_none == "*" and there is not None or if_match is not None and (there is None or if_match not in ("*", there.etag)):
            return 412, {"code": "PreconditionFailed", "message": f"The condition '{if_match}' in the If-Match header was not satisfied. "
                         f"The current was '{there.etag if there is not None else ''}'."}, {}
        if method == "DELETE":
            self.sets.pop((name, kind), None)
            return 200 if there is not None else 204, None, {}
        if method == "GET":
            return (404, {"error": {"code": "NotFound", "message": "no"}}, {}) if there is None else (200, self._shown(name, there), {})
        properties = json.loads(_body(request))["properties"]
        made = self.add(name, kind, properties)
        return 201 if there is None else 200, self._shown(name, made), {}

    def _shown(self, name: str, each: AzureSet) -> Row:
        return {"id": f"{self.base.lower()}/{each.kind}/{name}", "name": name, "type": f"Microsoft.Network/dnszones/{each.kind}",
                "etag": each.etag, "properties": {**each.properties, "fqdn": f"{name}.apps.example.", "provisioningState": "Succeeded",
                                                  "targetResource": each.properties.get("targetResource", {})}}
