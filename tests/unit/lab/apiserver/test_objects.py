"""Create, read, update, delete, and what the server makes of metadata."""

from aiohttp import ClientSession

from controller.lab.apiserver import ApiServer, Settings
from tests.unit.lab.apiserver.talk import (
    NAMESPACES,
    PODS,
    POLICIES,
    SERVICES,
    Talk,
    config_map,
    pod,
    policy,
)

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_created_object_has_identity_and_time(talk: Talk) -> None:
    made = await talk.post(POLICIES, policy(podSelector={}))

    assert made.code == 201
    assert made.metadata["namespace"] == "default"
    assert made.metadata["generation"] == 1
    assert {"uid", "resourceVersion", "creationTimestamp"} <= made.metadata.keys()


async def test_a_name_is_taken_once(talk: Talk) -> None:
    await talk.post(PODS, pod("web"))

    again = await talk.post(PODS, pod("web"))

    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")


async def test_a_generated_name_starts_as_asked(talk: Talk) -> None:
    value = pod("")
    value["metadata"] = {"generateName": "web-"}

    names = {(await talk.post(PODS, value)).metadata["name"] for _ in range(20)}

    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_an_object_without_a_name_is_refused(talk: Talk) -> None:
    value = pod("")
    value["metadata"] = {}

    assert (await talk.post(PODS, value)).code == 422


async def test_a_label_that_cannot_be_one_is_refused_with_its_field(talk: Talk) -> None:
    refused = await talk.post(PODS, pod("web", {"app": "not a label"}))

    assert refused.code == 422
    assert refused.body["details"]["causes"][0]["field"] == "metadata.labels[app]"


async def test_a_namespace_has_to_exist(talk: Talk) -> None:
    refused = await talk.post("/api/v1/namespaces/nowhere/pods", pod("web"))

    assert (refused.code, refused.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_an_object_of_another_namespace_is_refused(talk: Talk) -> None:
    value = pod("web")
    value["metadata"]["namespace"] = "kube-system"

    assert (await talk.post(PODS, value)).code == 400


async def test_an_object_of_another_kind_is_refused(talk: Talk) -> None:
    assert (await talk.post(PODS, config_map("web"))).code == 400


async def test_what_is_not_there_is_not_found(talk: Talk) -> None:
    missing = await talk.get(f"{PODS}/web")

    assert (missing.code, missing.body["message"]) == (404, 'pods "web" not found')
    assert (await talk.get("/api/v1/namespaces/default/unicorns")).code == 404
    assert (await talk.get("/apis/example.com/v1/widgets")).code == 404


async def test_protobuf_is_an_unsupported_media_type(talk: Talk) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}

    assert (await talk.ask("POST", NAMESPACES, {}, headers)).code == 415


async def test_a_body_that_is_no_json_is_a_bad_request(talk: Talk) -> None:
    async with talk.session.post(PODS, data=b"{", headers={"Content-Type": "application/json"}) as response:
        assert response.status == 400


async def test_a_body_may_be_yaml(talk: Talk) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {a: b}\n"
    async with talk.session.post(MAPS, data=text, headers={"Content-Type": "application/yaml"}) as response:
        assert response.status == 201


async def test_a_replacement_of_an_old_state_conflicts(talk: Talk) -> None:
    first = (await talk.post(MAPS, config_map("words", a="1"))).body
    await talk.patch(f"{MAPS}/words", {"data": {"a": "2"}})

    first["data"]["a"] = "3"
    stale = await talk.put(f"{MAPS}/words", first)

    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert "please apply your changes to the latest version" in stale.body["message"]


async def test_a_replacement_without_revision_is_unconditional(talk: Talk) -> None:
    await talk.post(MAPS, config_map("words", a="1"))

    assert (await talk.put(f"{MAPS}/words", config_map("words", b="2"))).body["data"] == {"b": "2"}


async def test_a_lease_is_replaced_only_at_a_known_revision(talk: Talk) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "one"}}
    await talk.post(leases, lease)

    assert (await talk.put(f"{leases}/leader", lease)).code == 422


async def test_a_write_that_changes_nothing_keeps_the_revision(talk: Talk) -> None:
    made = await talk.post(MAPS, config_map("words", a="1"))

    again = await talk.put(f"{MAPS}/words", config_map("words", a="1"))
    patched = await talk.patch(f"{MAPS}/words", {"data": {"a": "1"}})

    assert again.metadata["resourceVersion"] == made.metadata["resourceVersion"]
    assert patched.metadata["resourceVersion"] == made.metadata["resourceVersion"]


async def test_the_generation_counts_changes_of_the_spec_only(talk: Talk) -> None:
    await talk.post(POLICIES, policy(podSelector={}))

    labelled = await talk.patch(f"{POLICIES}/web", {"metadata": {"labels": {"a": "b"}}})
    changed = await talk.patch(f"{POLICIES}/web", {"spec": {"policyTypes": ["Egress"]}})

    assert (labelled.metadata["generation"], changed.metadata["generation"]) == (1, 2)


async def test_what_the_server_sets_cannot_be_written(talk: Talk) -> None:
    made = await talk.post(MAPS, config_map("words"))

    change = {"creationTimestamp": "2001-01-01T00:00:00Z", "deletionTimestamp": "2001-01-01T00:00:00Z"}
    patched = await talk.patch(f"{MAPS}/words", {"metadata": change})

    assert patched.metadata == made.metadata


async def test_another_uid_conflicts(talk: Talk) -> None:
    await talk.post(MAPS, config_map("words"))

    assert (await talk.patch(f"{MAPS}/words", {"metadata": {"uid": "another"}})).code == 409


async def test_status_is_written_through_its_subresource_only(talk: Talk) -> None:
    await talk.post(PODS, {**pod("web"), "status": {"podIP": "192.0.2.1"}})

    ignored = await talk.patch(f"{PODS}/web", {"status": {"podIP": "192.0.2.1"}})
    change = {"status": {"podIP": "192.0.2.1"}, "spec": {"nodeName": "elsewhere"}}
    written = await talk.patch(f"{PODS}/web/status", change)

    assert ignored.body["status"] == {"phase": "Pending"}
    assert written.body["status"] == {"phase": "Pending", "podIP": "192.0.2.1"}
    assert "nodeName" not in written.body["spec"]


async def test_a_write_to_the_object_leaves_its_status_alone(talk: Talk) -> None:
    made = (await talk.post(PODS, pod("web"))).body
    await talk.patch(f"{PODS}/web/status", {"status": {"podIP": "192.0.2.1"}})

    made["metadata"].pop("resourceVersion")
    made["metadata"]["labels"] = {"a": "b"}
    replaced = await talk.put(f"{PODS}/web", {key: made[key] for key in ("metadata", "spec")})

    assert replaced.body["status"]["podIP"] == "192.0.2.1"


async def test_a_node_is_registered_with_its_status(talk: Talk) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}

    made = await talk.post("/api/v1/nodes", {"metadata": {"name": "node-1"}, "status": status})

    assert made.body["status"] == status


async def test_a_dry_run_changes_nothing(talk: Talk) -> None:
    tried = await talk.post(PODS, pod("web"), dryRun="All")

    assert tried.code == 201
    assert (await talk.get(f"{PODS}/web")).code == 404


async def test_a_pod_is_bound_to_a_node_once(talk: Talk) -> None:
    await talk.post(PODS, pod("web"))
    binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "node-1"}}

    bound = await talk.post(f"{PODS}/web/binding", binding)
    again = await talk.post(f"{PODS}/web/binding", binding)

    assert (bound.code, again.code) == (201, 409)
    assert (await talk.get(f"{PODS}/web")).body["spec"]["nodeName"] == "node-1"


async def test_an_evicted_pod_is_gone(talk: Talk) -> None:
    await talk.post(PODS, pod("web"))

    assert (await talk.post(f"{PODS}/web/eviction", {"metadata": {"name": "web"}})).code == 201
    assert (await talk.get(f"{PODS}/web")).code == 404


async def test_a_deleted_pod_is_returned_and_of_a_policy_its_identity(talk: Talk) -> None:
    made = await talk.post(POLICIES, policy(podSelector={}))
    await talk.post(PODS, pod("web"))

    deleted_pod = await talk.delete(f"{PODS}/web")
    deleted_policy = await talk.delete(f"{POLICIES}/web")

    assert deleted_pod.body["kind"] == "Pod"
    assert (deleted_policy.body["kind"], deleted_policy.body["status"]) == ("Status", "Success")
    assert deleted_policy.body["details"]["uid"] == made.metadata["uid"]
    assert (await talk.get(f"{POLICIES}/web")).code == 404


async def test_preconditions_of_a_deletion_have_to_hold(talk: Talk) -> None:
    made = await talk.post(MAPS, config_map("words"))

    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        assert (await talk.delete(f"{MAPS}/words", {"preconditions": wrong})).code == 409
    right = {"uid": made.metadata["uid"], "resourceVersion": made.metadata["resourceVersion"]}
    assert (await talk.delete(f"{MAPS}/words", {"preconditions": right})).code == 200


async def test_finalizers_keep_a_deleted_object_until_they_are_gone(talk: Talk) -> None:
    value = config_map("words")
    value["metadata"]["finalizers"] = ["example.com/hold"]
    await talk.post(MAPS, value)

    marked = await talk.delete(f"{MAPS}/words")
    still = await talk.get(f"{MAPS}/words")
    await talk.patch(f"{MAPS}/words", {"metadata": {"finalizers": None}})

    assert marked.metadata["deletionTimestamp"] == still.metadata["deletionTimestamp"]
    assert (await talk.get(f"{MAPS}/words")).code == 404


async def test_a_collection_is_deleted_by_selector(talk: Talk) -> None:
    for name, app in (("a", "web"), ("b", "web"), ("c", "db")):
        await talk.post(PODS, pod(name, {"app": app}))

    deleted = await talk.delete(PODS, labelSelector="app=web")

    assert deleted.names == ["a", "b"]
    assert (await talk.get(PODS)).names == ["c"]


async def test_a_namespace_has_the_label_of_its_name_whatever_is_written(talk: Talk) -> None:
    await talk.post(NAMESPACES, {"metadata": {"name": "shop"}})

    labels = {"kubernetes.io/metadata.name": "another"}
    changed = await talk.patch(f"{NAMESPACES}/shop", {"metadata": {"labels": labels}})

    assert changed.metadata["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert changed.body["status"] == {"phase": "Active"}


async def test_a_namespace_takes_its_contents_along(talk: Talk) -> None:
    await talk.post(NAMESPACES, {"metadata": {"name": "shop"}})
    await talk.post("/api/v1/namespaces/shop/pods", pod("web"))

    await talk.delete(f"{NAMESPACES}/shop")

    assert (await talk.get(f"{NAMESPACES}/shop")).code == 404
    assert (await talk.get("/api/v1/pods")).names == []


async def test_a_namespace_waits_for_finalizers_in_it_and_takes_nothing_new(talk: Talk) -> None:
    await talk.post(NAMESPACES, {"metadata": {"name": "shop"}})
    held = config_map("words")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await talk.post("/api/v1/namespaces/shop/configmaps", held)

    await talk.delete(f"{NAMESPACES}/shop")
    waiting = await talk.get(f"{NAMESPACES}/shop")
    refused = await talk.post("/api/v1/namespaces/shop/pods", pod("web"))
    await talk.patch("/api/v1/namespaces/shop/configmaps/words", {"metadata": {"finalizers": None}})

    assert waiting.body["status"]["phase"] == "Terminating"
    assert refused.code == 403
    assert (await talk.get(f"{NAMESPACES}/shop")).code == 404


async def test_events_are_the_same_in_both_groups(talk: Talk) -> None:
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    regarding = {"kind": "Pod", "name": "web"}
    value = {"metadata": {"name": "e"}, "note": "started", "regarding": regarding, "reason": "Started"}

    made = await talk.post(path, value)
    core = await talk.get(
        "/api/v1/namespaces/default/events", fieldSelector="involvedObject.name=web,reason=Started"
    )

    assert (made.body["apiVersion"], made.body["note"]) == ("events.k8s.io/v1", "started")
    assert core.body["items"][0]["message"] == "started"
    assert core.body["items"][0]["involvedObject"] == regarding


async def test_a_service_has_an_address_of_its_own(talk: Talk) -> None:
    port = {"ports": [{"port": 80}]}
    one = await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": dict(port)})
    two = await talk.post(SERVICES, {"metadata": {"name": "two"}, "spec": dict(port)})

    assert one.body["spec"]["clusterIP"].startswith("10.96.")
    assert one.body["spec"]["clusterIP"] != two.body["spec"]["clusterIP"]
    assert one.body["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]


async def test_a_service_of_two_families_has_two_addresses(talk: Talk) -> None:
    spec = {"ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}

    made = (await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": spec})).body["spec"]

    assert made["ipFamilies"] == ["IPv4", "IPv6"]
    assert made["clusterIPs"][0] == made["clusterIP"]
    assert made["clusterIPs"][1].startswith("fd00:96::")


async def test_an_address_is_given_once_and_kept_by_its_service(talk: Talk) -> None:
    spec = {"ports": [{"port": 80}], "clusterIP": "10.96.0.77"}
    await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": dict(spec)})

    taken = await talk.post(SERVICES, {"metadata": {"name": "two"}, "spec": dict(spec)})
    kept = await talk.put(f"{SERVICES}/one", {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 81}]}})
    await talk.delete(f"{SERVICES}/one")
    free = await talk.post(SERVICES, {"metadata": {"name": "two"}, "spec": dict(spec)})

    assert (taken.code, free.code) == (422, 201)
    assert kept.body["spec"]["clusterIP"] == "10.96.0.77"


async def test_a_headless_service_has_no_address(talk: Talk) -> None:
    made = await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": {"clusterIP": "None"}})

    assert made.body["spec"]["clusterIPs"] == ["None"]


async def test_a_policy_is_defaulted_as_by_a_real_server(talk: Talk) -> None:
    # rules 2.2, 2.3 and 2.5
    made = await talk.post(POLICIES, policy(egress=[{"ports": [{"port": 53}]}]))

    assert made.body["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
    }


async def test_a_policy_that_is_wrong_is_refused_with_every_cause(talk: Talk) -> None:
    wrong = policy(
        podSelector={}, ingress=[{"from": [{"ipBlock": {"cidr": "nonsense"}}], "ports": [{"port": 0}]}]
    )

    refused = await talk.post(POLICIES, wrong)

    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == [
        "spec.ingress[0].from[0].ipBlock.cidr",
        "spec.ingress[0].ports[0].port",
    ]


async def test_a_policy_that_is_only_too_large_for_podgate_is_taken(talk: Talk) -> None:
    peers = [{"podSelector": {"matchLabels": {"n": str(number)}}} for number in range(1000)]

    made = await talk.post(POLICIES, policy(ingress=[{"from": peers}]))

    assert made.code == 201
    assert len(made.body["spec"]["ingress"][0]["from"]) == 1000


async def test_an_unknown_field_of_a_policy_is_dropped_unless_validation_is_strict(talk: Talk) -> None:
    value = policy(podSelector={}, ingress=[{"form": []}])

    strict = await talk.post(POLICIES, value, fieldValidation="Strict")
    lenient = await talk.post(POLICIES, value)

    assert (strict.code, lenient.code) == (400, 201)
    assert 'unknown field "spec.ingress[0].form"' in strict.body["message"]
    assert lenient.body["spec"]["ingress"] == [{}]


async def test_parts_of_the_wrong_type_are_refused_with_their_field(talk: Talk) -> None:
    wrong_pod = await talk.post(PODS, {**pod("web"), "spec": {"containers": ["main"]}})
    wrong_service = await talk.post(SERVICES, {"metadata": {"name": "one"}, "spec": {"ports": 80}})

    assert (wrong_pod.code, wrong_service.code) == (422, 422)
    assert wrong_pod.body["details"]["causes"][0]["field"] == "spec.containers[0]"
    assert wrong_service.body["details"]["causes"][0]["field"] == "spec.ports"


async def test_texts_of_a_secret_are_stored_in_base64(talk: Talk) -> None:
    secrets = "/api/v1/namespaces/default/secrets"

    made = await talk.post(secrets, {"metadata": {"name": "one"}, "stringData": {"a": "b"}})

    assert (made.body["data"], "stringData" in made.body) == ({"a": "Yg=="}, False)


async def test_a_pod_with_a_node_waits_for_its_kubelet_where_that_is_wanted() -> None:
    async with ApiServer(Settings(graceful_pods=True)) as server, ClientSession(server.url) as session:
        talk = Talk(session)
        await talk.post(PODS, pod("bound", nodeName="node-1"))
        await talk.post(PODS, pod("pending"))

        bound = await talk.delete(f"{PODS}/bound")
        await talk.delete(f"{PODS}/pending")
        left = (await talk.get(PODS)).names
        await talk.patch(f"{PODS}/bound", {"metadata": {"labels": {"a": "b"}}})
        still = (await talk.get(PODS)).names
        await talk.delete(f"{PODS}/bound", {"gracePeriodSeconds": 0})

        assert bound.metadata["deletionGracePeriodSeconds"] == 30
        assert (left, still) == (["bound"], ["bound"])
        assert (await talk.get(PODS)).names == []
