"""Certificates that are fetched, as building sees them: which names, whether the configuration allows it, what there is."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

from voltgw.config.acme import DEFAULT_CHALLENGE
from voltgw.config.formats import split_port
from voltgw.values.tls import KeyPair

if TYPE_CHECKING:
    from voltgw.config.gateway import Gateway

#: The names of one certificate, lower case, in the order of the virtual host's domains.
Names = tuple[str, ...]


class Fetched(Protocol):
    """Knows the certificates that were fetched."""

    def pair(self, folder: str, names: Names) -> KeyPair | None:
        """What is kept or held for these names, None = nothing yet; `folder` is the gateway's data folder."""

    def reason(self, names: Names) -> str:
        """Why there is nothing, in a sentence that begins with "certificate pending"."""


class NothingFetched:
    """For those who only look at a configuration: nothing is read, nothing is fetched."""

    def pair(self, folder: str, names: Names) -> KeyPair | None:
        """Unknown."""
        return None

    def reason(self, names: Names) -> str:
        """What a gateway would do."""
        return "certificate pending: the gateway fetches it while it runs"


class CannotFetch(ValueError):
    """The configuration asks for a certificate that nobody could fetch; `hint` is for the operator."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


#: Names that a certificate may have at most; a virtual host has no more domains.
MOST_NAMES: Final = 100


def names_to_fetch(domains: Sequence[str], gateway: Gateway) -> Names:
    """The names for which a certificate is to be fetched. Raises `CannotFetch`."""
    if gateway.acme is None:
        raise CannotFetch("a certificate is to be fetched, but nothing says from whom",
                          "say `gateway: {acme: {directory: https://..., agree_to_terms: true}}`")
    if gateway.data_dir is None:
        raise CannotFetch("a certificate is to be fetched, but there is no folder to keep it in: every restart would ask anew",
                          "say `gateway: {data_dir: /var/lib/voltgw}`")
    found: dict[str, None] = {}
    for domain in domains:
        name = split_port(domain)[0].lower().removesuffix(".")
        if name.startswith("*"):
            raise CannotFetch(
                f"a certificate for {domain!r} cannot be fetched: a CA gives none for a wildcard by {_challenge(gateway)}",
                "list the names, or give a certificate of your own")
        if name.startswith("[") or _is_address(name):
            raise CannotFetch(f"a certificate for the address {domain!r} cannot be fetched", "use a name")
        found[name] = None
    if not found:
        raise CannotFetch("a certificate is to be fetched, but no domain says for which name", "give it `domains`")
    if len(found) > MOST_NAMES:
        raise CannotFetch(f"{len(found)} names are more than the {MOST_NAMES} that a certificate may have", "")
    return tuple(found)


def _challenge(gateway: Gateway) -> str:
    return (gateway.acme.challenge if gateway.acme is not None else None) or DEFAULT_CHALLENGE


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
