"""A training that takes its time: `steps` steps of `stepSeconds`, by as many ranks as there are."""

import time

import torch
from torch.utils.data import TensorDataset

from footplate_trainer import Context, checkpoint, context, data, prepare, report

BATCH = 4


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    model = prepare(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    loader = data.loader(TensorDataset(torch.ones(BATCH * settings["steps"], 1)), batch_size=BATCH, epochs=1)
    state = checkpoint.restore(model=model, optimizer=optimizer, loader=loader)
    for [batch] in loader:
        model(batch).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        state.step += 1
        report(step=state.step, epoch=loader.epoch)
        time.sleep(settings["stepSeconds"])
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return


if __name__ == "__main__":
    main(context())
