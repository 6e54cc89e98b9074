r"""Text of strangers, made safe for the place where it is shown.

A target chooses its file names and its messages. On a terminal they must not move the cursor or reverse the line;
in Markdown they must not become links, HTML or table cells; in XML they must not make the document invalid.
Whatever is replaced stays visible as ``\x1b``, ``\u202e`` or ``\udcff``.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that never reach a reader as they are: controls, formats (bidi, zero width), surrogates, …"""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&$@:])")
_MARKDOWN_HARMLESS = frozenset("-.():+#!{}$")
_XML_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: str, limit: int = 0) -> str:
    """Return ``text`` as one line without anything a terminal would obey; cut to ``limit`` characters if not 0."""
    out = "".join(_visible(char) if unicodedata.category(char) in _HIDDEN else char for char in text)
    if limit and len(out) > limit:
        return out[: limit - 1] + "…"
    return out


def middle(text: str, limit: int) -> str:
    """Return ``text`` as :func:`plain` does, cut in its middle: both ends of a path say what it is."""
    if len(text) > 4 * limit:  # a name of megabytes is not looked at as a whole
        text = text[: 2 * limit] + text[-2 * limit :]
    out = plain(text)
    if len(out) <= limit:
        return out
    tail = limit * 3 // 5
    return out[: limit - 1 - tail] + "…" + out[-tail:]


def markdown(text: str) -> str:
    """Return ``text`` as Markdown that shows exactly these characters, also inside a table cell.

    Mentions and references (``@name``, ``#12``) would notify people: a backslash keeps them apart from their mark.
    """
    out = []
    for char in plain(text):
        if char in "<>&":
            out.append({"<": "&lt;", ">": "&gt;", "&": "&amp;"}[char])
        elif _MARKDOWN.fullmatch(char) and char not in _MARKDOWN_HARMLESS:
            out.append(f"&#{ord(char)};" if char in "|`@" else "\\" + char)
        elif char == "#":
            out.append("&#35;")
        else:
            out.append(char)
    return _unlinked("".join(out))


def _unlinked(text: str) -> str:
    """Return the text without bare web addresses, which viewers turn into links."""
    return re.sub(r"(?i)\b(https?|ftp|www)(:|\.)", lambda match: f"{match[1]}&#{ord(match[2])};", text)


def code(text: str) -> str:
    """Return ``text`` as inline code, also inside a table cell: the fence is longer than any run of backticks in it.

    A pipe would end a cell even inside code, so it is shown as ``\\x7c`` there.
    """
    shown = plain(text).replace("|", "\\x7c")
    if not shown:
        return "(empty)"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(text: str) -> str:
    """Return lines as a fenced block that nothing inside can close."""
    lines = [plain(line) for line in text.split("\n")]
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])


def xml(text: str) -> str:
    """Return ``text`` without characters that XML 1.0 forbids, even as references; other controls made visible."""
    return _XML_INVALID.sub(lambda match: _visible(match[0]), text)
