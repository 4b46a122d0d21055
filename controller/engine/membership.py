"""Who is a member of which peer group, kept up to date as pods, namespaces and policies come and go.

A group exists while rulesets use it. It is known by its label sets: which pods those have is the inventory's
business, so a pod of a label set that is known already costs nothing here but the news of it.
"""

from collections.abc import Collection

from controller.engine.changes import ChangeLog, GroupRef
from controller.engine.inventory import (
    GroupEntry,
    Inventory,
    LabelSet,
    LivePod,
    NamespaceEntry,
    NamespaceSelectorEntry,
)
from controller.engine.rulesets import Endpoint, NamedPortGroup, PodGroup, PolicyRuleset
from controller.engine.selectors import SelectorIndex
from controller.engine.translate import groups_of
from controller.objects.labels import LabelSelector


class Membership:
    """The groups in use and their members; owned by `Resolver`, which says what comes and goes."""

    def __init__(self, inventory: Inventory, log: ChangeLog) -> None:
        self._inventory = inventory
        self._log = log
        self._groups: dict[PodGroup, GroupEntry] = {}
        self._namespace_selectors: dict[LabelSelector, NamespaceSelectorEntry] = {}
        self._selector_index: SelectorIndex[NamespaceSelectorEntry] = SelectorIndex()

    # Results

    def groups(self) -> tuple[GroupRef, ...]:
        """Every group that some ruleset references."""
        named = (ref for entry in self._groups.values() for ref in entry.named)
        return (*self._groups, *named)

    def members(self, group: PodGroup) -> frozenset[str]:
        """The addresses of a group's live pods, both families. O(members).

        Raises KeyError for a group nobody references.
        """
        return frozenset(address for live in self._groups[group].pods() for address in live.ips)

    def endpoints(self, named: NamedPortGroup) -> frozenset[Endpoint]:
        """The (address, protocol, port) of a named-port group. O(members).

        Raises KeyError for a group nobody references.
        """
        return frozenset(_members(self._groups[named.pods], named))

    # Pods

    def announce_pod(self, live: LivePod, label_set: LabelSet, *, present: bool) -> None:
        """Record that a pod comes to the groups of its label set, or went. O(groups).

        Called while the pod is not in the inventory: not yet, or no longer.
        """
        for group in label_set.groups:
            self._announce(group, (live,), present=present)

    def join_all(self, label_set: LabelSet) -> None:
        """Put a label set that has no pods yet into the groups that pick it.

        O(groups that could match, see SelectorIndex).
        """
        for group in label_set.namespace.groups_matching(label_set.labels):
            _join(group, label_set)

    def forget(self, label_set: LabelSet) -> None:
        """Take a label set that has no pods any more out of its groups. O(groups)."""
        for group in label_set.groups:
            del group.label_sets[label_set]

    def _announce(self, group: GroupEntry, pods: Collection[LivePod], *, present: bool) -> None:
        """Record that pods come to a group or went; what another member has too is no news (rule 2.56).

        Called while the pods are not members: not yet, or no longer. Sets, because two of the pods may share
        an address.
        """
        if not self._log.recording:
            return
        for address in {address for live in pods for address in live.ips}:
            if not any(_is_member(group, other) for other in self._inventory.at(address)):
                self._log.changes.member(group.group, address, present=present)
        for named in group.named:
            for endpoint in {endpoint for live in pods for endpoint in _endpoints(live, named)}:
                if not self._has_endpoint(group, named, endpoint):
                    self._log.changes.member(named, endpoint, present=present)

    def _has_endpoint(self, group: GroupEntry, named: NamedPortGroup, endpoint: Endpoint) -> bool:
        holders = (live for live in self._inventory.at(endpoint[0]) if _is_member(group, live))
        return any(endpoint in _endpoints(live, named) for live in holders)

    # Namespaces

    def open(self, entry: NamespaceEntry) -> None:
        """A namespace whose pods were there before it exists: they enter the groups of its own selectors.

        O(its label sets x their groups).
        """
        for label_set in entry.label_sets.values():
            for group in entry.groups.matching(label_set.labels):
                self._enter(group, label_set)

    def relabel(self, entry: NamespaceEntry) -> None:
        """Its pods enter and leave groups as its labels now say (rule 2.17).

        O(its label sets x groups of the selectors that changed their mind).
        """
        labels = entry.labels or {}
        self._set_selectors(entry, dict.fromkeys(self._selector_index.matching(labels)))

    def close(self, entry: NamespaceEntry) -> None:
        """A namespace that is gone: its pods leave every group (rule 2.58).

        O(its label sets x their groups).
        """
        self._set_selectors(entry, {})
        for label_set in entry.label_sets.values():
            for group in list(label_set.groups):
                self._leave(group, label_set)

    def _set_selectors(self, entry: NamespaceEntry, selectors: dict[NamespaceSelectorEntry, None]) -> None:
        old = entry.selectors
        entry.selectors = selectors
        for selector in old.keys() - selectors.keys():
            del selector.namespaces[entry]
            for label_set in entry.label_sets.values():
                for group in selector.groups.matching(label_set.labels):
                    self._leave(group, label_set)
        for selector in selectors.keys() - old.keys():
            selector.namespaces[entry] = None
            for label_set in entry.label_sets.values():
                for group in selector.groups.matching(label_set.labels):
                    self._enter(group, label_set)

    def _enter(self, group: GroupEntry, label_set: LabelSet) -> None:
        self._announce(group, label_set.pods.values(), present=True)
        _join(group, label_set)

    def _leave(self, group: GroupEntry, label_set: LabelSet) -> None:
        del group.label_sets[label_set]
        del label_set.groups[group]
        self._announce(group, label_set.pods.values(), present=False)

    # Rulesets

    def acquire(self, ruleset: PolicyRuleset) -> None:
        """A ruleset uses its groups. O(members of those that are new)."""
        for ref in groups_of(ruleset):
            pods = ref.pods if isinstance(ref, NamedPortGroup) else ref
            entry = self._groups.get(pods) or self._new_group(pods)
            entry.users += 1
            if isinstance(ref, NamedPortGroup):
                self._use_name(entry, ref)

    def release(self, ruleset: PolicyRuleset) -> None:
        """A ruleset uses its groups no longer. O(members of those that nobody uses any more)."""
        for ref in groups_of(ruleset):
            entry = self._groups[ref.pods if isinstance(ref, NamedPortGroup) else ref]
            if isinstance(ref, NamedPortGroup):
                self._stop_using_name(entry, ref)
            entry.users -= 1
            if not entry.users:
                self._remove_group(entry)

    def _use_name(self, entry: GroupEntry, named: NamedPortGroup) -> None:
        entry.named[named] = entry.named.get(named, 0) + 1
        if entry.named[named] == 1:
            self._announce_all(entry, named, present=True)

    def _stop_using_name(self, entry: GroupEntry, named: NamedPortGroup) -> None:
        entry.named[named] -= 1
        if not entry.named[named]:
            self._announce_all(entry, named, present=False)
            del entry.named[named]

    def _announce_all(self, entry: GroupEntry, named: NamedPortGroup, *, present: bool) -> None:
        if self._log.recording:
            for endpoint in _members(entry, named):
                self._log.changes.member(named, endpoint, present=present)

    def _new_group(self, group: PodGroup) -> GroupEntry:
        entry = self._groups[group] = GroupEntry(group)
        if group.namespace_selector is None:
            namespaces = [self._inventory.namespace(group.namespace)]
            namespaces[0].groups.add(group.pod_selector, entry)
        else:
            selector = self._namespace_selector(group.namespace_selector)
            selector.groups.add(group.pod_selector, entry)
            selector.users += 1
            namespaces = list(selector.namespaces)
        for namespace in namespaces:
            for label_set in namespace.label_sets.values():
                if namespace.labels is not None and group.pod_selector.matches(label_set.labels):
                    self._enter(entry, label_set)
        return entry

    def _remove_group(self, entry: GroupEntry) -> None:
        for label_set in list(entry.label_sets):
            self._leave(entry, label_set)
        group = entry.group
        del self._groups[group]
        if group.namespace_selector is None:
            namespace = self._inventory.namespaces[group.namespace]
            namespace.groups.remove(group.pod_selector, entry)
            self._inventory.forget_if_unused(namespace)
            return
        selector = self._namespace_selectors[group.namespace_selector]
        selector.groups.remove(group.pod_selector, entry)
        selector.users -= 1
        if not selector.users:
            self._remove_namespace_selector(selector)

    def _namespace_selector(self, selector: LabelSelector) -> NamespaceSelectorEntry:
        entry = self._namespace_selectors.get(selector)
        if entry is None:
            entry = self._namespace_selectors[selector] = NamespaceSelectorEntry(selector)
            self._selector_index.add(selector, entry)
            for namespace in self._inventory.namespaces.values():
                if namespace.labels is not None and selector.matches(namespace.labels):
                    namespace.selectors[entry] = None
                    entry.namespaces[namespace] = None
        return entry

    def _remove_namespace_selector(self, entry: NamespaceSelectorEntry) -> None:
        del self._namespace_selectors[entry.selector]
        self._selector_index.remove(entry.selector, entry)
        for namespace in entry.namespaces:
            del namespace.selectors[entry]


def _join(group: GroupEntry, label_set: LabelSet) -> None:
    group.label_sets[label_set] = None
    label_set.groups[group] = None


def _is_member(group: GroupEntry, live: LivePod) -> bool:
    return live.label_set is not None and live.label_set in group.label_sets


def _members(entry: GroupEntry, named: NamedPortGroup) -> set[Endpoint]:
    return {endpoint for live in entry.pods() for endpoint in _endpoints(live, named)}


def _endpoints(live: LivePod, named: NamedPortGroup) -> list[Endpoint]:
    return [
        (address, port.protocol, port.port)
        for port in live.ports
        if port.name == named.name and port.protocol is named.protocol
        for address in live.ips
    ]
