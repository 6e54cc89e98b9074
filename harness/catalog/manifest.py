"""Target files: what a writer under test is called, how it is started and what is expected of it.

``targets/<name>/target.toml`` holds one ``[target]``, its ``[[variant]]`` tables and its ``[[file]]`` bindings.
What is expected of a variant stands here and nowhere else.

Non-goals: running anything, and expanding placeholders (see :mod:`harness.catalog.subject`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from harness.catalog.headless import Headless, check_headless
from harness.catalog.manifest_file import FileSection, PackageSection, Runtime, TargetFile, VariantSection
from harness.catalog.placeholder import CHECK_NAMES, READ_NAMES, STATIC_NAMES, check_placeholders
from harness.catalog.profiles import ALL, list_profiles
from harness.catalog.schema import ManifestError, convert, in_checkout, read_toml, suggestion
from harness.catalog.since import Known, Since, release
from harness.catalog.terminal import Terminal, check_terminal
from harness.checks.binding import FileBinding
from harness.core.fault import FAULT_CLASSES
from harness.core.run import DEFAULT_ACK

MANIFEST_NAME = "target.toml"
LATEST = "latest"
"""The version that a registry calls newest at the time of installing; it never carries an expectation."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}")
_PACKAGE = {
    "pypi": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?"),
    "npm": re.compile(r"(?:@[a-z0-9][a-z0-9._-]{0,62}/)?[a-z0-9][a-z0-9._-]{0,126}"),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_TIMEOUT_S = 600.0

Expected = Literal["held", "violated"]

_CLASSES = ("none", *FAULT_CLASSES)
_EXPECTED: dict[str, Expected] = {"held": "held", "violated": "violated"}


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a published package. ``sdist``: build it from source, which can be far smaller.

    ``on_request``: only whoever names its target gets it, and then in any version.
    """

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    sdist: bool = False
    on_request: bool = False

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One writer at one version; commands still hold their placeholders.

    ``expect`` maps a fault class (``power.<profile>`` for a power loss, ``none`` for the run without a fault) to the
    verdict that is not news; a class that is not in it has no expectation. ``random_names``: ids differ from run to
    run, so runs are compared masked. ``isolation`` "full": it never runs outside of a cell, where the directories
    in ``hidden`` are empty. ``headless``: it holds conversations, and how; ``terminal``: how in a terminal;
    ``repeats_ids``: it sends each call and result of a turn several times, which its API has to let pass; ``since``:
    what changes with its version; ``known``: what dialogues with a version have shown.
    """

    name: str
    runtime: Runtime
    run: tuple[str, ...]
    story: str = ""
    setup: tuple[str, ...] = ()
    recover: tuple[str, ...] = ()
    list_command: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    arm: str = ""
    ack: str = DEFAULT_ACK
    environment: Mapping[str, str] = {}
    expect: Mapping[str, Expected] = {}
    package: Package | None = None
    random_names: bool = False
    timeout_s: float = 30.0
    isolation: Literal["none", "full"] = "none"
    hidden: tuple[str, ...] = ()
    headless: Headless | None = None
    terminal: Terminal = Terminal()
    repeats_ids: bool = False
    since: tuple[Since, ...] = ()
    known: tuple[Known, ...] = ()
    bindings: tuple[FileBinding, ...] = ()

    @property
    def version(self) -> str:
        """The version of the package under test; empty for a writer that comes with its target."""
        return self.package.version if self.package else ""

    @property
    def label(self) -> str:
        """``name`` or ``name@version``: unique within the target."""
        return f"{self.name}@{self.version}" if self.version else self.name


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A target and its variants. ``directory`` is absolute."""

    name: str
    story: str
    directory: str
    variants: tuple[Variant, ...]


def load_manifest(directory: str) -> Target:
    """Return the target that ``directory`` describes. Raises :class:`ManifestError`."""
    directory = os.path.abspath(directory)
    path = os.path.join(directory, MANIFEST_NAME)
    shown = in_checkout(path)
    return compile_manifest(shown, read_toml(path, shown), directory)


def compile_manifest(shown: str, tables: dict[str, object], directory: str) -> Target:
    """Return the target that the tables of a file describe; ``shown`` is what messages call the file."""
    manifest = convert(shown, tables, TargetFile)
    if not _NAME.fullmatch(manifest.target.name):
        raise ManifestError(f"{shown}: [target] name: {manifest.target.name!r} is not of the form {_NAME.pattern}")
    if not manifest.variant:
        raise ManifestError(f"{shown}: no [[variant]]: a target needs at least one")
    variants: list[Variant] = []
    for section in manifest.variant:
        where = f"{shown}: [variant {section.name!r}]"
        _check_variant(where, section, directory)
        bindings = tuple(
            _binding(where if section.file else shown, index, each)
            for index, each in enumerate(section.file or manifest.file, 1)
        )
        variants.extend(_variants(where, section, bindings))
    seen: set[str] = set()
    for variant in variants:
        if variant.label in seen:
            raise ManifestError(f"{shown}: [variant {variant.label!r}] is described twice")
        seen.add(variant.label)
    return Target(
        name=manifest.target.name, story=manifest.target.story, directory=directory, variants=tuple(variants)
    )


def _check_variant(where: str, section: VariantSection, directory: str) -> None:
    """Raise :class:`ManifestError` where a key contradicts its meaning or another key."""
    if not _NAME.fullmatch(section.name):
        raise ManifestError(f"{where} name: not of the form {_NAME.pattern}")
    _check_commands(where, section, directory)
    _check_pattern(where, "ack", section.ack, "id")
    _check_pattern(where, "arm", section.arm, "")
    for name, value in section.environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise ManifestError(f"{where} environment: {name!r} is not a variable that can be set")
        names = STATIC_NAMES | {"api"} if section.headless else STATIC_NAMES
        check_placeholders(f"{where} environment.{name}", value, names)
    if not any("{dir}" in text for text in (*section.run, *section.environment.values())):
        raise ManifestError(f"{where} run: names {{dir}} nowhere, so the writer cannot know its state directory")
    if section.check and not any("{dir}" in text for text in (*section.check, *section.environment.values())):
        raise ManifestError(f"{where} check: names {{dir}} nowhere, so it cannot know the state it is to judge")
    _check_versions(where, section)
    if not (math.isfinite(section.timeout_s) and 0 < section.timeout_s <= _MAX_TIMEOUT_S):
        raise ManifestError(
            f"{where} timeout_s: {section.timeout_s} is not between 0 and {_MAX_TIMEOUT_S:g} seconds"
        )


def _check_versions(where: str, section: VariantSection) -> None:
    """Raise :class:`ManifestError` where isolation, or what depends on the version, contradicts another key."""
    for path in section.hidden:
        if not os.path.isabs(path) or section.isolation != "full":
            raise ManifestError(f'{where} hidden: {path!r}: needs isolation = "full" and absolute directories')
    if section.headless is not None:
        check_headless(f"{where} headless", section.headless)
    check_terminal(f"{where} terminal", section.terminal)
    for index, change in enumerate(section.since, 1):
        there = f"{where} since {index}"
        if section.package is None or not release(change.version):
            raise ManifestError(f"{there} version: {change.version!r}: needs a package and a version with numbers")
        for item in change.run:
            check_placeholders(f"{there} run", item, STATIC_NAMES)
        if section.headless is None and change.headless != Headless():
            raise ManifestError(f"{there} headless: the variant itself has no [variant.headless]")
        check_headless(f"{there} headless", change.headless)


def _expected(where: str, section: VariantSection) -> dict[str, Expected]:
    """Return the expectations by fault class, those of profiles as ``power.<profile>``."""
    found: dict[str, Expected] = {}
    for key, verdict in section.expect.items():
        if key not in _CLASSES:
            raise ManifestError(f"{where} expect: unknown fault class {key!r}{suggestion(key, _CLASSES)}")
        if isinstance(verdict, dict) != (key == "power"):
            shape = "a table of profiles" if key == "power" else "'held' or 'violated'"
            raise ManifestError(f"{where} expect.{key}: must be {shape}")
        each = _of_profiles(verdict) if isinstance(verdict, dict) else {key: verdict}
        for name, word in each.items():
            if word not in _EXPECTED:
                hint = suggestion(word, _EXPECTED)
                raise ManifestError(f"{where} expect.{name}: {word!r} is not valid{hint}")
            found[name] = _EXPECTED[word]
    return found


def _of_profiles(verdicts: Mapping[str, str]) -> dict[str, str]:
    """Return the expectations under power, ``all`` as every shipped profile that is not named beside it."""
    named = {name: word for name, word in verdicts.items() if name != ALL}
    every = dict.fromkeys(list_profiles(), verdicts[ALL]) if ALL in verdicts else {}
    return {f"power.{name}": word for name, word in {**every, **named}.items()}


def _check_commands(where: str, section: VariantSection, directory: str) -> None:
    commands = {
        "run": (section.run, STATIC_NAMES),
        "setup": (section.setup, STATIC_NAMES),
        "recover": (section.recover, STATIC_NAMES),
        "list": (section.list, STATIC_NAMES),
        "read": (section.read, READ_NAMES),
        "resume": (section.resume, READ_NAMES),
        "check": (section.check, CHECK_NAMES),
    }
    if not section.run:
        raise ManifestError(f"{where} run: is empty; it must name a program")
    for key, (argv, names) in commands.items():
        if argv and not argv[0]:
            raise ManifestError(f"{where} {key}: the first item must name a program")
        for item in argv:
            if "\0" in item:
                raise ManifestError(f"{where} {key}: an item holds a NUL byte")
            check_placeholders(f"{where} {key}", item, names)
            if item.startswith("{target}/") and "{" not in item[1:]:
                program = os.path.join(directory, item.removeprefix("{target}/"))
                if not os.path.exists(program):
                    raise ManifestError(f"{where} {key}: no file {item.removeprefix('{target}/')!r} in the target")
        if argv and key in ("read", "resume") and not any("{id}" in item for item in argv):
            raise ManifestError(f"{where} {key}: names {{id}} nowhere, so it cannot know which session is meant")
    if section.package is None and any("{package}" in item for argv, _ in commands.values() for item in argv):
        raise ManifestError(f"{where}: uses {{package}} but names no package")


def _check_pattern(where: str, key: str, pattern: str, group: str) -> None:
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ManifestError(f"{where} {key}: not a regular expression: {error}") from None
    if group and group not in compiled.groupindex:
        raise ManifestError(f"{where} {key}: needs a group (?P<{group}>…)")


def _variants(where: str, section: VariantSection, bindings: tuple[FileBinding, ...]) -> list[Variant]:
    """Return one variant per version of the section's package, or one if it has none."""
    expect = _expected(where, section)
    return [_variant(section, package, expect, bindings) for package in _packages(where, section.package)]


def _packages(where: str, section: PackageSection | None) -> list[Package | None]:
    if section is None:
        return [None]
    if not _PACKAGE[section.registry].fullmatch(section.name):
        raise ManifestError(f"{where} package.name: {section.name!r} is no {section.registry} package name")
    if bool(section.version) == bool(section.versions):
        raise ManifestError(f"{where} package: needs either version or versions")
    versions = section.versions or (section.version,)
    for version in versions:
        if not VERSION.fullmatch(version):
            raise ManifestError(f"{where} package.version: {version!r} is not a version")
    return [
        Package(
            registry=section.registry,
            name=section.name,
            version=version,
            sdist=section.sdist,
            on_request=section.on_request,
        )
        for version in versions
    ]


def _variant(
    section: VariantSection,
    package: Package | None,
    expect: dict[str, Expected],
    bindings: tuple[FileBinding, ...],
) -> Variant:
    return Variant(
        name=section.name,
        runtime=section.runtime,
        run=section.run,
        story=section.story,
        setup=section.setup,
        recover=section.recover,
        list_command=section.list,
        read=section.read,
        resume=section.resume,
        check=section.check,
        arm=section.arm,
        ack=section.ack,
        environment=section.environment,
        expect={} if package is not None and package.version == LATEST else expect,
        package=package,
        random_names=section.random_names,
        timeout_s=section.timeout_s,
        isolation=section.isolation,
        hidden=section.hidden,
        headless=section.headless,
        terminal=section.terminal,
        repeats_ids=section.repeats_ids,
        since=section.since,
        known=section.known,
        bindings=bindings,
    )


def _binding(shown: str, index: int, section: FileSection) -> FileBinding:
    parts = section.glob.replace("\\", "/").split("/")
    if not section.glob or section.glob.startswith("/") or ".." in parts or "\\" in section.glob:
        raise ManifestError(
            f"{shown}: [file {index}] glob: {section.glob!r} is not a path below the state directory"
        )
    if section.lag_ms < 0:
        raise ManifestError(f"{shown}: [file {index}] lag_ms: {section.lag_ms} is not a number of milliseconds")
    return FileBinding(
        glob=section.glob,
        format=section.format,
        id_key=section.id_key,
        torn_tail=section.torn_tail,
        open_turn=section.open_turn,
        litter=section.litter,
        json=section.json,
        lag_ms=section.lag_ms,
    )
