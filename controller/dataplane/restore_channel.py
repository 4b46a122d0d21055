"""One iptables-*-restore kept open: a commit without starting a process, and without waiting for one to end.

A process costs 1 to 2 ms to start, and on nft one that deleted a rule ends 10 to 20 ms after its rules are in
force, as the kernel frees them first. Fed by a pipe, the same tool takes each transaction at its COMMIT, in
0.2 to 2 ms, and holds neither the lock nor an old view of the tables in between.

How we know that a commit is in force: with `--verbose` the tool repeats comment lines, and it reads line by
line, so a token after COMMIT comes back only once that commit has succeeded. What others commit meanwhile
cannot be taken for ours. The tool ends at its first error: its last words are the reason, and the next commit
starts another.
"""

import time
from collections.abc import Sequence
from typing import Self

from controller.dataplane.conversation import Conversation
from controller.dataplane.tools import TIME_LIMIT, Result, ToolError

GREETING_LIMIT = 5.0
"""Seconds in which a tool that was just started has to repeat its first comment."""
REST = 300.0
"""Seconds for which a tool that did not is left alone: another version may be installed meanwhile."""
_ENDING_LIMIT = 5.0
"""Seconds for a tool that has closed its output, or whose input has ended, to be gone."""


class ChannelUnavailableError(Exception):
    """Nothing was sent, as there is no channel: another way has to be taken."""


class RestoreChannel:
    """An `iptables-*-restore --noflush` in the network namespace of the thread that starts it.

    It is started by the first commit, and again by the first after a failure. Not for several threads.
    """

    def __init__(
        self,
        command: Sequence[str],
        time_limit: float = TIME_LIMIT,
        greeting_limit: float = GREETING_LIMIT,
        rest: float = REST,
    ) -> None:
        self._command = (*command, "--verbose")
        self._time_limit = time_limit
        self._greeting_limit = greeting_limit
        self._rest = rest
        self._rests_until = 0.0
        self._tool: Conversation | None = None
        self._tokens = 0
        self._unfit = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def process_id(self) -> int | None:
        """The process in use; None where there is none."""
        return None if self._tool is None else self._tool.process_id

    def commit(self, text: str) -> Result:
        """Have one transaction in force.

        Code 0 says that it is; any other that it is not, as the tool refused it. Raises
        ChannelUnavailableError where nothing was sent, and ToolError where nobody can say, as the tool was
        killed or gave no answer in time: the kernel has to be read.
        """
        tool = self._opened()
        try:
            confirmed = self._reaches_the_end_of(text, tool, self._time_limit)
        except TimeoutError:
            self._end(patience=0)
            raise self._unknown(f"no confirmation within {self._time_limit:g} s") from None
        except BaseException:
            self._end(patience=0)  # or its answer would be taken for that to the next commit
            raise
        if confirmed:
            return Result(0, "", tool.complaints())
        code = self._end(_ENDING_LIMIT)
        if code <= 0:
            raise self._unknown(f"killed by signal {-code}" if code else "ended without confirmation")
        return Result(code, "", tool.complaints())

    def close(self) -> None:
        """End the process; what it committed stays."""
        if self._tool is not None:
            self._end(_ENDING_LIMIT)

    def _opened(self) -> Conversation:
        if self._tool is not None and not self._tool.is_over():
            return self._tool
        self.close()
        if time.monotonic() < self._rests_until:
            raise ChannelUnavailableError(self._unfit)
        try:
            tool = self._tool = Conversation(self._command)
        except (OSError, ToolError) as error:
            raise ChannelUnavailableError(f"{self._command[0]} cannot be kept open: {error}") from error
        try:
            confirms = self._reaches_the_end_of("", tool, self._greeting_limit)
        except TimeoutError:
            confirms = False
        if not confirms:
            self._end(patience=0)
            self._rests_until = time.monotonic() + self._rest
            self._unfit = f"{self._command[0]} does not repeat comments: {tool.complaints() or 'no message'}"
            raise ChannelUnavailableError(self._unfit)
        return tool

    def _reaches_the_end_of(self, text: str, tool: Conversation, limit: float) -> bool:
        """False where the tool ended before. Raises TimeoutError."""
        self._tokens += 1
        token = f"# podgate {self._tokens}"
        return tool.say(f"{text}{token}\n", awaited=token, deadline=time.monotonic() + limit)

    def _end(self, patience: float) -> int:
        """The exit code of the process, which is gone for certain."""
        assert self._tool is not None  # noqa: S101 - asked of an open channel only
        tool, self._tool = self._tool, None
        return tool.end(patience)

    def _unknown(self, how: str) -> ToolError:
        return ToolError(self._command, f"{how}; only the kernel can say whether its last commit is in force")
