"""Callbacks of `Trainer`, with Keras 3's names, arguments and meanings.

They run on every rank, at the same points. What a callback decides for the gang (`trainer.stop_training`) it must
decide alike on all of them: the logs that it gets at an epoch's end and after an evaluation are the same on every rank,
those after a batch are this rank's own. What they remember is part of every checkpoint.
"""

from footplate_trainer.callbacks.callback import Callback, CallbackList, History, Logs
from footplate_trainer.callbacks.csv_logger import CSVLogger
from footplate_trainer.callbacks.lambda_callback import LambdaCallback
from footplate_trainer.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from footplate_trainer.callbacks.model_checkpoint import ModelCheckpoint
from footplate_trainer.callbacks.monitoring import EarlyStopping, MonitorCallback
from footplate_trainer.callbacks.swap_ema_weights import SwapEMAWeights
from footplate_trainer.callbacks.tensorboard import TensorBoard
from footplate_trainer.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "MonitorCallback",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
