"""The central test: policies as text and as compiled rules give one verdict, for any cluster and packet."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.names import AUDIT
from controller.dataplane.settings import Settings
from controller.dataplane.walk import Network, Walk
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator, Reason
from controller.engine.resolve import Resolver
from controller.objects.kinds import Cluster, Protocol
from tests.property.clusters import PORTS, addresses_of_interest, clusters

ICMP = {4: 1, 6: 58}


SETTINGS = (
    Settings(),
    Settings(gates=(4, 6), bucket_size=1, inline_blocks=0),
    Settings(gates=(), hairpin_by_bpf=False, bucket_size=2),
)

services = st.lists(
    st.tuples(st.sampled_from([None, *Protocol]), st.sampled_from(PORTS)), min_size=1, max_size=4, unique=True
)


@given(clusters(), services, st.sampled_from(SETTINGS))
def test_evaluate_and_the_simulated_rules_agree(
    cluster: Cluster, asked: list[tuple[Protocol | None, int]], settings: Settings
) -> None:
    evaluator = Evaluator(cluster)
    network = Network(Resolver.of(cluster), settings)
    for source, destination in _pairs(cluster, evaluator):
        for protocol, port in asked:
            _assert_agreement(evaluator, network, source, destination, protocol, port)


def _pairs(cluster: Cluster, evaluator: Evaluator) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Every two addresses of one family that some rule could tell apart, where at least one is a pod's."""
    found = [evaluator.addresses.at(address) for address in addresses_of_interest(cluster)]
    found += [end for pod in cluster.pods for end in evaluator.addresses.of_pod(pod)]
    ends = {repr(end): end for end in found}
    for source, destination in itertools.product(ends.values(), repeat=2):
        if source.family == destination.family and (source.pods or destination.pods):
            yield source, destination


def _assert_agreement(
    evaluator: Evaluator,
    network: Network,
    source: Endpoint,
    destination: Endpoint,
    protocol: Protocol | None,
    port: int,
) -> None:
    verdict = evaluator.evaluate(source, destination, protocol, port)
    number, dport = (ICMP[source.family], None) if protocol is None else (int(protocol), port)
    walk = network.walk(source, destination, number, dport)
    assert verdict.allowed == walk.allowed, (str(source), str(destination), protocol, port, verdict, walk)
    if walk.allowed:
        audited = Reason.AUDITED in {verdict.egress.reason, verdict.ingress.reason}
        assert audited == _is_counted(walk), (str(source), str(destination), protocol, port, verdict, walk)
    connections = evaluator.connections(source, destination)
    assert connections.allows(protocol, port) == verdict.allowed, (str(source), str(destination), connections)


def _is_counted(walk: Walk) -> bool:
    """Whether some node counts the packet as one that would be denied."""
    steps = (step for passage in walk.passages for step in passage.outcome.trace)
    return any(step.chain in AUDIT.values() and step.rule.comment == "would be denied" for step in steps)
