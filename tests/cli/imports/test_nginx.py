"""``voltgw import nginx``: five configurations, asked before (real nginx) and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from tests.cli.imports.running import ImportedTests, launch
from tests.cli.imports.table import Case
from tests.servers import Server, require


class NginxTests(ImportedTests):
    language: ClassVar[str] = "nginx"
    names: ClassVar[tuple[str, ...]] = ("shop", "spa", "legacy", "stream", "admin")

    def start(self, case: Case) -> Server:
        """nginx in the foreground, with folders of its own."""
        program = require("nginx")
        folder = case.folder
        text = case.text(case.original)
        temps = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = re.sub(r"\bhttp\s*\{", f"http {{ {temps} access_log off;", text)
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        if "stream {" in text and module.exists():          # Debian has it in a file of its own
            text = f"load_module {module};\n{text}"
        config = folder / "original.conf"
        config.write_text(f"daemon off; pid {folder}/nginx.pid; error_log stderr;\n{text}", encoding="utf-8")
        return launch(self, "nginx", [program, "-e", "stderr", "-p", str(folder), "-c", str(config)], folder)

    def test_five_configurations(self) -> None:
        """A shop with TLS; microservices behind one name; a site that has moved often; relays; who may.

        Each is asked the same by real clients in front of nginx and in front of the gateway that it was imported into.
        """
        self.all_of_them()
