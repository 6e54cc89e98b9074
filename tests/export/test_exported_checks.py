"""What an exported file takes for damage, and what it leaves alone; what of a writer travels with it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from harness.catalog.manifest import Package
from harness.core.derived import words
from harness.core.fault import CONCURRENCY, CrashPoint, Damaged, FaultPlan, Kill, PowerLoss, Timed
from harness.export.exporting import NotExportableError
from harness.export.parts import damage
from harness.export.parts.reproduce import CannotRunError, npm_package, pypi_package
from harness.export.parts.tools import Tools
from harness.export.reproduction import why_not
from harness.export.sources import LARGEST_BYTES, sources_of
from harness.export.starting import install_line, start_of_probe

AT = CrashPoint(operation="write", role="a.json", occurrence=1)


def line(**record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


def test_documents() -> None:
    files = {"a.json": b"{}", "b.json": b"", "c.json": b"\0\0", "d.json": b'{"a":', "e.txt": b""}
    found = damage.documents_are_whole(files, "<n>.json")
    assert [text.split(",")[0] for text in found] == [
        "'b.json' is empty", "'c.json' is nothing but NULs", "'d.json' is not JSON: torn",
    ]  # fmt: skip
    assert damage.files_hold_something(files, "<n>.json") == ["'b.json' is empty"]
    assert damage.files_are_there(files, ["a.json", "b.json", "z.json"]) == [
        "'b.json' is empty", "'z.json' is missing",
    ]  # fmt: skip


def test_records() -> None:
    whole = line(id=1) + line(id=2)
    assert damage.lines_are_whole({"log": whole}, "log") == []
    assert damage.lines_are_whole({"log": whole[:-3]}, "log") == [
        "'log' ends in 7 bytes without a newline, after 1 lines"
    ]
    assert damage.lines_are_whole({"log": b"[]\n" + whole}, "log") == [
        "'log': 1 of 3 lines are no records, from line 1"
    ]
    assert damage.saved_records_are_there({"log": whole}, "log", "id", ["1", "2"]) == []
    assert damage.saved_records_are_there({"log": whole}, "log", "id", ["1", "3\x1b"]) == [
        "1 of 2 are lost: '3\\x1b'"
    ]
    collected = {"db.json": b'{"items": [{"id": "a1"}, {"id": 2}], "by": {"b": null}}', "torn.json": b'{"x'}
    assert damage.saved_ids_are_there(collected, "<n>.json", ["a1", "2", "b"]) == []
    assert damage.saved_ids_are_there(collected, "db.json", ["a1", "3"]) == ["1 of 2 are lost: '3'"]
    nested = {"log": line(a={"b": "x"}) + b"[1]\n"}
    assert damage.saved_records_are_there(nested, "log", "a.b", ["x"]) == []


def test_conversations() -> None:
    call = line(uuid="1", parentUuid=None, message={"content": [{"type": "tool_use", "id": "t"}]})
    result = line(uuid="2", parentUuid="1", message={"content": [{"type": "tool_result", "tool_use_id": "t"}]})
    assert damage.calls_are_answered({"a": call + result}, "a") == []
    assert damage.calls_are_answered({"a": call}, "a") == ["'a': 1 of 1 calls have no result: 't'"]
    assert damage.records_are_linked({"a": call + result}, "a") == []
    assert damage.records_are_linked({"a": result}, "a") == ["'a': 1 records follow one that is not there: '1'"]


def test_bytes() -> None:
    whole, torn = damage.digest(b"12"), damage.digest(b"1")
    assert damage.files_are_not_these({"a": b"12"}, {"a": torn}) == []
    assert damage.files_are_not_these({"a": b"1"}, {"a": torn}) == [f"'a' is the damaged one: {torn[:32]}"]
    assert damage.files_are_not_these({}, {"a": "missing"}) == ["'a' is the damaged one: missing"]
    assert damage.success_is_true({"a": b"1"}, {"a": whole}, 1) == []
    assert damage.success_is_true({"a": b"12"}, {"a": whole}, 0) == []
    assert damage.success_is_true({}, {"a": whole}, 0) == ["exit code 0, and 'a' is missing"]


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        (FaultPlan(faults=(PowerLoss(at=AT, profile="ext4"),)), "power loss"),
        (FaultPlan(faults=(Timed(delay_us=1),)), "random"),
        (FaultPlan(faults=(Damaged(path="a", damage="nul"),)), "damaged"),
        (FaultPlan(faults=(Kill(at=CrashPoint(operation="ack", role="", occurrence=1)),)), "no file operation"),
        (FaultPlan(faults=(Kill(at=AT), Kill(at=AT))), "several"),
        (CONCURRENCY, "--schedules"),
    ],
)
def test_what_is_no_script_is_said_in_one_line(plan: FaultPlan, word: str) -> None:
    assert word in why_not(plan) and "\n" not in why_not(plan)


def test_a_kill_and_no_fault_can_be_exported() -> None:
    assert (why_not(FaultPlan(faults=(Kill(at=AT),))), why_not(FaultPlan())) == ("", "")


def test_a_package_is_found_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TORNWRITE_PACKAGE", raising=False)
    monkeypatch.chdir(tmp_path)
    for find in (npm_package, pypi_package):
        with pytest.raises(CannotRunError, match=r"^@a/b 1\.0 is not installed; the install line"):
            find("@a/b", "1.0")
    (tmp_path / "node_modules" / "@a" / "b").mkdir(parents=True)
    (tmp_path / "node_modules" / "@a" / "b" / "package.json").write_text(
        '{"version": "2.0\\u001b"}', encoding="utf-8"
    )
    assert npm_package("@a/b", "1.0") == str(tmp_path)
    directory = pypi_package("pytest", pytest.__version__)
    assert Path(directory, "pytest").is_dir()
    assert capsys.readouterr().out.splitlines() == [
        "@a/b '2.0\\x1b'; the finding is of 1.0", f"pytest '{pytest.__version__}'",
    ]  # fmt: skip
    monkeypatch.setenv("TORNWRITE_PACKAGE", "/elsewhere")
    assert pypi_package("no-such-package-zz", "1.0") == "/elsewhere"


def test_a_package_is_installed_as_it_was_here() -> None:
    sdist = Package(registry="pypi", name="a-b", version="1.0", sdist=True)
    assert install_line(sdist) == "python3 -m pip install --no-binary a-b a-b==1.0"
    assert (
        install_line(Package(registry="npm", name="@a/b", version="1.0"))
        == "npm install --ignore-scripts @a/b@1.0"
    )


def test_tools_say_what_they_say_elsewhere_one_thing_at_a_time(tmp_path: Path) -> None:
    steps = [
        {"at": 0, "do": do, "session": "s0", "tool_id": "t1", "result_bytes": 700}
        for do in ("tool_start", "tool_done")
    ]
    steps += [{"at": 0, "do": "assistant", "session": "s0"}, {"at": 1, "do": "escape", "session": "s0"}]
    served = Tools(str(tmp_path / "s"), {"seed": 3, "steps": steps})
    assert not served.say_next()
    with socket.socket(socket.AF_UNIX) as writer:
        writer.connect(str(tmp_path / "s"))
        assert not served.say_next()
        writer.sendall(b'{"start": "t1"}\n')
        assert [served.say_next(), served.say_next(), served.say_next()] == [True, True, False]
        lines = [json.loads(each) for each in writer.recv(1 << 16).splitlines()]
    assert lines == [
        {"tool_id": "t1", "result": words(3, "t1", 700), "is_error": False},
        {"do": "escape", "session": "s0", "at": 1},
    ]
    assert served.connection is not None
    served.connection.close()
    served.listener.close()


def test_imports_travel(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    texts = {
        "w.py": "import a, json\nfrom sub import b\nimport missing\n",
        "a.py": "import w\n",
        "sub/b.py": "",
        "sub/__init__.py": "",
        "m.mjs": "import { x } from './n.mjs';\nimport y from \"node:fs\";\nawait import('../outside.mjs')\n",
        "n.mjs": "export const x = 1;\n",
        "other.py": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert set(sources_of(str(tmp_path), ["w.py", "m.mjs"])) == set(texts) - {"other.py"}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (LARGEST_BYTES + 1), None])
def test_what_nobody_reads_does_not_travel(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "w.py").write_bytes(content)
    with pytest.raises(NotExportableError, match=r"w\.py|bytes"):
        sources_of(str(tmp_path), ["w.py"])


def test_a_source_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "w.py").write_text("", encoding="utf-8")
    with pytest.raises(NotExportableError, match="outside"):
        sources_of(str(tmp_path / "in"), ["../w.py"])


def test_a_probe_names_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "save.py").write_text("import part\n", encoding="utf-8")
    (tmp_path / "part.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    start = start_of_probe(["python", str(tmp_path / "save.py"), "{dir}", "--fast"], {})
    assert start.run == ("{python}", "{target}/save.py", "{dir}", "--fast")
    assert set(start.sources) == {"save.py", "part.py"}
    with pytest.raises(NotExportableError, match="no file"):
        start_of_probe(["python", str(tmp_path), "{dir}"], {})
    with pytest.raises(NotExportableError, match="path of this machine"):
        start_of_probe(["python", "save.py", "/nowhere/at/all"], {})
