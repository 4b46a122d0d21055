"""The last link of the chain, on the node itself: from what is published to the rules of the kernel.

Reads what the agent reads, so its account may do it, and makes of it what the agent makes of it.
"""

from collections.abc import Callable

from controller.agent.feeds import GROUPS_MAX, selector_of
from controller.agent.node import Drift
from controller.agent.subscription import Subscription
from controller.cli import live
from controller.cli.verify_cluster import Link, Verified, read_each
from controller.engine.published import Fault, node_object
from controller.engine.rulesets import NodeView
from controller.kube.client import ApiClient
from controller.kube.errors import NotFound
from controller.kube.resource import NODE_POLICIES, PEER_GROUP_SLICES, Selection
from controller.objects.names import counted
from controller.objects.resources import NodePolicy, PeerGroupSlice

NAME = "published -> kernel"


async def subscribed(client: ApiClient, node: str) -> Subscription:
    """What the agent of a node would know by now. Raises CommandError where podgate is not installed."""
    found = Subscription(node, patience=0.0)  # whatever is missing now is missing
    which = Selection(field_selector=f"metadata.name={node}")
    try:
        policies, bad = await read_each(client, NODE_POLICIES, NodePolicy, which)
    except NotFound as error:
        raise live.not_installed(client) from error
    for _, fault in bad:
        found.refuse_policy(fault)
    for policy in policies:
        found.put_policy(policy, 0.0)
    if not policies and not bad:
        found.remove_policy()
    if found.wanted:
        await _add_slices(client, found)
    return found


def verify_kernel(
    subscription: Subscription, node: str, place: str, drifts_of: Callable[[NodeView], list[Drift]]
) -> Verified:
    """Compare what a subscription amounts to with the kernel, once."""
    named = node_object(node)
    if subscription.is_gone:
        return Verified((Link(NAME, (Fault(named, "does not exist: there is nothing to compare with"),)),))
    target = subscription.take(0.0)
    faults = [Fault(named, f"{each.reason}: {each.message}") for each in subscription.problems()]
    if target is None:
        return Verified((Link(NAME, tuple(faults)),))
    faults += (Fault(f"kernel of {node}", str(drift)) for drift in drifts_of(target.view))
    view = target.view
    sizes = ((view.pods, "pod"), (view.rulesets, "ruleset"), (view.groups, "peer group"))
    summary = f"{', '.join(counted(len(found), word) for found, word in sizes)} ({place})"
    return Verified((Link(NAME, tuple(faults), summary),))


async def _add_slices(client: ApiClient, subscription: Subscription) -> None:
    wanted = subscription.wanted
    which = Selection(label_selector=selector_of(wanted if len(wanted) <= GROUPS_MAX else None))
    slices, bad = await read_each(client, PEER_GROUP_SLICES, PeerGroupSlice, which)
    for each in slices:
        subscription.put_slice(each, 0.0)
    for name, fault in bad:
        subscription.refuse_slice(name, fault, 0.0)
