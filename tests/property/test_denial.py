"""What the agent says of a denied packet is what the policies say: the pod, the direction, the policies."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from controller.agent.denial import Denial, Denials
from controller.agent.denial import Reason as Why
from controller.agent.packet import Packet
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Decision, Evaluator, Reason
from controller.engine.resolve import Resolver
from controller.objects.kinds import Cluster, Direction, Protocol
from tests.property.clusters import PORTS, clusters

services = st.lists(
    st.tuples(st.sampled_from([*Protocol]), st.sampled_from(PORTS)), min_size=1, max_size=4, unique=True
)


@given(clusters(), services)
def test_the_reason_of_a_denial_names_the_end_that_denies_and_its_policies(
    cluster: Cluster, asked: list[tuple[Protocol, int]]
) -> None:
    evaluator, resolver = Evaluator(cluster), Resolver.of(cluster)
    denials = {node: Denials(resolver.view(node)) for node in resolver.nodes()}
    for source, destination in _pairs(cluster, evaluator):
        for protocol, port in asked:
            packet = Packet(source.family, str(source.address), str(destination.address), protocol, port)
            for end, decision in _refusals(evaluator, source, destination, protocol, port):
                audited = decision.direction if decision.reason is Reason.AUDITED else None
                told = denials[end.subjects[0].node].of(packet, audited)
                assert _is_right(evaluator, told, end, decision.direction), (packet, told, decision)


def _pairs(cluster: Cluster, evaluator: Evaluator) -> Iterator[tuple[Endpoint, Endpoint]]:
    ends = [end for pod in cluster.pods for end in evaluator.addresses.of_pod(pod)]
    for source, destination in itertools.product(ends, repeat=2):
        if source.family == destination.family:
            yield source, destination


def _refusals(
    evaluator: Evaluator, source: Endpoint, destination: Endpoint, protocol: Protocol, port: int
) -> Iterator[tuple[Endpoint, Decision]]:
    """The ends at which the packet is dropped or counted as one that would be."""
    verdict = evaluator.evaluate(source, destination, protocol, port)
    for end, decision in ((source, verdict.egress), (destination, verdict.ingress)):
        if decision.reason in {Reason.NO_RULE, Reason.QUARANTINED, Reason.AUDITED} and end.subjects:
            yield end, decision
        if not decision.allowed:
            return


def _is_right(evaluator: Evaluator, told: Denial, end: Endpoint, direction: Direction) -> bool:
    """Of several pods at one address any that denies may be named, with the policies that are asked there."""
    pod = next((pod for pod in end.subjects if f"{pod.namespace}/{pod.name}" == told.pod), None)
    if pod is None or told.direction is not direction:
        return False
    if pod.quarantined:
        return (told.reason, told.policies) == (Why.QUARANTINED, ())
    names = {f"{policy.namespace}/{policy.name}" for policy in evaluator.deciding(pod, direction)}
    return told.reason in {Why.NO_RULE_MATCHED, Why.PORT_MISMATCH} and {*told.policies} == names
