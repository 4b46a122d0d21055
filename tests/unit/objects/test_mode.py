"""The annotation `podgate.dev/mode`: what it says, and what is made of what nobody understands."""

import pytest

from controller.objects.decode_cluster import decode_namespace
from controller.objects.findings import Severity
from controller.objects.kinds import Mode
from controller.objects.mode import ANNOTATION
from tests.unit.objects.writing import Manifest, policy


def namespace(annotations: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}}


@pytest.mark.parametrize(
    ("annotations", "mode"),
    [
        ({ANNOTATION: "audit"}, Mode.AUDIT),
        ({ANNOTATION: "enforce"}, Mode.ENFORCE),
        ({"podgate.dev/other": "audit"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_policy_and_a_namespace_say_their_mode_or_nothing(annotations: object, mode: Mode | None) -> None:
    found, home = policy({}, annotations=annotations), decode_namespace(namespace(annotations))

    assert (found.mode, home.namespace.mode) == (mode, mode)
    assert (found.findings, home.findings) == ((), ())


@pytest.mark.parametrize("value", ["Audit", "audit ", "", "off", "x" * 1000, "a\nb"])
def test_any_other_value_means_enforce_and_is_told(value: str) -> None:
    found, home = (
        policy({}, annotations={ANNOTATION: value}),
        decode_namespace(namespace({ANNOTATION: value})),
    )

    assert (found.mode, home.namespace.mode) == (Mode.ENFORCE, Mode.ENFORCE)
    for finding in (*found.findings, *home.findings):
        assert (finding.code, finding.severity) == ("invalid-mode", Severity.WARNING)
        assert finding.path == "metadata.annotations[podgate.dev/mode]"
        assert finding.remedy == "write podgate.dev/mode: audit, or enforce"
    assert (len(found.findings), len(home.findings)) == (1, 1)


@pytest.mark.parametrize("annotations", [{ANNOTATION: None}, {ANNOTATION: ["audit"]}, ["audit"], "audit", 1])
def test_annotations_that_cannot_be_read_mean_enforce(annotations: object) -> None:
    found = policy({}, annotations=annotations)

    assert found.mode is Mode.ENFORCE
    assert found.findings


def test_a_bad_mode_leaves_the_labels_of_a_namespace_readable() -> None:
    assert decode_namespace(namespace({ANNOTATION: "x"})).labels_readable
