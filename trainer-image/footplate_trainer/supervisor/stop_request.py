"""That this pod was asked to stop, and for how long its work may still go on."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from footplate_trainer.errors import Stopped

T = TypeVar("T")


class StopRequest:
    """Made at most once; `make` may be called at any moment, from a signal handler."""

    def __init__(self) -> None:
        self.made = asyncio.Event()
        self._made_at = 0.0

    def make(self) -> None:
        """Asks the pod to stop."""
        if not self.made.is_set():
            self._made_at = time.monotonic()
        self.made.set()

    async def over(self, grace: float) -> None:
        """Returns once it was made, and so many seconds have gone by since then."""
        await self.made.wait()
        await asyncio.sleep(self._made_at + grace - time.monotonic())

    async def unless_over(self, work: Coroutine[Any, Any, T], *, grace: float, doing: Callable[[], object]) -> T:
        """The result of work, or `Stopped` once `grace` seconds have gone by since the request; `doing` says what the
        pod was at.
        """
        working, stopping = asyncio.create_task(work), asyncio.create_task(self.over(grace))
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            return working.result()
        raise Stopped(f"asked to stop while {doing()}")
