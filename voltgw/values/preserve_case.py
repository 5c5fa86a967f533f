"""The header transformation that writes names as they came."""

from __future__ import annotations


def preserve_case(name: bytes) -> bytes:
    """Stands for "as they came" where a transformation of names is asked for; the data plane knows it by what it is.

    By itself it changes nothing: a name alone does not tell how somebody wrote it.
    """
    return name
