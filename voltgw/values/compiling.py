"""What mypyc must be told of a class, and what is different about one that it has compiled. See docs/howto/compiled.rst.

`mypyc_attr` does nothing at all where nothing is compiled:

- ``@mypyc_attr(allow_interpreted_subclasses=True)`` stands on every class of a hot module from which extensions, tests or
  modules that are never compiled derive: without it a compiled class refuses them.
- ``@mypyc_attr(native_class=False)`` leaves a class as Python has it: one that is referred to weakly, say.
- ``@mypyc_attr(acyclic=True)`` keeps the cycle collector away from a class whose objects are never part of a cycle.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

#: What `slots_of` has found: a class is looked at once.
_slots: dict[type, tuple[str, ...]] = {}

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:
    def mypyc_attr(**_: Any) -> Any:
        """Leave the class as it is."""
        return lambda kind: kind


def build() -> str:
    """``compiled`` where the hot modules are, else ``interpreted``."""
    spec = find_spec("voltgw.net.stream")
    return "compiled" if spec is not None and (spec.origin or "").endswith(".so") else "interpreted"


def slots_of(kind: type) -> tuple[str, ...]:
    """The names in a class's ``__slots__`` and its bases'; a compiled class has none, but knows its attributes."""
    known = _slots.get(kind)
    if known is None:
        found: dict[str, None] = {}
        for each in kind.__mro__:
            slots = vars(each).get("__slots__", vars(each).get("__mypyc_attrs__", ()))
            found.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
        known = _slots[kind] = tuple(name for name in found if not name.startswith("__"))
    return known


def resemble(other: object, one: object) -> None:
    """Give `other` everything that `one` has, of the same slotted class."""
    for name in slots_of(type(one)):
        setattr(other, name, getattr(one, name))
