"""What lies in storage of a run's results, and was written by somebody else: evaluations and profiles."""

import json
import random

from pydantic import ValidationError

from footplate.client import JobData
from footplate.ui import data_view, evaluation_view
from footplate.ui.card import render_card
from footplate_trainer.evaluation_file import EvaluationFile, Slice
from footplate_trainer.preparation.report import Profile
from fuzz.grammar import TEXTS, mutated
from result_files import column, dumped, evaluated, profile

SLICES = {"country": {"de": Slice(samples=3, values={"accuracy": 0.5, "f1.neutral": 0.1})}}
EVALUATION = json.loads(dumped(EvaluationFile(data={"test": evaluated(slices=SLICES, notes=["n"])})))
PROFILE = json.loads(dumped(profile(column("c"))))


def any_results(rng: random.Random) -> str:
    """An evaluation, a profile or a card, as the page shows it."""
    render_card(
        "".join(rng.choice((*TEXTS, *MARKS)) for _ in range(rng.randint(1, 60))), plots=["a.png"], plots_base="/"
    )
    try:
        if rng.random() < 0.5:
            said = EvaluationFile.model_validate_json(json.dumps(mutated(EVALUATION, rng)), extra="ignore")
            evaluation_view.view_data(said.data)
            return "evaluation shown"
        found = Profile.model_validate_json(json.dumps(mutated(PROFILE, rng)), extra="ignore")
    except ValidationError:
        return "refused"
    data_view.view_data(JobData(found.rows, found.splits, (), (), found.notes, found))
    return "profile shown"


MARKS = (
    "---\n", "# ", "[a](", "](", "![", ")", "plots/a.png", "|a|b|\n|-|-|\n", "```", "`", "\n\n", "> ", "1. ", "* ",
    "**", "<b>", "&#0;", "javascript:", "https://a/", "\\", "[a]: ",
)  # fmt: skip
