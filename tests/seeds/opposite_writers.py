"""For each claim a writer of the opposite kind, and the targets in which the bad ones among them stand.

The bad writers lie in ``writers/<target>/``: files that go over a copy of the shipped target, and ``variants.toml``,
which is added to its manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from harness.catalog import selection
from harness.catalog.data import target_directories

WRITERS = Path(__file__).with_name("writers")
FIX, SDK = "fork_session/seed004_fix@0.1.72", "fork_session/sdk@0.1.72"
SYNCED = "fork_session/synced@0.1.72"

OPPOSITES = {
    "000.01": "transcript/durable",
    "000.02": "transcript/durable",
    "000.03": "transcript/durable",
    "000.04": "transcript/durable",
    "000.05": "transcript/durable",
    "000.06": "transcript/read_modify_write",
    "000.07": "transcript/durable",
    "000.08": "transcript/durable",
    "000.09": "transcript/read_modify_write",
    "000.13": "transcript/durable",
    "000.14": "transcript/durable",
    "000.15": "transcript/durable",
    "000.16": "transcript/mode_in_chain",
    "000.17": "transcript/durable",
    "000.18": "transcript/seed000_example_moved",
    "000.19": "transcript/read_modify_write",
    "000.21": "transcript/durable",
    "000.22": "transcript/never_waits",
    "000.23": "transcript/per_record",
    "000.24": "transcript/read_modify_write",
    "000.25": "transcript/durable",
    "000.26": "transcript/durable",
    "000.27": "transcript/tmp_fsync_rename",
    "000.28": "transcript/tmp_fsync_rename",
    "000.29": "transcript/per_record",
    "000.30": "transcript/per_record",
    "000.31": "transcript/durable",
    "000.32": "transcript/durable",
    "000.33": "transcript/durable",
    "001.01": "transcript/durable",
    "001.02": "transcript/durable",
    "001.03": "transcript/per_record",
    "001.04": "transcript/per_record",
    "001.05": "transcript/durable",
    "001.06": "transcript/per_record",
    "001.07": "transcript/durable",
    "001.10": "transcript/durable",
    "001.11": "transcript/durable",
    "001.12": "transcript/durable",
    "001.13": "transcript/cancels_last",
    "001.14": "transcript/per_record",
    "001.15": "transcript/per_record",
    "001.16": "transcript/per_record",
    "001.18": "transcript/durable",
    "001.19": "transcript/per_record",
    "001.20": "transcript/per_record",
    "002.01": "registry/durable",
    "002.02": "registry/nul_first",
    "002.03": "registry/nul_first",
    "002.04": "registry/forgetful",
    "002.05": "registry/durable",
    "002.06": "registry/durable",
    "002.07": "registry/durable",
    "002.08": "registry/in_place",
    "002.09": "registry/in_place",
    "002.10": "registry/in_place",
    "002.11": "registry/in_place",
    "002.13": "registry/durable",
    "002.15": "registry/forgetful",
    "002.16": "registry/seed002_fix",
    "002.17": "registry/seed002_fix",
    "002.18": "registry/durable",
    "002.19": "registry/durable",
    "002.20": "registry/in_place",
    "002.21": "registry/in_place",
    "002.22": "registry/in_place",
    "002.23": "registry/in_place",
    "002.24": "registry/in_place",
    "002.25": "registry/seed002_fix",
    "002.26": "registry/seed002_fix",
    "002.33": "registry/durable",
    "002.34": "registry/durable",
    "002.35": "registry/durable",
    "002.36": "registry/durable",
    "002.37": "registry/durable",
    "002.38": "registry/durable",
    "002.39": "registry/durable",
    "002.40": "registry/seed002_fix",
    "002.41": "registry/seed002_fix",
    "002.42": "registry/forgetful",
    "002.43": "registry/durable",
    "003.01": "sessions_index/durable",
    "003.02": "sessions_index/forgetful",
    "003.03": "sessions_index/durable",
    "003.04": "sessions_index/cached_snapshot",
    "003.05": "sessions_index/durable",
    "003.06": "sessions_index/cached_snapshot",
    "003.09": "sessions_index/durable",
    "003.10": "sessions_index/durable",
    "003.11": "sessions_index/durable",
    "003.12": "sessions_index/durable",
    "003.13": "sessions_index/durable",
    "003.14": "sessions_index/durable",
    "003.15": "sessions_index/durable",
    "003.16": "sessions_index/durable",
    "003.17": "sessions_index/durable",
    "003.18": "sessions_index/never_written",
    "003.19": "sessions_index/durable",
    "003.20": "sessions_index/durable",
    "003.21": "sessions_index/cached_snapshot",
    "003.22": "sessions_index/cached_snapshot",
    "003.23": "sessions_index/cached_snapshot",
    "003.24": "sessions_index/durable",
    "003.25": "sessions_index/cached_snapshot",
    "003.26": "sessions_index/durable",
    "003.27": "sessions_index/durable",  # whose measured program is another one: writers/sessions_index
    "003.28": "sessions_index/durable",
    "003.29": "sessions_index/cached_snapshot",
    "003.30": "sessions_index/durable",
    "003.31": "sessions_index/cached_snapshot",
    "003.32": "sessions_index/forgetful",
    "003.33": "sessions_index/any_case",
    "003.34": "sessions_index/other_format",
    "003.35": "sessions_index/other_format",
    "003.38": "sessions_index/durable",
    "003.40": "sessions_index/durable",
    "003.41": "sessions_index/durable",
    "003.42": "sessions_index/durable",
    "003.43": "sessions_index/durable",
    "003.44": "sessions_index/forgetful",
    "003.45": "transcript/durable",
    "003.46": "sessions_index/durable",
    "003.47": "sessions_index/cached_snapshot",
    "003.48": "sessions_index/cached_snapshot",
    "003.49": "sessions_index/cached_snapshot",
    "004.01": FIX,
    "004.02": FIX,
    "004.03": "fork_session/rewrites_source@0.1.72",
    "004.04": FIX,
    "004.05": SDK,
    "004.06": "fork_session/careful@0.1.72",
    "004.07": SDK,
    "004.09": FIX,
    "004.10": FIX,
    "004.11": "fork_session/careful@0.1.72",
    "004.13": FIX,
    "004.14": SYNCED,
    "004.15": SYNCED,
    "004.16": SYNCED,
    "004.17": SYNCED,
    "004.18": SYNCED,
    "004.19": SYNCED,
    "004.20": "fork_session/rewrites_source@0.1.72",
}
"""By the id of the claim."""

BREAKING_STEPS = {"000.16": "mode_switch", "001.13": "ctrl_c"}
"""Of claims about one step: the step, without which their bad writers do no harm."""


@contextmanager
def among_bad_writers(directory: Path) -> Iterator[None]:
    """Let targets be found as they are shipped, with the bad writers beside the others."""
    found = target_directories()
    for over in sorted(WRITERS.iterdir()):
        place = directory / over.name
        shutil.copytree(found[over.name], place, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(over, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        with open(place / "target.toml", "a", encoding="utf-8") as stream:
            stream.write((over / "variants.toml").read_text(encoding="utf-8"))
        found[over.name] = str(place)
    with mock.patch.object(selection, "target_directories", lambda: found):
        yield
