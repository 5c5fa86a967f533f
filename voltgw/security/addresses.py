"""Client addresses as numbers, and sets of prefixes that are asked in one look per length."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final, TypeAlias

#: IP version (0: it is no address) and the address as a number.
Number: TypeAlias = tuple[int, int]
#: A prefix: version, bits to the right of it, the rest as a number.
PrefixKey: TypeAlias = tuple[int, int, int]

_NONE: Final[Number] = (0, 0)
#: What an IPv6 address begins with that stands for an IPv4 one (RFC 4291 section 2.5.5.2).
MAPPED: Final = bytes(10) + b"\xff\xff"
#: Prefixes of sets that are copied into those that refer to them; larger sets are referred to.
MOST_COPIED: Final = 1000
#: Lines of a file that are read in one step, which takes less than 1 ms.
STEP: Final = 400


def number_of(text: str) -> Number:
    """The number of an address as the data plane writes it. IPv4 mapped into IPv6 is IPv4; a zone (``%eth0``) does not count.

    The C library reads it in a fifth of a microsecond, whoever comes; a memo would only be quick for those that come again.
    """
    try:
        if ":" not in text:
            return 4, int.from_bytes(inet_pton(AF_INET, text), "big")
        packed = inet_pton(AF_INET6, text if "%" not in text else text.partition("%")[0])
    except (OSError, ValueError):
        return _NONE
    if packed.startswith(MAPPED):
        return 4, int.from_bytes(packed[12:], "big")
    return 6, int.from_bytes(packed, "big")


class Prefixes:
    """Some prefixes; `holds` says whether an address stands in one of them. Raises ValueError for what is no prefix.

    Those of `sets` count as well. `keys` are its own and those of small sets; with `whole` False there are others.
    """

    __slots__ = ("_others", "_tables", "keys")

    def __init__(self, prefixes: Iterable[str], sets: Iterable[Prefixes] = ()) -> None:
        keys = {_key(prefix) for prefix in prefixes}
        others: list[Prefixes] = []
        for each in sets:
            others += each._others
            if len(each.keys) > MOST_COPIED:
                others.append(each)
            else:
                keys |= each.keys
        self._take(keys, tuple(others))

    def _take(self, keys: Iterable[PrefixKey], others: tuple[Prefixes, ...] = ()) -> None:
        self.keys: frozenset[PrefixKey] = frozenset(keys)
        tables: dict[tuple[int, int], set[int]] = {}
        for version, shift, top in self.keys:
            tables.setdefault((version, shift), set()).add(top)
        self._tables: dict[int, list[tuple[int, set[int]]]] = {4: [], 6: []}
        for version, shift in sorted(tables):
            self._tables[version].append((shift, tables[version, shift]))
        self._others = others

    @classmethod
    def reading(cls, data: bytes) -> Generator[None, None, Prefixes]:
        """Those of a file, in steps: an address or a prefix in each line.

        What stands behind it, or behind ``#`` or ``;``, is a remark. Raises ValueError with the number of the line that is
        neither.
        """
        keys: set[PrefixKey] = set()
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            words = line.replace("#", " # ").replace(";", " ; ").split(None, 1)
            if words and words[0] not in "#;":
                try:
                    keys.add(_key(words[0]))
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None
            if number % STEP == 0:
                yield
        made = cls(())
        made._take(keys)
        return made

    @property
    def whole(self) -> bool:
        """Whether `keys` is all of it."""
        return not self._others

    def holds(self, number: Number) -> bool:
        """Whether it is one of them."""
        version, value = number
        for shift, tops in self._tables.get(version, ()):   # a generator would cost a frame per request
            if value >> shift in tops:
                return True
        return any(other.holds(number) for other in self._others)

    def __iter__(self) -> Iterator[PrefixKey]:
        return iter(self.keys)

    def __len__(self) -> int:
        """How many."""
        return len(self.keys) + sum(map(len, self._others))


def _key(prefix: str) -> PrefixKey:
    """The key of a prefix, whose bits to the right do not count."""
    address, slash, length = prefix.partition("/")
    version, value = number_of(address)
    if not version or slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"{prefix!r} is neither an address nor a prefix")
    bits = 32 if version == 4 else 128
    shift = 0
    if slash:
        # ::ffff:192.0.2.0/120 means the IPv4 addresses, for these are what such clients are taken for.
        shift = (128 if ":" in address else 32) - int(length)
    if not 0 <= shift <= bits:
        raise ValueError(f"{prefix!r} is neither an address nor a prefix")
    return version, shift, value >> shift
