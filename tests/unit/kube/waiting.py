"""Waiting for something to become so, with a deadline and with what must hold meanwhile."""

import asyncio
from collections.abc import Callable


async def until(
    condition: Callable[[], bool],
    *,
    seconds: float = 10.0,
    always: Callable[[], bool] = lambda: True,
    say: Callable[[], str] = str,
) -> None:
    """Look every few milliseconds; an AssertionError says `say()` if time is up or `always` failed."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                assert always(), say()
                await asyncio.sleep(0.003)
    except TimeoutError:
        raise AssertionError(f"still not so after {seconds} s: {say()}") from None
