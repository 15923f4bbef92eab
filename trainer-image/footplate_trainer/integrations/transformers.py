"""For Hugging Face's Trainer, and those made of it, as TRL's:

    trainer = Trainer(..., callbacks=[FootplateCallback()])
    trainer.train(resume_from_checkpoint=last_checkpoint(args.output_dir))

with `TrainingArguments(output_dir=os.environ["FOOTPLATE_CHECKPOINT_DIR"])`.
"""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from footplate_trainer.integrations.run import Run
from footplate_trainer.rank.report import reporter


class FootplateCallback(TrainerCallback):  # type: ignore[misc]
    """Reports steps and what the Trainer logs; on request it stops after a step, with a checkpoint of the Trainer's."""

    def __init__(self) -> None:
        self._run = Run()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Says how long training will be."""
        self._run.begin(total_steps=state.max_steps, epochs=state.num_train_epochs)
        folder = self._run.checkpoint_dir
        if folder is not None and not Path(args.output_dir).resolve().is_relative_to(folder.resolve()):
            reporter().note(
                f"TrainingArguments.output_dir is {args.output_dir}: checkpoints there are lost with the pod; set it "
                "to $FOOTPLATE_CHECKPOINT_DIR"
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Counts a step; if the job is asked to stop, saves and leaves instead of evaluating."""
        self._run.step_done(state.global_step, {}, epoch=state.epoch)
        if self._run.asked_to_stop():
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
        elif control.should_evaluate:
            reporter().enter("evaluating")
        elif control.should_save:
            reporter().enter("checkpointing")
        return control

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        """A sign of life in the middle of an evaluation."""
        reporter().enter("evaluating")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Reports what the Trainer logs."""
        values = dict(logs or {})
        values.pop("epoch", None)  # state has it
        self._run.step_done(state.global_step, values, epoch=state.epoch)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ends the program where training was stopped."""
        if self._run.stopping:
            self._run.end()
        self._run.over()


def last_checkpoint(output_dir: str | Path) -> str | None:
    """The newest whole checkpoint in a Trainer's output folder; None where there is none.

    Every node has a folder of its own, in which all but the first one's ranks leave nothing but random numbers'
    states: `get_last_checkpoint` takes those of a checkpoint for it that the first node hadn't finished.
    """
    found = [path.parent for path in Path(output_dir).glob("checkpoint-*/trainer_state.json")]
    return str(max(found, key=lambda path: int(path.name.rpartition("-")[2]))) if found else None
