"""Secrets: private keys, passwords and tokens, inline, by URL or in a store (objects.md 3.3)."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from voltgw.config.contents import SecretContent
from voltgw.config.reader import WARNS
from voltgw.config.schema import Nested, field, message
from voltgw.config.types import Choice, Number, Text
from voltgw.config.values import Secret


class SecretEncodingType(Enum):
    """How a secret was encoded before it was sealed or stored."""

    NONE = "EncodingNone"
    BASE64 = "EncodingBase64"


@message
class BlindfoldSecretInfoType:
    """A secret sealed for the vendor's secret service; `gateway.secrets` must stand in for it."""

    location: str = field(Text(), "The sealed bytes as ``string:///`` and base64, or a path.", required=True)
    store_provider: str | None = field(Text(), "Name of the secret_management_access that stores it.")
    decryption_provider: str | None = field(Text(), "Name of the secret_management_access that opens it.")


@message
class VaultSecretInfoType:
    """A secret in HashiCorp Vault."""

    SINCE: ClassVar = "2020†"

    provider: str = field(Text(), "Name of the secret_management_access object.", required=True)
    location: str = field(Text(), "Path in Vault.", required=True, example="v1/data/vhost_key")
    key: str | None = field(Text(), "One value of the secret's map.", absent="the whole secret")
    version: int | None = field(Number(zero_is_absent=True), "Version of the secret.", absent="the latest")
    secret_encoding: SecretEncodingType = field(Choice(SecretEncodingType), "How the stored text is encoded.")


@message
class ClearSecretInfoType:
    """A secret that stands in the file or behind a ``file:`` or ``env:`` URL."""

    url: Secret = field(SecretContent(131072), "``string:///`` and base64, ``file:<path>`` or ``env:<NAME>``.", required=True)
    provider: str | None = field(Text(), "Provider for other URLs.", state=WARNS)


@message
class WingmanSecretInfoType:
    """A secret handed to the vendor's side-car when it boots."""

    SINCE: ClassVar = "2020†"

    name: str = field(Text(), "Its name.", required=True)


@message
class SecretType:
    """One secret, in one of the ways that there are."""

    #: A re-sealed copy that the vendor's system writes.
    READ_ONLY: ClassVar = ("blindfold_secret_info_internal",)

    blindfold_secret_info: BlindfoldSecretInfoType | None = field(
        Nested(BlindfoldSecretInfoType), "Sealed for the vendor's secret service.", group="secret_info_oneof", state=WARNS)
    vault_secret_info: VaultSecretInfoType | None = field(
        Nested(VaultSecretInfoType), "In HashiCorp Vault.", since="2020†", group="secret_info_oneof", state=WARNS)
    clear_secret_info: ClearSecretInfoType | None = field(
        Nested(ClearSecretInfoType, scalar="url"), "In the clear.", group="secret_info_oneof")
    wingman_secret_info: WingmanSecretInfoType | None = field(
        Nested(WingmanSecretInfoType), "From the side-car.", since="2020†", group="secret_info_oneof", state=WARNS)
    secret_encoding_type: SecretEncodingType = field(
        Choice(SecretEncodingType), "How the secret was encoded before it was sealed; not for ``string:///``.", since="2020†")
