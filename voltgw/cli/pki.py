"""``voltgw pki``: a small CA for labs and first steps, in a folder.

``init`` makes the CA, ``issue`` a certificate of a server or client, ``renew`` the same anew, ``revoke`` enters one in the list
of revoked certificates. Keys are files of mode 0600. It is no place for a CA on which much depends: its key lies in the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from voltgw.config.issuing import CA_DAYS, LEAF_DAYS, Issued, Usage, ends, issue, names_of, new_authority, renew, revoke

ERROR_STATUS: Final = 2
#: The CA's files in its folder.
CA_CERTIFICATE: Final = "ca.crt"
CA_KEY: Final = "ca.key"
CRL: Final = "crl.pem"
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*@-]*")


def run(arguments: list[str]) -> int:
    """Do what `arguments` ask for; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.do(options)
    except (OSError, ValueError) as error:
        print(f"voltgw pki: {error}", file=sys.stderr)
        return ERROR_STATUS
    return 0


def _init(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    if (folder / CA_KEY).exists():
        raise ValueError(f"{folder / CA_KEY} is there already: a second CA would make all its certificates useless")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = _now()
    made = new_authority(options.name, now, options.days)
    _write(folder / CA_KEY, made.key, secret=True)
    _write(folder / CA_CERTIFICATE, made.certificate)
    _write(folder / CRL, revoke(made, (), None, now))
    print(f"{folder / CA_CERTIFICATE}: give it to whoever shall trust the certificates")
    print(f"{folder / CA_KEY}: keep it to yourself")


def _issue(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    name = options.name
    if _FILE_NAME.fullmatch(name) is None or name in ("ca", "crl"):
        raise ValueError(f"{name!r} cannot be the name of the files; give the certificate's other names with --san")
    usage = Usage.BOTH if options.client and options.server else Usage.CLIENT if options.client else Usage.SERVER
    names = list(dict.fromkeys([*([] if options.client and not options.server else [name]), *options.san]))
    certificate, key = folder / f"{_stem(name)}.crt", folder / f"{_stem(name)}.key"
    if certificate.exists() and not options.force:
        raise ValueError(f"{certificate} is there already; `voltgw pki renew {folder} {name}` makes it anew")
    made = issue(_authority(folder), name, names, usage, _now(), options.days)
    _put(certificate, key, made)


def _renew(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    certificate, key = folder / f"{_stem(options.name)}.crt", folder / f"{_stem(options.name)}.key"
    _put(certificate, key, renew(_authority(folder), certificate.read_bytes(), _now(), options.days))


def _revoke(options: argparse.Namespace) -> None:
    folder = Path(options.folder)
    lists = folder / CRL
    before = lists.read_bytes() if lists.exists() else None
    revoked = [(folder / f"{_stem(name)}.crt").read_bytes() for name in options.name]
    _write(lists, revoke(_authority(folder), revoked, before, _now()))
    print(f"{lists}: replaced")


def _authority(folder: Path) -> Issued:
    try:
        return Issued((folder / CA_CERTIFICATE).read_bytes(), (folder / CA_KEY).read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{folder} holds no CA; `voltgw pki init {folder}` makes one") from error


def _put(certificate: Path, key: Path, made: Issued) -> None:
    """The key first: whoever sees only one of the two new waits for the other."""
    _write(key, made.key, secret=True)
    _write(certificate, made.certificate)
    names = ", ".join(names_of(made.certificate)) or "no alternative names"
    print(f"{certificate}: {names}; until {ends(made.certificate):%Y-%m-%d}")
    print(f"{key}: its key")


def _write(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Put a file in place as a whole; a secret one is never readable to others, not for a moment."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        raise


def _stem(name: str) -> str:
    """The files' name; a ``*`` would be for the shell."""
    return name.replace("*", "_")


def _now() -> datetime:
    return datetime.now(UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voltgw pki", description="Make certificates for labs and first steps.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("init", help="make a CA in a folder")
    one.add_argument("folder", metavar="FOLDER")
    one.add_argument("--name", default="voltgw lab CA", help="its subject (%(default)s)")
    one.add_argument("--days", type=int, default=CA_DAYS, help="how long it is good (%(default)s)")
    one.set_defaults(do=_init)

    one = commands.add_parser("issue", help="make a certificate and its key: FOLDER/NAME.crt and FOLDER/NAME.key")
    one.add_argument("folder", metavar="FOLDER")
    one.add_argument("name", metavar="NAME", help="host name of a server, or name of a client")
    one.add_argument("--san", action="append", default=[], metavar="NAME",
                     help="another name: host, *.host, address, URI or e-mail; may be repeated")
    one.add_argument("--client", action="store_true", help="it is a client's")
    one.add_argument("--server", action="store_true", help="it is a server's (the default), or with --client both")
    one.add_argument("--days", type=int, default=LEAF_DAYS, help="how long it is good (%(default)s)")
    one.add_argument("--force", action="store_true", help="replace one that is there")
    one.set_defaults(do=_issue)

    one = commands.add_parser("renew", help="make a certificate anew, with a new key and the same names")
    one.add_argument("folder", metavar="FOLDER")
    one.add_argument("name", metavar="NAME")
    one.add_argument("--days", type=int, default=None, help="how long it is good (as long as the old one was)")
    one.set_defaults(do=_renew)

    one = commands.add_parser("revoke", help="enter certificates in the list of revoked ones, FOLDER/crl.pem")
    one.add_argument("folder", metavar="FOLDER")
    one.add_argument("name", metavar="NAME", nargs="*", help="none = only make the list anew")
    one.set_defaults(do=_revoke)
    return parser
