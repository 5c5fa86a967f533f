"""A CA of our own that speaks RFC 8555 strictly: it checks signatures, nonces, URLs and challenges, and fails when it is told to.

It answers at once and in this process. `fault` has a path of it answer something else, once or until it is told otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, fail, succeed

from voltgw.control.acme.challenges.tls_alpn_01 import ACME_IDENTIFIER
from voltgw.control.acme.jose import decoded, encoded
from voltgw.control.acme.messages import Answer
from voltgw.values.tls import KeyPair

URL: Final = "https://ca.example"
#: Tests begin here, seconds since the epoch.
START: Final = 1_900_000_000.0
ERROR: Final = "urn:ietf:params:acme:error:"

Fault = Callable[[], Answer | Exception | Deferred[Answer] | None]


class Answers:
    """The data plane: what challenges had it answer."""

    def __init__(self) -> None:
        self.http: dict[tuple[str, str], bytes] = {}
        self.tls: dict[str, KeyPair] = {}
        self.told = 0

    def answer_http(self, name: str, token: str, body: bytes | None) -> None:
        """See `Responder`."""
        if body is None:
            del self.http[name, token]
        else:
            self.told += 1
            self.http[name, token] = body

    def answer_tls(self, name: str, pair: KeyPair | None) -> None:
        """See `Responder`."""
        if pair is None:
            del self.tls[name]
        else:
            self.told += 1
            self.tls[name] = pair


class Ca:
    """The CA; satisfies `voltgw.control.acme.client.Sends`. `wall` gives seconds since the epoch."""

    def __init__(self, wall: Callable[[], float], answers: Answers) -> None:
        self.wall = wall
        self.answers = answers
        self.asked: list[str] = []              # "METHOD path"
        self.payloads: list[tuple[str, Any]] = []
        self.accounts: dict[str, dict[str, str]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.life_s = 86400.0
        self.looks = 1                          # times that an authorization and an order are asked for before they have changed
        self.offers: tuple[str, ...] = ("http-01", "dns-01", "tls-alpn-01")
        self.binding = ""                       # the key of an external account that must be bound
        self.key: Any = None                    # certificates are issued for this one instead of the CSR's
        self._faults: dict[str, list[tuple[Fault, bool]]] = {}
        self._nonces: set[str] = set()
        self._counter = 0
        self._authorizations: dict[str, dict[str, Any]] = {}
        self._signer = ec.generate_private_key(ec.SECP256R1())

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Deferred[Answer]:
        """See `Sends`."""
        assert url.startswith(URL), url
        path = url[len(URL):]
        self.asked.append(f"{method} {path}")
        found = self._faults.get(path.rstrip("0123456789"), [])
        if found:
            fault, stays = found[0]
            if not stays:
                found.pop(0)
            said = fault()
            if isinstance(said, Exception):
                return fail(said)
            if isinstance(said, Deferred):
                return said
            if said is not None:
                return succeed(said._replace(headers={"replay-nonce": self._nonce(), **said.headers}))
        status, more, answer = self._serve(method, url, path, headers, body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return succeed(Answer(url, status, {"replay-nonce": self._nonce(), **more}, data))

    def fault(self, path: str, said: Answer | Exception | Deferred[Answer] | Fault, *, stays: bool = False) -> None:
        """Have `path` (without the number at its end) answer this next time, or with `stays` from now on."""
        self._faults.setdefault(path, []).append((said if callable(said) else lambda: said, stays))

    def heal(self) -> None:
        """No more faults."""
        self._faults.clear()

    def count(self, path: str) -> int:
        """How often a path was asked."""
        return sum(one.split(" ")[1].rstrip("0123456789") == path for one in self.asked)

    # -- serving -------------------------------------------------------------------------------------------------------

    def _nonce(self) -> str:
        self._counter += 1
        nonce = f"n{self._counter}"
        self._nonces.add(nonce)
        return nonce

    def _serve(
        self, method: str, url: str, path: str, headers: Mapping[str, str], body: bytes,
    ) -> tuple[int, dict[str, str], Any]:
        if path in ("/dir", "/directory"):
            assert method == "GET"
            said: dict[str, Any] = {f"new{name}": f"{URL}/new-{name.lower()}" for name in ("Nonce", "Account", "Order")}
            said["meta"] = {"termsOfService": "https://ca.example/terms", "externalAccountRequired": bool(self.binding)}
            return 200, {}, said
        if path == "/new-nonce":
            assert method == "HEAD"
            return 200, {}, b""
        assert method == "POST" and headers["content-type"] == "application/jose+json", (method, headers)
        account, payload = self._checked(url, path, body)
        if isinstance(account, tuple):
            return account
        self.payloads.append((path, payload))
        if path == "/new-account":
            return self._account(account, payload)
        if path == "/new-order":
            return self._new_order(payload)
        kind, _, number = path[1:].partition("/")
        serve: dict[str, Callable[[str, Any], tuple[int, dict[str, str], Any]]] = {
            "authz": self._authz, "challenge": self._challenge, "order": self._order_at, "finalize": self._finalize,
            "certificate": self._certificate, "account": self._contacts}
        return serve[kind](number, payload)

    def _checked(self, url: str, path: str, body: bytes) -> tuple[tuple[int, dict[str, str], Any] | str, Any]:
        """The account of a request, or what is answered instead, and its payload, if all is as RFC 8555 6.2 to 6.5 want it."""
        jws = json.loads(body)
        protected = json.loads(decoded(jws["protected"]))
        assert protected["alg"] == "ES256" and protected["url"] == url, protected
        if protected["nonce"] not in self._nonces:
            return problem(400, "badNonce"), None
        self._nonces.remove(protected["nonce"])
        if path == "/new-account":
            assert "kid" not in protected
            jwk = protected["jwk"]
        else:
            assert "jwk" not in protected
            jwk = self.accounts.get(protected["kid"])
            if jwk is None:
                return problem(400, "accountDoesNotExist"), None
        verify(jwk, jws)
        payload = json.loads(decoded(jws["payload"])) if jws["payload"] else None
        return str(protected.get("kid") or json.dumps(jwk)), payload

    def _account(self, jwk: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        key = json.loads(jwk)
        assert payload["termsOfServiceAgreed"] is True
        if self.binding:
            bound = payload["externalAccountBinding"]
            assert json.loads(decoded(bound["payload"])) == key
            assert json.loads(decoded(bound["protected"])) == {"alg": "HS256", "kid": self.binding, "url": f"{URL}/new-account"}
        for known, other in self.accounts.items():
            if other == key:
                return 200, {"location": known}, {"status": "valid"}
        made = f"{URL}/account/{len(self.accounts) + 1}"
        self.accounts[made] = key
        return 201, {"location": made}, {"status": "valid"}

    def _new_order(self, payload: Any) -> tuple[int, dict[str, str], Any]:
        number = str(len(self.orders) + 1)
        names = [one["value"] for one in payload["identifiers"]]
        parts = []
        for name in names:
            part = str(len(self._authorizations) + 1)
            self._authorizations[part] = {"name": name, "status": "pending", "looks": 0, "met": False}
            parts.append(f"{URL}/authz/{part}")
        self.orders[number] = {
            "status": "pending", "authorizations": parts, "names": names, "looks": 0, "finalize": f"{URL}/finalize/{number}"}
        return 201, {"location": f"{URL}/order/{number}"}, self._shown(number)

    def _shown(self, number: str) -> dict[str, Any]:
        order = self.orders[number]
        if order["status"] == "pending":
            states = {self._authorizations[one.rpartition("/")[2]]["status"] for one in order["authorizations"]}
            order["status"] = "invalid" if "invalid" in states else "ready" if states == {"valid"} else "pending"
        return {key: value for key, value in order.items() if key not in ("names", "looks", "chain")}

    def _authz(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        assert payload is None
        one = self._authorizations[number]
        if one["met"] and one["status"] == "pending":
            one["looks"] += 1
            if one["looks"] >= self.looks:
                one["status"] = "valid" if self._believes(number) else "invalid"
        error = {"error": {"type": f"{ERROR}unauthorized", "detail": "what is there is something else"}}
        return 200, {}, {
            "status": one["status"], "identifier": {"type": "dns", "value": one["name"]},
            "challenges": [{"type": kind, "url": f"{URL}/challenge/{number}", "token": f"token-{number}", "status": "pending",
                            **(error if one["status"] == "invalid" else {})} for kind in self.offers]}

    def _believes(self, number: str) -> bool:
        """Look at the challenge as a CA does."""
        name, token = self._authorizations[number]["name"], f"token-{number}"
        (jwk,) = self.accounts.values()
        told = f"{token}.{thumbprint(jwk)}"
        if (name, token) in self.answers.http:
            return self.answers.http[name, token] == told.encode()
        pair = self.answers.tls.get(name)
        if pair is None:
            return False
        leaf = x509.load_pem_x509_certificate(pair.chain)
        extension = next(one for one in leaf.extensions if one.oid == ACME_IDENTIFIER)
        value: Any = extension.value
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        return (extension.critical and names == [name]
                and value.value == b"\x04\x20" + hashlib.sha256(told.encode()).digest())

    def _challenge(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        assert payload == {}
        self._authorizations[number]["met"] = True
        return 200, {}, {"type": "http-01", "url": f"{URL}/challenge/{number}", "status": "processing"}

    def _finalize(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        order = self.orders[number]
        assert self._shown(number)["status"] == "ready"
        csr = x509.load_der_x509_csr(decoded(payload["csr"]))
        assert csr.is_signature_valid
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        assert names == order["names"], names
        order["status"] = "processing"
        order["chain"] = self._chain(names, self.key or csr.public_key())
        return 200, {}, self._shown(number)

    def _order_at(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        assert payload is None
        order = self.orders.get(number)
        if order is None:
            return problem(404, "malformed", "no such order")
        if order["status"] == "processing":
            order["looks"] += 1
            if order["looks"] >= self.looks:
                order["status"], order["certificate"] = "valid", f"{URL}/certificate/{number}"
        return 200, {}, self._shown(number)

    def _contacts(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        assert set(payload) == {"contact"}
        return 200, {}, {"status": "valid", **payload}

    def _certificate(self, number: str, payload: Any) -> tuple[int, dict[str, str], Any]:
        assert payload is None
        return 200, {}, self.orders[number]["chain"]

    def _chain(self, names: list[str], key: Any) -> bytes:
        begin = datetime.fromtimestamp(self.wall(), UTC) - timedelta(seconds=1)
        builder = x509.CertificateBuilder().subject_name(x509.Name([])).public_key(key)
        builder = builder.issuer_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test CA")]))
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
        builder = builder.not_valid_after(begin + timedelta(seconds=self.life_s))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), True)
        return builder.sign(self._signer, SHA256()).public_bytes(Encoding.PEM)


def problem(status: int, type: str, detail: str = "", **headers: str) -> tuple[int, dict[str, str], Any]:
    """A problem document, as `Ca` serves it."""
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, {
        "type": f"{ERROR}{type}", "detail": detail or f"{type} it is"}


def refusing(status: int, type: str, detail: str = "", **headers: str) -> Answer:
    """The same for `Ca.fault`."""
    code, fields, said = problem(status, type, detail, **headers)
    return Answer(URL, code, fields, json.dumps(said).encode())


def saying(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with this body."""
    return Answer(URL, status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def thumbprint(jwk: Mapping[str, str]) -> str:
    """RFC 7638, written anew."""
    text = f'{{"crv":"{jwk["crv"]}","kty":"{jwk["kty"]}","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    return encoded(hashlib.sha256(text.encode()).digest())


def verify(jwk: Mapping[str, str], jws: Mapping[str, str]) -> None:
    """The signature of a flattened JWS by ES256 (RFC 7518 3.4). Raises InvalidSignature."""
    x, y = (int.from_bytes(decoded(jwk[name]), "big") for name in "xy")
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    signature = decoded(jws["signature"])
    assert len(signature) == 64
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, f"{jws['protected']}.{jws['payload']}".encode(), ec.ECDSA(SHA256()))
