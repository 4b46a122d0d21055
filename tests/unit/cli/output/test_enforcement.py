"""The table and the document of `podgate status`."""

import pytest

from controller.cli.output.enforcement import state_json, state_table
from controller.engine.enforcement import NodeState, PolicyState, State
from controller.objects.kinds import Mode

NODES = (NodeState("node-1", State.ENFORCED, 2),)
ENFORCED = PolicyState("shop", "web", NODES)
AUDITED = PolicyState("shop", "trial", NODES, Mode.AUDIT)


def test_the_mode_is_not_shown_where_everything_is_enforced() -> None:
    assert state_table([ENFORCED]) == (
        "NAMESPACE   NAME   PODS   ENFORCED   STATE\nshop        web    2      1/1        enforced\n"
    )


@pytest.mark.parametrize(("states", "wide"), [([ENFORCED, AUDITED], False), ([ENFORCED], True)])
def test_it_is_shown_where_some_policy_is_audited_and_on_demand(
    states: list[PolicyState], *, wide: bool
) -> None:
    head, *rows = state_table(states, wide=wide).splitlines()

    assert head.endswith("MODE")
    assert [row.split()[-1] for row in rows] == [each.mode.value for each in states]


def test_the_document_says_the_mode() -> None:
    assert [each["mode"] for each in state_json([ENFORCED, AUDITED])["policies"]] == ["enforce", "audit"]
