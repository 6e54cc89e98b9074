"""A file that no two runs write alike silences nothing but itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conducting import conduct_probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]

DEAF = """
import os, secrets, sys

def save(path, data):
    file = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, data)
    os.close(file)
    os.rename(path + ".tmp", path)

for number in range(1, 4):
    save(sys.argv[1] + "/doc.txt", b"line %d\\n" % number * (300 - number))
    save(sys.argv[1] + "/noise.bin", secrets.token_bytes(300))
    os.write(1, b"ACK %d\\n" % number)
"""
"""Publishes documents by rename, deaf to short writes; one of them is random."""


def test_a_random_file_beside_it_hides_no_torn_document(tmp_path: Path) -> None:
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    done = conduct_probe(tmp_path, script, ("short",))
    found = {(item.invariant, item.role) for item in done.findings if item.fault_class == "short" and item.runs}
    assert ("M1", "doc.txt") in found
    assert ("W1", "doc.txt") in found
    assert done.finished.exit_code == 1
    assert any("differ in noise.bin: only its form is judged" in text for text in done.notices)
