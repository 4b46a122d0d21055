"""What is written, in which order, and what is not."""

from msgspec.structs import replace

from controller.engine.node_policies import PolicyVersion, node_policy_spec
from controller.objects.resources import MEMBERS_MAX, NodePolicySpec, PeerGroupSliceSpec
from controller.operator.publication import GRACE, Publication
from controller.operator.steps import Identity, Kind
from controller.operator.worklist import INTERVAL
from tests.unit.builder import ClusterBuilder, cluster, labels
from tests.unit.operator.publishing import Stage
from tests.unit.operator.server import Object

ALLOW_CLIENTS = {
    "podSelector": labels(app="web"),
    "ingress": [{"from": [{"podSelector": labels(app="client")}]}],
}
ALLOW_ADMINS = {
    "podSelector": labels(app="web"),
    "ingress": [{"from": [{"podSelector": labels(app="admin")}]}],
}
DENY = {"podSelector": labels(app="web"), "policyTypes": ["Ingress"]}
BARE = (
    cluster().ns("shop").node("node-1").node("node-2").pod("shop/web", labels={"app": "web"}, ip="10.0.0.1")
)
SHOP = BARE.pod("shop/client", labels={"app": "client"}, ip="10.0.0.2", node="node-2").policy(
    "shop/web", ALLOW_CLIENTS
)


def crowd(count: int, builder: ClusterBuilder = SHOP) -> ClusterBuilder:
    """So many clients more, in one pod with as many addresses, which is quicker."""
    addresses = tuple(f"10.1.{number >> 8}.{number & 255}" for number in range(count))
    return builder.pod("shop/crowd", labels={"app": "client"}, ip=addresses, node="node-2")


def spec_of(stage: Stage, node: str) -> NodePolicySpec:
    spec = stage.server.objects[Kind.NODE_POLICY, node].spec
    assert isinstance(spec, NodePolicySpec)
    return spec


def published(builder: ClusterBuilder = SHOP) -> Stage:
    """A cluster, published; nothing is due."""
    stage = Stage().become(builder).begin()
    stage.settle()
    stage.server.written.clear()
    stage.now += 10.0
    return stage


def kinds(names: list[str]) -> list[str]:
    return ["slice" if name.startswith("pg-") else name for name in names]


def test_every_node_gets_a_node_policy_also_without_policies() -> None:
    stage = Stage().become(cluster().ns("shop").node("node-1").node("node-2")).begin()

    assert set(stage.settle()) == {"node-1", "node-2"}


def test_a_node_that_only_pods_mention_gets_one_too() -> None:
    stage = Stage().become(BARE.pod("shop/other", node="node-9")).begin()
    stage.settle()

    assert "node-9" in stage.node_policies()


def test_pods_without_a_node_get_none() -> None:
    stage = Stage().become(BARE.pod("shop/pending", node="")).begin()
    stage.settle()

    assert stage.node_policies() == {"node-1", "node-2"}


def test_a_node_policy_goes_with_its_node() -> None:
    stage = published(cluster().ns("shop").node("node-1").node("node-2"))

    stage.become(cluster().ns("shop").node("node-1"))

    assert stage.settle() == ["node-2"]
    assert stage.node_policies() == {"node-1"}


def test_slices_come_before_the_node_policy_that_names_their_group() -> None:
    stage = Stage().become(crowd(2 * MEMBERS_MAX)).begin()

    written = kinds([name for name in stage.settle() if name != "node-2"])

    assert written == ["slice", "slice", "slice", "node-1"]


def test_a_node_policy_waits_while_a_slice_cannot_be_written() -> None:
    stage = published(BARE).become(crowd(2 * MEMBERS_MAX, BARE).policy("shop/web", ALLOW_CLIENTS))
    step = stage.take()
    assert step is not None
    stage.publication.failed(step, stage.now, 5.0)

    assert "node-1" not in stage.settle()
    assert stage.wait(6.0)[-1] == "node-1"


EVIL = {
    "podSelector": {},
    "ingress": [{"from": [{"podSelector": labels(n=str(number))} for number in range(200)]}],
}


def test_new_isolation_does_not_wait_for_the_groups_of_others() -> None:
    """Two hundred groups of one tenant are to be written when another isolates a pod on another node."""
    crowded = BARE.pod("evil/pod", ip="10.0.0.66", node="node-1").pod(
        "shop/new", labels={"app": "new"}, ip="10.0.0.3", node="node-2"
    )
    stage = published(crowded)
    crowded = crowded.policy("evil/all", EVIL)
    stage.become(crowded).become(
        crowded.policy("shop/new", {"podSelector": labels(app="new"), "policyTypes": ["Ingress"]})
    )

    written = stage.settle()

    assert written.index("node-2") <= 2
    assert len(written) > 200


def test_groups_of_a_policy_that_is_left_out_keep_nobody_waiting() -> None:
    """Each of the policies takes more than half of the room that a NodePolicy has."""
    values = [f"{number:063}" for number in range(12000)]
    evil = BARE.pod("evil/pod", ip="10.0.0.66", node="node-1")
    for number in range(2):
        selector = {
            "matchLabels": {"n": str(number)},
            "matchExpressions": [{"key": "app", "operator": "In", "values": values}],
        }
        evil = evil.policy(
            f"evil/{number}", {"podSelector": {}, "ingress": [{"from": [{"podSelector": selector}]}]}
        )
    stage = Stage().become(evil).begin()
    room_for = {
        each.id
        for each in node_policy_spec(stage.resolver.share("node-1"), lambda _: PolicyVersion("", 0)).groups
    }
    while step := stage.take():
        if step.kind is Kind.NODE_POLICY or step.group in room_for:
            stage.do(step)
        else:
            stage.publication.failed(step, stage.now, 60.0)

    assert len(room_for) == 1
    assert len(spec_of(stage, "node-1").rulesets) == 1


def test_a_group_that_the_api_server_refuses_does_not_keep_pods_open() -> None:
    stage = published(BARE).become(BARE.policy("shop/web", ALLOW_CLIENTS))
    step = stage.take()
    assert step is not None

    stage.publication.failed(step, stage.now, 60.0, refused=True)

    assert stage.settle() == ["node-1"]
    assert spec_of(stage, "node-1").pods[0].isolated == ("Ingress",)


def test_a_client_that_comes_costs_one_slice() -> None:
    stage = published()

    stage.become(SHOP.pod("shop/second", labels={"app": "client"}, ip="10.0.0.9", node="node-1"))

    assert sorted(kinds(stage.settle())) == ["node-1", "slice"]  # the node learns of its own pod


def test_what_tightens_is_written_without_delay_however_often_it_changes() -> None:
    stage = published(crowd(3))
    stage.become(crowd(2)).settle()

    stage.become(crowd(1))

    assert [name for name in stage.settle() if name.startswith("pg-")]


def test_what_widens_waits_when_its_object_was_just_written() -> None:
    stage = published(crowd(1))
    stage.become(crowd(2)).settle()
    stage.server.written.clear()

    stage.become(crowd(3))

    assert not [name for name in stage.settle() if name.startswith("pg-")]
    assert [name for name in stage.wait(INTERVAL) if name.startswith("pg-")]


def test_a_pod_that_becomes_isolated_is_urgent() -> None:
    stage = published(BARE)
    stage.become(BARE.pod("shop/second", labels={"app": "web"}, ip="10.0.0.9", node="node-1")).settle()

    stage.become(
        BARE.pod("shop/second", labels={"app": "web"}, ip="10.0.0.9", node="node-1").policy("shop/web", DENY)
    )

    assert stage.settle() == ["node-1"]


def test_the_trigger_is_the_time_of_the_event_that_caused_the_write() -> None:
    stage = published()
    stage.become(SHOP.pod("shop/second", labels={"app": "client"}, ip="10.0.0.9", node="node-9"))

    step = stage.take()

    assert step is not None
    assert step.work.pending.trigger == 1000.0


def test_nothing_is_written_before_the_term_begins() -> None:
    stage = Stage().become(SHOP)

    assert stage.settle() == []


def test_a_restart_with_nothing_changed_writes_nothing() -> None:
    stage = published(crowd(5 * MEMBERS_MAX))

    assert stage.restarted().settle() == []


def test_a_restart_writes_what_changed_meanwhile_and_keeps_members_where_they_are() -> None:
    stage = published(crowd(5 * MEMBERS_MAX))
    stage.publication = Publication(stage.resolver)  # it is away
    stage.become(crowd(5 * MEMBERS_MAX).without_pod("shop/client"))

    again = stage.restarted()

    assert sorted(kinds(again.settle())) == ["node-2", "slice"]


def test_a_restart_in_the_middle_ends_as_if_there_was_none() -> None:
    stage = Stage().become(crowd(5 * MEMBERS_MAX)).begin()
    stage.step()
    stage.step()
    again = stage.restarted()
    again.settle()

    assert again.server.node_view("node-1") == again.resolver.view("node-1")


def test_the_slices_of_a_group_outlive_the_last_node_policy_that_names_it() -> None:
    stage = published().become(BARE.policy("shop/web", ALLOW_ADMINS))
    old = stage.slices()
    stage.settle()

    assert old <= stage.slices()
    assert stage.wait(GRACE - 1) == []
    assert sorted(old) == sorted(stage.wait(2))
    assert not old & stage.slices()


def test_slices_stay_while_a_node_policy_that_names_them_cannot_be_written() -> None:
    stage = published().become(BARE.policy("shop/web", DENY))
    old = stage.slices()
    step = stage.take()
    assert step is not None
    assert step.name == "node-1"
    stage.publication.failed(step, stage.now, 10 * GRACE)
    stage.settle()

    stage.wait(5 * GRACE)

    assert old <= stage.slices()
    stage.wait(6 * GRACE)
    stage.wait_for_grace()
    assert stage.slices() == set()


def test_slices_stay_while_somebody_elses_node_policy_names_them() -> None:
    stage = published()
    old, slices = spec_of(stage, "node-1"), stage.slices()
    stage.become(BARE.policy("shop/web", DENY)).settle()
    stage.server.put(Kind.NODE_POLICY, "node-1", old)
    stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
    step = stage.take()
    assert step is not None
    stage.publication.failed(step, stage.now, 10 * GRACE)

    stage.wait_for_grace()

    assert slices <= stage.slices()


def test_a_group_that_is_named_again_within_the_grace_is_brought_up_to_date() -> None:
    stage = published(crowd(MEMBERS_MAX + 5)).become(crowd(MEMBERS_MAX + 5, BARE).policy("shop/web", DENY))
    stage.settle()
    stage.become(crowd(3, BARE).policy("shop/web", DENY))
    stage.wait()

    stage.become(crowd(3, BARE).policy("shop/web", ALLOW_CLIENTS))
    stage.wait()
    stage.wait_for_grace()

    assert stage.server.node_view("node-1") == stage.resolver.view("node-1")


def test_a_group_that_is_named_again_while_its_slices_are_deleted_comes_back() -> None:
    stage = published(crowd(3 * MEMBERS_MAX)).become(crowd(3 * MEMBERS_MAX, BARE).policy("shop/web", DENY))
    stage.settle()
    stage.now += GRACE + 1
    deletion = stage.take()
    assert deletion is not None
    assert deletion.spec is None

    stage.become(crowd(3 * MEMBERS_MAX, BARE).policy("shop/web", ALLOW_CLIENTS))
    stage.do(deletion)
    stage.wait()

    assert stage.server.node_view("node-1") == stage.resolver.view("node-1")


def test_slices_of_unknown_groups_are_deleted_after_the_grace() -> None:
    stage = Stage().become(BARE)
    stage.server.put(Kind.SLICE, "pg-abcdefgh-0", PeerGroupSliceSpec("", count=1), "abcdefgh")
    stage.begin()
    stage.settle()

    assert stage.slices() == {"pg-abcdefgh-0"}
    stage.wait_for_grace()
    assert stage.slices() == set()


def test_node_policies_of_unknown_nodes_are_deleted() -> None:
    stage = Stage().become(BARE)
    stage.server.put(Kind.NODE_POLICY, "node-9", NodePolicySpec("digest"))
    stage.begin()
    stage.settle()

    assert stage.node_policies() == {"node-1", "node-2"}


def test_a_slice_that_somebody_deletes_is_written_again() -> None:
    stage = published(crowd(3 * MEMBERS_MAX))
    name = min(stage.slices())

    assert stage.server.remove(stage.publication, Kind.SLICE, name, stage.at)
    assert stage.settle() == [name]


def test_a_slice_that_somebody_changes_is_put_right() -> None:
    stage = published()
    (name,) = stage.slices()
    spec, label, *_ = stage.server.objects[Kind.SLICE, name]
    assert isinstance(spec, PeerGroupSliceSpec)
    stage.server.put(Kind.SLICE, name, replace(spec, addresses=("192.0.2.1",)), label)

    assert stage.server.tell(stage.publication, Kind.SLICE, name, stage.at)
    assert stage.settle() == [name]
    assert stage.server.objects[Kind.SLICE, name].spec == spec


def test_a_slice_that_lost_its_label_is_put_right() -> None:
    stage = published()
    (name,) = stage.slices()
    spec, label, *_ = stage.server.objects[Kind.SLICE, name]
    stage.server.put(Kind.SLICE, name, spec, "")

    assert stage.server.tell(stage.publication, Kind.SLICE, name, stage.at)
    stage.settle()
    assert stage.server.objects[Kind.SLICE, name].label == label


def test_a_slice_under_a_name_that_is_none_of_ours_is_deleted() -> None:
    stage = published()
    before = stage.slices()
    stage.server.put(Kind.SLICE, "mine", PeerGroupSliceSpec("", addresses=("192.0.2.1",)), "abcdefgh")

    assert stage.server.tell(stage.publication, Kind.SLICE, "mine", stage.at)
    stage.settle()
    assert stage.slices() == before


def test_a_slice_beyond_the_last_one_is_deleted() -> None:
    stage = published()
    (name,) = stage.slices()
    group = stage.server.objects[Kind.SLICE, name].label
    extra = PeerGroupSliceSpec("", index=7, addresses=("192.0.2.1",))
    stage.server.put(Kind.SLICE, f"pg-{group}-7", extra, group)

    assert stage.server.tell(stage.publication, Kind.SLICE, f"pg-{group}-7", stage.at)
    stage.settle()
    assert stage.slices() == {name}


def test_a_slice_of_an_absurd_index_costs_no_memory_at_the_start() -> None:
    stage = published()
    (name,) = stage.slices()
    group = stage.server.objects[Kind.SLICE, name].label
    extra = PeerGroupSliceSpec("", index=999_999, addresses=("192.0.2.1",))
    stage.server.put(Kind.SLICE, f"pg-{group}-999999", extra, group)

    again = stage.restarted()
    again.settle()

    assert again.slices() == {name}
    assert again.server.written == [f"pg-{group}-999999"]


def test_a_node_policy_that_somebody_changes_or_deletes_is_put_right() -> None:
    stage = published()
    spec = spec_of(stage, "node-1")
    stage.server.put(Kind.NODE_POLICY, "node-1", replace(spec, digest="other", pods=()))

    assert stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
    assert stage.settle() == ["node-1"]
    assert stage.server.remove(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
    assert stage.settle() == ["node-1"]
    assert spec_of(stage, "node-1") == spec


def dropping() -> Stage:
    """A NodePolicy was written, and the API server left out a field of it."""
    stage = published()
    stage.server.drops_addresses = True
    stage.become(SHOP.pod("shop/more", labels={"app": "web"}, ip="10.0.0.9"))
    assert "node-1" in stage.settle()
    return stage


def test_what_the_api_server_leaves_out_is_written_again_ever_later() -> None:
    stage = dropping()
    assert stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)

    waits = []
    for _ in range(200):
        stage.now += 1.0
        waits.append("node-1" in stage.settle())

    assert 5 <= sum(waits) <= 12
    assert not any(waits[150:160])
    assert stage.publication.backlog == 1


def test_what_the_api_server_left_out_stands_soon_after_its_upgrade() -> None:
    stage = dropping()
    stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
    stage.wait(300.0)
    assert spec_of(stage, "node-1").addresses == ()

    stage.server.drops_addresses = False
    stage.wait(61.0)
    stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)

    assert spec_of(stage, "node-1").addresses == ("10.0.0.1", "10.0.0.9")
    assert stage.publication.backlog == 0
    assert stage.wait(600.0) == []


def test_what_the_api_server_leaves_out_for_days_is_still_written_again() -> None:
    stage = dropping()
    stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)

    assert all("node-1" in stage.wait(61.0) for _ in range(1100))


def test_an_event_of_the_status_does_not_hurry_what_the_api_server_leaves_out() -> None:
    stage = dropping()
    stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
    stage.wait(300.0)
    stage.server.written.clear()

    for _ in range(20):
        spec, label, uid, _ = stage.server.objects[Kind.NODE_POLICY, "node-1"]
        del stage.server.objects[Kind.NODE_POLICY, "node-1"]
        stage.server.objects[Kind.NODE_POLICY, "node-1"] = Object(
            spec, label, uid, str(10_000 + int(stage.now))
        )
        stage.now += 1.0
        assert not stage.server.tell(stage.publication, Kind.NODE_POLICY, "node-1", stage.at)
        stage.settle()

    assert stage.server.written.count("node-1") <= 4


def test_the_echo_of_an_own_write_is_no_change_of_somebody_else() -> None:
    stage = published(BARE).become(SHOP)
    step = stage.take()
    assert step is not None
    found = Identity(*stage.server.execute(step))

    assert not stage.server.tell(stage.publication, step.kind, step.name, stage.at)  # before the answer
    stage.publication.wrote(step, found, stage.now)
    stage.settle()
    for kind, name in stage.server.objects:
        assert not stage.server.tell(stage.publication, kind, name, stage.at)
    assert stage.settle() == []


def test_a_write_whose_answer_was_lost_is_not_taken_for_somebody_elses() -> None:
    stage = published(BARE).become(BARE.policy("shop/web", DENY))
    step = stage.take()
    assert step is not None
    stage.server.execute(step)
    stage.publication.failed(step, stage.now, 1.0)

    assert not stage.server.tell(stage.publication, step.kind, step.name, stage.at)
    assert stage.wait(2.0) == []


def test_a_late_event_of_an_earlier_version_changes_nothing() -> None:
    stage = published()
    (name,) = stage.slices()
    spec, label, uid, version = stage.server.objects[Kind.SLICE, name]
    early = stage.server.objects[Kind.SLICE, name]
    stage.become(SHOP.pod("shop/second", labels={"app": "client"}, ip="10.0.0.9", node="node-9")).settle()
    stage.server.objects[Kind.SLICE, name] = early

    assert not stage.server.tell(stage.publication, Kind.SLICE, name, stage.at)
    assert (spec, label, uid, version) == early


def test_an_event_that_changes_no_result_writes_nothing() -> None:
    stage = published().become(SHOP.node("node-1", "172.16.0.1"))

    assert stage.wait() == []


def test_a_new_generation_of_a_policy_is_told_to_its_nodes() -> None:
    stage = published()
    policy = replace(stage.resolver.policy(("shop", "web")), generation=7)  # type: ignore[type-var]
    assert policy is not None
    stage.resolver.put_policy(policy)
    stage.absorb()
    stage.settle()

    assert spec_of(stage, "node-1").rulesets[0].generation == 7


def test_agents_never_miss_a_member_that_only_moved() -> None:
    """A crowd that shrinks moves members to earlier slices; at every moment those that stay are found."""
    stage = published(crowd(4 * MEMBERS_MAX))
    stage.become(SHOP.pod("shop/crowd", labels={"app": "client"}, ip=("10.1.1.143",), node="node-2"))
    found = []

    while stage.step():
        (group,) = stage.server.groups().values()
        found.append(group.members())

    assert len(found) > 3
    assert all(members is not None and "10.1.1.143" in members for members in found)


def test_backlog_and_age_tell_what_waits() -> None:
    stage = published(BARE).become(BARE.policy("shop/web", ALLOW_CLIENTS))
    stage.now += 3.0

    assert stage.publication.backlog == 2
    assert stage.publication.oldest_age(stage.now) == 3.0
    assert not stage.publication.is_settled("node-1")
    stage.settle()
    assert stage.publication.backlog == 0
    assert stage.publication.is_settled("node-1")
