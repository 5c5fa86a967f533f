"""Password hashes as htpasswd files and /etc/shadow have them: what they cost, and whether a password fits one.

bcrypt (``$2a$``, ``$2b$``, ``$2y$``), SHA-crypt (``$5$``, ``$6$``), yescrypt (``$y$``) and MD5-crypt (``$1$``) are left to the
system's libcrypt, called through cffi: it lets other threads run meanwhile. ``$apr1$``, Apache's own, which libcrypt does not
know, and ``{SHA}`` are done here. Traditional DES and plain text are refused: eight characters of a password, or none, are
no secret.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from ctypes.util import find_library
from functools import cache
from hashlib import md5, sha1
from importlib import import_module
from typing import Any, Final

#: Longest password, as libcrypt has it; a longer one fits nothing.
MAX_PASSWORD_BYTES: Final = 512
#: What one check may cost: 2^15 rounds of bcrypt (about 2 s), a million of SHA-crypt (about 0.5 s).
MAX_BCRYPT_COST: Final = 15
MAX_SHA_ROUNDS: Final = 1_000_000

#: More than `struct crypt_data` of any libcrypt: libxcrypt has 32,768 bytes, the old glibc 131,232.
_DATA_BYTES: Final = 256 * 1024
_BCRYPT: Final = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_SHA: Final = re.compile(rb"\$(5|6)\$(?:rounds=([0-9]{1,9})\$)?[^$:\n]{0,16}\$(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})")
#: At most 64 MiB of memory for one check (its parameters ``jBT``).
_YESCRYPT: Final = re.compile(rb"\$y\$j[7-9AB][5T]\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}")
_MD5: Final = re.compile(rb"\$(1|apr1)\$([./A-Za-z0-9]{0,8})\$[./A-Za-z0-9]{22}")
_SHA1: Final = re.compile(rb"\{SHA\}[A-Za-z0-9+/]{27}=")
_ITOA64: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: Behind a kind of hash, what costs least to try whether libcrypt knows it.
_CHEAP: Final = {b"$5$": b"rounds=1000$.$", b"$6$": b"rounds=1000$.$", b"$y$": b"j75$....$"}
#: Where libcrypt may be; musl has it in its libc (None).
_LIBRARIES: Final[tuple[Callable[[], str | None], ...]] = (
    lambda: "libcrypt.so.1", lambda: "libcrypt.so.2", lambda: find_library("crypt"), lambda: None)

#: Whether a password fits. It may take seconds, and must not run where others wait.
Check = Callable[[bytes], bool]


def checker(stored: bytes) -> Check:
    """How a password is held against `stored`. Raises ValueError, which never shows the hash, for what is not accepted."""
    bcrypt = _BCRYPT.fullmatch(stored)
    if bcrypt is not None:
        if not 4 <= int(bcrypt[1]) <= MAX_BCRYPT_COST:
            raise ValueError(f"a bcrypt cost of {int(bcrypt[1])} is not accepted; 4 to {MAX_BCRYPT_COST} are")
        return _by_libcrypt(stored)
    sha = _SHA.fullmatch(stored)
    if sha is not None:
        if sha[2] is not None and int(sha[2]) > MAX_SHA_ROUNDS:
            raise ValueError(f"{int(sha[2])} rounds are more than the {MAX_SHA_ROUNDS} that are accepted")
        return _by_libcrypt(stored)
    if _YESCRYPT.fullmatch(stored) is not None:
        return _by_libcrypt(stored)
    old = _MD5.fullmatch(stored)
    if old is not None:
        magic, salt = b"$%b$" % old[1], old[2]
        return lambda password: _fits(md5_crypt(password, salt, magic), stored)
    if _SHA1.fullmatch(stored) is not None:
        digest = b64decode(stored[5:])
        return lambda password: hmac.compare_digest(sha1(password, usedforsecurity=False).digest(), digest)
    raise ValueError("this kind of hash is not accepted; bcrypt (`htpasswd -B`), SHA-crypt, yescrypt, apr1 and {SHA} are")


def _fits(made: bytes, stored: bytes) -> bool:
    return hmac.compare_digest(made, stored)


def _by_libcrypt(stored: bytes) -> Check:
    kind = stored[:stored.index(b"$", 1) + 1]
    if not _known(kind):
        # It must be found while the file is read, not when somebody logs in.
        raise ValueError(f"this system's libcrypt does not know {kind.decode('ascii')}")
    ffi, library = libcrypt()

    def check(password: bytes) -> bool:
        data = ffi.new("char[]", _DATA_BYTES)
        made = library.crypt_r(password, stored, data)
        # a failure is "*0" or "*1", which no stored hash is
        return made != ffi.NULL and _fits(ffi.string(made), stored)

    return check


@cache
def _known(kind: bytes) -> bool:
    ffi, library = libcrypt()
    made = library.crypt_r(b"", kind + _CHEAP.get(kind, b"04$" + b"." * 22), ffi.new("char[]", _DATA_BYTES))
    return made != ffi.NULL and not ffi.string(made).startswith(b"*")


@cache
def libcrypt() -> tuple[Any, Any]:
    """The system's libcrypt: (ffi, library). Raises ValueError where there is none."""
    cffi = import_module("cffi")            # it takes a while, and few need it
    ffi = cffi.FFI()
    ffi.cdef("char *crypt_r(const char *phrase, const char *setting, void *data);")
    for find in _LIBRARIES:
        try:
            library = ffi.dlopen(find())
            library.crypt_r                 # noqa: B018  # whether it is there
        except (OSError, AttributeError):
            continue
        return ffi, library
    raise ValueError("this system has no libcrypt, which this kind of hash needs")


def md5_crypt(password: bytes, salt: bytes, magic: bytes) -> bytes:
    """MD5-crypt, which Apache calls apr1 with another `magic`: a thousand rounds, about a millisecond.

    The algorithm is Poul-Henning Kamp's of FreeBSD (crypt-md5.c) and Apache's (apr_md5.c).
    """
    inner = md5(password + salt + password, usedforsecurity=False).digest()
    length = len(password)
    text = password + magic + salt + (inner * (length // 16 + 1))[:length]
    bit = length
    while bit:
        text += b"\0" if bit & 1 else password[:1]
        bit >>= 1
    digest = md5(text, usedforsecurity=False).digest()
    for turn in range(1000):
        piece = password if turn & 1 else digest
        if turn % 3:
            piece += salt
        if turn % 7:
            piece += password
        piece += digest if turn & 1 else password
        digest = md5(piece, usedforsecurity=False).digest()
    out = bytearray()
    for first, second, third in ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)):
        _letters(out, digest[first] << 16 | digest[second] << 8 | digest[third], 4)
    _letters(out, digest[11], 2)
    return b"%b%b$%b" % (magic, salt, bytes(out))


def _letters(out: bytearray, value: int, count: int) -> None:
    for _ in range(count):
        out.append(_ITOA64[value & 63])
        value >>= 6
