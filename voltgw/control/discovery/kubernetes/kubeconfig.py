"""A kubeconfig file: where a cluster's API is, and by what we are known there; pure, but for files that it names.

Programs that make credentials (``exec``, ``auth-provider``) are not run.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import yaml


class Found(NamedTuple):
    """What the current context says; PEM, b"" = none; `token_file` "" = none."""

    server: str
    ca: bytes
    certificate: bytes
    key: bytes
    token: str
    token_file: str
    server_name: str
    user: str
    password: str


def read(data: bytes, contents: Callable[[str], bytes]) -> Found:
    """What is in `data`; `contents` reads a file that it names. Raises ValueError with the reason."""
    try:
        whole = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"the kubeconfig is no YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(whole, dict):
        raise ValueError("the kubeconfig is no mapping")
    context = _named(whole, "contexts", whole.get("current-context"), "context")
    cluster = _named(whole, "clusters", context.get("cluster"), "cluster")
    user = _named(whole, "users", context["user"], "user") if context.get("user") else {}
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise ValueError("the kubeconfig's cluster has no `server`, which is a URL")
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("the kubeconfig says `insecure-skip-tls-verify`: whoever answers would be believed; give it "
                         "`certificate-authority-data` instead")
    for name in ("exec", "auth-provider"):
        if user.get(name):
            raise ValueError(f"the kubeconfig's user has `{name}`, a program that makes credentials, which is not run; give a "
                             "service account's token")
    return Found(
        server.rstrip("/"), _bytes(cluster, "certificate-authority", contents), _bytes(user, "client-certificate", contents),
        _bytes(user, "client-key", contents), _text(user, "token"), _text(user, "tokenFile"), _text(cluster, "tls-server-name"),
        _text(user, "username"), _text(user, "password"))


def _named(whole: Mapping[str, Any], kind: str, name: Any, what: str) -> Mapping[str, Any]:
    found = whole.get(kind)
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(what), dict):
            inside: Mapping[str, Any] = one[what]
            return inside
    raise ValueError(f"the kubeconfig has no {what} {name!r}")


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` of the kubeconfig is no text")
    return value


def _bytes(found: Mapping[str, Any], name: str, contents: Callable[[str], bytes]) -> bytes:
    data, path = _text(found, f"{name}-data"), _text(found, name)
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"`{name}-data` of the kubeconfig is not base64") from None
    if not path:
        return b""
    try:
        return contents(path)
    except OSError as error:
        raise ValueError(f"`{name}` of the kubeconfig, {path}, cannot be read: {error.strerror}") from error
