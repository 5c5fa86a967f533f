"""The Huffman code of HPACK (RFC 7541 5.2, Appendix B), built from the lengths of its codes.

The code is canonical: among codes of one length, and from one length to the next, codes count upwards in the order of their
symbols. So the lengths are all that has to be written down.

Decoding goes octet by octet through a table that grows as it is used: a row stands for a place within the tree, a column
for the next octet, and the entry tells what symbols come out and in which row to go on. Text needs some thousand of its
65,536 entries, and these are made the first time that they are met.
"""

from __future__ import annotations

from typing import Final

#: Symbols by the length of their codes in bits, in the order of their codes; EOS (256), not a symbol of text, has 30 ones.
_BY_LENGTH: Final[tuple[tuple[int, bytes], ...]] = (
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\x00$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
    (19, b"\\\xc3\xd0"),
    (20, b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2"),
    (21, b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6"),
    (22, b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9"),
    (23, (b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5"
          b"\xe7\xef")),
    (24, b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed"),
    (25, b"\xc7\xcf\xea\xeb"),
    (26, b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff"),
    (27, b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe"),
    (28, (b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
          b"\xdc\xf9")),
    (30, b"\n\r\x16"),
)
#: The rest of an octet behind the last symbol is filled with the beginning of EOS: ones, at most seven.
MAX_PADDING_BITS: Final = 7


class BadHuffman(ValueError):
    """The octets are not text in this code; a decoding error in the sense of RFC 7541 5.2."""


def _codes() -> dict[int, str]:
    """Every symbol's code, as a text of "0" and "1"."""
    codes: dict[int, str] = {}
    code = length = 0
    for bits, symbols in _BY_LENGTH:
        code <<= bits - length
        length = bits
        for symbol in symbols:
            codes[symbol] = format(code, f"0{bits}b")
            code += 1
    return codes


_CODES: Final = _codes()
_code_of: Final = tuple(_CODES[symbol] for symbol in range(256)).__getitem__


class _Row(dict[int, "tuple[bytes, _Row]"]):
    """A place in the tree: what each next octet yields, and where it leads to.

    `zero` and `one` are the places one bit further on, or the octet whose code ends there. `may_end` says whether a string
    may end here: the bits since the last symbol are padding.
    """

    __slots__ = ("may_end", "one", "zero")

    def __init__(self, may_end: bool) -> None:
        self.may_end = may_end
        self.zero: _Row | int | None = None
        self.one: _Row | int | None = None

    def __missing__(self, octet: int) -> tuple[bytes, _Row]:
        """Walk the eight bits once; None is only met behind 29 ones, where EOS is (RFC 7541 5.2)."""
        row = self
        symbols = bytearray()
        for shift in range(7, -1, -1):
            following = row.one if octet >> shift & 1 else row.zero
            if following is None:
                raise BadHuffman("EOS stands in a string")
            if isinstance(following, int):
                symbols.append(following)
                row = _ROOT
            else:
                row = following
        entry = self[octet] = bytes(symbols), row
        return entry


def _tree() -> _Row:
    root = _Row(True)
    for symbol, code in _CODES.items():
        row = root
        for depth, bit in enumerate(code[:-1], 1):
            following = row.one if bit == "1" else row.zero
            if not isinstance(following, _Row):
                following = _Row(depth <= MAX_PADDING_BITS and "0" not in code[:depth])
                if bit == "1":
                    row.one = following
                else:
                    row.zero = following
            row = following
        if code[-1] == "1":
            row.one = symbol
        else:
            row.zero = symbol
    return root


_ROOT: Final = _tree()


def decode(data: bytes) -> bytes:
    """The text that `data` stands for; at most 8/5 as long. Raises `BadHuffman`."""
    row = _ROOT
    parts: list[bytes] = []
    for octet in data:
        symbols, row = row[octet]
        parts.append(symbols)
    if not row.may_end:
        raise BadHuffman("the padding is not the beginning of EOS, or too long")
    return b"".join(parts)


def encode(text: bytes) -> bytes:
    """`text` in this code. May come out longer than `text`."""
    bits = "".join(map(_code_of, text))
    padding = -len(bits) % 8
    return int("1" + bits + "1" * padding, 2).to_bytes((len(bits) + padding) // 8 + 1, "big")[1:]
