"""What a kind of challenge is, and what it may ask of the gateway.

Kinds are found by name: our own in `voltgw.registry`, others as entry points in the group ``voltgw.challenges``.
"""

from __future__ import annotations

from typing import Protocol

from voltgw.errors import ConfigError, ConfigErrors, Place
from voltgw.values.tls import KeyPair


class Responder(Protocol):
    """The data plane, as challenges use it. What is told here is served at once, and only until it is taken back."""

    def answer_http(self, name: str, token: str, body: bytes | None) -> None:
        """Plain HTTP listeners answer ``/.well-known/acme-challenge/<token>`` of the host `name`; None = no longer."""

    def answer_tls(self, name: str, pair: KeyPair | None) -> None:
        """TLS listeners show this certificate to hellos for `name` that speak nothing but ``acme-tls/1``; None = no longer."""


class Kind(Protocol):
    """One kind of challenge; `name` is RFC 8555's."""

    name: str

    def present(self, respond: Responder, name: str, token: str, told: str) -> None:
        """Have the challenge `token` for the DNS name `name` answered; `told` is its key authorization (RFC 8555 8.1)."""

    def withdraw(self, respond: Responder, name: str, token: str) -> None:
        """It is over, one way or the other."""


def no_options(name: str, raw: object, place: object) -> None:
    """For kinds without options. Raises `ConfigErrors` if there are some all the same."""
    if raw is not None:
        assert isinstance(place, Place)
        raise ConfigErrors((ConfigError("VG0106", place, f"the challenge {name} has no options"),))
