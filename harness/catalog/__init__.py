"""Targets and scenarios: TOML files as checked values, variants compiled to run specs, the install cache."""

from __future__ import annotations

from harness.catalog.cache import (
    InstalledPackage,
    NotAvailableError,
    cache_directory,
    find_installed,
    is_installed,
)
from harness.catalog.headless import Headless, at_api, interrupt_line, user_line
from harness.catalog.install import install, install_package
from harness.catalog.listing import Listing, found_session, parse_listing, parse_losses
from harness.catalog.lives import Life, LifeRun, compile_lives
from harness.catalog.manifest import Package, Target, Variant, load_manifest
from harness.catalog.parts import joined
from harness.catalog.placeholder import fill
from harness.catalog.published import with_installed
from harness.catalog.scenario import Scenario, find_scenario, list_scenarios, load_scenario
from harness.catalog.schema import ManifestError
from harness.catalog.selection import Selected, find_variant, list_targets, load_target, select
from harness.catalog.subject import Subject, compile_subject
from harness.catalog.workload import DEFAULT_WORKLOAD, Workload

__all__ = [
    "DEFAULT_WORKLOAD",
    "Headless",
    "InstalledPackage",
    "Life",
    "LifeRun",
    "Listing",
    "ManifestError",
    "NotAvailableError",
    "Package",
    "Scenario",
    "Selected",
    "Subject",
    "Target",
    "Variant",
    "Workload",
    "at_api",
    "cache_directory",
    "compile_lives",
    "compile_subject",
    "fill",
    "find_installed",
    "find_scenario",
    "find_variant",
    "found_session",
    "install",
    "install_package",
    "interrupt_line",
    "is_installed",
    "joined",
    "list_scenarios",
    "list_targets",
    "load_manifest",
    "load_scenario",
    "load_target",
    "parse_listing",
    "parse_losses",
    "select",
    "user_line",
    "with_installed",
]
