"""``tornwrite explain``: what it prints, its exit codes, and files that are none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from command_line import PATIENCE_S, Ended, environment, in_process, one_line, tornwrite

from harness.cli import wild_files
from harness.schemas import schema
from tests.report.json_schema_check import problems

SOUND = b'{"a": 1}\n'
SECRET = "swordfish"
TORN = json.dumps({"password": SECRET, "list": ["word"] * 900}).encode()[:4096]
HOSTILE = "a\x1b[31m\u202e.json"


@pytest.fixture(autouse=True)
def files(here: Path) -> Path:
    (here / "sound.json").write_bytes(SOUND)
    (here / "nul.json").write_bytes(bytes(144_258))
    (here / "torn.json").write_bytes(TORN)
    (here / "below" / "deep").mkdir(parents=True)
    (here / "below" / "b.json").write_bytes(SOUND)
    (here / "below" / "deep" / "a.jsonl").write_bytes(b'{"a":1}\n{"a":')
    return here


def result(ended: Ended) -> dict[str, Any]:
    document = ended.document
    shape = schema("explanation")
    assert list(problems(document["result"], shape, shape)) == []
    assert document["command"] == "explain"
    found: dict[str, Any] = document["result"]
    return found


def test_a_registry_of_nul_bytes(here: Path) -> None:
    ended = tornwrite("explain", "nul.json", cwd=here)
    assert ended.exit_code == 1
    assert ended.err == ""
    text = " ".join(ended.out.split())
    assert "nul.json: damaged (document, 144,258 bytes)" in text
    assert "every byte is NUL, size 144,258, not a multiple of 4,096" in text
    assert "could power loss or kernel crash: the size reached the disk and the data did not" in text
    assert "could not SIGKILL of the writer: a kill loses nothing that write() accepted" in text
    assert "prevent fsync(temporary) before the rename" in text
    assert "\x1b" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_every_text_fits_80_columns() -> None:
    ended = in_process("explain", "-r", "--show-bytes", ".")
    assert max(map(len, ended.out.splitlines())) <= 80


def test_exit_codes(here: Path) -> None:
    (here / "words.txt").write_text("words\n")
    assert in_process("explain", "sound.json").exit_code == 0
    assert in_process("explain", "sound.json", "torn.json").exit_code == 1
    assert in_process("explain", "sound.json", "words.txt").exit_code == 3
    assert in_process("explain", "words.txt", "torn.json").exit_code == 1
    assert "old version" in " ".join(in_process("explain", "sound.json").out.split())


def test_json(here: Path) -> None:
    ended = in_process("explain", "--json", "sound.json", "nul.json", "torn.json")
    told = result(ended)
    assert (ended.exit_code, told["damaged"], told["not_judged"]) == (1, 2, 0)
    sound, nul, torn = (file["explanation"] for file in told["files"])
    assert (sound["state"], sound["seen"], sound["causes"]) == ("sound", [], [])
    assert nul["seen"][0]["pattern"] == "nul_all/exact"
    assert torn["seen"][0]["offset"] == 4096
    assert {answer["cause"]: answer["answer"] for answer in nul["causes"]}["kill"] == "could not"


def test_content_is_shown_only_when_asked_for(here: Path) -> None:
    end = b'"word", "wo'
    (here / "torn.json").write_bytes(b'{"p":"' + SECRET.encode() + b'", "list": [' + end)
    for words in (("torn.json",), ("--json", "torn.json")):
        ended = in_process("explain", *words)
        assert SECRET not in ended.out
    shown = in_process("explain", "--show-bytes", "torn.json")
    assert SECRET in shown.out
    (window,) = result(in_process("explain", "--json", "--show-content", "torn.json"))["files"][0]["windows"]
    assert SECRET.encode() in bytes.fromhex(window["window_hex"])


def test_hostile_names_and_bytes_move_no_cursor(here: Path) -> None:
    (here / HOSTILE).write_bytes(b'{"\x1b[31m": "\xe2\x80\xae\x07')
    ended = in_process("explain", "--show-bytes", HOSTILE)
    assert ended.exit_code == 1
    assert "a\\x1b[31m\\u202e.json" in ended.out
    assert not set("\x1b\u202e\x07") & set(ended.out)
    assert result(in_process("explain", "--json", HOSTILE))["files"][0]["explanation"]["name"] == HOSTILE


def test_hostile_ids_move_no_cursor(here: Path) -> None:
    record = {"type": "user", "uuid": "u", "parentUuid": "\x1b[2J" + "x" * 500, "message": {"content": "m"}}
    (here / "s.jsonl").write_text(json.dumps(record) + "\n")
    ended = in_process("explain", "s.jsonl")
    assert "\\x1b[2J" in "".join(ended.out.split())
    assert "\x1b" not in ended.out
    assert "x" * 100 not in "".join(ended.out.split())


def test_directories(here: Path) -> None:
    refused = in_process("explain", "below")
    assert refused.exit_code == 2
    assert "-r" in one_line(refused)
    (here / "below" / "link").symlink_to(here / "nul.json")
    os.mkfifo(here / "below" / "pipe")
    told = result(in_process("explain", "--json", "-r", "below", "sound.json"))
    names = [file["explanation"]["name"] for file in told["files"]]
    assert names == ["below/b.json", "below/deep/a.jsonl", "sound.json"]


def test_a_file_below_a_directory_that_is_too_large_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wild_files.read_file, "__defaults__", (1000,))
    ended = in_process("explain", "-r", "below", "--json")
    assert (ended.exit_code, ended.document["errors"]) == (1, [])
    (here / "below" / "large.json").write_bytes(bytes(2000))
    ended = in_process("explain", "-r", "below/large.json", "below")
    assert ended.exit_code == 2
    os.remove(here / "below" / "deep" / "a.jsonl")
    ended = in_process("explain", "-r", "below")
    assert ended.exit_code == 3
    assert "large.json" in ended.err
    assert "large.json" in in_process("explain", "-r", "below", "--json").document["errors"][0]


REFUSED = [
    (("explain",), ["FILE"]),
    (("explain", "nul.jsn"), ["'nul.jsn'", "no such file", "did you mean 'nul.json'"]),
    (("explain", "no/such/file"), ["'no/such/file'", "no such file"]),
    (("explain", "pipe"), ["'pipe'", "FIFO"]),
    (("explain", "dangling"), ["'dangling'"]),
    (("explain", "/dev/zero"), ["'/dev/zero'", "a device"]),
    (("explain", "-", "-"), ["standard input", "once"]),
    (("explain", "--as", "xml", "nul.json"), ["--as", "xml", "jsonl"]),
    (("explain", "a\0b"), ["a\\x00b"]),
    (("explain", "sound.json", "missing.json"), ["'missing.json'"]),
]


@pytest.mark.skipif(os.name != "posix", reason="FIFOs and devices")
@pytest.mark.parametrize(("args", "fragments"), REFUSED, ids=lambda item: " ".join(item)[:40] if item else "")
def test_what_cannot_be_read_is_one_line(args: tuple[str, ...], fragments: list[str], here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "dangling").symlink_to("nowhere")
    ended = in_process(*args)
    text = one_line(ended)
    assert ended.exit_code == 2
    for fragment in fragments:
        assert fragment in text
    document = in_process(*args, "--json").document
    assert (document["exit_code"], document["result"], len(document["errors"])) == (2, None, 1)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom modes bind")
def test_a_file_that_may_not_be_read(here: Path) -> None:
    (here / "sound.json").chmod(0)
    ended = in_process("explain", "sound.json")
    assert (ended.exit_code, "Permission denied" in one_line(ended)) == (2, True)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_a_socket_is_no_file() -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/s")
        ended = in_process("explain", f"{directory}/s")
    assert "a socket" in one_line(ended)


def test_a_file_that_is_too_large(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wild_files.read_file, "__defaults__", (1 << 20,))
    (here / "large.json").write_bytes(bytes((1 << 20) + 1))
    ended = in_process("explain", "large.json")
    assert ended.exit_code == 2
    assert "larger than 1 MiB (1,048,576 bytes)" in one_line(ended)


def piped(data: bytes, *args: str) -> Ended:
    process = subprocess.run(
        [sys.executable, "-m", "harness", "explain", *args],
        input=data,
        capture_output=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(process.returncode, process.stdout.decode(), process.stderr.decode())


def test_standard_input() -> None:
    ended = piped(b'{"a":1}\n{"a"', "-")
    assert (ended.exit_code, ended.out.split(" (")[0]) == (1, "standard input: damaged")
    assert piped(b'{"a":1}\n{"a":2}\n', "-", "--as", "json").exit_code == 1
    assert piped(b'{"a":1}\n{"a":2}\n', "-", "--as", "jsonl").exit_code == 0
