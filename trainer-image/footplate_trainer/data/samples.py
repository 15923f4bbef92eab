"""Makes batches of a dataset's samples, whose random numbers are their own: a function of seed, epoch and sample.

To seed three generators for each sample takes longer than to make many a sample. So those are seeded that samples draw
from: a batch counts if it has left the others as they were, else it is made anew with their seeds, as are all that
follow. A dataset's first sample is made twice, with two seeds, so that one that only asks for its seed is known too.
What is handed out is the same, bit for bit, as if all had been seeded for every sample.
"""

import ctypes
import random
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from footplate_trainer.rank.seeds import GENERATORS, derive_seed, seed_host

Key = tuple[int, int]
"""An epoch, and the number of a sample."""
_MT19937_BYTES = 625 * 4
"""624 words of state, and how many of them are used up."""


class BatchMaker:
    """Makes a batch of the samples of these keys; in the process that trains, or in a data worker's."""

    def __init__(self, dataset: Any, seed: int, collate: Callable[[list[Any]], Any]) -> None:
        self._dataset = dataset
        self._seed = seed
        self._collate = collate
        self._drawn_from: set[str] | None = None
        """The generators that samples are known to draw from; None before the first one."""
        self._traces = Traces()

    def __call__(self, keys: Sequence[Key]) -> Any:
        """The batch. Random numbers of this process are as they were."""
        if self._drawn_from is None:
            self._drawn_from = self._try_out(keys[0])
        while True:
            before = self._traces.look()
            try:
                batch = self._collate(self._make_all(keys, self._drawn_from))
            finally:
                drawn = self._traces.restore(before)
            if drawn <= self._drawn_from:
                return batch
            self._drawn_from |= drawn

    def _make_all(self, keys: Sequence[Key], generators: Collection[str]) -> list[Any]:
        if not generators:
            return [self._dataset[sample] for _, sample in keys]
        return [self._make(key, generators, "sample") for key in keys]

    def _make(self, key: Key, generators: Collection[str], purpose: str) -> Any:
        seed_host(derive_seed(self._seed, purpose, *key), generators)
        return self._dataset[key[1]]

    def _try_out(self, key: Key) -> set[str]:
        state = self._traces.look()
        try:
            seed_host(derive_seed(self._seed, "sample", *key))
            seeded = self._traces.look()
            one = self._dataset[key[1]]
            drawn = self._traces.restore(seeded)
            other = self._make(key, GENERATORS, "another")
            return drawn if _alike(one, other) else {*drawn, "torch"}
        finally:
            self._traces.restore(state)


class Traces:
    """What shows that somebody has drawn a random number, and undoes it. Some 10 µs a look."""

    def __init__(self) -> None:
        self._random_words = _find_random_words()
        self._plain_words: bytes | None = None
        """numpy's words, while it holds no second normal number back: its words alone then tell of every draw."""

    def look(self) -> dict[str, Any]:
        """The state of each generator, to be compared with another."""
        state: dict[str, Any] = {
            "torch": torch.default_generator.get_state().numpy().tobytes(),
            "random": self._look_at_random(),
        }
        if (numpy := sys.modules.get("numpy")) is not None:
            state["numpy"] = self._look_at_numpy(numpy)
        if torch.cuda.is_initialized():
            generator = _gpus_generator()
            state["cuda"] = (generator.initial_seed(), generator.get_offset())
        return state

    def restore(self, state: Mapping[str, Any]) -> set[str]:
        """Sets to what was seen what has changed since; returns which of `GENERATORS` have.

        A GPU's own is only put back: it isn't seeded for samples.
        """
        now = self.look()
        changed = {name for name, seen in state.items() if now[name] != seen}
        for name in changed:
            _SETTERS[name](state[name])
        if "numpy" in changed:
            self._plain_words = None  # a second normal may be back
        return changed & GENERATORS

    def _look_at_random(self) -> tuple[Any, Any]:
        if self._random_words is None:
            _, words, second = random.getstate()
            return words, second
        return ctypes.string_at(self._random_words, _MT19937_BYTES), random._inst.gauss_next  # type: ignore[attr-defined]

    def _look_at_numpy(self, numpy: Any) -> Any:
        generator = numpy.random.get_bit_generator()
        if type(generator).__name__ != "MT19937":  # somebody has put another one in its place
            return numpy.random.get_state(legacy=False)
        words = ctypes.string_at(generator.ctypes.state_address, _MT19937_BYTES)
        if words == self._plain_words:
            return words
        state = numpy.random.get_state()
        has_second = state[3]
        if not has_second:
            self._plain_words = words
            return words
        return (state[0], state[1].tolist(), *state[2:])


def _find_random_words() -> int | None:
    """Where CPython keeps the words of the module's generator, index first; None unless they are found there. To ask
    for them by `random.getstate` takes as long as to make some samples.
    """
    if sys.implementation.name != "cpython":
        return None
    address = id(random._inst) + object.__basicsize__
    found = _random_words(ctypes.string_at(address, _MT19937_BYTES)) == random.getstate()[1]
    return address if found else None


def _random_words(content: bytes) -> tuple[int, ...]:
    index, *words = memoryview(content).cast("I")
    return (*words, index)


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _set_random(seen: tuple[Any, Any]) -> None:
    words, second = seen
    random.setstate((3, _random_words(words) if isinstance(words, bytes) else words, second))


def _set_numpy(seen: Any) -> None:
    import numpy as np

    if isinstance(seen, bytes):
        content = np.frombuffer(seen, dtype=np.uint32)
        seen = ("MT19937", content[:624], int(content[624]), 0, 0.0)
    np.random.set_state(seen)


def _gpus_generator() -> torch.Generator:
    return torch.cuda.default_generators[torch.cuda.current_device()]


def _set_gpu(seen: tuple[int, int]) -> None:
    generator = _gpus_generator()
    generator.manual_seed(seen[0])
    generator.set_offset(seen[1])


_SETTERS: Mapping[str, Callable[[Any], object]] = {
    "torch": lambda seen: torch.default_generator.set_state(_tensor(seen)),
    "random": _set_random,
    "numpy": _set_numpy,
    "cuda": _set_gpu,
}


def _alike(one: Any, other: Any) -> bool:
    """True where two samples are known to be the same."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if type(one).__module__ == "numpy":
        return one.dtype == other.dtype and one.shape == other.shape and bool(one.tobytes() == other.tobytes())
    try:
        return bool(one == other)
    except Exception:  # of another library's own kind
        return False
