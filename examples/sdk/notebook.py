"""From a function in a notebook to a model on this machine. Each `# %%` is a cell.

Needs a kubeconfig of a cluster with Footplate, such as that of `footplate dev up`, and  pip install 'footplate[cli]'
"""

# %% A function: what it uses is imported or defined inside of it, and its arguments are the job's hyperparameters.
from pathlib import Path
from typing import Any

from footplate.client import Client


def train(epochs: int, learning_rate: float) -> None:
    """Learns which of two spirals a point lies on."""
    import torch
    from safetensors.torch import save_file
    from torch.utils.data import TensorDataset

    from footplate_trainer import checkpoint, context, data, prepare, report

    ctx = context()
    label = torch.arange(2000) % 2
    turn = 3 * torch.pi * torch.rand(2000).sqrt()
    angle = turn + torch.pi * label
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], dim=1) / 10
    layers = [torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)]
    network = torch.nn.Sequential(*layers)
    model, optimizer = prepare(network, torch.optim.AdamW(network.parameters(), lr=learning_rate))
    loader = data.loader(TensorDataset(points, label), batch_size=100, epochs=epochs)
    state = checkpoint.restore(model=model, optimizer=optimizer, loader=loader)
    for batch, labels in loader:
        loss = torch.nn.functional.cross_entropy(model(batch.to(ctx.device)), labels.to(ctx.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.step += 1
        report(step=state.step, loss=loss.detach(), epoch=loader.epoch)
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return
    if ctx.is_main:
        ctx.output_dir.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), ctx.output_dir / "spirals.safetensors")


# %% Where it goes, and where its model goes.
client = Client()
SPEC: dict[str, Any] = {
    "checkpoint": {"uri": "s3://checkpoints/sdk/"},
    "output": {"uri": "s3://models/sdk/"},
    "storage": {"secretRef": {"name": "s3"}},
}
IMAGE = "registry.example.com/footplate/trainer:0.1.0"

# %% Its source goes to the cluster, and the job begins. In a notebook, `job` as the last line shows progress and curve.
job = client.submit_function(
    train, name="spirals", args={"epochs": 10, "learning_rate": 0.01}, nodes=2, image=IMAGE, spec=SPEC
)

# %% The end, whatever it is; and why, if it isn't a model.
job.wait()
print(job.why().headline)

# %% The curve, also when the pods are long gone. `job.history().to_pandas()` is a DataFrame.
history = job.history()
print(f"loss {history.metrics['loss'][0]:.2f} at step {history.steps[0]}, ", end="")
print(f"{history.metrics['loss'][-1]:.2f} at step {history.steps[-1]}")

# %% The model, every byte of it compared with what was trained.
folder = job.artifact.download(Path("spirals"))
print(*sorted(path.name for path in folder.iterdir()))
