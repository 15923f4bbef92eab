"""The one way in for people and programs: jobs, their progress, logs, curves and models."""

from importlib import import_module
from typing import TYPE_CHECKING

from footplate.client.client import Change, Client
from footplate.client.errors import (
    ClientError,
    ClusterUnreachable,
    JobDeleted,
    JobEnded,
    JobExists,
    JobInvalid,
    JobNotFound,
    JobRefused,
    NotAllowed,
    NothingThere,
    NotInstalled,
    NotLoggedIn,
    WaitTimeout,
)
from footplate.client.events import JobEvent
from footplate.client.job import Job

if TYPE_CHECKING:
    from footplate.client.bills import Bill
    from footplate.client.checkpoints import CheckpointView
    from footplate.client.cluster import ClusterView
    from footplate.client.data import JobData
    from footplate.client.evaluation import JobEvaluation
    from footplate.client.history import History
    from footplate.client.log_lines import LogLine
    from footplate.client.logs import LogsNotFound
    from footplate.client.ranks import RankView
    from footplate.client.storage import StorageUnreadable
    from footplate.client.why import Why

__all__ = [
    "Bill",
    "Change",
    "CheckpointView",
    "Client",
    "ClientError",
    "ClusterUnreachable",
    "ClusterView",
    "History",
    "Job",
    "JobData",
    "JobDeleted",
    "JobEnded",
    "JobEvaluation",
    "JobEvent",
    "JobExists",
    "JobInvalid",
    "JobNotFound",
    "JobRefused",
    "LogLine",
    "LogsNotFound",
    "NotAllowed",
    "NotInstalled",
    "NotLoggedIn",
    "NothingThere",
    "RankView",
    "StorageUnreadable",
    "WaitTimeout",
    "Why",
]

_LATER = {
    "Bill": "bills",
    "CheckpointView": "checkpoints",
    "ClusterView": "cluster",
    "History": "history",
    "JobData": "data",
    "JobEvaluation": "evaluation",
    "LogLine": "log_lines",
    "LogsNotFound": "logs",
    "RankView": "ranks",
    "StorageUnreadable": "storage",
    "Why": "why",
}
"""Names, and the modules that they are in, which take longer to import than to list a thousand jobs."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
