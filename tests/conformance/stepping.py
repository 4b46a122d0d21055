"""Brings a resolver from one state of a cluster to the next, with the changes that a watch would report."""

from collections.abc import Callable, Iterable
from typing import Any

from controller.engine.resolve import Resolver
from controller.engine.rulesets import PodGroup
from controller.objects.kinds import Cluster


def follow(resolver: Resolver, before: Cluster, after: Cluster) -> None:
    """Remove what is gone, then put what is new or changed, pods before namespaces: any order has to do."""
    for pod in _keys(before.pods) - _keys(after.pods):
        resolver.remove_pod(pod)
    for policy in _keys(before.policies) - _keys(after.policies):
        resolver.remove_policy(policy)
    for namespace in _names(before.namespaces) - _names(after.namespaces):
        resolver.remove_namespace(namespace)
    for node in _names(before.nodes) - _names(after.nodes):
        resolver.remove_node(node)
    _put_changed(resolver.put_policy, before.policies, after.policies)
    _put_changed(resolver.put_pod, before.pods, after.pods)
    _put_changed(resolver.put_namespace, before.namespaces, after.namespaces)
    _put_changed(resolver.put_node, before.nodes, after.nodes)


def state(resolver: Resolver) -> object:
    """Everything a resolver answers: what each node enforces, and who is in each group."""
    views = {node: resolver.view(node) for node in resolver.nodes()}
    members = {
        group: resolver.members(group) if isinstance(group, PodGroup) else resolver.endpoints(group)
        for group in resolver.groups()
    }
    return views, members


def _keys(objects: Iterable[Any]) -> set[tuple[str, str]]:
    return {each.key for each in objects}


def _names(objects: Iterable[Any]) -> set[str]:
    return {each.name for each in objects}


def _put_changed(put: Callable[[Any], None], before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    for each in after:
        if each not in before:
            put(each)
