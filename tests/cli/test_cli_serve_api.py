"""``tornwrite serve-api``: what it prints, how it ends, and every way to call it wrong."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import environment, in_process, start, tornwrite

from tests.survivors import survivors

pytest.importorskip("uvicorn")
pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name != "posix", reason="the service is for POSIX")]

SCRIPT = """
[[turn]]
text = "hello"
fault = [{ kind = "drop" }]
"""
GATED = SCRIPT + '[[turn]]\n[[turn.call]]\ntool = "mcp__tornwrite__gate"\nhold = "after_effect"\n'


def _ask(address: str) -> int:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    body = {"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "Bash"}]}
    connection.request("POST", "/v1/messages", json.dumps(body))
    response = connection.getresponse()
    try:
        response.read()
    except http.client.IncompleteRead:
        return 0
    finally:
        connection.close()
    return response.status


def test_it_serves_until_ctrl_c_and_sums_up(here: Path) -> None:
    (here / "s.toml").write_text(SCRIPT)
    with start(
        "serve-api", "s.toml", "--log", "log.jsonl", cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline().decode() for _ in range(7)]
        assert printed[0] == "s.toml: 1 turn, then 'That was all.'\n"
        address = printed[1].split()[-1]
        assert f"ANTHROPIC_BASE_URL={address} ANTHROPIC_API_KEY=dummy" in printed[3]
        assert printed[-1] == "Ctrl+C ends it.\n"
        assert all(len(line) <= 80 for line in printed)
        assert [_ask(address), _ask(address), _ask(address)] == [0, 200, 200]
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == "requests: 3 main; turns answered: 1 of 1\nanswers cut: 1 dropped\n"
    assert survivors(str(here), 5.0) == set()
    assert (here / "log.jsonl").read_bytes().count(b'"line":"request"') == 3


def test_json_is_one_object_at_the_end(here: Path) -> None:
    (here / "s.toml").write_text(GATED)
    ended = tornwrite("serve-api", "s.toml", "--tools", "t", "--for", "0.5s", "--json", cwd=here)
    result = ended.document["result"]
    assert (ended.exit_code, result["requests"], result["turns"]) == (0, 0, 2)
    assert f"listening at {result['address']}" in ended.err
    assert sorted(os.listdir(here / "t")) == ["gates", "ledger"]


def test_where_gated_tools_are_is_said(here: Path) -> None:
    (here / "s.toml").write_text(GATED)
    ended = tornwrite("serve-api", "s.toml", "--tools", "t", "--for", "0.3s", cwd=here)
    assert f"--mcp-config {here}/t/mcp.json" in ended.out
    assert set(json.loads((here / "t" / "mcp.json").read_text())["mcpServers"]) == {"tornwrite"}


def test_every_service_of_one_log_has_ids_of_its_own(here: Path) -> None:
    (here / "s.toml").write_text(SCRIPT)
    for _ in range(2):
        assert tornwrite("serve-api", "s.toml", "--log", "log", "--for", "0.1s", cwd=here).exit_code == 0
    assert (
        tornwrite("serve-api", "s.toml", "--log", "log", "--for", "0.1s", "--life", "7", cwd=here).exit_code == 0
    )
    assert [json.loads(line)["life"] for line in (here / "log").read_text().splitlines()] == [0, 1, 7]


WRONG = [
    (("serve-api",), "SCENARIO"),
    (("serve-api", "nowhere"), "no scenario 'nowhere'; valid: "),
    (("serve-api", "missing.toml"), "missing.toml: "),
    (("serve-api", "reference"), "reference: has no [[turn]] tables"),
    (("serve-api", "s.toml"), "say where with --tools DIR"),
    (("serve-api", "s.toml", "--tools", "s.toml"), "Not a directory"),
    (("serve-api", "s.toml", "--tools", "t", "--log", "no/such/file"), "no/such"),
    (("serve-api", "s.toml", "--tools", "t", "--log", "s.toml"), "s.toml is no log of requests: line 1"),
    (("serve-api", "s.toml", "--tools", "t", "--port", "70000"), "--port"),
    (("serve-api", "s.toml", "--tools", "t", "--life", "-1"), "--life"),
    (("serve-api", "s.toml", "--tools", "t", "--for", "soon"), "--for"),
    (("serve-api", "s.toml", "--tools", "t", "--for", "0s"), "--for"),
    (("serve-api", "s.toml", "--tools", "t", "--show-content"), "needs --log FILE"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_wrong_words_are_one_line_and_2(words: tuple[str, ...], said: str, here: Path) -> None:
    (here / "s.toml").write_text(GATED)
    ended = in_process(*words)
    assert ended.exit_code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_without_its_libraries_it_is_not_available(here: Path) -> None:
    (here / "s.toml").write_text(SCRIPT)
    hidden = here / "hidden"
    hidden.mkdir()
    (hidden / "uvicorn.py").write_text("raise ImportError('hidden', name='uvicorn')\n")
    variables = environment()
    variables["PYTHONPATH"] = f"{hidden}{os.pathsep}{variables['PYTHONPATH']}"
    ended = subprocess.run(
        [sys.executable, "-m", "harness", "serve-api", "s.toml"],
        env=variables,
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (5, "")
    assert (
        ended.stderr
        == "tornwrite: not available: no module 'uvicorn'; pip install 'tornwrite[cli]', or in a checkout '.[cli]'\n"
    )
