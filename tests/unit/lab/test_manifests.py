"""Manifests for a lab, as they are read."""

from pathlib import Path

import pytest

from controller.lab.manifests import ManifestError, read_manifests, with_namespaces

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(POD.replace("name: a", "name: b"))
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}')
    (tmp_path / "README.md").write_text("# nothing")

    assert [each["metadata"]["name"] for each in read_manifests(tmp_path)] == ["a", "b"]


def test_lists_and_empty_documents_are_taken_apart() -> None:
    item = "{apiVersion: v1, kind: Pod, metadata: {name: b}}"
    text = f"---\n---\napiVersion: v1\nkind: List\nitems:\n- {item}\n---\n{POD}"

    assert [each["metadata"]["name"] for each in read_manifests(text)] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "the manifests: while parsing"),
        ("kind: Pod", "without apiVersion and kind"),
        ("just text", "without apiVersion and kind"),
        ("apiVersion: v1\nkind: Pod", "a Pod without metadata.name"),
    ],
)
def test_what_is_no_object_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read_manifests(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"missing\.yaml: no such file or folder"):
        read_manifests(tmp_path / "missing.yaml")


def test_namespaces_that_nobody_defines_come_first() -> None:
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: {name}}}\n" for name in ("b", "c")
    )
    found = with_namespaces(read_manifests(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: c}}\n{pods}"))

    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [
        ("Namespace", "b"),
        ("Namespace", "c"),
        ("Pod", "a"),
        ("Pod", "a"),
    ]
