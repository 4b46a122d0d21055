"""Manifests from files, folders, standard input and kustomizations: the only part of `objects` that does I/O.

A path that cannot be read is a finding like any other; what can be read is read. Callers that give verdicts
look at `Reading.unreadable` first, for a verdict without the policy that could not be parsed would be a
guess.
"""

import codecs
import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from controller.objects.addresses import Cidr
from controller.objects.assembly import build_cluster, finding_order, observed_cluster
from controller.objects.codes import UNREADABLE
from controller.objects.documents import Document, parse_documents
from controller.objects.findings import Finding, Severity, Source
from controller.objects.kinds import Cluster
from controller.objects.names import shown_text
from controller.objects.yaml_text import Allowance

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""What counts as a manifest in a folder; a file that is named itself may be called anything."""

MAX_BYTES = 256 * 1024 * 1024
"""Largest file that is read."""

_STDIN = "-"


class Reading(Struct, frozen=True):
    """What was read.

    `unreadable`: some file or document could not be read at all, so that the cluster may lack objects that
    matter. `skipped` counts the documents of kinds that have no part in policies. `addressless`: see
    `assembly.Assembly`.
    """

    cluster: Cluster
    findings: tuple[Finding, ...] = ()
    unreadable: bool = False
    skipped: Mapping[str, int] = {}
    addressless: tuple[str, ...] = ()


def read(  # noqa: PLR0913 - one for each place to read from
    paths: Sequence[str],
    *,
    recursive: bool = False,
    kustomize: Sequence[str] = (),
    stdin: TextIO | None = None,
    pod_cidrs: Sequence[Cidr] = (),
    documents: Sequence[Document] = (),
    observed: bool = False,
) -> Reading:
    """The cluster that manifests describe, and `documents` that were read elsewhere.

    `paths` are files, folders (`recursive`: with those below) and `-` for `stdin`; `kustomize` are folders
    that kubectl builds. Never raises for what it finds there. `pod_cidrs`: see `placement.place`.
    `observed`: what has no address gets none, as in a cluster.
    """
    with _without_garbage_collection():
        reader = _Reader()
        reader.documents.extend(documents)
        for path in paths:
            reader.take_path(path, recursive=recursive, stdin=stdin)
        for folder in kustomize:
            reader.take_kustomization(folder)
        documents = reader.documents
        assembly = observed_cluster(documents) if observed else build_cluster(documents, pod_cidrs)
    findings = sorted((*reader.findings, *assembly.findings), key=finding_order)
    return Reading(
        cluster=assembly.cluster,
        findings=tuple(findings),
        unreadable=any(finding.code in UNREADABLE for finding in findings),
        skipped=assembly.skipped,
        addressless=assembly.addressless,
    )


class _Reader:
    """Documents and findings of everything that was named, in that order."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.findings: list[Finding] = []
        self._allowance = Allowance()

    def take_path(self, path: str, *, recursive: bool, stdin: TextIO | None) -> None:
        """Reads a file, a folder or standard input."""
        if path == _STDIN:
            self._take_stdin(stdin)
        elif os.path.isdir(path):  # noqa: PTH112 (Path raises where this says no)
            self._take_folder(path, recursive=recursive)
        else:
            self._take_file(path)

    def take_kustomization(self, folder: str) -> None:
        """Reads what `kubectl kustomize` makes of a folder."""
        from controller.objects.kustomize import KustomizeError, kustomize  # noqa: PLC0415 (20 ms, rarely needed)

        try:
            content = kustomize(folder)
        except KustomizeError as error:
            self._refuse("kustomize-failed", folder, str(error), error.remedy)
        else:
            self._parse(content, f"{folder} (kustomize)")

    def _take_stdin(self, stdin: TextIO | None) -> None:
        if stdin is None:
            self._refuse("unreadable-file", _STDIN, "there is no standard input", "name a file or a folder")
            return
        stream = getattr(stdin, "buffer", None)
        try:
            content = (
                stream.read(MAX_BYTES + 1)
                if stream is not None
                else stdin.read().encode("utf-8", "surrogateescape")
            )
        except (OSError, ValueError) as error:
            self._refuse("unreadable-file", _STDIN, f"cannot be read: {shown_text(str(error), 200)}")
            return
        self._parse(content, _STDIN)

    def _take_folder(self, folder: str, *, recursive: bool) -> None:
        errors: list[OSError] = []
        files = sorted(_manifests(folder, errors, recursive=recursive))
        for error in errors:
            self._refuse(
                "unreadable-file", str(error.filename or folder), f"cannot be read: {error.strerror}"
            )
        for file in files:
            self._take_entry(file)
        if not errors and all(os.path.isdir(file) for file in files):  # noqa: PTH112 (as above)
            kinds = ", ".join(f"*{suffix}" for suffix in sorted(SUFFIXES))
            below = "" if recursive else "; -R looks into the folders below"
            self._refuse(
                "no-manifests", folder, f"holds no {kinds}{below}", "name the folder that holds the manifests"
            )

    def _take_entry(self, path: str) -> None:
        """Reads what a folder has under the name of a manifest; opening a FIFO would wait for ever."""
        if os.path.isdir(path):  # noqa: PTH112 (as above)
            message = "is a folder, in spite of its name; it is not looked into"
            self._note("folder-not-read", path, message, "name it, or give -R for folders below")
        elif os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 (as above)
            message = "cannot be read: it is no regular file (a FIFO, a socket or a device)"
            self._refuse("unreadable-file", path, message, "remove it, or give it another name")
        else:
            self._take_file(path, named=False)

    def _take_file(self, path: str, *, named: bool = True) -> None:
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else shown_text(str(error), 200)
            )
            self._refuse(
                "unreadable-file", path, f"cannot be read: {reason}", "check the path and its permissions"
            )
            return
        self._parse(content, path, named=named)

    def _parse(self, content: bytes, name: str, *, named: bool = True) -> None:
        if len(content) > MAX_BYTES:
            message = f"is larger than {MAX_BYTES // (1024 * 1024)} MiB"
            self._refuse("unreadable-file", name, message, "split it")
            return
        file = shown_text(name, 4096)
        documents, findings = parse_documents(_decode(content), file, self._allowance, required=named)
        self.documents.extend(documents)
        self.findings.extend(findings)

    def _refuse(self, code: str, name: str, message: str, remedy: str = "") -> None:
        self._add(Severity.ERROR, code, name, message, remedy)

    def _note(self, code: str, name: str, message: str, remedy: str) -> None:
        self._add(Severity.INFO, code, name, message, remedy)

    def _add(self, severity: Severity, code: str, name: str, message: str, remedy: str) -> None:
        file = shown_text(name, 4096)
        self.findings.append(
            Finding(
                code=code,
                severity=severity,
                object=file,
                message=message,
                remedy=remedy,
                source=Source(file),
            )
        )


def _decode(content: bytes) -> str:
    """Bytes to text. What is not UTF-8 stays recognisable, so that only its own document is lost."""
    if content.startswith(
        (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    ):  # as Windows PowerShell redirects output
        return content.decode("utf-16", "replace")
    return content.decode("utf-8", "surrogateescape")


def _manifests(folder: str, errors: list[OSError], *, recursive: bool) -> Iterator[str]:
    """Everything with the name of a manifest, but folders that are looked into."""
    for place, folders, files in os.walk(folder, onerror=errors.append):
        folders.sort()
        closed = [name for name in folders if not recursive or os.path.islink(Path(place, name))]  # noqa: PTH114
        if not recursive:
            folders.clear()
        for name in (*files, *closed):
            if Path(name).suffix in SUFFIXES:
                yield str(Path(place, name))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Reading makes many values and no cycles, and looking for cycles would take longer than reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
