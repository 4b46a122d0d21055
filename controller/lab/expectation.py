"""What the policies of a running lab say of its packets: the text and the kernel, compared.

Not for Services: an address is that of whoever has it, as policies see it.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from controller.engine.enforcement import State, enforcement_of
from controller.engine.evaluate import Evaluator
from controller.engine.node_policies import published_mode
from controller.engine.resolve import Resolver
from controller.kube.client import ApiClient
from controller.kube.errors import NotFound
from controller.kube.resource import NAMESPACES, NETWORK_POLICIES, NODE_POLICIES, NODES, PODS, Resource
from controller.lab.pairs import PairProbe
from controller.lab.probing import Outcome
from controller.objects.assembly import observed_cluster
from controller.objects.documents import Document
from controller.objects.kinds import Cluster
from controller.objects.resources import NodePolicy


async def evaluator_of(client: ApiClient) -> Evaluator:
    """The verdicts of the objects as they are now. Raises ApiError."""
    cluster, _ = await _cluster(client)
    return Evaluator(cluster)


async def not_enforced(client: ApiClient) -> list[str]:
    """The policies that agents have not reported as enforced on every node, `namespace/name`.

    Raises ApiError.
    """
    cluster, told = await _cluster(client)
    states = enforcement_of(Resolver.of(cluster), cluster.policies, told)
    return [f"{each.namespace}/{each.name}" for each in states if each.state is not State.ENFORCED]


def disagreements(evaluator: Evaluator, probes: Sequence[PairProbe]) -> list[PairProbe]:
    """The probes whose outcome is not what the policies say. A refusal has passed all rules too."""
    return [
        probe for probe in probes if (probe.outcome is not Outcome.SILENT) is not _allows(evaluator, probe)
    ]


def _allows(evaluator: Evaluator, probe: PairProbe) -> bool:
    pair = probe.pair
    ends = (evaluator.addresses.at(pair.shot.source), evaluator.addresses.at(pair.shot.address))
    return evaluator.evaluate(*ends, pair.protocol, pair.port).allowed


async def _cluster(client: ApiClient) -> tuple[Cluster, list[NodePolicy]]:
    """The cluster in the mode of its operator, and what that has published."""
    kinds = (NETWORK_POLICIES, PODS, NAMESPACES, NODES)
    lists = await asyncio.gather(*(_documents(client, resource) for resource in kinds))
    cluster = observed_cluster([each for found in lists for each in found]).cluster
    try:
        told = (await client.list_all(NODE_POLICIES, NodePolicy)).items
    except NotFound:  # a lab without podgate
        told = []
    return msgspec.structs.replace(cluster, mode=published_mode(told)), told


async def _documents(client: ApiClient, resource: Resource) -> list[Document]:
    """In a list objects come without kind and apiVersion, as everywhere in Kubernetes."""
    listing = await client.list_all(resource, msgspec.Raw)
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return [Document({**head, **msgspec.json.decode(item)}) for item in listing.items]
