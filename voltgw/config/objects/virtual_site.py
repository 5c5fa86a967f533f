"""virtual_site: sites selected by their labels (objects.md 11.2)."""

from __future__ import annotations

from collections.abc import Iterable

from voltgw.config.objects.endpoint import LabelSelectorType
from voltgw.config.objects.site import SiteType
from voltgw.config.schema import Nested, Rule, field, message
from voltgw.config.types import Choice


@message
class VirtualSiteSpec:
    """Sites selected by their labels."""

    site_selector: LabelSelectorType = field(Nested(LabelSelectorType), "Sites with such labels.", required=True)
    site_type: SiteType = field(Choice(SiteType), "Only sites of this type.", required=True)

    def rules(self) -> Iterable[Rule]:
        """A type must be chosen."""
        if self.site_type is SiteType.INVALID:
            yield Rule("site_type", "VG0104", "INVALID is no type of site; write REGIONAL_EDGE or CUSTOMER_EDGE")
