"""Names as harmless text: characters that could mislead a terminal or a reader are shown as escapes."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Return the text in one line, with an escape such as `\\x1b` or `\\u202e` for each character that does not print.

    Names of files, tasks, columns and conditions come from others. An escape sequence in one could control the
    terminal, a line end could forge a line, and a mark of writing direction could reverse the rest of the line.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # a space of any width
        return character
    return character.encode("ascii", "backslashreplace").decode() if ord(character) > 127 else ascii(character)[1:-1]
