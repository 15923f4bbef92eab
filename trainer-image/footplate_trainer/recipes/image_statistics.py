"""What the pixels of a data set are like: exact, whatever rank has looked at which picture."""

import math

import torch
from torch import Tensor

from footplate_trainer.data.images import Images
from footplate_trainer.data.scratch import ranks
from footplate_trainer.rank.report import reporter

BYTES_AT_ONCE = 2**22


def mean_and_std(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C, 1, 1] of each channel of uint8 pixels [N, C, H, W]; exact, in little memory."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.zeros((pixels.shape[1], 256), dtype=torch.float64)
    for part in pixels.split(max(1, BYTES_AT_ONCE // pixels[0].numel())):
        counts += _histograms(part)
        reporter().beat()
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(dim=1)
    std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
    return mean.float().reshape(-1, 1, 1), std.float().reshape(-1, 1, 1)


def _histograms(pixels: Tensor) -> Tensor:
    """How often each value occurs in each channel of pixels [N, C, H, W], int64 [C, 256]."""
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in pixels.unbind(1)])


def measure(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C, 1, 1] of each channel, exact, whatever rank has looked at which picture.
    Collective.
    """
    if isinstance(images.pixels, Tensor) or images.moments is None:
        return ranks().from_main(lambda: mean_and_std(images.pixels[:]))
    count, channels, height, width = images.pixels.shape
    values = count * height * width
    sums, squares = images.moments.sum(dim=0)[:, :channels].tolist()
    mean = [total / values for total in sums]
    variance = [(values * square - total**2) / values**2 for total, square in zip(sums, squares, strict=True)]
    std = [math.sqrt(each) if each > 0 else 1.0 for each in variance]
    return torch.tensor(mean).reshape(-1, 1, 1), torch.tensor(std).reshape(-1, 1, 1)
