"""Numbers of values that lie on a GPU, for a thread that must not touch it.

While a CUDA graph is captured nothing in the process may read from the device: a thread that does breaks the capture.
So the thread that reports values begins to copy them to the host, without waiting, about as often as they are shown;
and a later report of its finds the copies done. Nothing is begun, or asked, while its own stream is captured.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def is_on_gpu(value: Any) -> bool:
    """True of a tensor whose value can't be had without asking a GPU."""
    return getattr(getattr(value, "device", None), "type", None) == "cuda"


class Readings:
    """What is known of one reporter's values. `offer` and `read` are for the thread that computes them."""

    def __init__(self) -> None:
        self.numbers: dict[str, float | None] = {}
        """The newest known numbers, by name; None of what is no single number."""
        self._wanted = True
        self._coming: dict[str, Any] = {}
        """Copies on the host, whose bytes may still be on their way."""
        self._news: dict[str, int] = {}
        """Those of them that were reported since the copies before, and at which step."""
        self._arrived: dict[str, int] = {}
        self._event: Any = None

    def want(self) -> None:
        """The numbers have been shown, and newer ones are wanted. From any thread."""
        self._wanted = True

    def arrived(self) -> dict[str, int]:
        """Names that were reported, and whose numbers have come since this was last asked; at which step. From any
        thread.
        """
        return {name: self._arrived.pop(name) for name in list(self._arrived)}

    def offer(self, values: Mapping[str, Any], new: dict[str, int]) -> None:
        """Takes in copies that have arrived, or begins new ones if they are wanted; a microsecond or less otherwise. Of
        the names that are `new` those are removed whose values are copied.
        """
        if self._event is None and not self._wanted:
            return
        with suppress(Exception):  # of a device that is broken the program's own next call will tell
            if _is_capturing():
                return
            if self._event is None:
                self._begin(values, new)
            elif self._event.query():
                self._take_in()

    def read(self, values: Mapping[str, Any], new: dict[str, int]) -> None:
        """Waits for the device, and knows all numbers; does nothing while its stream is captured."""
        if _is_capturing():
            return
        self._begin(values, new)
        if self._event is not None:
            self._event.synchronize()
            self._take_in()

    def _begin(self, values: Mapping[str, Any], new: dict[str, int]) -> None:
        self._wanted = False
        there = {name: value for name, value in values.items() if is_on_gpu(value)}
        # A copy that doesn't wait goes to pinned memory.
        self._coming = {
            name: value.detach().to("cpu", non_blocking=True) if value.numel() == 1 else None
            for name, value in there.items()
        }
        self._news |= {name: new.pop(name) for name in self._coming if name in new}
        if self._coming:
            import torch

            self._event = torch.cuda.Event()
            self._event.record()

    def _take_in(self) -> None:
        self.numbers = {name: None if copy is None else float(copy.item()) for name, copy in self._coming.items()}
        self._arrived |= self._news
        self._coming, self._news, self._event = {}, {}, None


def _is_capturing() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
