"""The one error of reading text: a document that cannot be parsed.

Raised by the YAML and JSON readers, caught in `documents`, where it becomes a finding; nobody else sees it.
"""


class MalformedError(Exception):
    """A document is unreadable: `line` counts from 1 within its text, `code` is a finding code."""

    def __init__(self, code: str, message: str, line: int = 1, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line = line
        self.remedy = remedy
