"""What training reads: `loader`'s batches of any dataset, and the recipes' readers of pictures and tables."""

from footplate_trainer.data.loader import Loader, loader

__all__ = ["Loader", "loader"]
