"""Which sites a ``where`` selects, and why (objects.md 3.1, 11.2), for any number of sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltgw.config.labels import selector
from voltgw.config.networks import ALL_EDGES, SITE_LABEL, present

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object
    from voltgw.config.objects.site import SiteSpec


@dataclass(frozen=True, slots=True)
class Selected:
    """One site and whether a ``where`` takes it; `site` is None for the own site when no object describes it."""

    name: str
    site: Object[SiteSpec] | None
    own: bool
    taken: bool
    reason: str


def selected_sites(config: Config, where: Any, namespace: str) -> list[Selected]:
    """Every site that is known, the own one first, each with the reason why `where` of an object of `namespace` (None: no
    ``where``) takes it or does not."""
    own = config.gateway.site_name
    sites: dict[str, Object[SiteSpec] | None] = {own: config.site}
    sites.update((one.name, one) for one in config.of("site").values() if one.name != own)
    return [_selected(config, where, namespace, name, site, name == own) for name, site in sites.items()]


def _selected(
    config: Config, where: Any, namespace: str, name: str, site: Object[SiteSpec] | None, own: bool,
) -> Selected:
    if where is None or (where.site is None and where.virtual_site is None and where.virtual_network is None):
        return Selected(name, site, own, own, "it is the own site, and `where` is absent" if own
                        else "`where` is absent, which means the own site")
    if where.site is not None:
        names = [ref.name for ref in where.site.ref]
        taken = name in names
        return Selected(name, site, own, taken, f"`where` names {'it' if taken else 'the site ' + ', '.join(names)}")
    if where.virtual_network is not None:
        if own:
            taken = present(config, where, namespace)
            return Selected(name, site, own, taken, "the network is on this site" if taken
                            else "no virtual_network object says what the network is on this site")
        return Selected(name, site, own, False, "which networks another site has is not known here")
    reasons = []
    for ref in where.virtual_site.ref:
        taken, reason = _in_virtual_site(config, ref, namespace, name, site)
        if taken:
            return Selected(name, site, own, True, reason)
        reasons.append(reason)
    return Selected(name, site, own, False, "; ".join(reasons))


def _in_virtual_site(
    config: Config, ref: Any, namespace: str, name: str, site: Object[SiteSpec] | None,
) -> tuple[bool, str]:
    kind = "INVALID" if site is None else site.spec.site_type.value
    edge = kind if kind != "INVALID" else "REGIONAL_EDGE"
    if ref.built_in and ref.name == ALL_EDGES:
        taken = edge == "REGIONAL_EDGE"
        return taken, f"it is {'a' if taken else 'no'} regional edge"
    found = config.find("virtual_site", ref, namespace)
    if found is None:
        return False, f"there is no virtual_site {ref.name}"
    labels = {SITE_LABEL: name, **({} if site is None else site.metadata.labels)}
    expressions = found.spec.site_selector.expressions
    words = " or ".join(f"`{each}`" for each in expressions) or "everything"
    try:
        matches = selector(expressions).matches(labels)
    except ValueError as error:
        return False, f"the selector of {found.title} cannot be read: {error}"
    if not matches:
        return False, f"its labels do not match {words} of {found.title}"
    if found.spec.site_type.value != edge:
        return False, f"{found.title} takes sites of type {found.spec.site_type.value}, and it is {edge}"
    return True, f"its labels match {words} of {found.title}"
