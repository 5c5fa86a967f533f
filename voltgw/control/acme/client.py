"""Asking a CA by RFC 8555: one signed request after another, each answer read into a value.

It keeps nothing but the directory and nonces that were not used yet; the account and its key are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from voltgw.control.acme.messages import (
    Answer,
    Authorization,
    Challenge,
    Directory,
    Order,
    location,
    read_authorization,
    read_directory,
    read_order,
    refusal,
    retry_after_s,
)
from voltgw.control.acme.problems import AcmeError, Garbled, Refused

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.control.acme.jose import AccountKey

#: Times that a request is signed anew because its nonce was no longer good (RFC 8555 6.5). Testing CAs refuse some on purpose.
MOST_NONCES: Final = 10
#: Unused nonces that are kept. Each answer brings one, and each request takes one.
_KEPT_NONCES: Final = 8
_JOSE: Final = {"content-type": "application/jose+json"}


class Sends(Protocol):
    """Sends one request; bounded in size and time."""

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", /) -> Deferred[Answer]:
        """The answer, whatever its status. Fails with `Unreachable` or `Garbled`."""


class Binding:
    """What a CA has given out to tie an account of ACME to one of its own: the name of a key, and the key."""

    def __init__(self, key_id: str, secret: bytes) -> None:
        self.key_id = key_id
        self.secret = secret


class Client:
    """One account at one CA. `account` is its URL, "" = it is not known yet.

    Every method raises `AcmeError`: `Unreachable`, `Garbled` or `Refused`.
    """

    def __init__(
        self, sends: Sends, directory: str, key: AccountKey, wall: Callable[[], float], *, account: str = "",
    ) -> None:
        self.account = account
        self.key = key
        self._sends = sends
        self._at = directory
        self._wall = wall
        self._directory: Directory | None = None
        self._nonces: list[str] = []

    async def directory(self) -> Directory:
        """What the CA offers; asked once in the life of a client."""
        if self._directory is None:
            answer = await self._sends.request("GET", self._at, {})
            if answer.status != 200:
                raise refusal(answer, self._wall())
            self._directory = read_directory(answer)
        return self._directory

    async def register(self, contacts: Sequence[str], binding: Binding | None = None) -> str:
        """Have an account with this key, made if there is none (RFC 8555 7.3); the terms of service count as agreed to."""
        directory = await self.directory()
        said: dict[str, Any] = {"termsOfServiceAgreed": True}
        if contacts:
            said["contact"] = list(contacts)
        if binding is not None:
            said["externalAccountBinding"] = self.key.bound_to(binding.key_id, binding.secret, directory.new_account)
        elif directory.binding:
            raise Refused("the CA wants an external account binding: say `gateway.acme.external_account`",
                          type="externalAccountRequired")
        answer = await self._post(directory.new_account, said, named=False)
        self.account = location(answer)
        return self.account

    async def tell_contacts(self, contacts: Sequence[str]) -> None:
        """Have the account say these (RFC 8555 7.3.2)."""
        await self._post(self.account, {"contact": list(contacts)})

    async def new_order(self, names: Sequence[str]) -> Order:
        """Ask for a certificate of these DNS names."""
        directory = await self.directory()
        answer = await self._post(
            directory.new_order, {"identifiers": [{"type": "dns", "value": name} for name in names]})
        return read_order(answer, location(answer))

    async def order(self, url: str) -> tuple[Order, float | None]:
        """An order as it stands, and how long to wait (seconds) before asking again, None = the CA says nothing."""
        answer = await self._post(url, None)
        return read_order(answer, url), retry_after_s(answer, self._wall())

    async def authorization(self, url: str) -> tuple[Authorization, float | None]:
        """Likewise an authorization."""
        answer = await self._post(url, None)
        return read_authorization(answer), retry_after_s(answer, self._wall())

    async def meet(self, challenge: Challenge) -> None:
        """Say that a challenge may be looked at now (RFC 8555 7.5.1)."""
        await self._post(challenge.url, {})

    async def finalize(self, order: Order, csr: str) -> Order:
        """Hand in the request for the certificate (base64url of its DER)."""
        return read_order(await self._post(order.finalize, {"csr": csr}), order.url)

    async def certificate(self, order: Order) -> bytes:
        """The chain, PEM, leaf first, that the CA gives where none is asked for by name."""
        answer = await self._post(order.certificate, None, {"accept": "application/pem-certificate-chain"})
        return answer.body

    # -- parts ---------------------------------------------------------------------------------------------------------

    async def _post(
        self, url: str, payload: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None, *, named: bool = True,
    ) -> Answer:
        for _ in range(MOST_NONCES):
            nonce = await self._nonce()
            body = self.key.sign(payload, url, nonce, self.account if named else "")
            answer = await self._sends.request("POST", url, {**_JOSE, **(headers or {})}, body)
            self._keep_nonce(answer)
            if answer.status < 400:
                return answer
            refused = refusal(answer, self._wall())
            if refused.type != "badNonce":
                raise refused
        raise Garbled(f"{url} takes none of {MOST_NONCES} nonces that the CA itself has given out")

    async def _nonce(self) -> str:
        if self._nonces:
            return self._nonces.pop()
        answer = await self._sends.request("HEAD", (await self.directory()).new_nonce, {})
        if answer.status >= 400:
            raise refusal(answer, self._wall())
        self._keep_nonce(answer)
        if not self._nonces:
            raise Garbled(f"{answer.url} answers without a nonce")
        return self._nonces.pop()

    def _keep_nonce(self, answer: Answer) -> None:
        nonce = answer.headers.get("replay-nonce", "")
        if nonce and len(nonce) <= 512 and nonce.isascii() and nonce.replace("-", "").replace("_", "").isalnum():
            self._nonces.append(nonce)
            del self._nonces[:-_KEPT_NONCES]


def account_is_gone(error: AcmeError) -> bool:
    """Whether the CA knows nothing of our account (any more)."""
    return isinstance(error, Refused) and error.type == "accountDoesNotExist"
