"""A target nobody described: the command line of ``tornwrite probe`` as a subject.

``{dir}`` in the command and the check is the state directory. Words that name existing files stay valid although
the target starts in an empty directory: they are made absolute here. The target inherits nothing but PATH, LANG and
the sandbox's HOME and TMPDIR, plus what ``--env`` names.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.campaign.token import probe_digest
from harness.catalog import ManifestError, Subject
from harness.checks.binding import TornTail
from harness.core.run import DEFAULT_ACK, Limits, RunSpec
from harness.core.tree import EMPTY_TREE, Tree
from harness.core.verdict import Finding
from harness.sandbox.environment import ProgramNotFoundError, resolve_program
from harness.sandbox.workspace import Workspace

PROBE_TARGET = "probe"
_NAME_CHARACTERS = 64
DIRECTORY_WORD = "{dir}"


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says: the command, how it is judged, and what it may see of the environment.

    ``instances``: so many of the command work on one state, each told its number by ``TORNWRITE_INSTANCE``;
    ``readers``: so many programs read that state beside them.
    """

    command: tuple[str, ...]
    check: tuple[str, ...] = ()
    torn_tail: TornTail = "violation"
    environment: Mapping[str, str] = {}
    ack: str = DEFAULT_ACK
    arm: str = ""
    start: Tree = EMPTY_TREE
    timeout_s: float = 30.0
    instances: int = 1
    readers: int = 0

    @property
    def digest(self) -> str:
        """What a token carries in place of the command, and of how it is judged."""
        how = ["--torn-tail healed"] if self.torn_tail == "healed" else []
        how += [f"--instances {self.instances}"] if self.instances > 1 else []
        how += [f"--readers {self.readers}"] if self.readers else []
        return probe_digest(self.command, " ".join(how), "\0".join(self.check))

    @property
    def replay_words(self) -> str:
        """The options and the command that must follow a token, quoted for a shell."""
        options = ["--check", shlex.join(self.check)] if self.check else []
        options += ["--torn-tail", self.torn_tail] if self.torn_tail != "violation" else []
        options += ["--ack", self.ack] if self.ack != DEFAULT_ACK else []
        options += ["--instances", str(self.instances)] if self.instances > 1 else []
        options += ["--readers", str(self.readers)] if self.readers else []
        return shlex.join([*options, "--", *self.command])

    @property
    def name(self) -> str:
        """The program's base name, as the variant of findings and reports."""
        words = [word for word in self.command if DIRECTORY_WORD not in word and not word.startswith("-")]
        scripts = [word for word in words[1:] if os.path.splitext(word)[1] and not re.search(r"\s", word)]
        raw = os.path.basename((scripts or words or ["command"])[0])
        return re.sub(r"[^A-Za-z0-9._-]", "_", raw)[:_NAME_CHARACTERS].lstrip(".-_") or "command"


def environment_of(words: Iterable[str]) -> dict[str, str]:
    """Return what ``--env NAME`` (the caller's value) and ``--env NAME=VALUE`` ask for."""
    out = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ManifestError(f"--env {word!r}: not of the form NAME or NAME=VALUE")
        if not equals:
            if name not in os.environ:
                raise ManifestError(f"--env {name}: not set in this environment; write {name}=VALUE")
            value = os.environ[name]
        out[name] = value
    return out


def ack_pattern(text: str) -> str:
    """Return ``text`` if it is a regular expression with a group ``id``; else raise :class:`ManifestError`."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ManifestError(f"--ack {text!r}: not a regular expression: {error}") from None
    if "id" not in pattern.groupindex:
        raise ManifestError(f"--ack {text!r}: needs a group named id, as in {DEFAULT_ACK!r}")
    return text


def _program(word: str) -> str:
    """Return the program to start; inside a virtual environment, ``python`` is that environment's."""
    environment = os.environ.get("VIRTUAL_ENV", "")
    if word in ("python", "python3") and environment:
        own = os.path.join(environment, "Scripts" if os.name == "nt" else "bin", "python")
        if os.path.exists(own):
            return own
    return resolve_program(word)


def _command(words: Sequence[str], root: str) -> tuple[str, ...]:
    if not words:
        return ()
    absolute = [os.path.abspath(word) if _names_file(word) else word for word in words[1:]]
    return tuple(word.replace(DIRECTORY_WORD, root) for word in (_program(words[0]), *absolute))


def _names_file(word: str) -> bool:
    return bool(word) and "\0" not in word and not os.path.isabs(word) and os.path.exists(word)


def probe_subject(probe: Probe, workspace: Workspace, seed: int = 1) -> Subject:
    """Return the subject to run. Raises :class:`ManifestError` for a command that cannot be what was meant."""
    if not any(DIRECTORY_WORD in word for word in probe.command):
        raise ManifestError(
            "the command does not mention {dir}, the state directory it is to write to; "
            "as in: -- python save.py {dir}"
        )
    if probe.check and not any(DIRECTORY_WORD in word for word in probe.check):
        raise ManifestError("--check does not mention {dir}, the state it is to judge")
    try:
        argv = _command(probe.command, workspace.root)
        check = _command(probe.check, workspace.root)
    except ProgramNotFoundError as error:
        raise ManifestError(f"cannot start the command: {error}") from None
    spec = RunSpec(
        argv=argv,
        root=workspace.root,
        cwd=workspace.cwd,
        environment=workspace.environment(probe.environment),
        start=probe.start,
        ack=probe.ack,
        arm=probe.arm,
        arm_times=probe.instances,
        limits=Limits(timeout_s=probe.timeout_s * probe.instances),
        instances=probe.instances,
        readers=probe.readers,
    )
    return Subject(
        target=PROBE_TARGET,
        variant=probe.name,
        version="",
        spec=spec,
        check=check,
        torn_tail=probe.torn_tail,
        seed=seed,
    )


def torn_tail_hint(subject: Subject, findings: Iterable[Finding]) -> str:
    """Return what to say where torn last lines of inferred logs are all that is damaged, else an empty string.

    Nothing but the program knows whether its next start heals them.
    """
    found = list(findings)
    torn = all(item.invariant in ("B1", "B2") and item.damage == "torn" for item in found)
    if not found or not torn or subject.bindings or subject.check or subject.torn_tail == "healed":
        return ""
    logs = ", ".join(dict.fromkeys(item.role for item in found))
    return (
        f"the only damage is a torn last line of {logs}; if the next start of the program cuts it off or completes "
        "it, say so: --torn-tail healed"
    )
