"""Learns from images without labels: an autoencoder, whose error says how unusual an image is.

The model is two files, encoder and decoder, and scores.json: the error that 99 % of the training images stay below.
"""

import gzip
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, context, data


def read_images(path: Path) -> Tensor:
    """Pixels from 0 to 1, [N, H × W], of an IDX file."""
    content = gzip.decompress(path.read_bytes())
    count, height, width = np.frombuffer(content, ">u4", 3, offset=4)
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(count, height * width)
    return torch.from_numpy(pixels / np.float32(255))


def main() -> None:
    ctx = context()
    images = read_images(ctx.inputs["train"] / "train-images-idx3-ubyte.gz")
    held_out = read_images(ctx.inputs["train"] / "test-images-idx3-ubyte.gz")
    pixels = images.shape[1]
    encoder = nn.Sequential(nn.Linear(pixels, 32), nn.ReLU(), nn.Linear(32, 8))
    decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, pixels), nn.Sigmoid())
    model = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=ctx.hyperparameters.get("learningRate", 0.003))
    trainer = Trainer(model, nn.functional.mse_loss, optimizer)
    # What is to come out is what goes in: a dataset's targets are its inputs.
    train = data.loader(TensorDataset(images, images), batch_size=64)
    validation = data.loader(TensorDataset(held_out, held_out), batch_size=64, shuffle=False)
    trainer.fit(train, validation=validation, epochs=ctx.hyperparameters.get("epochs", 40))

    if ctx.is_main:
        with torch.no_grad():
            errors = (model.cpu()(images) - images).square().mean(dim=1)
        ctx.output_dir.mkdir(parents=True, exist_ok=True)
        save_file(encoder.state_dict(), ctx.output_dir / "encoder.safetensors")
        save_file(decoder.state_dict(), ctx.output_dir / "decoder.safetensors")
        scores = {"meanError": errors.mean().item(), "unusualAbove": errors.quantile(0.99).item()}
        (ctx.output_dir / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main()
