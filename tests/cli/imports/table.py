"""A configuration of another proxy with its ports, origins and certificates, and the table of questions that it is asked.

Beside ``shop.conf`` stands ``shop.yaml``: ``listens`` are the ports that the configuration listens on, ``origins`` the ports where it
expects servers, ``certificates`` the files that it names, ``rows`` the table. Each run has ports of its own in their place; in what is
compared they have their old numbers again.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import yaml

from tests import certificates
from tests.cli.imports.origins import HttpOrigin, TcpOrigin, UdpOrigin, tls_context
from tests.integration.gateway import free_port

#: Nothing that is asked takes longer (seconds).
_PATIENCE_S: Final = 20.0
FOLDER: Final = Path(__file__).parent


class Case:
    """One configuration: `original` and `imported` are its ports by their old numbers, before and after."""

    def __init__(self, language: str, name: str, folder: Path) -> None:
        self.name = name
        self.language = language
        found = sorted(path for path in (FOLDER / language).glob(f"{name}.*") if path.suffix != ".yaml" or language == "traefik")
        self.source = next(path for path in found if ".table." not in path.name)
        table = FOLDER / language / f"{name}.table.yaml"
        facts: dict[str, Any] = yaml.safe_load(table.read_text(encoding="utf-8"))
        self.listens: dict[int, str] = facts["listens"]         # port -> http, https, tcp, tls or udp
        self.rows: list[dict[str, Any]] = facts["rows"]
        self.left_out: list[str] = facts.get("left_out", [])
        self.differs: list[str] = facts.get("differs", [])
        self.folder = folder
        folder.mkdir(parents=True)
        for file, names in facts.get("certificates", {}).items():
            self._certificate(folder / file, names)
        for file, text in facts.get("files", {}).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(certificates.authority("lab").certificate)
        self.origins = {port: self._origin(*origin.split()) for port, origin in facts["origins"].items()}
        self.original = {port: free_port() for port in self.listens}
        self.imported = {port: free_port() for port in self.listens}

    def _certificate(self, path: Path, names: list[str]) -> None:
        issued = certificates.server(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".pem":                   # both in one file
            path.write_bytes(issued.certificate + issued.key)
        else:
            path.write_bytes(issued.certificate)
            path.with_suffix(".key").write_bytes(issued.key)

    def _origin(self, name: str, kind: str = "http", certificate: str = "") -> HttpOrigin | TcpOrigin | UdpOrigin:
        if kind == "udp":
            return UdpOrigin(name)
        context = None
        if kind in ("https", "tls"):
            issued = certificates.server(certificate or f"{name}.test")
            path, key = self.folder / f"{name}.origin.crt", self.folder / f"{name}.origin.key"
            path.write_bytes(issued.certificate)
            key.write_bytes(issued.key)
            context = tls_context(path, key)
        return (HttpOrigin if kind in ("http", "https") else TcpOrigin)(name, context)

    def text(self, ports: dict[int, int]) -> str:
        """The configuration, listening on `ports`."""
        return self.substituted(self.source.read_text(encoding="utf-8"), ports)

    def substituted(self, text: str, ports: dict[int, int]) -> str:
        """`text` with the ports of this run, and with its folder for FOLDER."""
        for old, new in {**ports, **{port: origin.port for port, origin in self.origins.items()}}.items():
            text = re.sub(rf"(?<![\d.]){old}(?![\d])", str(new), text)
        return text.replace("FOLDER", str(self.folder))

    def stop(self) -> None:
        """End the origins."""
        for origin in self.origins.values():
            origin.stop()

    # -- asking -------------------------------------------------------------------------------------------------------

    def answers(self, ports: dict[int, int]) -> list[dict[str, Any]]:
        """What each row is answered there."""
        return [self._normal(self._ask(row, ports), ports) for row in self.rows]

    def _normal(self, seen: dict[str, Any], ports: dict[int, int]) -> dict[str, Any]:
        text = json.dumps(seen)
        for old, new in {**ports, **{port: origin.port for port, origin in self.origins.items()}}.items():
            text = re.sub(rf"(?<!\d){new}(?!\d)", str(old), text)
        normal: dict[str, Any] = json.loads(text)
        return normal

    def _ask(self, row: dict[str, Any], ports: dict[int, int]) -> dict[str, Any]:
        port = row.get("port", next(iter(self.listens)))
        kind = self.listens[port]
        if kind in ("tcp", "udp", "tls"):
            return _relayed(kind, ports[port], row)
        method, target = row["ask"].split(" ", 1)
        connection = _Connection(ports[port], kind == "https", row.get("sni", row.get("host", "localhost")))
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            headers = {"Host": str(row.get("host", "localhost")), **row.get("headers", {})}
            body = b"x" * row.get("body_bytes", 0)
            if row.get("websocket"):
                headers |= {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
            if body:
                headers["Content-Length"] = str(len(body))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            try:
                connection.send(body)
            except OSError:
                pass                                # it was refused before it was read
            response = connection.getresponse()
            read = b"" if response.status == 101 else response.read()
            return _seen(row, response, read, f"{kind}://{headers['Host']}{target}")
        except ssl.SSLError as error:
            return {"refused": type(error).__name__}
        except (http.client.HTTPException, OSError) as error:
            return {"failed": type(error).__name__}
        finally:
            connection.close()


def _seen(row: dict[str, Any], response: http.client.HTTPResponse, body: bytes, url: str) -> dict[str, Any]:
    """What of an answer to a request for `url` is compared; a relative Location says the same as an absolute one."""
    seen: dict[str, Any] = {"status": response.status}
    location = response.getheader("location")
    if location is not None:
        seen["location"] = urljoin(url, location)
    for name in row.get("got", {}):
        seen.setdefault("got", {})[name] = response.getheader(name)
    origin = response.getheader("x-origin")
    if origin is not None:
        seen["origin"] = origin
    if origin is not None and body and response.getheader("content-encoding") is None:
        said = json.loads(body)
        seen["path"] = said["target"]
        seen["host"] = said["headers"].get("host", [None])[0]
        for name in row.get("sent", {}):
            values = said["headers"].get(name)
            seen.setdefault("sent", {})[name] = ", ".join(values) if values else None
    elif "body" in row:
        seen["body"] = body.decode("latin-1")
    return seen


class _Connection(http.client.HTTPConnection):
    """A connection to a port of this host, with TLS or without."""

    def __init__(self, port: int, secure: bool, name: str) -> None:
        super().__init__("127.0.0.1", port, timeout=_PATIENCE_S)
        self._secure = secure
        self._name = name.partition(":")[0]

    def connect(self) -> None:
        """Connect, and shake hands where that is asked for."""
        super().connect()
        if self._secure:
            self.sock = _context().wrap_socket(self.sock, server_hostname=self._name or None)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _relayed(kind: str, port: int, row: dict[str, Any]) -> dict[str, Any]:
    """One message through a relay."""
    if kind == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_PATIENCE_S)
            sock.sendto(b"hello", ("127.0.0.1", port))
            return {"said": sock.recv(65536).decode()}
    try:
        with socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as plain:
            sock = plain if kind == "tcp" and "sni" not in row else _context().wrap_socket(
                plain, server_hostname=row.get("sni") or None)
            with sock:
                sock.sendall(b"hello")
                said = b""
                while (data := sock.recv(65536)):
                    said += data
        return {"said": said.decode()} if said else {"refused": "closed"}
    except (OSError, ssl.SSLError):
        return {"refused": "closed"}
