"""One tool for many commits: what counts as done, what as refused, and what nobody can say."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.dataplane.restore_channel import ChannelUnavailableError, RestoreChannel
from controller.dataplane.tools import ToolError

TOOL = """#!/bin/sh
# Repeats comments, and takes transactions one by one: each line but COMMIT says what to do.
cd "$(dirname "$0")"
while read -r line; do
    case $line in
        '#'*) echo "$line" ;;
        COMMIT) echo done >> commits ;;
        fail*) echo "line 3 failed: ${line#fail }" >&2; exit 2 ;;
        locked) echo 'Another app is currently holding the xtables lock.' >&2; exit 4 ;;
        warn) echo 'no harm done' >&2 ;;
        leave) exit 0 ;;
        die) kill -9 $$ ;;
        hang) exec sleep 60 ;;
    esac
done
"""


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return script(tmp_path / "restore", TOOL)


@pytest.fixture
def channel(tool: Path) -> Iterator[RestoreChannel]:
    with RestoreChannel([str(tool)], time_limit=10) as found:
        yield found


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def commits(tool: Path) -> int:
    """How often the tool committed."""
    found = tool.parent / "commits"
    return len(found.read_text().splitlines()) if found.exists() else 0


def is_gone(process_id: int) -> bool:
    """Not even a zombie is left."""
    return not Path(f"/proc/{process_id}").exists()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def test_nothing_is_started_before_the_first_commit(channel: RestoreChannel) -> None:
    assert channel.process_id is None


def test_one_process_takes_many_commits(channel: RestoreChannel, tool: Path) -> None:
    processes = set()
    for number in range(1, 4):
        assert channel.commit("COMMIT\n").code == 0
        assert commits(tool) == number
        processes.add(channel.process_id)

    assert len(processes) == 1


def test_a_large_commit_is_taken_by_a_tool_that_complains_all_the_time(
    channel: RestoreChannel, tool: Path
) -> None:
    """Both pipes are full more than once: whoever serves one of them only waits for ever."""
    result = channel.commit("warn\n" * 100_000 + "COMMIT\n")

    assert result.code == 0
    assert commits(tool) == 1
    assert result.errors.endswith("no harm done")
    assert len(result.errors) <= 4096


def test_what_is_complained_of_belongs_to_one_commit(channel: RestoreChannel) -> None:
    assert channel.commit("warn\nCOMMIT\n").errors == "no harm done"
    assert channel.commit("COMMIT\n").errors == ""


def test_a_refusal_says_why_and_the_next_commit_starts_another(channel: RestoreChannel, tool: Path) -> None:
    channel.commit("COMMIT\n")
    first = channel.process_id

    result = channel.commit("fail no such chain\nCOMMIT\n")

    assert (result.code, result.errors) == (2, "line 3 failed: no such chain")
    assert first is not None
    assert is_gone(first)
    assert channel.commit("COMMIT\n").code == 0
    assert commits(tool) == 2


def test_a_lock_that_was_not_given_is_the_tools_own_code(channel: RestoreChannel) -> None:
    assert channel.commit("locked\n").code == 4


def test_a_tool_that_was_killed_while_idle_is_replaced_unnoticed(channel: RestoreChannel, tool: Path) -> None:
    channel.commit("COMMIT\n")
    idle = channel.process_id
    assert idle is not None
    os.kill(idle, signal.SIGKILL)
    os.waitid(os.P_PID, idle, os.WEXITED | os.WNOWAIT)

    assert channel.commit("COMMIT\n").code == 0
    assert commits(tool) == 2


@pytest.mark.parametrize(
    ("line", "words"), [("die", "killed by signal 9"), ("leave", "ended without confirmation")]
)
def test_whether_a_commit_is_in_force_is_unknown_where_the_tool_goes_without_a_word(
    channel: RestoreChannel, line: str, words: str
) -> None:
    with pytest.raises(ToolError, match=f"{words}; only the kernel can say"):
        channel.commit(f"COMMIT\n{line}\n")

    assert channel.commit("COMMIT\n").code == 0


def test_a_tool_that_gives_no_answer_in_time_is_gone_when_that_is_told(tool: Path) -> None:
    with RestoreChannel([str(tool)], time_limit=0.2) as channel:
        channel.commit("")
        silent = channel.process_id
        assert silent is not None

        with pytest.raises(ToolError, match=r"no confirmation within 0\.2 s"):
            channel.commit("hang\nCOMMIT\n")

        assert is_gone(silent)
        assert commits(tool) == 0


def test_a_comment_of_an_earlier_commit_confirms_no_later_one(tmp_path: Path) -> None:
    """It comes twice, and the second commit fails after that."""
    echo = script(
        tmp_path / "echo",
        '#!/bin/sh\nread -r one; echo "$one"; read -r two; printf \'%s\\n%s\\n\' "$one" "$one"; exit 3\n',
    )
    with RestoreChannel([str(echo)]) as channel:
        assert channel.commit("").code == 3


def test_a_token_that_comes_in_pieces_is_one(tmp_path: Path) -> None:
    slow = script(
        tmp_path / "slow",
        "#!/bin/sh\nwhile read -r line; do printf 'other\\n# podgate'; sleep 0.05; "
        "printf '%s\\n' \"${line#\\# podgate}\"; done\n",
    )
    with RestoreChannel([str(slow)], time_limit=10) as channel:
        assert channel.commit("").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\nexec sleep 60\n", "no message"),
        ("#!/bin/sh\necho unknown option --verbose >&2\nexit 2\n", "unknown option --verbose"),
    ],
)
def test_a_tool_that_repeats_no_comments_is_left_alone_for_a_while(
    tmp_path: Path, text: str, words: str
) -> None:
    mute = script(tmp_path / "mute", text)
    with RestoreChannel([str(mute)], greeting_limit=0.5) as channel:
        with pytest.raises(ChannelUnavailableError, match=f"does not repeat comments: {words}"):
            channel.commit("COMMIT\n")
        mute.unlink()

        with pytest.raises(ChannelUnavailableError, match="does not repeat comments"):
            channel.commit("COMMIT\n")


def test_a_tool_that_repeated_no_comments_is_tried_again_later(tmp_path: Path, tool: Path) -> None:
    changed = script(tmp_path / "changed", "#!/bin/sh\nexit 2\n")
    with RestoreChannel([str(changed)], rest=0) as channel:
        with pytest.raises(ChannelUnavailableError):
            channel.commit("COMMIT\n")
        script(changed, tool.read_text())

        assert channel.commit("COMMIT\n").code == 0


def test_a_tool_that_is_not_there_is_no_channel_until_it_is(tmp_path: Path, tool: Path) -> None:
    later = tmp_path / "later"
    with RestoreChannel([str(later)]) as channel:
        with pytest.raises(ChannelUnavailableError, match="is not installed"):
            channel.commit("COMMIT\n")
        script(later, tool.read_text())

        assert channel.commit("COMMIT\n").code == 0


def test_neither_processes_nor_open_files_are_left_by_failures_and_by_closing(tool: Path) -> None:
    before = open_files()
    channel = RestoreChannel([str(tool)], time_limit=10)
    processes = []
    for line in ("COMMIT", "fail", "leave", "die", "warn"):
        channel.commit("COMMIT\n")
        processes.append(channel.process_id)
        try:
            channel.commit(f"{line}\n")
        except ToolError:
            continue

    channel.close()
    channel.close()

    assert all(process is not None and is_gone(process) for process in processes)
    assert open_files() == before


def test_a_closed_channel_opens_again(channel: RestoreChannel, tool: Path) -> None:
    channel.commit("COMMIT\n")
    channel.close()

    assert channel.commit("COMMIT\n").code == 0
    assert commits(tool) == 2


def test_what_interrupts_a_commit_ends_the_tool(channel: RestoreChannel) -> None:
    """Its answer would else be taken for that to the next commit."""

    def interrupt(*_: object) -> None:
        raise InterruptedError

    channel.commit("")
    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(InterruptedError):
            channel.commit("hang\nCOMMIT\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)

    assert channel.process_id is None
    assert channel.commit("COMMIT\n").code == 0


def test_the_tool_is_not_reached_by_the_keys_that_stop_podgate(channel: RestoreChannel) -> None:
    channel.commit("")

    assert channel.process_id is not None
    assert os.getpgid(channel.process_id) != os.getpgid(0)


def test_closing_waits_for_no_tool_that_ends_by_itself(channel: RestoreChannel) -> None:
    channel.commit("COMMIT\n")
    begun = time.monotonic()

    channel.close()

    assert time.monotonic() - begun < 2
