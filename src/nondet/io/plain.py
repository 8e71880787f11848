"""Names as text that does nothing: what a terminal or a reader's eye would take for more is shown as its number."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """The text in one line, with every character that does not print as an escape, such as `\\x1b` or `\\u202e`.

    Names of files, tasks, columns and conditions come from others. An escape sequence in one would drive the terminal,
    a line end would forge a line of its own, and a mark of writing direction would turn the rest of the line around.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # a space of any width
        return character
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 127 else ascii(character)[1:-1]
