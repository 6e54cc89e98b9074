"""The text of an exported file: what is reproduced first, then the code, then the writer's sources. Pure.

Everything that comes from a target is hostile: values stand as ASCII literals, prose as escaped ASCII. The code is
cut out of :mod:`harness.export.parts`, with only the functions and imports that this reproduction uses.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import msgspec

from harness.report.escape import plain

_WIDTH = 110
_PARTS = (
    ("reproduce", "Running the writer, and telling"),
    ("damage", "Looking at what is left"),
    ("tracer", "The writer under ptrace"),
    ("strikes", "The fault"),
    ("order", "The recorded order"),
    ("tools", "The tools that the writer calls"),
)
_ABOUT_ORDER = (
    "# Who makes its next file operation, and how many in a row: p0 is the first process, p0.t1 its second thread;\n"
    "# p0*w2:FILE WORD is what any thread of a pool does to the second such file that was opened for writing.\n"
)


_OLD_PYTHON = """\
if sys.version_info < (3, 11):
    print("cannot run here: needs Python 3.11 or later")
    sys.exit(2)"""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A function of ``parts.damage`` and what it is called with.

    ``given`` is what it is told of the run besides: ``saved`` or ``exit_code``, or nothing.
    """

    function: str
    fixed: tuple[Any, ...]
    given: str = ""

    @property
    def call(self) -> str:
        """The call, as Python text."""
        words = ["files", *(_literal(each, 4) for each in self.fixed), *([self.given] if self.given else [])]
        return f"{self.function}({', '.join(words)})"


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """All that an exported file says.

    ``strike`` is a function of ``parts.strikes``, ``point`` where it strikes; empty where no fault does. ``order`` is
    a sequence of labels and how many operations each makes in a row.
    """

    title: str
    story: tuple[str, ...]
    case: Mapping[str, Any]
    check: Check
    sources: Mapping[str, str]
    made_by: str
    strike: str = ""
    point: Mapping[str, Any] = {}
    order: tuple[tuple[str, int], ...] = ()
    install: str = ""
    package: tuple[str, str, str] | None = None
    """Registry, name and version of what is to be installed."""
    instances: int = 1
    way: str = "together"
    served: bool = False
    """Whether tools say one thing at a time, when the writer sleeps: of an order only."""
    """How many of the writer work on one state, and whether ``together`` or ``in_turn``."""


def document(item: Reproduction) -> str:
    """Return the file's text."""
    facts, start = _facts(item), _start(item)
    code, imports = _code(facts + start)
    return (
        f"#!/usr/bin/env python3\n{_header(item)}\n\nfrom __future__ import annotations\n\n"
        f"{imports}\n\n{_OLD_PYTHON}\n\n"
        f"{_rule('What is reproduced')}\n\n{facts}{code}"
        f"\n\n{_rule('The writer')}\n\n{_sources(item.sources)}\n\n{start}"
    )


def _rule(title: str) -> str:
    return f"# ---- {title} " + "-" * (_WIDTH - len(title) - 8)


# -- what comes from the finding --------------------------------------------------------------------------------


def _prose(text: str) -> str:
    """Return text of strangers as ASCII that can stand between three quotation marks."""
    shown = plain(text).encode("ascii", "backslashreplace").decode("ascii")
    return shown.replace("\\", "\\\\").replace('"', '\\"')


def _header(item: Reproduction) -> str:
    paragraphs = [item.title, *item.story]
    if item.install:
        npm = item.package is not None and item.package[0] == "npm"
        where = "in the directory in which this file is run" if npm else "for the interpreter that runs this file"
        paragraphs += [f"Install first, {where}:", "    " + item.install]
    paragraphs += [
        "Standard library only; Python 3.11 or later, on Linux, on x86_64. It writes in a temporary directory only. "
        "Exit code 1: reproduced, 0: not reproduced, 3: CHANGED (what runs here is no longer what ran when this file "
        "was made, so nothing can be said), 2: cannot run here.",
        item.made_by,
    ]
    wrapped = (
        "    " + _prose(text.strip())
        if text.startswith("    ")
        else textwrap.fill(_prose(text), _WIDTH, break_long_words=False, break_on_hyphens=False)
        for text in paragraphs
    )
    return '"""' + "\n\n".join(wrapped) + '\n"""'


def _facts(item: Reproduction) -> str:
    text = f"CASE = {_literal(item.case)}\n"
    fault = f"strike={item.strike}, **POINT" if item.strike else ""
    if item.strike:
        text += f"\n# The operation at which the fault strikes.\nPOINT = {_literal(item.point)}\n"
    make = f"    return Writer({', '.join(filter(None, ('root', fault)))})\n"
    if item.order:
        text += f"\n{_ABOUT_ORDER}ORDER = {_turns(item.order)}\n"
        feed = 'Tools(root + ".tools", CASE["workload"]).say_next' if item.served else ""
        make = (
            "    order = [label for label, times in ORDER for _ in range(times)]\n"
            f"    return OrderedWriter({', '.join(filter(None, ('root', 'output', 'order', feed, fault)))})\n"
        )
    return (
        f"{text}\n\ndef make_writer(root: str, output: str) -> Writer:\n"
        f'    """Return the writer, not started."""\n{make}'
        "\n\ndef damage(files: dict[str, bytes], saved: list[str], exit_code: int) -> list[str]:\n"
        f'    """Return what is wrong with the files that are left."""\n    return {item.check.call}\n'
    )


def _start(item: Reproduction) -> str:
    package = "None"
    if item.package is not None:
        registry, name, version = item.package
        package = f"lambda: {registry}_package({name!a}, {version!a})"
    many = "None"
    if item.instances > 1:
        many = f"lambda command, base: several(command, base, {item.instances}, {_string(item.way)})"
    return (
        'if __name__ == "__main__":\n'
        f'    case = {{**CASE, "sources": SOURCES, "package": {package}, "instances": {many}}}\n'
        "    sys.exit(main(case, make_writer, damage, sys.argv[1:]))\n"
    )


def _literal(value: Any, indent: int = 0) -> str:
    """Return plain data as ASCII text of Python, broken into lines where it is long."""
    value = dict(value) if isinstance(value, Mapping) else value
    flat = _string(value) if isinstance(value, str) else ascii(value)
    if len(flat) + indent < _WIDTH or not isinstance(value, dict | list | tuple):
        return (
            flat.replace("'", '"') if not isinstance(value, str) and '"' not in flat and "\\" not in flat else flat
        )
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        entries = [f"{_string(str(key))}: {_literal(each, indent + 4)}" for key, each in value.items()]
    else:
        entries = [_literal(each, indent + 4) for each in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    return brackets[0] + "\n" + "".join(f"{inner}{entry},\n" for entry in entries) + " " * indent + brackets[1]


def _string(text: str) -> str:
    """Return a literal in double quotes, where that needs no more escapes than single ones; ASCII always."""
    flat = ascii(text)
    return f'"{flat[1:-1]}"' if flat.startswith("'") and '"' not in flat and "\\'" not in flat else flat


def _turns(order: Iterable[tuple[str, int]]) -> str:
    """Return the turns, several in a line."""
    text = ", ".join(f"({_string(label)}, {times})" for label, times in order)
    return "[\n" + textwrap.indent("\n".join(_filled(text)), "    ") + "\n]"


def _filled(text: str) -> list[str]:
    """Return pairs in lines; a pair is never cut."""
    lines = [""]
    pairs = text.split("), (")
    for index, pair in enumerate(pairs):
        whole = ("(" if index else "") + pair + ("), " if index < len(pairs) - 1 else ",")
        if len(lines[-1]) + len(whole) > _WIDTH - 6 and lines[-1]:
            lines.append("")
        lines[-1] += whole
    return [line.rstrip() for line in lines]


def _sources(sources: Mapping[str, str]) -> str:
    entries = (f"    {_string(name)}: {_source(text)},\n" for name, text in sources.items())
    return "SOURCES = {\n" + "".join(entries) + "}\n"


def _source(text: str) -> str:
    """Return a source as a raw string that reads like the file, or as literals where that would not be the same."""
    line = text.replace("\n", "")
    if plain(line) == line and "'''" not in text and not text.endswith(("'", "\\")):
        return f"r'''{text}'''"
    return "(\n" + "".join(f"        {each!a}\n" for each in text.splitlines(keepends=True) or [""]) + "    )"


# -- what comes from the parts ----------------------------------------------------------------------------------


def _code(around: str) -> tuple[str, str]:
    """Return what of the parts ``around`` uses, and the import lines for all of it."""
    parts, trees = _parsed()
    defined = {name: node for tree in trees for node in tree.body for name in _defines(node)}
    used = _used(ast.parse(around))
    left = list(used)
    while left:
        node = defined.get(left.pop())
        more = _used(node) - used if node is not None else set()
        used |= more
        left += more
    text = ""
    for (title, source), tree in zip(parts, trees, strict=True):
        kept = [node for node in tree.body if not used.isdisjoint(_defines(node))]
        text += f"\n\n{_rule(title)}\n{_cut_out(source, kept)}" if kept else ""
    return text, _imports(trees, used)


@functools.cache
def _parsed() -> tuple[list[tuple[str, str]], list[ast.Module]]:
    """Return title and source of each part, and what the sources are."""
    folder = files("harness.export.parts")
    parts = [(title, folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name, title in _PARTS]
    return parts, [ast.parse(source) for _, source in parts]


def _defines(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = (
        node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    )
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _used(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _cut_out(source: str, nodes: Iterable[ast.stmt]) -> str:
    lines = source.splitlines()
    out = ""
    for node in nodes:
        begin = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]) - 1
        first = begin
        while lines[begin - 1].startswith("#"):
            begin -= 1
        spaced = isinstance(node, ast.FunctionDef | ast.ClassDef) or begin < first or not out
        body = "\n".join(lines[begin : node.end_lineno]).replace("  # fmt: skip", "")
        out += (
            ("\n\n" if isinstance(node, ast.FunctionDef | ast.ClassDef) and out else "\n" if spaced else "")
            + body
            + "\n"
        )
    return out


def _imports(trees: Iterable[ast.Module], used: set[str]) -> str:
    whole: set[str] = set()
    parts: dict[str, set[str]] = {}
    for node in (node for tree in trees for node in tree.body):
        if isinstance(node, ast.Import):
            whole |= {alias.name for alias in node.names if alias.name.partition(".")[0] in used}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("harness.", "__")):
            parts.setdefault(node.module, set()).update(each.name for each in node.names if each.name in used)
    lines = [f"import {name}" for name in sorted(whole)]
    return "\n".join(
        lines
        + [f"from {name} import {', '.join(sorted(names))}" for name, names in sorted(parts.items()) if names]
    )
