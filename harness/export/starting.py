"""How an exported file starts the writer: the words of a manifest or a probe, and nothing of this machine."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from harness.campaign.token import ReplayRecord
from harness.catalog import Subject, find_installed, find_variant, load_target
from harness.catalog.manifest import Package
from harness.export.reproduction import Startable
from harness.export.sources import NotExportableError, sources_of

_EVERYWHERE = ("/bin", "/usr/bin", "/usr/local/bin")
_IN_TARGET = re.compile(r"\{target\}/([^{}]+)")


def start_of_target(record: ReplayRecord, subject: Subject) -> Startable:
    """Return how a target's variant is started. Raises NotExportableError."""
    target = load_target(record.target)
    variant = find_variant(target, f"{record.variant}@{record.version}" if record.version else record.variant)
    named = [name for word in (*variant.run, *variant.setup) for name in _IN_TARGET.findall(word)]
    (workload,) = subject.spec.files.values()
    package = variant.package
    if package is not None:  # "latest" is a version by now
        package = msgspec.structs.replace(package, version=find_installed(package).version)
    return Startable(
        run=variant.run,
        set_up=variant.setup,
        environment={"TORNWRITE_NOW": subject.spec.environment["TORNWRITE_NOW"], **variant.environment},
        sources=sources_of(target.directory, named),
        workload=msgspec.json.decode(workload),
        package=(package.registry, package.name, package.version) if package else None,
        install=install_line(package) if package else "",
        story=f"{record.target}/{variant.name} ({variant.story or target.story})",
    )


def install_line(package: Package) -> str:
    """Return the command that installs a package as it was installed here."""
    if package.registry == "npm":
        return shlex.join(["npm", "install", "--ignore-scripts", f"{package.name}@{package.version}"])
    source = ["--no-binary", package.name] if package.sdist else []
    return shlex.join(["python3", "-m", "pip", "install", *source, f"{package.name}=={package.version}"])


def start_of_probe(words: Sequence[str], environment: Mapping[str, str]) -> Startable:
    """Return how a probe's command is started: files that it names travel, and what they import from beside them."""
    program, *rest = words
    sources: dict[str, str] = {}
    run = [_program(program, sources)]
    run += [_named(word, sources) if os.path.exists(word) else word for word in rest]
    if any(os.path.isabs(word) for word in run):
        raise NotExportableError("its command names a path of this machine")
    shown = shlex.join(run).replace("{target}/", "").replace("{python}", "python")
    return Startable(run=tuple(run), environment=environment, sources=sources, story=shown)


def _program(word: str, sources: dict[str, str]) -> str:
    """Return the word for a program: interpreters and what every system has are found where the file runs."""
    directory, name = os.path.split(word)
    if re.fullmatch(r"python(3(\.\d+)?)?", name):
        return "{python}"
    return name if directory in ("", *_EVERYWHERE) or name == "node" else _named(word, sources)


def _named(word: str, sources: dict[str, str]) -> str:
    """Take the file that a word of a command names into ``sources``, and return the word for it."""
    if not os.path.dirname(word) and not os.path.isfile(word):
        return word  # a program on the PATH
    if not os.path.isfile(word):
        raise NotExportableError(f"its command names {word!r}, which is no file")
    directory, name = os.path.split(os.path.abspath(word))
    found = sources_of(directory, [name])
    if any(sources.get(each, text) != text for each, text in found.items()):
        raise NotExportableError(f"two of its files have the name {name!r}")
    sources |= found
    return f"{{target}}/{name}"
