"""Manifests to a cluster by the way that every verb takes, with the demand that nothing in them be invalid.

What is invalid is left out of the cluster, and the verdicts of a scenario would be right for another reason.
"""

from collections.abc import Iterable

from controller.objects.assembly import build_cluster
from controller.objects.documents import Document
from controller.objects.findings import Severity
from controller.objects.kinds import Cluster
from tests.conformance.scenario import Manifest


def read_cluster(manifests: Iterable[Manifest]) -> Cluster:
    """The cluster. Raises ValueError with what is invalid, if anything is."""
    assembly = build_cluster(Document(manifest) for manifest in manifests)
    errors = [str(finding) for finding in assembly.findings if finding.severity is Severity.ERROR]
    if errors:
        raise ValueError("\n".join(errors))
    return assembly.cluster
