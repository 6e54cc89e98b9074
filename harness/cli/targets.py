"""``tornwrite targets list|install``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from harness.cli.output import json_option, print_folded, print_line
from harness.report.json_document import result_document

EXIT_NOTHING = 5


@click.group("targets")
def command() -> None:
    """List the targets, or install published ones."""


@command.command("list")
@json_option
def list_(as_json: bool) -> int:
    """List every target, its variants and what is expected of them."""
    from harness.catalog import is_installed, list_targets, with_installed
    from harness.sandbox.cell import isolation_available

    rows: list[dict[str, Any]] = []
    for target in list_targets():
        for variant in with_installed(target):
            state = "ready"
            if variant.package is not None and not is_installed(variant.package):
                state = "not installed"
            if variant.isolation == "full" and state == "ready" and isolation_available():
                state = "not isolated"
            rows.append(
                {
                    "target": target.name,
                    "variant": variant.label,
                    "state": state,
                    "expect": dict(variant.expect),
                    "on_request": variant.package is not None and variant.package.on_request,
                    "story": variant.story or target.story,
                }
            )
    if as_json:
        print_line(result_document("targets list", 0, rows))
        return 0
    names = [f"{row['target']}/{row['variant']}" for row in rows]
    widths = max(map(len, names), default=0), max((len(row["state"]) for row in rows), default=0)
    for name, row in zip(names, rows, strict=True):
        nothing = "any version on request" if row["on_request"] else "no expectation"
        label = f"{name:{widths[0]}}  {row['state']:{widths[1]}}  "
        print_folded(label, expected_in_words(row["expect"]) or nothing)
    return 0


def expected_in_words(expect: Mapping[str, str]) -> str:
    """Return what is expected under which faults, by verdict; the profiles of power are one word where they agree."""
    power = {key: verdict for key, verdict in expect.items() if key.startswith("power.")}
    if len(set(power.values())) == 1:
        expect = {key: verdict for key, verdict in expect.items() if key not in power}
        expect |= {"power": next(iter(power.values()))}
    groups: dict[str, list[str]] = {}
    for key, verdict in expect.items():
        groups.setdefault(verdict, []).append(key)
    return "; ".join(f"{verdict}: {' '.join(keys)}" for verdict, keys in groups.items())


@command.command("install", short_help="Install the published packages that targets need.")
@click.argument("selectors", nargs=-1, required=True, metavar="TARGET[/VARIANT][@VERSION] …")
@json_option
def install_(selectors: tuple[str, ...], as_json: bool) -> int:
    """Install the published packages that targets need, each into a directory of its own in the cache."""
    from harness.catalog import NotAvailableError, select
    from harness.catalog.install import install_package
    from harness.catalog.manifest import LATEST

    rows: list[dict[str, Any]] = []
    errors: list[str] = []
    wants_latest = any(selector.endswith(f"@{LATEST}") for selector in selectors)
    for package in dict.fromkeys(chosen.variant.package for chosen in select(selectors)):
        if package is None or (package.version == LATEST and not wants_latest):
            continue
        try:
            installed = install_package(package, refresh=wants_latest)
        except NotAvailableError as error:
            errors.append(f"{package}: not available: {error}")
            if not as_json:
                click.echo(f"tornwrite: {errors[-1]}", err=True)
            continue
        rows.append({"package": package.name, "version": installed.version, "fresh": installed.fresh})
        if not as_json:
            print_line(
                f"{package.name} {installed.version}: {'installed' if installed.fresh else 'already there'}"
            )
    if not rows and not errors and not as_json:
        print_line("nothing to install: these targets come with tornwrite")
    code = EXIT_NOTHING if errors and not rows else (3 if errors else 0)
    if as_json:
        print_line(result_document("targets install", code, rows, tuple(errors)))
    return code
