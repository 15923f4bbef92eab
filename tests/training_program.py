"""Processes of a job's attempts, one after the other in this process, for tests of `checkpoint`'s functions."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from footplate.contract import Env, JobConfig
from footplate_trainer import checkpoint
from footplate_trainer.checkpoint import TrainState, beginning, saver, saves, trainings
from footplate_trainer.checkpoint import session as sessions
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import Reporter

UID = "1234567890"


@dataclass
class Program:
    """What runs now; `begin` kills it, as it were, and begins another."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    said: Reporter = field(default_factory=Reporter)

    def begin(self, *, attempt: int = 0, run: int = 1, uid: str = UID, **block: Any) -> None:
        """The next process: nothing of the one before is left but its checkpoints."""
        checkpoint.finish()
        settings = {"uri": f"file://{self.root}/checkpoints", "every": {"steps": 2}, **block}
        config = JobConfig.model_validate(
            {
                "metadata": {"name": "job", "uid": uid},
                "run": run,
                "spec": {"trainer": {"image": "i", "entrypoint": "e.py"}, "checkpoint": settings},
            }
        )
        path = self.root / "job.json"
        path.write_text(config.model_dump_json(by_alias=True))
        place = Context(
            device=torch.device("cpu"),
            job="job",
            uid=uid,
            run=run,
            attempt=attempt,
            config=config,
            checkpoint=config.spec.checkpoint,
            checkpoint_dir=self.root / "staging",
        )
        self.said = Reporter()
        self.monkeypatch.setenv(Env.CONFIG, str(path))
        self.monkeypatch.setattr(checkpoint, "_trainings", trainings.Trainings())
        self.monkeypatch.setattr(checkpoint, "context", lambda: place)
        for module in (checkpoint, trainings, sessions, beginning, saves, saver):
            self.monkeypatch.setattr(module, "reporter", lambda: self.said)
        torch.manual_seed(0)
        random.seed(0)

    def folder(self, name: str = "", *, run: int = 1) -> Path:
        """Where a training's checkpoints are."""
        return self.root / f"checkpoints/job/run-{run}-{UID[:8]}" / (f"trainings/{name}" if name else "")

    @property
    def notes(self) -> list[str]:
        return self.said._notes


@dataclass
class Training:
    """A model that each step changes by chance."""

    name: str = "main"
    size: int = 2
    model: nn.Module = field(init=False)
    state: TrainState = field(init=False)

    def restore(self, **parts: Any) -> "Training":
        self.model = nn.Linear(self.size, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.state = checkpoint.restore(model=self.model, optimizer=self.optimizer, name=self.name, **parts)
        return self

    def step(self) -> None:
        self.model(torch.rand(4, self.size)).mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1

    def train(self, *, until: int) -> list[Any]:
        outcomes = []
        while self.state.step < until:
            self.step()
            outcomes.append(checkpoint.maybe_save(self.state))
            checkpoint.finish()
        return outcomes

    @property
    def weights(self) -> list[float]:
        weight: Tensor = self.model.weight
        return weight.detach().flatten().tolist()


def complete_steps(folder: Path) -> list[int]:
    """Of the checkpoints that have a manifest."""
    return sorted(int(path.parent.name.removeprefix("step-")) for path in folder.glob("step-*/manifest.json"))


def flip(path: Path) -> None:
    """Damages a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
