"""The list of checks, and the one function that runs them.

A check is a function from `Context` to findings; a new one is written in the module of its family, listed
here and explained in `codes`.
"""

from controller.engine.lint.context import Context
from controller.engine.lint.dns import check_dns, check_dns_ingress
from controller.engine.lint.modes import check_modes
from controller.engine.lint.namespaces import check_namespaces
from controller.engine.lint.notes import Check
from controller.engine.lint.peers import check_alternatives, check_peers
from controller.engine.lint.ports import check_named_ports
from controller.engine.lint.redundancy import check_redundancy, check_repeated_items
from controller.engine.lint.sections import check_sections
from controller.engine.lint.subjects import check_subjects
from controller.engine.lint.width import check_families, check_width
from controller.objects.findings import Finding
from controller.objects.kinds import Cluster

CHECKS: tuple[Check, ...] = (
    check_subjects,
    check_peers,
    check_alternatives,
    check_named_ports,
    check_dns,
    check_dns_ingress,
    check_width,
    check_families,
    check_sections,
    check_repeated_items,
    check_redundancy,
    check_namespaces,
    check_modes,
)
"""Every check, in no particular order: none depends on another."""


def lint(cluster: Cluster) -> tuple[Finding, ...]:
    """What the checks say about a cluster, each finding once, in order of the check that made it.

    What the reader found is not repeated. O(pods + rules x lookalikes in reach), see `Context`.
    """
    context = Context(cluster)
    return tuple(dict.fromkeys(finding for check in CHECKS for finding in check(context)))
