"""Runs the recipe and the data that a test names in its hyperparameters."""

from dataclasses import replace
from pathlib import Path

from footplate_trainer import context, recipes

if __name__ == "__main__":
    place = context()
    settings = place.hyperparameters
    inputs = {name: Path(folder) for name, folder in settings["inputs"].items()}
    recipes.run(settings["recipe"], replace(place, inputs=inputs, hyperparameters=settings["of_recipe"]))
