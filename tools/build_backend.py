"""setuptools, and with ``VOLTGW_COMPILE=1`` also what the compiled build needs: mypyc, and the types of what voltgw imports.

mypyc is pinned: what it makes of a program is tested with this one (docs/howto/compiled.rst).
"""

from __future__ import annotations

import os
from configparser import ConfigParser
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  # the other hooks are setuptools' own

_COMPILERS = ["mypy == 2.4.1", "mypy-zope == 1.0.17", "types-PyYAML"]


def _more() -> list[str]:
    if os.environ.get("VOLTGW_COMPILE") != "1":
        return []
    parser = ConfigParser()
    parser.read(Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
    return [*_COMPILERS, *parser["options"]["install_requires"].split("\n")[1:]]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What building a wheel needs."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_more()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """What an editable installation needs."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_more()]
