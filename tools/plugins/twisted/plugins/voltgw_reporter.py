"""What makes ``trial --reporter=voltgw`` a reporter.

`tools/test` puts ``tools/plugins`` on PYTHONPATH; no wheel carries it.
"""

from __future__ import annotations

from twisted.plugins.twisted_trial import _Reporter

reporter = _Reporter(
    "voltgw's reporter",
    "tests.house.reporter",
    description="dots, the slowest tests, and a file that says what became of each test",
    longOpt="voltgw",
    shortOpt=None,
    klass="OutcomesReporter",
)
