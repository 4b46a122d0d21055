"""Text to documents: cutting the stream, exact lines, JSON, lists, and what is said about broken text."""

from typing import Any

import pytest

from controller.objects.documents import Document, parse_documents
from controller.objects.findings import Finding


def read(text: str) -> tuple[list[Document], list[Finding]]:
    return parse_documents(text, "shop.yaml")


def values(text: str) -> list[dict[str, Any]]:
    documents, findings = read(text)
    assert findings == []
    return [document.data for document in documents]


def refusal(text: str) -> Finding:
    documents, (finding,) = read(text)
    assert documents == []
    return finding


def test_documents_are_cut_at_separators() -> None:
    assert values("a: 1\n---\nb: 2\n--- # comment\nc: 3\n") == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", "---\n---\n", "---\n# a\n---\n\n", "null\n", "~", "--- "]
)
def test_empty_documents_are_no_documents(text: str) -> None:
    assert values(text) == []


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    assert values("\ufeffa: 1\r\n---\r\nb: x\r\n") == [{"a": 1}, {"b": "x"}]


def test_each_document_knows_its_first_line() -> None:
    documents, _ = read("# head\n\na: 1\n---\n\n# note\nb: 2\n---\nc: 3\n")
    assert [str(document.source) for document in documents] == ["shop.yaml:3", "shop.yaml:7", "shop.yaml:9"]


def test_a_broken_document_takes_no_other_with_it() -> None:
    documents, findings = read("a: 1\n---\nb: [1,\n---\nc: 3\n")
    assert [document.data for document in documents] == [{"a": 1}, {"c": 3}]
    assert [finding.code for finding in findings] == ["unreadable-document"]


def test_the_line_of_a_syntax_error_counts_from_the_top_of_the_file() -> None:
    assert str(refusal("# 1\n---\n# 3\na: b\n  c: d\n").source) == "shop.yaml:5"


def test_an_unreadable_document_is_named_by_what_it_seems_to_be() -> None:
    text = "kind: NetworkPolicy\nmetadata:\n  name: web\n  namespace: shop\nspec: [\n"
    assert refusal(text).object == "document 1 (NetworkPolicy shop/web)"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("a: 1\na: 2\n", "duplicate-key", '"a" stands twice'),
        ('a: 1\n"a": 2\n', "duplicate-key", '"a" stands twice'),
        ("1: a\n'1': b\n", "duplicate-key", '"1" stands twice'),
        ("a: {b: 1, b: 1}\n", "duplicate-key", '"b" stands twice'),
        ("a: \x07\n", "control-character", "U+0007"),
        ("a: b\x00\n", "control-character", "U+0000"),
        ("a: \udcff\n", "not-utf8", "UTF-8"),
        ("5\n", "not-an-object", "a number stands where an object belongs"),
        ("just text\n", "not-an-object", "a text stands"),
        ("? [a]\n: b\n", "unreadable-document", "used as a key"),
        ("~: b\n", "unreadable-document", "null is used as a key"),
        ("a: .nan\n", "unreadable-document", "no number in JSON"),
        ("a: *nobody\n", "unreadable-document", "undefined alias"),
        ("a: 1\n...\nb: 2\n", "unreadable-document", ""),
        ("%YAML 1.1\n", "unreadable-document", ""),
        ("--- text\n", "unreadable-document", 'follows the separator: --- "text"'),
        ("---text\n", "unreadable-document", "follows the separator"),
        ("a: !!int x\n", "unreadable-document", "no !!int"),
        ("a: {<<: 5}\n", "unreadable-document", "merge key"),
        ('{"a": }', "unreadable-document", "Expecting value at column 7"),
        ('{"a": 1, "a": 2}', "duplicate-key", '"a" stands twice'),
        ('{"a": NaN}', "unreadable-document", "NaN is no JSON"),
        ('{"a": "\\ud800"}', "unreadable-document", "surrogate"),
        ('{"a": "\x01"}', "unreadable-document", "control character"),
        ('{"a": ' + "9" * 5000 + "}", "unreadable-document", ""),
        ("kind: List\nitems: 5\n", "unreadable-document", "items is a number, not a list"),
        ("kind: List\nitems: [5]\n", "not-an-object", "a number stands"),
    ],
)
def test_text_that_cannot_be_read_is_refused_with_a_reason(text: str, code: str, words: str) -> None:
    finding = refusal(text)
    assert finding.code == code
    assert words in finding.message


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a:\n\tb: 1\n", "no tabs"),
        ("a: {{ .Values.name }}\n", "helm template"),
        ("a: b: c\n", "quote a text that holds ': '"),
    ],
)
def test_a_common_mistake_is_met_with_its_remedy(text: str, remedy: str) -> None:
    assert remedy in refusal(text).remedy


def test_keys_that_are_no_texts_become_texts() -> None:
    assert values("yes: 1\n80: 2\n1.5: 3\n0x10: 4\n") == [{"true": 1, "80": 2, "1.5": 3, "16": 4}]


def test_quoted_scalars_are_texts() -> None:
    assert values("a: 'yes'\nb: \"80\"\nc: |\n  true\nd: >-\n  5\n") == [
        {"a": "yes", "b": "80", "c": "true\n", "d": "5"}
    ]


def test_explicit_tags_are_followed_as_kubectl_does() -> None:
    text = 'a: !!str 3\nb: !!int "3"\nc: !!bool yes\nd: !!float 3\ne: !mine 3\n'
    text += 'f: !mine {g: 1}\nh: !!binary aGk=\ni: !!null ""\n'
    assert values(text) == [
        {"a": "3", "b": 3, "c": True, "d": 3, "e": "3", "f": {"g": 1}, "h": "hi", "i": None}
    ]


def test_aliases_are_expanded() -> None:
    assert values("a: &x {b: 1}\nc: [*x, *x]\n") == [{"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}]


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("<<: *x\nb: 3\n", {"a": 1, "b": 3}),
        ("b: 3\n<<: *x\n", {"a": 1, "b": 2}),  # kubectl: the merge comes later and wins
        ("<<: [*x, {a: 9, c: 4}]\n", {"a": 1, "b": 2, "c": 4}),
        ("<<: {a: 1}\n<<: {b: 1}\n", {"a": 1, "b": 1}),
        ("'<<': 5\n", {"<<": 5}),
    ],
)
def test_merge_keys_work_as_in_kubectl(text: str, merged: dict[str, Any]) -> None:
    indented = "".join(f"  {line}\n" for line in text.splitlines())
    assert values(f"x: &x {{a: 1, b: 2}}\ndata:\n{indented}")[0]["data"] == merged


def test_json_is_read() -> None:
    assert values('{"a": [1, true, null, 1.5, "x"]}') == [{"a": [1, True, None, 1.5, "x"]}]


def test_flow_style_yaml_is_not_taken_for_broken_json() -> None:
    assert values("{a: 1, b: [c]}") == [{"a": 1, "b": ["c"]}]


def test_json_objects_may_follow_each_other() -> None:
    documents, findings = read('{"a": 1}\n\n{"b": 2} {"c": 3}\n')
    assert [(document.data, document.source.line) for document in documents] == [
        ({"a": 1}, 1),
        ({"b": 2}, 3),
        ({"c": 3}, 3),
    ]
    assert findings == []


def test_json_in_front_of_an_error_is_kept() -> None:
    documents, findings = read('{"a": 1}\n{"b": \n')
    assert [document.data for document in documents] == [{"a": 1}]
    assert [finding.code for finding in findings] == ["unreadable-document"]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"b": 2}]', "- a: 1\n- b: 2\n"])
def test_a_bare_list_of_objects_is_taken_apart(text: str) -> None:
    assert values(text) == [{"a": 1}, {"b": 2}]


def test_a_list_is_taken_apart_and_its_items_know_their_lines() -> None:
    documents, _ = read("kind: List\nitems:\n- kind: A\n  x: 1\n- kind: B\n")
    assert [(document.data["kind"], document.source.line) for document in documents] == [("A", 3), ("B", 5)]


def test_items_of_a_typed_list_inherit_its_kind() -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems:\n- metadata: {name: a}\n"
    assert values(text) == [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}}
    ]


def test_a_kind_that_only_ends_in_list_is_an_object() -> None:
    assert values("kind: AllowList\nspec: {}\n") == [{"kind": "AllowList", "spec": {}}]


@pytest.mark.parametrize("text", ["kind: List\n", "kind: List\nitems: null\n", "kind: PodList\nitems: []\n"])
def test_an_empty_list_holds_nothing(text: str) -> None:
    assert values(text) == []


def test_lists_inside_lists_are_read_to_a_depth() -> None:
    assert values("kind: List\nitems: [{kind: List, items: [{kind: A}]}]") == [{"kind": "A"}]
    text = "{kind: List, items: [" * 20 + "{kind: A}" + "]}" * 20
    assert refusal(text).code == "too-deep"


POLICY = """\
kind: NetworkPolicy
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: web
  ingress:
  - from:
    - podSelector: {}
    - ipBlock:
        cidr: 10.0.0.0/8
    ports:
    - port: 80
  - {}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec", 4),
        ("spec.podSelector", 5),
        ("spec.podSelector.matchLabels[app.kubernetes.io/name]", 7),
        ("spec.ingress[0]", 9),
        ("spec.ingress[0].from[0].podSelector", 10),
        ("spec.ingress[0].from[1]", 11),
        ("spec.ingress[0].from[1].ipBlock.cidr", 12),
        ("spec.ingress[0].ports[0].port", 14),
        ("spec.ingress[1]", 15),
        ("spec.ingress[1].from[3].podSelector", 15),  # the nearest field that exists
        ("spec.egress[0]", 4),
        ("nothing", 3),
    ],
)
def test_fields_of_a_policy_have_lines(path: str, line: int) -> None:
    (document, _), _ = read(f"# head\n---\n{POLICY}---\na: 1\n")
    assert document.line(path) == line


def test_fields_of_a_policy_in_a_list_have_lines() -> None:
    indented = POLICY.replace("\n", "\n  ").rstrip()
    (document,), _ = read(f"kind: List\nitems:\n- {indented}\n")
    assert document.line("spec.ingress[0].ports[0]") == 14


def test_other_documents_answer_with_their_own_line() -> None:
    (document,), _ = read("\nkind: Pod\nspec: {}\n")
    assert document.line("spec") == 2
