"""What may stand in a ``target.toml``: the shape of the file, without rules across keys.

:mod:`harness.catalog.manifest` makes checked values of it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.catalog.headless import Headless
from harness.catalog.since import Known, Since
from harness.catalog.terminal import Terminal
from harness.checks.binding import DAY_MS, Format
from harness.core.run import DEFAULT_ACK

Runtime = Literal["python", "node", "binary"]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class TargetSection(_Section, frozen=True, kw_only=True):
    """``[target]``."""

    name: str
    story: str = ""


class PackageSection(_Section, frozen=True, kw_only=True):
    """``package`` of a variant: one published version, or several that are the same writer.

    ``on_request``: it is chosen by its name only, never by a pattern, and then in any version.
    """

    registry: Literal["pypi", "npm"]
    name: str
    version: str = ""
    versions: tuple[str, ...] = ()
    sdist: bool = False
    on_request: bool = False


class FileSection(_Section, frozen=True, kw_only=True):
    """``[[file]]``: which format the paths of a glob have."""

    glob: str
    format: Format = "opaque"
    id_key: str = ""
    torn_tail: Literal["violation", "healed"] = "violation"
    open_turn: Literal["violation", "closed"] = "violation"
    litter: bool = False
    json: bool = True
    lag_ms: int = DAY_MS


class VariantSection(_Section, frozen=True, kw_only=True):
    """``[[variant]]``: one writer. Its own ``[[variant.file]]`` tables replace those of the target."""

    name: str
    run: tuple[str, ...]
    runtime: Runtime = "python"
    story: str = ""
    setup: tuple[str, ...] = ()
    recover: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    arm: str = ""
    ack: str = DEFAULT_ACK
    environment: dict[str, str] = {}
    expect: dict[str, str | dict[str, str]] = {}
    package: PackageSection | None = None
    random_names: bool = False
    timeout_s: float = 30.0
    isolation: Literal["none", "full"] = "none"
    hidden: tuple[str, ...] = ()
    headless: Headless | None = None
    terminal: Terminal = Terminal()
    repeats_ids: bool = False
    since: tuple[Since, ...] = ()
    known: tuple[Known, ...] = ()
    file: tuple[FileSection, ...] = ()


class TargetFile(_Section, frozen=True, kw_only=True):
    """The whole of a ``target.toml``."""

    target: TargetSection
    variant: tuple[VariantSection, ...]
    file: tuple[FileSection, ...] = ()
