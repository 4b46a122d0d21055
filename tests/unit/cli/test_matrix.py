"""`podgate matrix`: the contract of its JSON, and what its other forms show."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result

from controller.cli.failure import CLEAN, ERROR, CommandError
from controller.cli.matrix import command
from controller.cli.output.graphs import matrix_dot, matrix_mermaid
from controller.cli.output.lists import matrix_csv, matrix_markdown
from controller.cli.output.page import matrix_html
from controller.cli.output.parties import Picture, matrix_picture
from controller.cli.output.summary import summarise
from controller.cli.output.table import Look, matrix_table
from controller.engine.connections import ConnectionSet
from controller.engine.matrix import Matrix, matrix_of
from controller.objects.kinds import Cluster, Pod, Workload
from controller.objects.read import read
from tests.unit.builder import ClusterBuilder, block, cluster, labels, namespaces, pods, port

ROOT = Path(__file__).parents[3]
SHOP = str(ROOT / "examples" / "shop")
DOCS = ROOT / "docs" / "matrix.md"
DENY = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: solo, namespace: shop}\nspec: {containers: []}\n"
POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: some, namespace: shop}\n"
HOSTILE = '"><script>alert(1)</script>|`]\\\x1b[2J\n=@user'


def run(*arguments: str, text: str | None = None) -> Result:
    result = CliRunner().invoke(command, [*arguments], input=text, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("-f", SHOP, "-o", "json", *arguments).stdout)
    return found


def drawn(built: ClusterBuilder | Cluster) -> tuple[Matrix, Picture[ConnectionSet]]:
    found = built if isinstance(built, Cluster) else built.build()
    matrix = matrix_of(found)
    return matrix, matrix_picture(matrix, found.pods)


def table(built: ClusterBuilder | Cluster, **look: Any) -> str:  # noqa: ANN401  options of several types
    return matrix_table(*drawn(built), Look(**look))


def lines(built: ClusterBuilder | Cluster) -> list[tuple[str, str, str]]:
    return [
        (line.source.title, line.destination.title, str(line.label)) for line in summarise(drawn(built)[1])
    ]


def replicas(*nodes: str) -> tuple[Pod, ...]:
    return tuple(
        Pod(
            namespace="shop",
            name=f"web-{number}",
            labels={"app": "web"},
            ips=(f"10.0.1.{number}",),
            node=node,
            workload=Workload("Deployment", "web"),
        )
        for number, node in enumerate(nodes, 1)
    )


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("controller.cli.schemas").joinpath(f"{name}.json").read_text())
    return found


# The contract


def test_the_json_obeys_its_schema() -> None:
    jsonschema.Draft202012Validator(schema("connectivity-matrix")).validate(document())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("connectivity-matrix"))


def test_the_json_has_the_fields_of_the_contract_and_no_others() -> None:
    found = document()
    assert list(found) == ["apiVersion", "kind", "endpoints", "external", "connections"]
    assert (found["apiVersion"], found["kind"]) == ("podgate.dev/v1alpha1", "ConnectivityMatrix")
    assert list(found["endpoints"][0]) == [
        "id", "namespace", "name", "labels", "ips", "workload", "hostNetwork", "phase",
    ]  # fmt: skip
    assert list(found["external"][0]) == ["id", "ranges"]
    assert list(found["connections"][0]) == ["from", "to", "allowed", "otherProtocols"]


def test_every_end_of_a_connection_is_listed_and_no_id_is_used_twice() -> None:
    found = document()
    ids = [each["id"] for each in found["endpoints"] + found["external"]]
    assert len(set(ids)) == len(ids)
    assert {each[end] for each in found["connections"] for end in ("from", "to")} <= set(ids)


def test_the_shop_has_the_connections_its_readme_lists() -> None:
    allowed = {
        (each["from"], each["to"]): (each["allowed"], each["otherProtocols"])
        for each in document()["connections"]
    }
    assert allowed["shop/storefront", "shop/cart"] == ({"TCP": [[8000, 8000]], "UDP": [], "SCTP": []}, False)
    assert allowed["shop/cart", "shop/cart"] == (
        {"TCP": [[1, 65535]], "UDP": [[1, 65535]], "SCTP": [[1, 65535]]},
        True,
    )
    assert ("shop/cart", "data/postgres") not in allowed


def test_a_pod_without_a_workload_is_its_own() -> None:
    found = json.loads(run("-f", "-", "-o", "json", text=POD).stdout)
    assert found["endpoints"][0]["workload"] == {"kind": "Pod", "name": "solo"}


def test_a_port_keeps_the_form_and_only_what_is_allowed_on_it() -> None:
    found = document("--port", "53/UDP")
    jsonschema.Draft202012Validator(schema("connectivity-matrix")).validate(found)
    seen = {json.dumps([each["allowed"], each["otherProtocols"]]) for each in found["connections"]}
    assert seen == {json.dumps([{"TCP": [], "UDP": [[53, 53]], "SCTP": []}, False])}
    assert len(found["endpoints"]) == 14


def test_a_namespace_keeps_its_connections_their_ends_and_all_ranges() -> None:
    found = document("-n", "payments")
    jsonschema.Draft202012Validator(schema("connectivity-matrix")).validate(found)
    assert all("payments/" in each["from"] + each["to"] for each in found["connections"])
    assert {each["namespace"] for each in found["endpoints"]} == {
        "data",
        "kube-system",
        "payments",
        "platform",
        "shop",
    }
    assert found["external"] == document()["external"]


def test_csv_has_a_row_for_each_connection() -> None:
    rows = list(csv.DictReader(io.StringIO(run("-f", SHOP, "-o", "csv").stdout)))
    assert len(rows) == len(document()["connections"])
    assert ["shop/storefront", "shop/cart", "8000", "", "", "false"] in [list(row.values()) for row in rows]


# Exit codes and bad input


def test_the_exit_code_is_clean_whatever_is_allowed() -> None:
    assert run("-f", SHOP).return_value == CLEAN


def test_an_invalid_policy_is_an_error_and_the_matrix_is_printed_all_the_same() -> None:
    policy = POLICY + "spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 1}}]}]}\n"
    found = run("-f", "-", text=POD + "---\n" + policy)
    assert found.return_value == ERROR
    assert "NetworkPolicy shop/some spec.ingress[0].from[0].ipBlock.cidr" in found.stderr
    assert "solo" in found.stdout


def test_what_cannot_be_read_gets_no_answer() -> None:
    with pytest.raises(CommandError, match="could not be read"):
        run("-f", "-", text="apiVersion: [\n")


def test_a_namespace_without_pods_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(CommandError, match=r"'shp'.*there are pods in: .*shop"):
        run("-f", SHOP, "-n", "shp")


def test_help_has_examples() -> None:
    assert (
        "podgate matrix -f manifests/ -o html > matrix.html" in CliRunner().invoke(command, ["--help"]).stdout
    )


# The table


def test_the_grid_of_the_shop_fits_80_columns() -> None:
    found = run("-f", SHOP).stdout
    assert "row to column" in found
    assert max(map(len, found.splitlines())) <= 82  # the note that lists addresses may be longer


def test_the_grid_marks_everything_some_ports_nothing_and_itself() -> None:
    some = {"podSelector": labels(app="b"), "ingress": [{"from": [pods()], "ports": [port(80)]}]}
    none = {"podSelector": labels(app="c"), "ingress": []}
    built = cluster().ns("shop").pod("shop/a").pod("shop/b", labels={"app": "b"})
    built = built.pod("shop/c", labels={"app": "c"}).policy("shop/b", some).policy("shop/c", none)
    assert table(built).splitlines()[2:9] == [
        "            1 2 3 4",
        "shop",
        "  1 a       \\ + · ✓",
        "  2 b       ✓ \\ · ✓",
        "  3 c       ✓ + \\ ✓",
        "(external)",
        "  4 outside ✓ · ·",
    ]


def test_nothing_is_coloured_unless_wanted() -> None:
    assert "\x1b" not in table(cluster().pod("shop/a"))
    assert "\x1b" in table(cluster().pod("shop/a").pod("shop/b"), color=True)


def test_a_terminal_without_unicode_gets_other_marks() -> None:
    assert table(cluster().pod("shop/a").pod("shop/b"), ascii=True).isascii()


def test_a_terminal_that_is_wide_enough_and_a_pipe_show_the_same() -> None:
    shop = matrix_of(read([SHOP]).cluster)
    picture = matrix_picture(shop, shop.pods)
    looks = (Look(width=200, fold=True), Look(width=200, fold=False))
    folded, piped = (matrix_table(shop, picture, look) for look in looks)
    assert folded == piped


def test_a_grid_that_does_not_fit_is_left_out() -> None:
    built = cluster()
    for number in range(60):
        built = built.pod(f"shop/pod-{number}")
    found = table(built)
    assert "61 endpoints: the grid is wider than 80 columns" in found
    assert "row to column" not in found


def test_with_a_port_the_list_does_not_repeat_it() -> None:
    found = run("-f", SHOP, "--port", "5432").stdout
    assert "✓ 5432/TCP" in found
    assert "PORTS" not in found


def test_a_port_nobody_may_use_is_said_so() -> None:
    text = POD + "---\n" + POLICY + "spec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n"
    assert "nobody may connect to 80/TCP" in run("-f", "-", "--port", "80/TCP", text=text).stdout


def test_pods_that_have_finished_are_named_below_the_table() -> None:
    assert "finished, without connections: shop/job" in table(
        cluster().pod("shop/a").pod("shop/job", phase="Failed")
    )


def test_in_the_grid_of_a_namespace_nothing_is_said_of_other_pairs() -> None:
    found = run("-f", SHOP, "-n", "shop").stdout
    row = next(line for line in found.splitlines() if "postgres" in line)
    assert re.fullmatch(r"\s+1 postgres +\\ +·.*", row)


# Lines that speak of groups


def test_a_cluster_without_policies_is_one_line() -> None:
    built = cluster().pod("shop/a").pod("shop/b").pod("bank/c")
    assert lines(built) == [("anyone", "anyone", "all")]


def test_what_is_true_of_all_pods_of_a_namespace_is_one_line() -> None:
    built = cluster().ns("shop").ns("bank").pod("shop/a").pod("shop/b").pod("bank/c").pod("bank/d")
    built = built.policy("shop/deny", DENY).policy("bank/deny", DENY)
    built = built.policy("shop/out", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]})
    let_in = {"podSelector": {}, "ingress": [{"from": [namespaces()], "ports": [port(80)]}]}
    assert lines(built.policy("bank/in", let_in)) == [
        ("shop/*", "bank/*", "80/TCP"),
        ("shop/*", "outside", "all"),
    ]


def test_a_line_says_nothing_that_is_not_true_of_every_pair() -> None:
    built = cluster().ns("shop").pod("shop/a").pod("shop/b").pod("shop/c", labels={"app": "c"})
    built = built.policy("shop/deny", DENY)
    out = {"podSelector": labels(app="c"), "policyTypes": ["Egress"], "egress": [{}]}
    let_in = {"podSelector": {}, "ingress": [{"from": [pods()]}]}
    assert lines(built.policy("shop/out", out).policy("shop/in", let_in)) == [("shop/c", "anyone", "all")]


def test_ranges_with_equal_connections_are_one_party() -> None:
    blocks = {"podSelector": {}, "ingress": [{"from": [block("10.0.0.0/8"), block("192.0.2.0/24")]}]}
    parties = drawn(cluster().pod("shop/a").policy("shop/in", blocks))[1].parties
    assert [party.title for party in parties] == ["shop/a", "other IPv4", "10.0.0.0/8 and 192.0.2.0/24"]


def test_replicas_with_equal_connections_are_one_party() -> None:
    assert lines(Cluster(pods=replicas("node-1", "node-2"))) == [("anyone", "anyone", "all")]
    assert [party.title for party in drawn(Cluster(pods=replicas("node-1", "node-2")))[1].parties] == [
        "shop/web x2",
        "outside",
    ]


def test_where_replicas_run_does_not_part_them() -> None:  # rule 2.40 gives a node more for its own pods
    built = (
        cluster()
        .ns("shop")
        .pod("shop/agent", ip="172.16.0.1", host_network=True)
        .policy("shop/deny", DENY)
        .build()
    )
    found = msgspec.structs.replace(built, pods=(*built.pods, *replicas("node-1", "node-2")))
    assert "shop/web x2" in [party.title for party in drawn(found)[1].parties]
    assert not [line for line in lines(found) if line[1].startswith("shop/web")]


def test_replicas_that_differ_stay_apart() -> None:
    first, second = replicas("node-1", "node-1")
    other = msgspec.structs.replace(second, labels={"app": "canary"})
    built = (
        cluster().ns("shop").policy("shop/in", {"podSelector": labels(app="canary"), "ingress": []}).build()
    )
    found = msgspec.structs.replace(built, pods=(first, other))
    assert [party.short for party in drawn(found)[1].parties][:2] == ["web-1", "web-2"]


# Graphs and pages, with names that want out


def hostile() -> tuple[Matrix, Picture[ConnectionSet]]:
    built = cluster().ns("shop").pod("shop/a").pod("shop/b").build()
    odd = Pod(namespace=HOSTILE, name=HOSTILE, labels={HOSTILE: HOSTILE}, ips=("10.0.0.9",))
    return drawn(msgspec.structs.replace(built, pods=(*built.pods, odd)))


def test_dot_strings_stay_closed() -> None:
    for line in matrix_dot(hostile()[1]).splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0
        assert line.isprintable()


def test_mermaid_labels_hold_nothing_but_harmless_characters() -> None:
    for line in matrix_mermaid(hostile()[1]).splitlines():
        for label in re.findall(r'"([^"]*)"', line):
            assert re.fullmatch(r"(?:[A-Za-z0-9 ./,:+*()_-]|#\d+;)*", label)
        assert line.count('"') % 2 == 0


def test_groups_are_nodes_of_their_own_in_graphs() -> None:
    dot = matrix_dot(drawn(cluster().pod("shop/a").pod("shop/b").pod("bank/c"))[1])
    assert dot.count("->") == 1
    assert '[label="anyone", style="rounded,dashed"]' in dot


def test_edges_are_labelled_with_ports() -> None:
    assert '[label="8000/TCP"]' in run("-f", SHOP, "-o", "dot").stdout
    assert '-->|"8000/TCP"|' in run("-f", SHOP, "-o", "mermaid").stdout


def test_markdown_cells_cannot_be_left() -> None:
    found = [line for line in matrix_markdown(*hostile()).splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in found)
    assert "<script" not in "".join(found).replace("\\<", "")


def test_csv_cells_are_no_formulas() -> None:
    odd = Pod(namespace="=cmd()", name="a", ips=("10.0.0.9",))
    rows = list(csv.reader(io.StringIO(matrix_csv(matrix_of(Cluster(pods=(odd,)))))))
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "onclick", "style"}]


def test_the_page_is_one_file_without_scripts_or_links() -> None:
    page = _Page()
    page.feed(matrix_html(*hostile()))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not page.links
    assert "url(" not in matrix_html(*hostile())


def test_every_output_escapes_control_characters() -> None:
    matrix, picture = hostile()
    for text in (
        matrix_table(matrix, picture, Look()),
        matrix_markdown(matrix, picture),
        matrix_csv(matrix),
        matrix_html(matrix, picture),
    ):
        assert "\x1b" not in text


def test_the_output_does_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    documents = Path(SHOP, "shop.yaml").read_text().split("\n---\n")
    texts = []
    for order in (documents, documents[::-1]):
        path = tmp_path / "shop.yaml"
        path.write_text("\n---\n".join(order))
        texts.append([run("-f", str(path), "-o", form).stdout for form in ("table", "json", "html", "dot")])
    assert texts[0] == texts[1]


# The documentation


def test_the_documentation_shows_what_is_printed() -> None:
    shown = re.search(r"\$ podgate matrix -f examples/shop -n data\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown is not None
    assert run("-f", SHOP, "-n", "data").stdout == shown[1]


def test_the_example_in_the_documentation_obeys_the_schema() -> None:
    example = re.search(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert example is not None
    jsonschema.Draft202012Validator(schema("connectivity-matrix")).validate(json.loads(example[1]))
