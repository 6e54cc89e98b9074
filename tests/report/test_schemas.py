"""The shipped schemas are those of the code, and what is printed and stored fits them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from campaign_sample import hostile_finding, rows, torn_finding
from json_schema_check import problems
from schema_source import schemas, text_of

from harness.core.content import content_of
from harness.core.event import AnyEvent
from harness.core.json_record import encode_document, encode_record
from harness.core.operation import Ack, Link, Write
from harness.core.trace import Actor, Trace
from harness.core.trace_codec import encode_trace
from harness.core.tree import File, build_tree
from harness.report.json_document import JsonLines, campaign_result, result_document
from harness.report.view import collect
from harness.schemas import NAMES, schema


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_words(member) for name, member in value.items() if name != "description"}
    return [_without_words(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", NAMES)
def test_shipped_schemas_are_those_of_the_code(name: str) -> None:
    assert sorted(schemas()) == sorted(NAMES)
    assert _without_words(schema(name)) == _without_words(json.loads(text_of(schemas()[name]))), (
        "the shapes have changed: run  python -m tests.report.schema_source"
    )


def _check(name: str, text: str | bytes) -> None:
    shape = schema(name)
    assert list(problems(json.loads(text), shape, shape)) == []


def test_what_commands_print(events: list[AnyEvent]) -> None:
    result = campaign_result(collect(events))
    text = result_document("run", 1, result)
    assert "\n" not in text
    assert text.isascii()
    _check("result", text)
    _check("campaign", json.dumps(json.loads(text)["result"]))
    _check("result", result_document("run", 2, None, ("no target 'x\udcff'",)))
    assert json.loads(result_document("engines", 0, [{"name": "ptrace"}]))["result"] == [{"name": "ptrace"}]


def test_events_as_lines(events: list[AnyEvent]) -> None:
    stream = io.StringIO()
    subscriber = JsonLines(stream)
    for event in events:
        subscriber(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(events)
    for line in lines:
        _check("event", line)


def test_rows_and_findings() -> None:
    for row in rows():
        _check("trial", encode_record(row))
    for finding in (torn_finding(), hostile_finding()):
        _check("finding", encode_document({"format_version": 1, **json.loads(encode_record(finding))}))


def test_traces() -> None:
    trace = Trace(
        root="/r",
        engine="e",
        actors=(Actor(process=0),),
        start=build_tree({"a\udcff": 1}, {1: File(content_of(b"x"))}),
        operations=(
            Write(seq=0, ino=1, offset=0, data=b"x", requested=b"y" * 100),
            Link(seq=1, ino=2, path="b", data=b""),
            Ack(seq=2, id="1"),
        ),
    )
    header, *operations = encode_trace(trace)[0].splitlines()
    _check("trace_header", header)
    for line in operations:
        _check("trace_operation", line)


def test_the_checker_finds_what_is_wrong(events: list[AnyEvent]) -> None:
    document = json.loads(result_document("run", 1))
    shape = schema("result")
    for change in ({"exit_code": "1"}, {"errors": [1]}, {"more": 1}, {"exit_code": True}):
        assert list(problems({**document, **change}, shape, shape))
    assert list(problems({"command": "x"}, shape, shape)) == ["$: no exit_code"]
    with pytest.raises(KeyError):
        schema("../../x")
