"""Collects what is wrong with one object while it is decoded.

Decoding never stops and never raises: each part that is wrong leaves one finding here and is left out of the
value. The number of findings of an object is bounded, because an object with a million bad peers is still one
bad object.
"""

from collections.abc import Callable

from controller.objects.findings import Finding, Severity, Source

LIMIT = 100
"""Findings kept for one object; one more says how many were left out."""


class Report:
    """The findings of one object, in the order they were made.

    `subject` names the object (`NetworkPolicy shop/web`). `line_of` gives the line of a field path, where it
    is known.
    """

    __slots__ = ("_findings", "_left_out", "_line_of", "_source", "_subject")

    def __init__(self, subject: str, source: Source, line_of: Callable[[str], int] | None = None) -> None:
        self._subject = subject
        self._source = source
        self._line_of = line_of
        self._findings: list[Finding] = []
        self._left_out = 0

    def error(self, code: str, path: str, message: str, remedy: str = "") -> None:
        """Something that the API server refuses or that cannot be read."""
        self._add(Severity.ERROR, code, path, message, remedy)

    def warning(self, code: str, path: str, message: str, remedy: str = "") -> None:
        """Something that is accepted and means less or more than it seems."""
        self._add(Severity.WARNING, code, path, message, remedy)

    def info(self, code: str, path: str, message: str, remedy: str = "") -> None:
        """Something worth knowing."""
        self._add(Severity.INFO, code, path, message, remedy)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything so far."""
        if not self._left_out:
            return tuple(self._findings)
        rest = Finding(
            code="too-many-findings",
            severity=Severity.ERROR,
            object=self._subject,
            message=f"{self._left_out} more findings on this object are not listed",
            remedy="mend those above first",
            source=self._source,
        )
        return (*self._findings, rest)

    def _add(self, severity: Severity, code: str, path: str, message: str, remedy: str) -> None:
        if len(self._findings) >= LIMIT:
            self._left_out += 1
            return
        source = self._source
        if self._line_of is not None and path:
            source = Source(source.file, self._line_of(path))
        self._findings.append(
            Finding(
                code=code,
                severity=severity,
                object=self._subject,
                path=path,
                message=message,
                remedy=remedy,
                source=source,
            )
        )
