"""What is called superfluous can go, all of it at once: no connection anywhere changes."""

import re
from collections.abc import Iterable

import msgspec
from hypothesis import given

from controller.engine.connections import ConnectionSet
from controller.engine.evaluate import Evaluator
from controller.engine.lint.checks import lint
from controller.objects.kinds import Cluster, NetworkPolicy, PolicyRule
from tests.property.clusters import addresses_of_interest, clusters

POLICIES = {"duplicate-policy", "shadowed-policy"}
RULES = {"duplicate-rule", "shadowed-rule"}
RULE = re.compile(r"spec\.(ingress|egress)\[(\d+)\]")
ITEM = re.compile(RULE.pattern + r"\.(from|to|ports)\[(\d+)\]")


@given(clusters(max_policies=6))
def test_removing_all_that_is_superfluous_changes_no_connection(cluster: Cluster) -> None:
    assert _connections(_without_the_superfluous(cluster), cluster) == _connections(cluster, cluster)


def _without_the_superfluous(cluster: Cluster) -> Cluster:
    told = {(finding.object, finding.path, finding.code) for finding in lint(cluster)}
    kept = []
    for policy in cluster.policies:
        name = f"NetworkPolicy {policy.namespace}/{policy.name}"
        if not any((name, "", code) in told for code in POLICIES):
            rules = {path for where, path, code in told if where == name and code in RULES}
            items = {path for where, path, code in told if where == name and code == "redundant-item"}
            kept.append(_reduced(policy, rules, items))
    return msgspec.structs.replace(cluster, policies=tuple(kept))


def _reduced(policy: NetworkPolicy, rules: set[str], items: set[str]) -> NetworkPolicy:
    gone = {(match[1], int(match[2])) for match in map(RULE.fullmatch, rules) if match}
    holes = {
        (match[1], int(match[2]), match[3], int(match[4])) for match in map(ITEM.fullmatch, items) if match
    }

    def reduce(section: str, found: Iterable[PolicyRule]) -> tuple[PolicyRule, ...]:
        peers = "from" if section == "ingress" else "to"
        return tuple(
            msgspec.structs.replace(
                rule,
                peers=rule.peers
                and tuple(
                    each for each in rule.peers if (section, rule.index, peers, each.index) not in holes
                ),
                ports=rule.ports
                and tuple(
                    each for each in rule.ports if (section, rule.index, "ports", each.index) not in holes
                ),
            )
            for rule in found
            if (section, rule.index) not in gone
        )

    return msgspec.structs.replace(
        policy, ingress=reduce("ingress", policy.ingress), egress=reduce("egress", policy.egress)
    )


def _connections(cluster: Cluster, around: Cluster) -> list[ConnectionSet]:
    """All connections between the addresses that matter in `around`."""
    evaluator = Evaluator(cluster)
    ends = [evaluator.addresses.at(address) for address in addresses_of_interest(around)]
    pods = [end for end in ends if end.pods]
    pairs = [(pod, end) for pod in pods for end in ends] + [(end, pod) for pod in pods for end in ends]
    return [evaluator.connections(source, destination) for source, destination in pairs]
