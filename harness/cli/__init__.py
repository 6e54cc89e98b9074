"""The command line: parse, call, print. ``main`` is the entry point of the ``tornwrite`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from harness.cli.app import run_app  # imported here so that importing the package stays cheap

    run_app()
