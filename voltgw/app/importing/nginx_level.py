"""What holds at one place of nginx's configuration: directives are taken from the innermost block that has any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voltgw.app.importing.model import Gateway
from voltgw.app.importing.nginx_values import ADVICE, HANDLED, IGNORED, constant
from voltgw.app.importing.nginx_words import Directive


@dataclass(slots=True)
class Level:
    """A block with those around it, the innermost first."""

    blocks: tuple[Directive, ...]
    values: dict[str, str]

    def last(self, name: str) -> Directive | None:
        """The last of that name in the innermost block that has any."""
        return next((found for block in self.blocks if (found := block.last(name)) is not None), None)

    def all(self, *names: str) -> list[Directive]:
        """Those of these names in the innermost block that has any, in order."""
        for block in self.blocks:
            several = [found for name in names if (found := block.all(name))]
            if len(several) == 1:
                return several[0]
            if several:                             # their order counts
                return [each for each in block.block or [] if each.name in names]
        return []

    def word(self, name: str, default: str = "") -> str:
        """The first word of the last of that name."""
        found = self.last(name)
        return found.args[0] if found is not None and found.args else default

    def inside(self, block: Directive) -> Level:
        """The level of a block in this one."""
        values = dict(self.values)
        for each in block.all("set"):
            if len(each.args) == 2:
                values[each.args[0].lstrip("$")] = constant(each.args[1], values)
        return Level((block, *self.blocks), values)


def everywhere(block: Directive, *names: str) -> Iterator[Directive]:
    """Directives of these names in a block and those inside it."""
    for each in block.block or []:
        if each.name in names:
            yield each
        if each.block is not None:
            yield from everywhere(each, *names)


def unknown(block: list[Directive], gateway: Gateway) -> None:
    """Note the directives of a block that concern traffic and are not read."""
    for each in block:
        if each.name not in HANDLED and each.name not in IGNORED and each.args != ["off"]:
            gateway.notes.left_out(each.place, each.text(), ADVICE.get(each.name, "voltgw has nothing of this name"))
