"""What is wrong with an object, said so that its owner can mend it.

A finding never stops the reading: the object it names is quarantined in the part that is wrong, everything
else goes on. Codes are stable; `docs/lint.md` explains each.
"""

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """`error`: the API server would refuse the object, or it cannot be read or enforced.

    `warning`: it means less or more than it seems.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Source(Struct, frozen=True, order=True):
    """Where an object was read: a file (`-` for standard input), and a line from 1 (0: unknown)."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Finding(Struct, frozen=True, order=True, kw_only=True):
    """One thing wrong: the object (`NetworkPolicy shop/web`), the field path, what is wrong, what to do."""

    code: str
    severity: Severity
    object: str
    path: str = ""
    message: str
    remedy: str = ""
    source: Source = Source()

    def __str__(self) -> str:
        place = f"{self.source}: " if self.source.file else ""
        field = f" {self.path}" if self.path else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}{self.severity} {self.code}: {self.object}{field}: {self.message}{remedy}"
