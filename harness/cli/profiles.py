"""``tornwrite profiles list|show``: what a power loss is explored under, and where its rules come from."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from harness.cli.output import json_option, print_folded, print_line
from harness.core.profile import Profile
from harness.report.escape import plain
from harness.report.json_document import result_document


@click.group("profiles")
def command() -> None:
    """List the persistence profiles, or show one with its switches and sources."""


def _observed(profile: Profile) -> str:
    """Say what the block engine mounts to see what the profile predicts."""
    if not profile.filesystem:
        flush = (
            "; fsync in a recording from Linux is taken for F_FULLFSYNC" if profile.flush == "fullfsync" else ""
        )
        return f"from documents, not from a running kernel{flush}"
    options = f" with {profile.mount_options}" if profile.mount_options else ""
    return f"held to {profile.filesystem}{options}, Linux {profile.min_kernel} or newer"


@command.command("list")
@json_option
def list_(as_json: bool) -> int:
    """List the shipped profiles; a .toml file of your own works as well."""
    from harness.catalog.profiles import list_profiles, load_profile

    found = [load_profile(name) for name in list_profiles()]
    if as_json:
        print_line(result_document("profiles list", 0, [msgspec.to_builtins(profile) for profile in found]))
        return 0
    for profile in found:
        print_line(profile.name)
        print_folded("  ", profile.title)
        print_folded("  ", _observed(profile))
    return 0


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> int:
    """Show one profile: its switches, mount options and source."""
    from harness.catalog.profiles import load_profile

    profile = load_profile(name)
    fields: dict[str, Any] = msgspec.to_builtins(profile)
    if as_json:
        print_line(result_document("profiles show", 0, fields))
        return 0
    width = max(map(len, fields)) + 1
    for key, value in fields.items():
        shown = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
        if shown != "":
            print_folded(f"{key:{width}}", plain(str(shown)))
    return 0
