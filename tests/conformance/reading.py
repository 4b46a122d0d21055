"""Manifests to a cluster by the way that every verb takes, with the demand that nothing in them be amiss.

A finding would mean that a part of a scenario was left out, and its verdicts right for another reason.
"""

from collections.abc import Iterable

from controller.objects.assembly import build_cluster
from controller.objects.documents import Document
from controller.objects.findings import Severity
from controller.objects.kinds import Cluster
from tests.conformance.scenario import Manifest


def read_cluster(manifests: Iterable[Manifest]) -> Cluster:
    """The cluster. Raises ValueError with the findings, if there are any worth more than a note."""
    assembly = build_cluster(Document(manifest) for manifest in manifests)
    findings = [str(finding) for finding in assembly.findings if finding.severity is not Severity.INFO]
    if findings:
        raise ValueError("\n".join(findings))
    return assembly.cluster
