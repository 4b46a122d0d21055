"""The matrix is made of shared rows; these tests hold it against the verdicts of single pairs, from the text
and from the rules."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from controller.dataplane.walk import Network
from controller.engine.connections import NOTHING, ConnectionSet
from controller.engine.difference import difference
from controller.engine.endpoints import Endpoint
from controller.engine.evaluate import Evaluator
from controller.engine.externals import External
from controller.engine.matrix import Matrix, matrix_of, pod_id
from controller.engine.resolve import Resolver
from controller.objects.addresses import BITS, format_address, parse_address
from controller.objects.kinds import Cluster, Protocol
from tests.property.clusters import PORTS, addresses_of_interest, clusters

Ends = tuple[Endpoint, ...]
ICMP = {4: 1, 6: 58}


@given(clusters())
def test_every_pair_is_the_union_of_its_address_pairs(cluster: Cluster) -> None:
    evaluator = Evaluator(cluster)
    matrix = matrix_of(cluster)
    for source, source_ends, destination, destination_ends in _pairs(evaluator, matrix):
        expected = NOTHING
        for own, other in itertools.product(source_ends, destination_ends):
            expected |= evaluator.connections(own, other)
        assert matrix.between(source, destination) == expected, (source, destination)


@given(
    clusters(),
    st.lists(st.tuples(st.sampled_from([None, *Protocol]), st.sampled_from(PORTS)), min_size=1, max_size=3),
)
def test_the_simulated_rules_let_through_what_the_matrix_says(
    cluster: Cluster, asked: list[tuple[Protocol | None, int]]
) -> None:
    network = Network(Resolver.of(cluster))
    matrix = matrix_of(cluster)
    for source, source_ends, destination, destination_ends in _pairs(Evaluator(cluster), matrix):
        for protocol, port in asked:
            arrives = any(
                _walk(network, own, other, protocol, port)
                for own, other in itertools.product(source_ends, destination_ends)
                if own.family == other.family
            )
            assert matrix.between(source, destination).allows(protocol, port) == arrives, (
                source,
                destination,
            )


@given(clusters())
def test_the_externals_of_a_family_cover_its_whole_space_once(cluster: Cluster) -> None:
    externals = matrix_of(cluster).externals
    for family, bits in BITS.items():
        ranges = sorted(found for each in externals if each.family == family for found in each.addresses)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == (1 << bits) - 1
        assert all(left[1] + 1 == right[0] for left, right in itertools.pairwise(ranges))


@given(clusters())
def test_addresses_of_one_external_have_the_same_connections(cluster: Cluster) -> None:
    evaluator = Evaluator(cluster)
    matrix = matrix_of(cluster)
    for address in addresses_of_interest(cluster):
        outside = Endpoint(*parse_address(address))
        external = _external_of(matrix, outside)
        for pod in cluster.pods:
            ends = evaluator.addresses.of_pod(pod)
            if any((end.family, end.value) == (outside.family, outside.value) for end in ends):
                continue
            assert matrix.between(external.id, pod_id(pod)) == _union(evaluator, (outside,), ends)
            assert matrix.between(pod_id(pod), external.id) == _union(evaluator, ends, (outside,))


@given(clusters())
def test_the_order_of_objects_does_not_change_the_matrix(cluster: Cluster) -> None:
    turned = Cluster(
        namespaces=cluster.namespaces[::-1],
        pods=cluster.pods[::-1],
        policies=cluster.policies[::-1],
        nodes=cluster.nodes[::-1],
        mode=cluster.mode,
    )
    first, second = matrix_of(cluster), matrix_of(turned)
    assert first == second
    assert list(first.connections) == list(second.connections)


@given(clusters(), clusters())
def test_a_difference_leads_from_the_old_matrix_to_the_new(old: Cluster, new: Cluster) -> None:
    found = difference(old, new)
    changed = {(change.source, change.destination): change for change in found.changes}
    for pair in {*found.old.connections, *found.new.connections}:
        if pair[0] == pair[1]:
            continue
        change = changed.pop(pair, None)
        before, after = found.old.between(*pair), found.new.between(*pair)
        if change is None:
            assert before == after
        else:
            assert (before - change.removed) | change.added == after
            assert not change.added & before
            assert not change.removed & after
    assert not changed


@given(clusters())
def test_a_cluster_does_not_differ_from_itself(cluster: Cluster) -> None:
    found = difference(cluster, cluster)
    assert not found


def _pairs(evaluator: Evaluator, matrix: Matrix) -> Iterator[tuple[str, Ends, str, Ends]]:
    """Every pair of a matrix with its addresses; a range is represented by an address of it that is
    nobody's, if there is one."""
    pods: list[tuple[str, Ends]] = [(pod_id(pod), evaluator.addresses.of_pod(pod)) for pod in matrix.pods]
    taken = {(end.family, end.value) for _, ends in pods for end in ends}
    outside: list[tuple[str, Ends]] = []
    for external in matrix.externals:
        free = [
            value
            for first, last in external.addresses
            for value in range(first, min(last, first + 40) + 1)
            if (external.family, value) not in taken
        ]
        if free:
            end = evaluator.addresses.at(format_address(external.family, free[0]))
            if not end.node:
                outside.append((external.id, (end,)))
    for source, destination in itertools.chain(
        itertools.product(pods, pods), itertools.product(pods, outside), itertools.product(outside, pods)
    ):
        yield (*source, *destination)


def _union(evaluator: Evaluator, sources: Ends, destinations: Ends) -> ConnectionSet:
    found = NOTHING
    for own, other in itertools.product(sources, destinations):
        found |= evaluator.connections(own, other)
    return found


def _walk(
    network: Network, source: Endpoint, destination: Endpoint, protocol: Protocol | None, port: int
) -> bool:
    number, dport = (ICMP[source.family], None) if protocol is None else (int(protocol), port)
    return network.walk(source, destination, number, dport).allowed


def _external_of(matrix: Matrix, end: Endpoint) -> External:
    return next(
        each for each in matrix.externals if each.family == end.family and end.value in each.addresses
    )
