"""Texts from manifests in the languages of the output: nothing in a name can leave its place.

The reader of manifests already escapes what Kubernetes would refuse in names. This does not rely on it.
"""

import html
import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~@<>&-])")
_MERMAID = re.compile(r"[^A-Za-z0-9 ./,:+*()_-]")


def plain(text: str) -> str:
    """For a terminal: one line, no control characters, nothing that turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def in_html(text: str) -> str:
    """For HTML text and attributes in double or single quotes."""
    return html.escape(plain(text), quote=True)


def in_markdown(text: str) -> str:
    """For a cell of a Markdown table: no markup, no mention of a user, no HTML."""
    escaped = _MARKDOWN.sub(r"\\\1", plain(text))
    return escaped.replace("\\-", "-").replace("\\_", "_").replace("\\(", "(").replace("\\)", ")")


def in_dot(text: str) -> str:
    """A quoted string of the DOT language; a backslash stays one."""
    return '"' + plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def in_mermaid(text: str) -> str:
    """A quoted Mermaid label: everything unusual becomes a numbered entity, in Mermaid's spelling."""
    return '"' + _MERMAID.sub(lambda match: f"#{ord(match.group())};", plain(text)) + '"'


def in_csv(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula; the writer quotes it where needed."""
    text = plain(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
