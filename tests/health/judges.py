"""What generic tools make of an object: kstatus, Argo CD and Flux, each by its own rules.

kstatus' are written anew from its documentation (sigs.k8s.io/cli-utils/pkg/kstatus): the generation, `Reconciling` and
`Stalled` come before `Ready`, and a kind that it doesn't know is Current where none of them says otherwise. Argo CD's
are the Lua that the chart ships, in a state with what Argo CD's has: no os, io, require or load. Flux's are the CEL
that the chart ships: what the first of inProgress, failed and current that is true means; where none is, or one names
a field that isn't there, Flux waits.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import celpy
import yaml
from lupa import lua51

Object = Mapping[str, Any]
Kstatus = Literal["InProgress", "Failed", "Current", "Terminating"]
Argo = Literal["Progressing", "Degraded", "Healthy", "Suspended"]

HEALTH = Path(__file__).parents[2] / "helm" / "footplate" / "files" / "health"
NOT_IN_ARGO = (
    "os",
    "io",
    "require",
    "load",
    "loadstring",
    "loadfile",
    "dofile",
    "module",
    "package",
    "debug",
    "python",
)
_FLUX_ORDER: tuple[tuple[str, Kstatus], ...] = (
    ("inProgress", "InProgress"),
    ("failed", "Failed"),
    ("current", "Current"),
)


def kstatus(obj: Object) -> Kstatus:
    """The status by kstatus."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    if "deletionTimestamp" in metadata:
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation", 0):
        return "InProgress"
    conditions = status.get("conditions") or ()
    meanings: dict[str, Kstatus] = {"Reconciling": "InProgress", "Stalled": "Failed"}
    for each in conditions:  # in their order
        if each["status"] == "True" and each["type"] in meanings:
            return meanings[each["type"]]
    unready = any(each["type"] == "Ready" and each["status"] != "True" for each in conditions)
    return "InProgress" if unready else "Current"


@cache
def _lua() -> tuple[Any, Any]:
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    for name in NOT_IN_ARGO:
        runtime.execute(f"{name} = nil")
    script = (HEALTH / "argocd.lua").read_text()
    return runtime, runtime.execute(f"return function(object) obj = object\n{script}\nend")


def argo_health(obj: Object) -> tuple[Argo, str]:
    """Health and message by the chart's Lua."""
    runtime, judge = _lua()
    said = judge(_to_lua(runtime, obj))
    return said["status"], said["message"]


def _to_lua(runtime: Any, value: Any) -> Any:
    """As Argo CD hands JSON over: maps and arrays as tables, null as nil."""
    if isinstance(value, Mapping):
        return runtime.table_from({key: _to_lua(runtime, each) for key, each in value.items() if each is not None})
    if isinstance(value, list):
        return runtime.table_from([_to_lua(runtime, each) for each in value])
    return value


@cache
def flux_expressions() -> Mapping[str, Any]:
    """The entry of the chart's file that speaks of TrainingJobs."""
    [entry] = yaml.safe_load((HEALTH / "flux.yaml").read_text())
    assert (entry["apiVersion"], entry["kind"]) == ("footplate.dev/v1alpha1", "TrainingJob")
    return dict(entry)


@cache
def _programs() -> tuple[tuple[Any, Kstatus], ...]:
    environment = celpy.Environment()
    expressions = flux_expressions()
    return tuple((environment.program(environment.compile(expressions[name])), means) for name, means in _FLUX_ORDER)


def flux_health(obj: Object) -> Kstatus | Literal["waits"]:
    """The status by the chart's CEL."""
    known = {key: celpy.json_to_cel(json.loads(json.dumps(value))) for key, value in obj.items()}
    for program, means in _programs():
        try:
            if program.evaluate(known):
                return means
        except celpy.CELEvalError:
            return "waits"
    return "waits"
