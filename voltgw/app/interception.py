"""TLS inspection as connectors ask for it (objects.md 12.4): who signs, which names are opened, who vouches for origins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voltgw.app.forward import refused
from voltgw.app.tls import private_key
from voltgw.config.objects.network_connector import OriginFailure
from voltgw.errors import TlsRefused
from voltgw.proxy.forward.interception import Action, Interception, NameRule
from voltgw.proxy.forward.outside import ORIGIN_TLS
from voltgw.security.egress_rules import names_fit, said
from voltgw.security.minting import Signer

if TYPE_CHECKING:
    from voltgw.app.build import Makings
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.network_connector import NetworkConnectorSpec, TlsInterceptionRule, TlsInterceptionType
    from voltgw.values.tls import ClientTls

#: Minted certificates that are kept where nobody says how many.
KEPT = 1024
_PATH = ("enable_forward_proxy", "tls_intercept")


def opening(config: Config, makings: Makings) -> Callable[[Any, Any], Interception]:
    """What makes the interception of a connector, or keeps the known one if it says the same; that raises `ConfigErrors`."""
    def opens(connector: Object[NetworkConnectorSpec], known: Interception | None) -> Interception:
        settings = connector.spec.enable_forward_proxy
        assert settings is not None and settings.tls_intercept is not None
        asked = settings.tls_intercept
        key = _key(config, connector, asked)
        made_from = (asked, key)
        if known is not None and getattr(known, "made_from", None) == made_from:
            return known
        made = _interception(connector, asked, key, makings)
        made.made_from = made_from
        return made

    return opens


def _key(config: Config, connector: Object[Any], asked: TlsInterceptionType) -> bytes:
    if asked.custom_certificate is None:
        raise refused(connector, _PATH, f"{connector.title} opens TLS, but has no CA to sign what clients see; the vendor's is "
                      "its own", "give it `custom_certificate`; `voltgw pki init` makes a CA")
    return private_key(config, connector, asked.custom_certificate.private_key, (*_PATH, "custom_certificate"))


def _interception(
    connector: Object[NetworkConnectorSpec], asked: TlsInterceptionType, key: bytes, makings: Makings,
) -> Interception:
    assert asked.custom_certificate is not None
    try:
        signer = Signer(asked.custom_certificate.certificate_url, key)
    except ValueError as error:
        raise refused(connector, (*_PATH, "custom_certificate"), f"the signing CA of {connector.title}: {error}") from error
    rules = [_rule(one) for one in asked.policy.interception_rules] if asked.policy is not None else []
    ours = asked.voltgw
    try:
        origins = makings.client_context(ORIGIN_TLS if asked.trusted_ca_url is None else _trusting(asked.trusted_ca_url))
    except TlsRefused as error:
        raise refused(connector, (*_PATH, "trusted_ca_url"), f"the trust store of {connector.title}: {error}") from error
    return Interception(
        rules, Action.OPEN if asked.policy is None else Action.SPLICE, signer, origins, makings.server_context,
        wall=makings.wall, error_page=ours is not None and ours.on_origin_failure is OriginFailure.ERROR_PAGE,
        splice_failing=ours is not None and ours.splice_failing, most=(ours.certificates if ours is not None else None) or KEPT)


def _trusting(ca: bytes) -> ClientTls:
    return replace(ORIGIN_TLS, peer=replace(ORIGIN_TLS.peer, ca=ca))


def _rule(one: TlsInterceptionRule) -> NameRule:
    domain = one.domain_match
    fits = names_fit((domain,)) if domain is not None else (lambda name: True)
    action = Action.OPEN if one.enable_interception else Action.SPLICE
    if one.voltgw is not None and one.voltgw.peek:
        action = Action.PEEK
    return NameRule(fits, action, said(domain) if domain is not None else "any name")
