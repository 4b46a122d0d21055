"""Runs all checks on a cluster of the builder, and reads findings the way tests ask about them."""

from controller.engine.lint.checks import lint
from controller.objects.findings import Finding, Severity
from tests.unit.builder import ClusterBuilder, cluster


def found(built: ClusterBuilder, code: str) -> list[Finding]:
    """The findings of one code."""
    return [finding for finding in lint(built.build()) if finding.code == code]


def the_finding(built: ClusterBuilder, code: str) -> Finding:
    """The one finding of a code."""
    findings = found(built, code)
    assert len(findings) == 1, findings or lint(built.build())
    return findings[0]


def is_warned(built: ClusterBuilder, code: str) -> bool:
    """Whether a code is found as a warning."""
    return any(finding.severity is Severity.WARNING for finding in found(built, code))


def is_noted(built: ClusterBuilder, code: str) -> bool:
    """Whether a code is found, and only as worth knowing."""
    severities = {finding.severity for finding in found(built, code)}
    return severities == {Severity.INFO}


def shop() -> ClusterBuilder:
    """Two namespaces: the web and the api of a shop, and its data."""
    return (
        cluster()
        .ns("shop", team="shop")
        .ns("data", team="data")
        .pod("shop/web", labels={"app": "web"}, ports=["http:8080"])
        .pod("shop/api", labels={"app": "api"}, ports=["http:8081", "query:9000/UDP"])
        .pod("data/db", labels={"app": "db", "tier": "storage"}, ports=["sql:5432"])
    )


def with_dns() -> ClusterBuilder:
    """The shop, and a DNS server."""
    return (
        shop()
        .ns("kube-system", team="platform")
        .pod(
            "kube-system/coredns-1",
            labels={"k8s-app": "kube-dns"},
            ports=["dns:53/UDP", "dns-tcp:53"],
        )
    )
