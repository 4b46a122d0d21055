"""API objects reach the engine whatever their order, and whatever is wrong with them."""

from typing import Any

import msgspec

from controller.engine.changes import Changes
from controller.kube.sink import Unreadable
from controller.objects.kinds import Direction, Mode, Pod
from controller.objects.wire import WirePod
from controller.operator.intake import Arrival, Intake, Received, Source, arrival_of, keep_pod

BOTH = (Direction.EGRESS, Direction.INGRESS)


class Told:
    """What an intake told, and when."""

    def __init__(self) -> None:
        self.changes: list[Changes] = []
        self.at: list[float] = []

    def __call__(self, changes: Changes, at: float) -> None:
        self.changes.append(changes)
        self.at.append(at)


def event(
    source: Source,
    key: str,
    *,
    uid: str = "1",
    version: int = 1,
    gone: bool = False,
    **body: Any,  # noqa: ANN401 - any field
) -> Arrival:
    home, _, name = key.rpartition("/")
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version), **body.pop("metadata", {})}
    if home:
        metadata["namespace"] = home
    api_version = "networking.k8s.io/v1" if source is Source.NETWORK_POLICIES else "v1"
    value = {"apiVersion": api_version, "metadata": metadata, **body}
    found = arrival_of(source, value, Received(1000.0 + version, float(version)), gone=gone)
    assert found is not None
    return found


def policy(version: int = 1, *, uid: str = "1", gone: bool = False, app: str = "web") -> Arrival:
    spec = {"podSelector": {"matchLabels": {"app": app}}}
    return event(Source.NETWORK_POLICIES, "shop/p", uid=uid, version=version, gone=gone, spec=spec)


def pod(name: str = "web", app: str = "web", ip: str = "10.0.0.1") -> Pod:
    return Pod(namespace="shop", name=name, labels={"app": app}, ips=(ip,), node="node-1")


def selector(intake: Intake) -> str:
    found = intake.resolver.policy(("shop", "p"))
    return str(found.pod_selector) if found else ""


def intake(told: Told | None = None) -> Intake:
    found = Intake(told or Told())
    found.take(event(Source.NAMESPACES, "shop"))
    return found


def bad_pod(**metadata: Any) -> Unreadable:  # noqa: ANN401 - any field
    meta = {"name": "web", "namespace": "shop", "uid": "7", **metadata}
    raw = {"metadata": meta, "spec": {"nodeName": "node-1"}, "status": {"podIP": "10.0.0.1"}}
    return Unreadable(("shop", "web"), "7", "wrong", msgspec.json.encode(raw))


def test_a_change_is_told_with_the_time_of_its_event() -> None:
    told = Told()

    Intake(told).take(policy(version=5))

    assert told.at == [1005.0]
    assert len(told.changes[0].rulesets) == 1


def test_an_event_that_changes_nothing_is_not_told() -> None:
    told = Told()
    found = intake(told)
    found.take(policy())
    told.changes.clear()

    found.take(event(Source.NAMESPACES, "shop", version=9, metadata={"annotations": {"a": "b"}}))

    assert told.changes == []


def test_an_older_version_is_not_believed() -> None:
    found = intake()
    found.take(policy(version=5, app="new"))

    found.take(policy(version=4, app="old"))

    assert selector(found) == "app=new"


def test_a_late_deletion_of_the_object_before_does_not_remove_the_one_that_took_its_name() -> None:
    found = intake()
    found.take(policy(version=1, uid="first"))
    found.take(policy(version=3, uid="second", app="new"))

    found.take(policy(version=2, uid="first", gone=True))

    assert selector(found) == "app=new"


def test_a_late_change_of_the_object_before_does_not_replace_the_one_that_took_its_name() -> None:
    found = intake()
    found.take(policy(version=3, uid="second", app="new"))

    found.take(policy(version=2, uid="first", app="old"))
    found.take(policy(version=2, uid="first", gone=True))

    assert selector(found) == "app=new"


def test_a_deleted_object_is_gone() -> None:
    found = intake()
    found.take(policy())

    found.take(policy(version=2, gone=True))

    assert selector(found) == ""
    assert found.known[Source.NETWORK_POLICIES] == {}


def test_a_deleted_object_does_not_come_back_by_what_was_said_of_it_before() -> None:
    """As when a census reads it just before it goes, and hands it over just after."""
    found = intake()

    found.take(policy(version=2, gone=True))
    found.take(policy(version=1))

    assert selector(found) == ""


def test_nor_does_one_that_a_census_found_gone() -> None:
    found = intake()
    found.take(policy(version=1))

    found.forget(Source.NETWORK_POLICIES, ("shop", "p"), 1002.0)
    found.take(policy(version=2))

    assert selector(found) == ""


def test_another_object_of_that_name_is_taken_in() -> None:
    found = intake()
    found.take(policy(version=2, gone=True))

    found.take(policy(uid="2", version=3))

    assert selector(found) == "app=web"


def test_objects_that_are_gone_are_remembered_up_to_a_number() -> None:
    found = Intake(Told(), remembered=2)
    for number in range(3):
        found.take(policy(uid=str(number), gone=True))

    found.take(policy(uid="0", version=9))

    assert selector(found) == "app=web"


def test_an_event_heard_again_counts_as_seen() -> None:
    found = intake()
    found.take(policy(version=5))
    again = msgspec.structs.replace(policy(version=5), received=Received(2000.0, 99.0))

    found.take(again)

    assert found.known[Source.NETWORK_POLICIES]["shop", "p"].seen_at == 99.0


def test_what_has_no_name_is_no_object() -> None:
    for body in ({}, {"metadata": None}, {"metadata": {"name": 7}}, {"metadata": {"name": ""}}):
        assert arrival_of(Source.NODES, body, Received(0.0, 0.0), gone=False) is None


def test_a_policy_that_is_wrong_isolates_and_stops_nothing() -> None:
    found = intake()
    found.added(("shop", "web"), pod(), 1.0)

    found.take(event(Source.NETWORK_POLICIES, "shop/p", spec="nonsense"))
    found.take(event(Source.NODES, "node-1"))

    assert found.resolver.share("node-1").pods[0].isolated == BOTH
    assert found.resolver.has_node("node-1")


def test_a_pod_that_cannot_be_read_is_isolated_and_its_findings_are_kept() -> None:
    found = intake()

    found.unreadable(bad_pod(labels={"app": 7}), 1.0)

    assert found.resolver.share("node-1").pods[0].isolated == BOTH
    assert found.quarantined["shop", "web"].uid == "7"


def test_a_pod_that_can_be_read_again_is_as_any_other() -> None:
    found = intake()
    found.unreadable(bad_pod(labels={"app": 7}), 1.0)

    found.added(("shop", "web"), pod(), 2.0)

    assert found.resolver.share("node-1").pods == ()
    assert found.quarantined == {}


def test_a_pod_with_a_part_that_decides_nothing_is_not_quarantined() -> None:
    found = intake()

    found.unreadable(bad_pod(labels={"app": "web"}, annotations={"a": 7}), 1.0)

    assert found.quarantined == {}
    assert found.resolver.share("node-1").known == ("10.0.0.1",)


def test_an_unreadable_pod_that_is_gone_is_forgotten() -> None:
    found = intake()
    found.unreadable(bad_pod(labels={"app": 7}), 1.0)

    found.removed(("shop", "web"), None, 2.0)

    assert found.quarantined == {}
    assert found.resolver.share("node-1").known == ()


def test_a_pod_without_a_readable_name_stops_nothing() -> None:
    found = intake()

    found.unreadable(Unreadable(None, "", "no JSON", b"{"), 1.0)
    found.unreadable(Unreadable(("shop", "web"), "1", "no object", b"[1]"), 1.0)

    assert found.resolver.inventory.pods == {}


def test_pods_of_a_namespace_with_unreadable_labels_are_quarantined_until_it_is_mended() -> None:
    found = intake()
    found.pods_of = lambda: (pod(),)
    found.added(("shop", "web"), pod(), 1.0)
    isolated = []
    for version, labels in enumerate(({"team": 7}, {"team": "a"}), start=2):
        found.take(event(Source.NAMESPACES, "shop", version=version, metadata={"labels": labels}))
        isolated.append([each.isolated for each in found.resolver.share("node-1").pods])

    assert isolated == [[BOTH], []]


def test_a_pod_that_comes_to_such_a_namespace_is_quarantined_too() -> None:
    found = intake()
    found.take(event(Source.NAMESPACES, "shop", version=2, metadata={"labels": {"team": 7}}))

    found.added(("shop", "web"), pod(), 1.0)

    assert found.resolver.share("node-1").pods[0].isolated == BOTH


def test_another_version_of_a_pod_that_says_the_same_costs_nothing() -> None:
    told = Told()
    found = intake(told)
    found.added(("shop", "web"), pod(), 1.0)
    told.changes.clear()

    found.changed(("shop", "web"), pod(), pod(), 2.0)

    assert told.changes == []


def test_what_is_kept_of_a_pod_shares_what_equal_pods_have_in_common() -> None:
    metadata = {"namespace": "shop", "uid": "1", "labels": {"app": "web"}}
    one, two = (
        keep_pod(msgspec.convert({"metadata": {"name": name, **metadata}}, WirePod)) for name in ("a", "b")
    )

    assert one.labels is two.labels
    assert one.uid == ""


# Modes


def marked(version: int, annotations: dict[str, str]) -> Arrival:
    return event(
        Source.NETWORK_POLICIES, "shop/p", version=version, metadata={"annotations": annotations}, spec={}
    )


def audited(found: Intake) -> bool:
    (local,) = found.resolver.share("node-1").pods
    return local.audited == (Direction.INGRESS,)


def test_the_mode_of_a_policy_follows_its_annotation() -> None:
    told = Told()
    found = intake(told)
    found.added(("shop", "web"), pod(), 0.0)
    found.take(marked(1, {}))
    seen = [audited(found)]
    for version, annotations in enumerate(({"podgate.dev/mode": "audit"}, {}), start=2):
        told.changes.clear()
        found.take(marked(version, annotations))
        seen.append(audited(found))
        assert told.changes[0].nodes == {"node-1"}

    assert seen == [False, True, False]


def test_the_mode_of_a_namespace_follows_its_annotation() -> None:
    found = intake()
    found.added(("shop", "web"), pod(), 0.0)
    found.take(policy())

    found.take(
        event(Source.NAMESPACES, "shop", version=2, metadata={"annotations": {"podgate.dev/mode": "audit"}})
    )

    assert audited(found)


def test_other_annotations_are_no_news() -> None:
    told = Told()
    found = intake(told)
    found.added(("shop", "web"), pod(), 0.0)
    found.take(marked(1, {"podgate.dev/mode": "audit"}))
    told.changes.clear()

    found.take(marked(2, {"podgate.dev/mode": "audit", "example.com/changed": "again"}))

    assert told.changes == []


def test_the_operators_mode_is_that_of_policies_that_say_nothing() -> None:
    found = Intake(Told(), mode=Mode.AUDIT)
    found.take(event(Source.NAMESPACES, "shop"))
    found.added(("shop", "web"), pod(), 0.0)
    found.take(policy())

    assert audited(found)
