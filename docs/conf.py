import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(Path(__file__).resolve().parent / "_ext")]

from voltgw import __version__  # noqa: E402  # the path is set above

project = "voltgw"
author = "The voltgw authors"
copyright = "the voltgw authors"
version = release = __version__

extensions = ["generated"]
exclude_patterns = ["_build"]
nitpicky = True
html_theme = "alabaster"
html_theme_options = {"description": "A gateway that balances, routes and explains", "page_width": "70em"}
html_show_sphinx = False
