"""Programs with more than one training: cross-validation, a head before the whole, and networks that take turns. Each
leaves behind what its trainings ended with, bit for bit."""

import hashlib
import json
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate_trainer import Context, Trainer, checkpoint, data, prepare, report
from footplate_trainer.callbacks import Callback
from footplate_trainer.metrics import accuracy


class Slow(Callback):
    """Leaves time for a kill, and counts the batches."""

    def __init__(self, seconds: float) -> None:
        self.batches = 0
        self._seconds = seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        time.sleep(self._seconds)


def noise(samples: int = 80) -> tuple[Tensor, Tensor]:
    """Inputs, and labels that say nothing of them: what is learnt of them is right for half of those held out."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(samples, 16, generator=generator), torch.randint(0, 2, (samples,), generator=generator)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))


def folds(ctx: Context) -> None:
    """Four-fold cross-validation."""
    inputs, labels = noise()
    results = []
    for fold in range(4):
        held = torch.arange(80) // 20 == fold
        model, slow = network(), Slow(ctx.hyperparameters.get("stepSeconds", 0.0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        trainer = Trainer(model, nn.functional.cross_entropy, optimizer, metrics=[accuracy])
        held_out = data.loader(TensorDataset(inputs[held], labels[held]), batch_size=20, shuffle=False)
        history = trainer.fit(
            data.loader(TensorDataset(inputs[~held], labels[~held]), batch_size=20),
            validation=held_out,
            epochs=4,
            callbacks=[slow],
            name=f"fold-{fold}",
        )
        results.append([digest(model), history.epoch, history.history, trainer.evaluate(held_out)])
        print("fold", fold, "batches", slow.batches, flush=True)
    write(ctx, results)


def stages(ctx: Context) -> None:
    """The head alone, on a body that stands still, and then the whole with a rate of its own."""
    inputs, labels = noise()
    model, slow = network(), Slow(ctx.hyperparameters.get("stepSeconds", 0.0))
    results = []
    for name, layers, rate in (("head", model[3], 0.05), ("whole", model, 0.01)):
        for weight in model.parameters():
            weight.requires_grad_(False)
        for weight in layers.parameters():
            weight.requires_grad_(True)
        optimizer = torch.optim.AdamW(layers.parameters(), lr=rate)
        loader = data.loader(TensorDataset(inputs, labels), batch_size=20)
        steps = 6 * len(loader)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        trainer = Trainer(model, nn.functional.cross_entropy, optimizer, scheduler=scheduler)
        history = trainer.fit(loader, epochs=6, callbacks=[slow], name=name)
        results.append([digest(model), history.history, optimizer.param_groups[0]["lr"]])
    write(ctx, results)


def turns(ctx: Context) -> None:
    """Adversarial networks: a generator, and a discriminator that makes two steps to its one."""
    real, _ = noise()
    generator = prepare(nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Linear(16, 16)))
    discriminator = prepare(network())
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.01)
    loader = data.loader(TensorDataset(real), batch_size=20, epochs=6)
    losses = nn.functional.cross_entropy
    d = checkpoint.restore(model=discriminator, optimizer=d_optimizer, loader=loader, name="discriminator")
    g = checkpoint.restore(model=generator, optimizer=g_optimizer, name="generator")
    for (batch,) in loader:
        size = len(batch)
        for _ in range(2):
            made = generator(torch.randn(size, 4)).detach()
            d_loss = losses(discriminator(batch), torch.ones(size).long())
            d_loss = d_loss + losses(discriminator(made), torch.zeros(size).long())
            d_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()
            d.step += 1
        g_loss = losses(discriminator(generator(torch.randn(size, 4))), torch.ones(size).long())
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        g.step += 1
        report(step=g.step, loss=g_loss, discriminator=d_loss)
        time.sleep(ctx.hyperparameters.get("stepSeconds", 0.0))
        if checkpoint.maybe_save(d, g) is checkpoint.STOP:
            return
    write(ctx, [digest(discriminator), digest(generator), d.step, g.step, torch.rand(2).tolist()])


def warm(ctx: Context) -> None:
    """As a user's own program: AdamW, and a rate that has died at the end."""
    inputs, labels = noise(ctx.hyperparameters["samples"])
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=ctx.hyperparameters["lr"])
    loader = data.loader(TensorDataset(inputs, labels), batch_size=20)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4 * len(loader))
    began: dict[str, Any] = {}

    class Begin(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            lr = optimizer.param_groups[0]["lr"]
            began.setdefault("began", {"epoch": epoch, "index": loader.index, "lr": lr, "sha256": digest(model)})

    slow = Slow(ctx.hyperparameters.get("stepSeconds", 0.0))
    trainer = Trainer(model, nn.functional.cross_entropy, optimizer, scheduler=scheduler)
    history = trainer.fit(loader, epochs=4, callbacks=[Begin(), slow])
    write(ctx, {"sha256": digest(model), "history": history.history, "batches": slow.batches, **began})


def digest(model: nn.Module) -> str:
    content = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def write(ctx: Context, result: Any) -> None:
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(result))
