"""Whether the nodes of an example train one model together: they end with the same weights, and their losses are those
of one node that has seen the whole of each batch.
"""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example_gangs import PATIENCE_SECONDS, Example
from footplate.contract import ExitCode
from trainer_pods import descendants


@dataclass(frozen=True)
class Trained:
    """What is left of a training."""

    weights: set[str]
    """What the nodes say of theirs; one text where they agree."""
    history: dict[str, Any]
    logs: list[str]


class Digits:
    """An example that reads digits, prints `weights <SHA-256>` on each node, and leaves history.json with its model."""

    def __init__(self, name: str, root: Path, python: str, data: Path, *, nodes: int) -> None:
        root.mkdir()
        self._example = Example(name, root, python)
        self._example.spec["nodes"] = nodes
        self._example.spec["inputs"] = [{"name": "train", "uri": f"file://{data}/"}]

    def train(self, attempt: int = 0) -> Trained:
        """To the end."""
        with self._example.attempt(attempt) as pods:
            ends = [pod.finish(seconds=PATIENCE_SECONDS) for pod in pods]
        assert [end.exit_code for end in ends] == [ExitCode.OK] * len(ends), "\n".join(end.log for end in ends)
        digests = [line for end in ends for line in end.log.splitlines() if line.startswith("weights ")]
        assert len(digests) == len(ends)
        history = json.loads((self._example.output / "history.json").read_text())
        return Trained(set(digests), history, [end.log for end in ends])

    def lose_the_nodes(self, line: str) -> None:
        """Attempt 0 until node 0 has written a line; all nodes die once a snapshot is safe."""
        with self._example.attempt() as pods:
            pods[0].wait_for_log(line, seconds=PATIENCE_SECONDS)
            for pid in (pid for pod in pods for pid in descendants(pod.process.pid)):
                os.kill(pid, signal.SIGSTOP)  # the checkpoint folder is at rest, as between two epochs of an hour
            pods[0].wait_for(lambda: self._example.snapshot or None, seconds=PATIENCE_SECONDS)
