"""What holds for a job at every moment, whatever happens to it and to its operator.

At most one live pod for each rank of an attempt; Complete and Failed never both; Finished never undone within a run;
observedGeneration never ahead; run, attempt and counted restarts never go back.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from footplate.contract import Label
from health.rules import unhealthy

Object = Mapping[str, Any]


class Invariants:
    """Of one job: is shown every version of it and every event of its pods."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._position = (0, -1)
        self._restarts = 0
        self._finished = False
        self._live: dict[tuple[str, ...], set[str]] = defaultdict(set)

    def see_job(self, job: Object) -> None:
        """A version of the job."""
        status = job.get("status") or {}
        held = {each["type"] for each in status.get("conditions", ()) if each["status"] == "True"}
        position = (status.get("run", 0), status.get("attempt", -1))
        restarts = (status.get("restarts") or {}).get("total", 0)
        same_run = position[0] == self._position[0]
        rules = {
            "Complete and Failed": not {"Complete", "Failed"} <= held,
            "Finished was undone": not (same_run and self._finished) or "Finished" in held,
            "observedGeneration is ahead": status.get("observedGeneration", -1) <= job["metadata"]["generation"],
            f"run and attempt went back from {self._position} to {position}": position >= self._position,
            f"restarts went back from {self._restarts} to {restarts}": not same_run or restarts >= self._restarts,
        }
        self.violations += [said for said in unhealthy(job) if said not in self.violations]
        self.violations += [rule for rule, holds in rules.items() if not holds and rule not in self.violations]
        self._position, self._restarts, self._finished = position, restarts, "Finished" in held

    def see_pod(self, pod: Object, *, gone: bool = False) -> None:
        """A version of one of its pods, or that it is gone."""
        metadata = pod["metadata"]
        rank = tuple(metadata["labels"][label] for label in (Label.RUN, Label.ATTEMPT, Label.RANK))
        live = self._live[rank]
        if gone or pod["status"].get("phase") in ("Succeeded", "Failed"):
            live.discard(metadata["uid"])
        else:
            live.add(metadata["uid"])
        if len(live) > 1:
            self.violations.append(f"{len(live)} live pods of run, attempt and rank {rank}")
