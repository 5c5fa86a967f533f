"""Runs a command in this process and keeps what it printed."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import NamedTuple
from unittest import mock

from voltgw.cli.main import main


class Run(NamedTuple):
    """What became of a command."""

    status: int
    out: str
    err: str


def run(arguments: Sequence[str], stdin: str = "") -> Run:
    """Run ``voltgw`` with some arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch("sys.stdin", io.StringIO(stdin)):
        try:
            status = main(arguments)
        except SystemExit as done:              # argparse's way to refuse
            status = done.code if isinstance(done.code, int) else 1
    return Run(status, out.getvalue(), err.getvalue())
