"""A token made into a file, and the file tried out: a reproduction that does not reproduce here is not handed over."""

from __future__ import annotations

import os

from harness.campaign.examine import CHECK_INVARIANT
from harness.campaign.executor import Executor
from harness.campaign.probe import Probe, probe_subject
from harness.campaign.replay import subject_of
from harness.campaign.token import ReplayRecord
from harness.catalog import find_installed, find_variant, load_target
from harness.export.document import document
from harness.export.reproduction import reproduction, why_not
from harness.export.sources import NotExportableError
from harness.export.starting import start_of_probe, start_of_target
from harness.report.escape import plain
from harness.sandbox.command import run_command
from harness.sandbox.environment import real_python
from harness.sandbox.workspace import Workspace

REPRODUCED, SAYS_SO = 1, "REPRODUCED"
"""The exit code and the last line of an exported file that reproduces its finding."""
_LONGEST_S = 180.0
_TIMES = 3
"""Runs of a file that decides nothing: what threads do to each other by chance is no reproduction."""


class Exported:
    """The text of the file, what it said when it was run here, and whether the command was that of the token."""

    def __init__(self, text: str, said: str, same_command: bool) -> None:
        self.text, self.said, self.same_command = text, said, same_command


def exported(
    executor: Executor, workspace: Workspace, record: ReplayRecord, token: str, probe: Probe | None = None
) -> Exported:
    """Return the file of a token; ``probe`` is the command of a probe's. Raises :class:`NotExportableError`."""
    if record.kind == "dialogue":
        raise NotExportableError("it is of a dialogue, which needs a scripted API: replay shows it")
    if reason := why_not(record.plan):
        raise NotExportableError(reason)
    if record.invariant == CHECK_INVARIANT:
        raise NotExportableError("only its own --check sees it")
    if probe is not None:
        subject, start = (
            probe_subject(probe, workspace, record.seed),
            start_of_probe(probe.command, probe.environment),
        )
    else:
        subject = subject_of(record, workspace)
        start = start_of_target(record, subject)
    text = document(reproduction(executor, subject, record, start, token))
    if workspace.base in text:
        raise NotExportableError("its text would name a directory of this machine")
    by_chance = not record.plan.faults and record.plan.schedule is None
    for _ in range(_TIMES if by_chance else 1):
        said = _tried_out(text, workspace, _package_directory(record))
    return Exported(text, said, probe is None or probe.digest == record.digest)


def _package_directory(record: ReplayRecord) -> str:
    if record.kind == "probe":
        return ""
    variant = find_variant(
        load_target(record.target), f"{record.variant}@{record.version}" if record.version else record.variant
    )
    return find_installed(variant.package).directory if variant.package else ""


def _tried_out(text: str, workspace: Workspace, package: str) -> str:
    """Run the file once, as somebody who has nothing else, and return its last words. Raises NotExportableError."""
    path = os.path.join(workspace.base, "repro.py")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    extra = {"TORNWRITE_PACKAGE": package} if package else {}
    done = run_command(
        [real_python(), "-I", path],
        cwd=workspace.cwd,
        environment=workspace.environment(extra),
        timeout_s=_LONGEST_S,
    )
    said = [
        plain(line, 200) for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines() if line
    ]
    if done.exit_code != REPRODUCED or said[-1:] != [SAYS_SO]:
        raise NotExportableError(
            f"the exported file did not reproduce it here: {'; '.join(said[-4:]) or 'it said nothing'}"
        )
    return said[-1]
