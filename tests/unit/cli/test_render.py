"""`podgate render`: what is written where, and what untrusted names may do to it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from controller.cli.failure import CLEAN, CommandError
from controller.cli.output.rule_changes import rule_changes
from controller.cli.render import _folder_name as folder_name
from controller.cli.render import command
from controller.cli.targets import node_names
from controller.engine.resolve import Resolver
from tests.unit.builder import cluster

FILES = {"ipset.restore", "iptables.restore", "ip6tables.restore"}


def node(name: str, number: int = 0) -> str:
    spec = f"{{podCIDR: 10.1.{number}.0/24}}"
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"


class Asked:
    """The verb on one file, writing to a folder."""

    def __init__(self, folder: Path) -> None:
        self.file, self.out = folder / "all.yaml", folder / "out"

    def run(self, manifests: str, *arguments: str) -> Result:
        self.file.write_text(manifests)
        result = CliRunner().invoke(command, ["-f", str(self.file), *arguments], standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    def write(self, manifests: str, *arguments: str) -> Result:
        return self.run(manifests, "--output-dir", str(self.out), *arguments)

    def written(self) -> set[str]:
        return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_several_nodes_have_a_folder_each(asked: Asked) -> None:
    assert asked.write(node("a") + node("b", 1)).return_value == CLEAN
    assert asked.written() == {f"{name}/{file}" for name in "ab" for file in FILES}


def test_a_valid_node_name_is_its_folder() -> None:
    assert folder_name("node-1.eu.example") == "node-1.eu.example"


def test_pods_without_a_node_have_a_folder_too() -> None:
    assert folder_name("") == "no-node"


@pytest.mark.parametrize(
    ("left", "right"), [("a/b", "a_b"), ("", "no-node"), (".a", "a"), ("A", "a"), ("x" * 300, "x" * 301)]
)
def test_different_nodes_never_share_a_folder(left: str, right: str) -> None:
    assert folder_name(left).lower() != folder_name(right).lower()


@pytest.mark.parametrize("name", ["..", ".", "/", "../../etc", "-rf", "a\nb", "x" * 5000])
def test_a_folder_is_one_harmless_component(name: str) -> None:
    found = folder_name(name)
    assert found
    assert not found.startswith((".", "-"))
    assert "/" not in found
    assert found.isprintable()
    assert len(found) < 256


def test_a_node_asked_for_twice_is_rendered_once(asked: Asked) -> None:
    asked.write(node("a") + node("b", 1), "--node", "a", "--node", "a")
    assert asked.written() == FILES


def test_a_stale_file_of_the_other_family_is_removed(asked: Asked) -> None:
    asked.write(node("a"))
    (asked.out / "notes.txt").write_text("mine")
    asked.write(node("a"), "--family", "4")
    assert asked.written() == {"ipset.restore", "iptables.restore", "notes.txt"}


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_files_are_written_in_one_form_only(asked: Asked, form: str) -> None:
    with pytest.raises(CommandError, match=f"--output-dir .* not with -o {form}"):
        asked.write(node("a"), "-o", form)
    assert not asked.out.exists()


def test_node_names_in_an_error_are_printable() -> None:
    assert node_names(["", "a\x1b[2J\nb"]) == "(none), a\\x1b[2J\\x0ab"


def test_node_names_in_rule_changes_are_on_one_line() -> None:
    old = cluster().pod("shop/web", node="n\n+evil")
    new = old.policy("shop/deny", {"podSelector": {}})
    changes = rule_changes(Resolver.of(old.build()), Resolver.of(new.build()), ["n\n+evil"])
    assert changes
    assert all("\n" not in name for name in changes)
    assert not any(line.startswith("+evil") for text in changes.values() for line in text.splitlines())
