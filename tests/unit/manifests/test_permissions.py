"""Who may do what, in one table; what is not in it is not granted."""

from typing import Any

from tests.unit.manifests.folders import BASE, read

INSTALLED = read(BASE)
SYSTEM = "podgate-system"
FOLLOW = ("list", "watch")
READ = ("get", *FOLLOW)

TABLE = {
    # (account, namespace or "" for all, group, resource, name or "" for all): verbs
    ("podgate-operator", "", "", "namespaces", ""): READ,
    ("podgate-operator", "", "", "nodes", ""): READ,
    ("podgate-operator", "", "", "pods", ""): FOLLOW,
    ("podgate-operator", "", "networking.k8s.io", "networkpolicies", ""): READ,
    ("podgate-operator", "", "podgate.dev", "nodepolicies", ""): ("create", "delete", "update", *READ),
    ("podgate-operator", "", "podgate.dev", "peergroupslices", ""): ("create", "delete", "update", *READ),
    ("podgate-operator", "", "events.k8s.io", "events", ""): ("create", "patch"),
    ("podgate-operator", SYSTEM, "coordination.k8s.io", "leases", ""): ("create",),
    ("podgate-operator", SYSTEM, "coordination.k8s.io", "leases", "podgate-operator"): ("get", "update"),
    ("podgate-agent", "", "podgate.dev", "nodepolicies", ""): FOLLOW,
    ("podgate-agent", "", "podgate.dev", "peergroupslices", ""): FOLLOW,
    ("podgate-agent", "", "podgate.dev", "nodepolicies/status", ""): ("patch",),
}


def test_what_is_granted_is_what_the_table_says() -> None:
    assert {key: sorted(verbs) for key, verbs in granted().items()} == {
        key: sorted(verbs) for key, verbs in TABLE.items()
    }


def granted() -> dict[tuple[str, str, str, str, str], list[str]]:
    """Every binding, taken apart."""
    roles = {
        (found["kind"], found["metadata"]["name"]): found["rules"]
        for found in INSTALLED
        if found["kind"] in {"ClusterRole", "Role"}
    }
    verbs: dict[tuple[str, str, str, str, str], list[str]] = {}
    for binding in (found for found in INSTALLED if found["kind"] in {"ClusterRoleBinding", "RoleBinding"}):
        place = binding["metadata"].get("namespace", "")
        rules = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", SYSTEM)
            for group, resource, name, rule in _single(rules):
                key = (subject["name"], place, group, resource, name)
                verbs.setdefault(key, []).extend(rule["verbs"])
    return verbs


def _single(rules: list[dict[str, Any]]) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [
        (group, resource, name, rule)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    ]
