"""Where the APIs of clouds are that hold names, if a configuration does not say it."""

from __future__ import annotations

from typing import Final

AZURE_URL: Final = "https://management.azure.com"
GOOGLE_DNS_URL: Final = "https://dns.googleapis.com"
ROUTE53_URL: Final = "https://route53.amazonaws.com"
