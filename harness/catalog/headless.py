"""How a conversational program is driven without a terminal: its words by purpose, as its manifest has them by version.

A manifest says each purpose as words of a command line; a purpose without words is one that this version does not
offer. The lines that such a program reads in its streaming mode are the same in every version: :func:`user_line`,
:func:`interrupt_line`.

Non-goals: starting it (:mod:`harness.engines.headless`); what it answers.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.catalog.placeholder import check_placeholders, expand
from harness.core.run import RunSpec

API = "{api}"
"""Stands in the environment of such a program for the address of the API, which is known when that runs."""

_NAMES = {
    "prompt": {"prompt"},
    "permit": {"tools"},
    "session": {"session"},
    "resume": {"session"},
    "last": set[str](),
    "result": set[str](),
    "stream": set[str](),
    "mcp": {"file"},
    "control": set[str](),
}
TOOLS = ("Bash", "Read", "Write", "Edit")
"""The built-in tools that a version which wants them named may use."""
INTERRUPT, SET_MODE = "interrupt", "set_permission_mode"

Purpose = Literal["prompt", "permit", "session", "resume", "last", "result", "stream", "mcp", "control"]


class Headless(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[variant.headless]``: the words for each purpose, with placeholders.

    ``prompt``: one turn that says ``{prompt}``; ``permit``: its tools, ``{tools}``, run without asking; ``session``:
    the new session has the id ``{session}``; ``resume``: that session goes on; ``last``: the newest does; ``result``:
    it prints its result as JSON when it is done; ``stream``: it reads and prints a JSON value per line, and takes no
    prompt on the command line; ``mcp``: the servers of further tools stand in ``{file}``. ``control`` are no words of a
    command line: which control requests it takes while it streams (:data:`INTERRUPT`, :data:`SET_MODE`).
    """

    prompt: tuple[str, ...] = ()
    permit: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    result: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()
    mcp: tuple[str, ...] = ()
    control: tuple[str, ...] = ()

    def offers(self, purpose: Purpose) -> bool:
        """Return whether this version has words for it."""
        return bool(getattr(self, purpose))

    def argv(
        self,
        program: tuple[str, ...],
        *,
        prompt: str = "",
        resume: str = "",
        last: bool = False,
        session: str = "",
        tools: tuple[str, ...] = (),
        mcp: str = "",
        typed: bool = False,
    ) -> tuple[str, ...]:
        """Return the command line of one session of ``program``: of one turn, or without a ``prompt`` streaming, or, if
        all is ``typed``, in a terminal, where the tools are permitted by its settings.

        ``resume`` is the session that goes on, or ``last`` the newest; ``session`` the id of a new one. ``tools`` are
        tools beside the built-in ones, ``mcp`` the file that says who serves them. Raises ``ValueError`` for what this
        version does not offer, and for what contradicts itself.
        """
        if bool(resume) + last + bool(session) > 1:
            raise ValueError("a session is new, a given one, or the last one")
        wanted: list[tuple[Purpose, bool]] = [
            ("prompt", bool(prompt)),
            ("result", bool(prompt)),
            ("stream", not prompt and not typed),
            ("permit", self.offers("permit") and not typed),
            ("resume", bool(resume)),
            ("last", last),
            ("session", bool(session)),
            ("mcp", bool(mcp)),
        ]
        values = {
            "prompt": prompt,
            "session": resume or session,
            "tools": ",".join((*TOOLS, *tools)),
            "file": mcp,
        }
        words = list(program)
        for purpose, asked in wanted:
            if asked and not self.offers(purpose):
                raise ValueError(f"this version has no words for {purpose!r}")
            words += [expand(word, values) for word in getattr(self, purpose) if asked]
        return tuple(words)


def check_headless(where: str, words: Headless) -> None:
    """Raise :class:`ManifestError` where a placeholder stands for something that its purpose does not know."""
    for purpose, names in _NAMES.items():
        for word in getattr(words, purpose):
            check_placeholders(f"{where} {purpose}", word, names)


def overridden(words: Headless, later: Headless) -> Headless:
    """Return ``words`` with those of ``later`` in place of them, purpose by purpose."""
    changed = {purpose: getattr(later, purpose) for purpose in _NAMES if getattr(later, purpose)}
    return msgspec.structs.replace(words, **changed)


def at_api(spec: RunSpec, address: str) -> RunSpec:
    """Return the run with the address of its API (``http://127.0.0.1:4711``) wherever the environment names that."""
    environment = {name: text.replace(API, address) for name, text in spec.environment.items()}
    return msgspec.structs.replace(spec, environment=environment)


def user_line(text: str) -> bytes:
    """Return the line by which a user says ``text`` to a program that streams."""
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    return msgspec.json.encode({"type": "user", "message": message}) + b"\n"


def interrupt_line(request_id: str) -> bytes:
    """Return the line that is Escape without a terminal."""
    return _control_line(request_id, {"subtype": INTERRUPT})


def mode_line(request_id: str, mode: str) -> bytes:
    """Return the line that is Shift+Tab without a terminal: what is permitted changes to ``mode``."""
    return _control_line(request_id, {"subtype": SET_MODE, "mode": mode})


def _control_line(request_id: str, request: dict[str, str]) -> bytes:
    return msgspec.json.encode({"type": "control_request", "request_id": request_id, "request": request}) + b"\n"
