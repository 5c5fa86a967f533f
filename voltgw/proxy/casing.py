"""How the names of header fields are written in HTTP/1.1 (header_transformation_type).

Inside the gateway names are lower case, and so they are written unless a transformation is asked for. Preserving is possible
as far as a message has brought the names: in answers always, in requests once a listener has met a cluster that asks for it
(its first such request is written in lower case). Fields of our own are lower case then. A name that came in two spellings is
written like its last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

Case: TypeAlias = "Callable[[bytes], bytes]"


def recased(lines: list[bytes], case: Case) -> list[bytes]:
    """The lines of a head, the first of which is no field, with other names."""
    first, *fields = b"\r\n".join(lines).split(b"\r\n")
    return [first, *(case(name) + colon + value for name, colon, value in (field.partition(b":") for field in fields))]


def names_in(data: bytes, end: int) -> dict[bytes, bytes]:
    """How the names are written in the head ``data[:end]``, by their lower-case form."""
    names = [line.partition(b":")[0] for line in data[:end].split(b"\r\n")[1:]]
    return {name.lower(): name for name in names}


def as_in(names: Mapping[bytes, bytes]) -> Case:
    """Write each name as `names` has it."""
    return lambda name: names.get(name, name)
