"""Runs the recipe and the data that a test names in its hyperparameters, with steps that last where it wants to
interrupt between them.
"""

import time
from dataclasses import replace
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from footplate_trainer import context, recipes

if __name__ == "__main__":
    place = context()
    settings = place.hyperparameters
    if seconds := settings.get("stepSeconds"):
        register_optimizer_step_post_hook(lambda *_: time.sleep(seconds))
    inputs = {name: Path(folder) for name, folder in settings["inputs"].items()}
    recipes.run(settings["recipe"], replace(place, inputs=inputs, hyperparameters=settings["of_recipe"]))
