"""known_label and known_label_key: labels that are offered for use; they have no effect of their own (objects.md 11.5)."""

from __future__ import annotations

from voltgw.config.formats import OBJECT_NAME
from voltgw.config.schema import field, message
from voltgw.config.types import Text


@message
class KnownLabelSpec:
    """A label that is offered for use."""

    namespace: str | None = field(Text(OBJECT_NAME), "Where it is kept.", absent="shared")
    key: str | None = field(Text(), "Its key.", example="ves.io/app_type")
    value: str | None = field(Text(), "Its value.")
    description: str | None = field(Text(), "Free text.")


@message
class KnownLabelKeySpec:
    """A label key that is offered for use."""

    namespace: str | None = field(Text(OBJECT_NAME), "Where it is kept.", absent="shared")
    key: str | None = field(Text(), "The key.", example="ves.io/app_type")
    description: str | None = field(Text(), "Free text.")
