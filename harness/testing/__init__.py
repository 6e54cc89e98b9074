"""Regression tests for writers: what the pytest plugin's fixture calls, for any other runner too.

    from harness.testing import check_writer

    check_writer(save_settings, holds=lambda dir: json.loads((dir / "settings.json").read_text()))

Returns a :class:`Held`, or raises :class:`NotCrashSafeError` (an ``AssertionError``) with what breaks, where, and
what to change; :class:`NotMeasuredError` where nothing can be said.
"""

from harness.testing.checking import DEFAULT_FAULTS, Held, check_writer
from harness.testing.errors import NoEngineError, NotCrashSafeError, NotMeasuredError, OtherTestError, UsageError

__all__ = [
    "DEFAULT_FAULTS",
    "Held",
    "NoEngineError",
    "NotCrashSafeError",
    "NotMeasuredError",
    "OtherTestError",
    "UsageError",
    "check_writer",
]
