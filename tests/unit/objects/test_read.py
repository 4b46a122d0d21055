"""Files, folders, standard input and kustomizations."""

import io
import os
import shutil
import socket
import stat
import sys
from pathlib import Path

import pytest

from controller.objects.findings import Severity
from controller.objects.kinds import Pod
from controller.objects.read import Reading, read

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nstatus: {podIP: 10.0.0.1}\n"


def pod_text(name: str) -> str:
    return POD.replace("NAME", name).replace("10.0.0.1", f"10.0.0.{ord(name[0]) - 96}")


def names(reading: Reading) -> list[str]:
    return [pod.name for pod in reading.cluster.pods]


def codes(reading: Reading) -> list[str]:
    return [finding.code for finding in reading.findings]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.yaml, b.yml, c.json, d.txt, and below/e.yaml."""
    for name in ("a.yaml", "b.yml", "d.txt", "below/e.yaml"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(pod_text(file.stem))
    (tmp_path / "c.json").write_text('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}}')
    return tmp_path


def test_a_folder_is_read_without_those_below(folder: Path) -> None:
    reading = read([str(folder)])
    assert names(reading) == ["a", "b", "c"]
    assert (reading.findings, reading.unreadable) == ((), False)


def test_recursion_reads_the_folders_below(folder: Path) -> None:
    assert names(read([str(folder)], recursive=True)) == ["a", "b", "c", "e"]


def test_a_file_that_is_named_may_have_any_suffix(folder: Path) -> None:
    assert names(read([str(folder / "d.txt"), str(folder / "a.yaml")])) == ["a", "d"]


def test_a_dash_is_standard_input() -> None:
    assert names(read(["-"], stdin=io.StringIO(pod_text("a") + "---\n" + pod_text("b")))) == ["a", "b"]


def test_bytes_on_standard_input_that_are_no_utf8_are_a_finding() -> None:
    reading = read(["-"], stdin=io.TextIOWrapper(io.BytesIO(b"a: \xff\n---\n" + pod_text("b").encode())))
    assert names(reading) == ["b"]
    assert codes(reading) == ["not-utf8"]
    assert reading.unreadable


def test_standard_input_that_is_absent_is_a_finding() -> None:
    assert codes(read(["-"])) == ["unreadable-file"]


def test_a_missing_path_is_a_finding(folder: Path) -> None:
    reading = read([str(folder / "nothing.yaml"), str(folder / "a.yaml")])
    assert names(reading) == ["a"]
    assert codes(reading) == ["unreadable-file"]
    assert "No such file" in reading.findings[0].message
    assert reading.unreadable


def test_a_folder_without_manifests_is_a_finding(tmp_path: Path) -> None:
    reading = read([str(tmp_path)])
    assert codes(reading) == ["no-manifests"]
    assert "-R" in reading.findings[0].message
    assert reading.unreadable


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_finding(folder: Path) -> None:
    (folder / "a.yaml").chmod(0)
    reading = read([str(folder)])
    assert names(reading) == ["b", "c"]
    assert codes(reading) == ["unreadable-file"]


def test_a_folder_named_like_a_manifest_is_no_manifest(folder: Path) -> None:
    (folder / "sub.yaml").mkdir()
    reading = read([str(folder)])
    (finding,) = reading.findings
    assert (finding.code, finding.severity, reading.unreadable) == ("folder-not-read", Severity.INFO, False)
    assert read([str(folder)], recursive=True).findings == ()


def test_a_folder_with_nothing_but_folders_named_like_manifests_is_empty(tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").mkdir()
    assert codes(read([str(tmp_path)])) == ["no-manifests", "folder-not-read"]


def test_an_entry_that_cannot_be_opened_is_not_passed_over(folder: Path) -> None:
    (folder / "deny.yaml").symlink_to("nowhere")
    (folder / "loop.json").symlink_to("loop.json")
    os.mkfifo(folder / "pipe.yml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.yaml"))
        reading = read([str(folder)])
    assert codes(reading) == ["unreadable-file"] * 4
    assert {Path(finding.object).name for finding in reading.findings} == {
        "deny.yaml",
        "loop.json",
        "pipe.yml",
        "socket.yaml",
    }
    assert names(reading) == ["a", "b", "c"]
    assert reading.unreadable


def test_a_link_to_a_manifest_is_read(folder: Path) -> None:
    (folder / "z.yaml").symlink_to(folder / "d.txt")
    assert names(read([str(folder)])) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n---\n# x\n", "null\n"])
def test_input_without_documents_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    for reading in (read(["-"], stdin=io.StringIO(text)), read([str(tmp_path / "a.yaml")])):
        assert (codes(reading), reading.unreadable) == (["nothing-read"], True)


def test_an_empty_list_of_objects_is_an_answer() -> None:
    reading = read(["-"], stdin=io.StringIO("apiVersion: v1\nkind: List\nitems: []\n"))
    assert (reading.findings, reading.unreadable) == ((), False)


def test_an_empty_file_of_a_folder_is_no_matter(folder: Path) -> None:
    (folder / "empty.yaml").write_text("# to do\n")
    assert read([str(folder)]).findings == ()


@pytest.mark.parametrize("path", ["\0", "a" * 5000, ""])
def test_a_path_that_cannot_exist_is_a_finding(path: str) -> None:
    assert codes(read([path])) == ["unreadable-file"]


def test_a_pipe_that_is_named_is_read() -> None:
    reading_end, writing_end = os.pipe()
    os.write(writing_end, pod_text("a").encode())
    os.close(writing_end)
    assert names(read([f"/dev/fd/{reading_end}"])) == ["a"]
    os.close(reading_end)


def test_a_file_over_the_limit_is_a_finding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.objects.read.MAX_BYTES", 100)
    (folder / "a.yaml").write_text("# " + "x" * 200)
    reading = read([str(folder)])
    assert codes(reading) == ["unreadable-file"]
    assert "larger" in reading.findings[0].message


def test_the_output_of_windows_powershell_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(pod_text("a").encode("utf-16"))
    assert names(read([str(file)])) == ["a"]


def test_a_broken_document_makes_the_reading_unreadable_and_loses_nothing_else(folder: Path) -> None:
    (folder / "a.yaml").write_text(pod_text("a") + "---\nkind: [\n---\n" + pod_text("f"))
    reading = read([str(folder)])
    assert names(reading) == ["a", "b", "c", "f"]
    assert codes(reading) == ["unreadable-document"]
    assert reading.unreadable


def test_an_invalid_object_leaves_the_reading_readable(folder: Path) -> None:
    (folder / "p.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: 5\n"
    )
    reading = read([str(folder)])
    assert (codes(reading), reading.unreadable) == (["wrong-type"], False)
    assert reading.findings[0].source.line == 4


def test_a_finding_is_placed_in_its_file(folder: Path) -> None:
    (folder / "z.yaml").write_text("---\n" + pod_text("a"))
    (finding,) = [item for item in read([str(folder)]).findings if item.code == "duplicate-object"]
    assert str(finding.source) == f"{folder}/z.yaml:2"
    assert f"{folder}/a.yaml:1" in finding.message


def test_a_file_name_with_control_characters_is_printable_in_findings(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\n.yaml").write_text("a: [")
    (finding,) = read([str(tmp_path)]).findings
    assert str(finding).isprintable()


def test_the_garbage_collector_is_left_as_it_was(folder: Path) -> None:
    import gc  # noqa: PLC0415 (only here)

    assert gc.isenabled()
    read([str(folder)])
    assert gc.isenabled()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_a_kustomization_is_built_with_kubectl(folder: Path) -> None:
    (folder / "kustomization.yaml").write_text("namespace: prod\nresources: [a.yaml]\n")
    reading = read([], kustomize=[str(folder)])
    found: tuple[Pod, ...] = reading.cluster.pods
    assert [pod.key for pod in found] == [("prod", "a")]
    assert reading.findings == ()


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_a_kustomization_that_fails_is_a_finding(tmp_path: Path) -> None:
    reading = read([], kustomize=[str(tmp_path)])
    assert codes(reading) == ["kustomize-failed"]
    assert "kustomization" in reading.findings[0].message
    assert str(reading.findings[0]).isprintable()


def fake_kubectl(folder: Path, script: str) -> None:
    file = folder / "kubectl"
    file.write_text(f"#!{sys.executable}\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_a_folder_that_looks_like_an_option_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_kubectl(tmp_path, "import sys; print('metadata: {}' if sys.argv[2].startswith('/') else '{}')")
    monkeypatch.setenv("PATH", str(tmp_path))
    reading = read([], kustomize=["--help"])
    assert reading.skipped == {} and codes(reading) == ["missing-kind"]  # noqa: PT018


def test_without_kubectl_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = read([], kustomize=["overlay"]).findings
    assert (finding.code, finding.message) == ("kustomize-failed", "-k needs kubectl, which is not installed")
    assert "-f -" in finding.remedy
