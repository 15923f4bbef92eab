"""A callback that ends training where the loss is no longer a number."""

import math
from typing import Any

from footplate.api.reports import Ended
from footplate_trainer.callbacks.callback import Callback, Logs
from footplate_trainer.checkpoint.state import NotToBeSaved
from footplate_trainer.errors import UserError
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import reporter


class TerminateOnNaN(Callback):
    """Ends `fit` after the batch whose loss is NaN or infinite on any rank: the epoch is ended, and `fit` returns.

    Without this callback such a loss ends the program, with exit code 70. With it what follows `fit` is done, with the
    weights as they are: the job can succeed. A note says so, and nothing of that state is in a checkpoint. After every
    batch it waits for the device, and for the other ranks.

    Args:
        raise_error: ends the program after all, at once.
    """

    ends_on_nan = True

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error
        self._epoch = 0
        self._terminated = ""

    @property
    def ended(self) -> Ended | None:
        """See `Callback.ended`."""
        return "terminateOnNaN" if self._terminated else None

    def state_dict(self) -> dict[str, Any]:
        """Nothing; and no checkpoint, once the loss was no number.

        Raises:
            NotToBeSaved: training is at its end for that reason.
        """
        if self._terminated:
            raise NotToBeSaved(self._terminated)
        return {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        self._terminated = ""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Takes note of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Looks at the loss, with all ranks."""
        finite = logs is None or math.isfinite(logs["loss"])
        if not all_ranks("terminate-on-nan").maximum([not finite])[0]:
            return
        where = f"the loss is NaN or infinite at batch {batch + 1} of epoch {self._epoch + 1}"
        if self.raise_error:
            raise UserError(f"TerminateOnNaN(raise_error=True): {where}; try a smaller learning rate, and look for NaN")
        self._terminated = (
            f"{where}: TerminateOnNaN ends training. The weights may be no numbers either; ModelCheckpoint and "
            "EarlyStopping(restore_best_weights=True) keep better ones"
        )
        reporter().note(self._terminated)
        self.trainer.stop_training = True
