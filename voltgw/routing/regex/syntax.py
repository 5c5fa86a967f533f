"""Reads RE2's syntax (https://github.com/google/re2/wiki/Syntax) into a tree; what RE2 refuses is refused here.

The tree is over bytes. A character outside ASCII may stand in the pattern as itself (it then means its UTF-8 bytes) but not
inside a class: paths are percent-encoded and field values are bytes, so there is nothing that such a class could mean.
Also refused: ``(?m)`` (values are one line), Unicode classes (``\\pL``), and more than 1,000 repeats.
"""

from __future__ import annotations

from typing import Final

from voltgw.routing.regex.tree import ALL_BYTES, Alt, Cat, Edge, Group, Node, Repeat, Set, Where

MAX_PATTERN: Final = 2048           # characters
MAX_REPEAT: Final = 1000            # of one counted repeat, as RE2 has it
MAX_DEPTH: Final = 50               # of nested groups


class RegexError(ValueError):
    """A pattern that is not a regex, or not one that may be used; the message says what and where."""


def _span(*pairs: str) -> int:
    """The set of the bytes in ranges such as "az"."""
    mask = 0
    for pair in pairs:
        mask |= (1 << ord(pair[1]) + 1) - (1 << ord(pair[0]))
    return mask


def _each(characters: str) -> int:
    mask = 0
    for character in characters:
        mask |= 1 << ord(character)
    return mask


_LOWER: Final = _span("az")
_UPPER: Final = _span("AZ")
_DIGIT: Final = _span("09")
_WORD: Final = _LOWER | _UPPER | _DIGIT | _each("_")
_SPACE: Final = _each("\t\n\f\r ")
_PRINT: Final = _span(" ~")
_PUNCT: Final = _span("!/", ":@", "[`", "{~")
_NOT_NEWLINE: Final = ALL_BYTES ^ _each("\n")

_PERL: Final = {
    "d": _DIGIT, "D": ALL_BYTES ^ _DIGIT, "w": _WORD, "W": ALL_BYTES ^ _WORD, "s": _SPACE, "S": ALL_BYTES ^ _SPACE,
}
_POSIX: Final = {
    "alnum": _LOWER | _UPPER | _DIGIT, "alpha": _LOWER | _UPPER, "ascii": (1 << 128) - 1, "blank": _each("\t "),
    "cntrl": (1 << 32) - 1 | 1 << 127, "digit": _DIGIT, "graph": _PRINT ^ _each(" "), "lower": _LOWER, "print": _PRINT,
    "punct": _PUNCT, "space": _SPACE | _each("\v"), "upper": _UPPER, "word": _WORD, "xdigit": _DIGIT | _span("AF", "af"),
}
_CONTROL: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_EDGES: Final = {"A": Where.START, "z": Where.END, "b": Where.WORD, "B": Where.NOT_WORD}


def parse(pattern: str) -> tuple[Node, int]:
    """The tree of `pattern` and how many groups it has. Raises `RegexError`."""
    if len(pattern) > MAX_PATTERN:
        raise RegexError(f"the pattern is longer than {MAX_PATTERN} characters")
    reader = _Reader(pattern)
    node = reader.alternatives(0)
    if reader.at < len(pattern):
        raise reader.error("a ) without its (")
    return node, reader.groups


class _Reader:
    """One pass over a pattern; `at` is the index of the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.fold = False               # (?i)
        self.dot = _NOT_NEWLINE         # what "." stands for; (?s) makes it everything
        self.swap = False               # (?U): lazy by default

    def error(self, what: str) -> RegexError:
        """An error at the present place."""
        return RegexError(f"{what} (at character {self.at + 1} of {self.pattern!r})")

    def peek(self, text: str) -> bool:
        """Whether `text` comes next."""
        return self.pattern.startswith(text, self.at)

    def take(self, text: str) -> bool:
        """Whether `text` came next; if so it is behind us."""
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def next(self, missing: str) -> str:
        """The next character; an error that says `missing` at the end of the pattern."""
        if self.at >= len(self.pattern):
            raise self.error(missing)
        self.at += 1
        return self.pattern[self.at - 1]

    def alternatives(self, depth: int) -> Node:
        """Everything up to the ) that closes, or the end; flags that are set inside end with it."""
        if depth > MAX_DEPTH:
            raise self.error("groups stand too deep")
        flags = self.fold, self.dot, self.swap
        items = [self.sequence(depth)]
        while self.take("|"):
            items.append(self.sequence(depth))
        self.fold, self.dot, self.swap = flags
        return items[0] if len(items) == 1 else Alt(tuple(items))

    def sequence(self, depth: int) -> Node:
        """Everything up to a | or )."""
        items: list[Node] = []
        while self.at < len(self.pattern) and not self.peek("|") and not self.peek(")"):
            if self.take("\\Q"):
                end = self.pattern.find("\\E", self.at)
                literal = self.pattern[self.at:] if end < 0 else self.pattern[self.at:end]
                self.at += len(literal) + (2 if end >= 0 else 0)
                parts = [self.literal(character) for character in literal]
                items += parts[:-1]
                if parts:
                    items.append(self.repeats(parts[-1]))
                continue
            atom = self.atom(depth)
            if atom is not None:
                items.append(self.repeats(atom))
        return items[0] if len(items) == 1 else Cat(tuple(items))

    def atom(self, depth: int) -> Node | None:
        """One item without its repeat; None for flags, which are no item."""
        if self.pattern[self.at] in "*+?":
            raise self.error("nothing that could be repeated")
        if self.pattern[self.at] == "{" and self.counts() is not None:
            raise self.error("nothing that could be repeated")
        character = self.next("")
        if character == "(":
            return self.group(depth)
        if character == "[":
            return self.one_of()
        if character == ".":
            return Set(self.dot)
        if character == "^":
            return Edge(Where.START)
        if character == "$":
            return Edge(Where.END)
        if character != "\\":
            return self.literal(character)
        escaped = self.next("a \\ at the end")
        if escaped in _PERL:
            return Set(_PERL[escaped])
        if escaped in _EDGES:
            return Edge(_EDGES[escaped])
        if escaped == "C":
            return Set(ALL_BYTES)
        return self.byte(self.escape(escaped))

    def repeats(self, atom: Node) -> Node:
        """`atom` with the repeat that stands behind it, if any."""
        start = self.at
        if self.take("*"):
            least, most = 0, None
        elif self.take("+"):
            least, most = 1, None
        elif self.take("?"):
            least, most = 0, 1
        else:
            counted = self.counts() if self.peek("{") else None
            if counted is None:
                return atom
            least, most = counted
        if most is not None and most < least or least > MAX_REPEAT or (most or 0) > MAX_REPEAT:
            self.at = start
            raise self.error(f"a repeat whose bounds are reversed or above {MAX_REPEAT}")
        greedy = self.take("?") is self.swap
        if self.at < len(self.pattern) and (self.peek("*") or self.peek("+") or self.peek("?")):
            raise self.error("a repeat of a repeat")
        if self.peek("{"):
            here = self.at
            if self.counts() is not None:
                self.at = here
                raise self.error("a repeat of a repeat")
        return Repeat(atom, least, most, greedy)

    def counts(self) -> tuple[int, int | None] | None:
        """The bounds of ``{n}``, ``{n,}``, ``{n,m}``, and a step behind it; None if it is none (then { is just a {)."""
        end = self.pattern.find("}", self.at)
        if end < 0:
            return None
        low, comma, high = self.pattern[self.at + 1:end].partition(",")
        if not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            return None
        self.at = end + 1
        if not comma:
            return int(low), int(low)
        return int(low), int(high) if high else None

    def group(self, depth: int) -> Node | None:
        """What follows a (."""
        outer = self.fold, self.dot, self.swap
        captures = True
        if self.take("?"):
            named = self.take("P<") or (not self.peek("<=") and not self.peek("<!") and self.take("<"))
            if named:
                name, end, _ = self.pattern[self.at:].partition(">")
                if not end or not name.isidentifier() or not name.isascii():
                    raise self.error("a group whose name is not a word")
                self.at += len(name) + 1
            elif self.flags():
                return None
            captures = named
        if captures:
            self.groups += 1
        inner = self.alternatives(depth + 1)
        if not self.take(")"):
            raise self.error("a ( without its )")
        self.fold, self.dot, self.swap = outer
        return Group(inner) if captures else inner

    def flags(self) -> bool:
        """Set the flags of ``(?i)`` or ``(?i:``; whether there is nothing more to this group."""
        on = True
        while True:
            flag = self.next("a ( without its )")
            if flag == "i":
                self.fold = on
            elif flag == "s":
                self.dot = ALL_BYTES if on else _NOT_NEWLINE
            elif flag == "U":
                self.swap = on
            elif flag == "-" and on:
                on = False
            elif flag == ")":
                return True
            elif flag == ":":
                return False
            elif flag == "m":
                raise self.error("(?m) has no use here: values are one line")
            else:
                raise self.error("look-around, back-references and other extensions of (?...) are not RE2")

    def one_of(self) -> Node:
        """What follows a [."""
        negated = self.take("^")
        mask = 0
        first = True
        while first or not self.peek("]"):
            if not first and self.at >= len(self.pattern):
                raise self.error("a [ without its ]")
            first = False
            mask |= self.class_item()
        self.at += 1
        if self.fold:
            mask = _folded(mask)
        if negated:
            mask ^= ALL_BYTES
        if not mask:
            raise self.error("a class that nothing can match")
        return Set(mask)

    def class_item(self) -> int:
        """One member of a class: a named class, an escape that is a class, a byte, or a range of bytes."""
        if self.take("[:"):
            negated = self.take("^")
            end = self.pattern.find(":]", self.at)
            name = self.pattern[self.at:end] if end >= 0 else ""
            if name not in _POSIX:
                raise self.error("an unknown class between [: and :]")
            self.at = end + 2
            return _POSIX[name] ^ ALL_BYTES if negated else _POSIX[name]
        if self.peek("\\") and self.pattern[self.at + 1:self.at + 2] in _PERL:
            self.at += 2
            return _PERL[self.pattern[self.at - 1]]
        low = self.class_byte()
        if self.peek("-") and not self.peek("-]"):
            self.at += 1
            high = self.class_byte()
            if high < low:
                raise self.error("a range whose ends are reversed")
            return (1 << high + 1) - (1 << low)
        return 1 << low

    def class_byte(self) -> int:
        """One byte inside a class."""
        character = self.next("a [ without its ]")
        if character == "\\":
            return self.escape(self.next("a \\ at the end"))
        if not character.isascii():
            raise self.error("a character outside ASCII inside a class")
        return ord(character)

    def escape(self, escaped: str) -> int:
        """The byte that ``\\`` and `escaped` stand for."""
        if escaped in _CONTROL:
            return _CONTROL[escaped]
        if escaped == "x":
            if self.take("{"):
                end = self.pattern.find("}", self.at)
                digits = self.pattern[self.at:end] if end >= 0 else ""
                self.at = end + 1
            else:
                digits = self.pattern[self.at:self.at + 2]
                self.at += 2
                if len(digits) < 2:
                    digits = ""
            try:
                byte = int(digits, 16)
            except ValueError:
                byte = -1
            if not 0 <= byte <= 255:
                raise self.error("a \\x that is not one byte")
            return byte
        if escaped == "0":
            digits = escaped
            while len(digits) < 3 and self.pattern[self.at:self.at + 1] in tuple("01234567"):
                digits += self.next("")
            return int(digits, 8)
        if escaped.isdigit():
            raise self.error("back-references are not RE2")
        if escaped.isalpha() or not escaped.isascii():
            raise self.error(f"\\{escaped} is not known")
        return ord(escaped)

    def literal(self, character: str) -> Node:
        """`character` as itself."""
        if character.isascii():
            return self.byte(ord(character))
        return Cat(tuple(Set(1 << byte) for byte in character.encode("utf-8", "surrogatepass")))

    def byte(self, byte: int) -> Node:
        """One byte, in both cases if (?i) says so."""
        return Set(_folded(1 << byte) if self.fold else 1 << byte)


def _folded(mask: int) -> int:
    """The set with the other case of each of its ASCII letters."""
    return mask | (mask & _UPPER) << 32 | (mask & _LOWER) >> 32
