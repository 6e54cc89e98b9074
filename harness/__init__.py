"""tornwrite: crash-consistency fault injection for real programs.

The distribution and the command are called ``tornwrite``; the import package is ``harness``.
"""

__version__ = "0.1.0"
