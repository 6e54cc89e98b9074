"""The commands that fetch a package, and what their failures mean in one line.

Installing uses the user's own configuration of pip and npm (indexes, certificates, proxies); a target never
inherits any of it. Only what would send the files elsewhere is taken out of the environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

from harness.catalog.cache import NotAvailableError
from harness.catalog.manifest import LATEST, Package
from harness.sandbox.command import CommandResult, run_command
from harness.sandbox.environment import ProgramNotFoundError, real_node, real_python, resolve_program

_DIVERTING = re.compile(
    r"PIP_(TARGET|PREFIX|ROOT|USER|REQUIRE_VIRTUALENV|REQUIREMENT|ONLY_BINARY|NO_BINARY|DRY_RUN|PYTHON)"
    r"|PYTHON(PATH|HOME|STARTUP|USERBASE|NOUSERSITE|DONTWRITEBYTECODE)|npm_config_(prefix|global|dry_run)",
    re.IGNORECASE,
)
_PIP = (
    "-m",
    "pip",
    "install",
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--no-warn-script-location",
)
_NPM = ("install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_ASK_TIMEOUT_S = 20.0

_NOT_FOUND = re.compile(r"No matching distribution|Could not find a version|E404|ETARGET|notarget", re.IGNORECASE)
_NETWORK = re.compile(
    r"name resolution|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|NewConnectionError|ConnectTimeout"
    r"|ReadTimeout|Max retries|Network is unreachable|Connection (?:refused|reset|aborted)|ProxyError|SSLError",
    re.IGNORECASE,
)
_MISSING = "the package index has no such version for this platform"
_NO_SPACE = re.compile(r"No space left|ENOSPC", re.IGNORECASE)


def install_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an installer: the user's, without what diverts its output."""
    return {name: value for name, value in inherited.items() if not _DIVERTING.fullmatch(name)}


def _has_pip(python: str) -> bool:
    try:
        asked = subprocess.run(
            [python, "-m", "pip", "--version"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.returncode == 0


def find_pip() -> str:
    """Return an interpreter that has pip, or an empty string.

    This one first; in a virtual environment, its base has the same ABI.
    """
    pythons = (python for python in dict.fromkeys((sys.executable, real_python())) if python)
    return next((python for python in pythons if _has_pip(python)), "")


def pip_command(package: Package, site: str) -> list[str]:
    """Return the command that puts a package and what it needs into ``site``.

    pip, else uv, which brings environments without pip. Raises :class:`NotAvailableError`.
    """
    requirement = package.name if package.version == LATEST else f"{package.name}=={package.version}"
    source = ["--no-binary", package.name] if package.sdist else []
    if python := find_pip():
        return [python, *_PIP, "--target", site, *source, requirement]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", real_python(), "--target", site, *source, requirement]
    raise NotAvailableError(f"{package} cannot be installed: neither pip nor uv is there")


def find_npm(wanted: str) -> str:
    """Return npm's path. Raises :class:`NotAvailableError`: why ``wanted`` is not to be had."""
    if real_node() is None:
        raise NotAvailableError(f"{wanted} needs Node, which is not installed")
    try:
        return resolve_program("npm")
    except ProgramNotFoundError:
        raise NotAvailableError(f"{wanted} cannot be installed: npm is not there") from None


def npm_command(package: Package, directory: str) -> list[str]:
    """Return the command that puts a package below ``directory``. Raises :class:`NotAvailableError`."""
    return [find_npm(str(package)), *_NPM, "--prefix", directory, f"{package.name}@{package.version}"]


def fetch(package: Package, directory: str, timeout_s: float) -> str:
    """Put a package below the empty ``directory`` and return the version that came.

    What the installer printed is kept in ``install.log`` there. Raises :class:`NotAvailableError`; the whole process
    tree of the installer is gone on return.
    """
    if package.registry == "pypi":
        site = os.path.join(directory, "site")
        os.mkdir(site)
        command = pip_command(package, site)
    else:
        site = os.path.join(directory, "node_modules")
        command = npm_command(package, directory)
    result = run_command(
        command,
        cwd=directory,
        environment=install_environment(os.environ),
        timeout_s=timeout_s,
        output_bytes=1 << 20,
    )
    with open(os.path.join(directory, "install.log"), "wb") as stream:
        stream.write(result.stdout + result.stderr)
    if result.exit_code != 0:
        raise NotAvailableError(explain_failure(package, result, timeout_s))
    version = _installed_version(package, site)
    if not version or package.version not in (LATEST, version):
        raise NotAvailableError(f"{package}: the installer succeeded but {version or 'nothing'} is there")
    return version


def _installed_version(package: Package, site: str) -> str:
    if package.registry == "npm":
        try:
            with open(os.path.join(site, *package.name.split("/"), "package.json"), encoding="utf-8") as stream:
                return str(json.load(stream)["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
    wanted = re.sub(r"[-_.]+", "-", package.name).lower()
    for found in importlib.metadata.distributions(path=[site]):
        if re.sub(r"[-_.]+", "-", found.metadata["Name"] or "").lower() == wanted:
            return found.version
    return ""


def explain_failure(package: Package, result: CommandResult, timeout_s: float) -> str:
    """Return in one line why an installer failed. Its own words may name hosts, so they are not repeated."""
    return f"{package} cannot be installed: {failure_in_words(result, timeout_s, 'the installer')}"


def failure_in_words(result: CommandResult, timeout_s: float, who: str, missing: str = _MISSING) -> str:
    """Return in a few words why a command that asks a registry failed; ``missing``: what it means that it has none."""
    if result.not_started:
        return result.not_started
    if result.timed_out:
        return f"not done after {timeout_s:g} s"
    text = (result.stdout + result.stderr).decode("utf-8", "replace")
    if _NO_SPACE.search(text):
        return "no space left for the cache"
    if _NETWORK.search(text):
        return "the package index cannot be reached"
    if _NOT_FOUND.search(text):
        return missing
    ended = f"signal {result.signal}" if result.signal else f"exit code {result.exit_code}"
    return f"{who} ended with {ended}"
