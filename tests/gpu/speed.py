"""`Trainer.fit` beside a loop written by hand: bf16, fused AdamW, torch.compile, in blocks that take turns."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, data
from footplate_trainer.callbacks import Callback
from footplate_trainer.rank.devices import has_bf16
from gpu.gpt import Gpt, make_tokens, operations_a_token, peak_of
from gpu.setting import Setting, wait_for


def compare(setting: Setting) -> dict[str, Any]:
    """Tokens a second of both, their ratio, and the share of what the device can do."""
    rows = make_tokens(setting, setting.batch * setting.steps)
    turns = TakeTurns(setting, by_hand(setting, rows))
    model = make_model(setting)
    bf16 = has_bf16(setting.device)
    trainer = Trainer(
        model,
        lambda outputs, _targets: outputs.mean(),
        make_optimizer(setting, model),
        precision="bf16" if bf16 else "fp32",
        compile=setting.on_gpu,
    )
    batches = data.loader(TensorDataset(rows, torch.zeros(len(rows))), batch_size=setting.batch)
    trainer.fit(batches, epochs=setting.blocks, callbacks=[turns])
    tokens = setting.batch * setting.steps * setting.context
    # The first block of each compiles.
    fit, hand = (tokens / statistics.median(seconds[1:]) for seconds in (turns.fit, turns.hand))
    ratios = [mine / theirs for mine, theirs in zip(turns.hand[1:], turns.fit[1:], strict=True)]
    name = torch.cuda.get_device_name(setting.device) if setting.on_gpu else "cpu"
    peak = peak_of(name)
    found = {
        "device": name,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "fit tokens/s": round(fit),
        "hand tokens/s": round(hand),
        "fit by hand": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
    }
    if peak:
        found |= {f"{who} MFU": round(rate * operations_a_token(setting, model) / peak, 3)
                  for who, rate in (("fit", fit), ("hand", hand))}  # fmt: skip
    return found


def make_model(setting: Setting) -> nn.Module:
    torch.manual_seed(0)
    return Gpt(setting).to(setting.device)


def make_optimizer(setting: Setting, model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=3e-4, fused=setting.on_gpu)


def by_hand(setting: Setting, rows: Tensor) -> Callable[[], None]:
    model = make_model(setting)
    optimizer = make_optimizer(setting, model)
    call = torch.compile(model) if setting.on_gpu else model
    bf16 = has_bf16(setting.device)

    def train() -> None:
        for batch in torch.randperm(len(rows)).split(setting.batch):
            tokens = rows[batch].to(setting.device, non_blocking=True)
            with torch.autocast(setting.device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = call(tokens).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return train


class TakeTurns(Callback):
    """Takes the time of each epoch of `fit`, and of a block by hand after it."""

    def __init__(self, setting: Setting, train_by_hand: Callable[[], None]) -> None:
        self._setting, self._train_by_hand = setting, train_by_hand
        self.fit: list[float] = []
        self.hand: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins with nothing in the device's queue."""
        wait_for(self._setting.device)
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The other's turn."""
        wait_for(self._setting.device)
        self.fit.append(time.perf_counter() - self._began)
        began = time.perf_counter()
        self._train_by_hand()
        wait_for(self._setting.device)
        self.hand.append(time.perf_counter() - began)
