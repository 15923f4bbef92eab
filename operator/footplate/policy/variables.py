"""Which variables a job's words refer to, and whether they are there: `$(NAME)`, which Kubernetes expands, or leaves as
it is where it knows no such name. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from footplate.api.errors import Problem, nearest
from footplate.api.references import RESERVED_ENV
from footplate.attempt_spec import AttemptSpec, processes_per_node, run_name
from footplate.contract import SCRATCH_FOLDERS, Env, JobConfig, MountPath, StorageEnv, input_env_prefix
from footplate.dialect_pods import place_in
from footplate.dialects import VARIABLES, environment
from footplate.objects import Object, block, blocks, text
from footplate.podspec import build_pods

_OURS = "FOOTPLATE_"
_NOT_IN_PODS = re.compile("|".join((*RESERVED_ENV, *(re.sub("<.*>", r"\\w+", row.name) for row in VARIABLES))))
"""Names that a program finds in its environment, and a pod has only where it is a program's whole environment."""
_LONGEST = 64
"""Of a name that might be one of ours."""
_MOST = 10
"""Mistakes that are told: more of them tell no more, and each is compared with all names that there are."""


def unknown_variables(spec: Object) -> list[Problem]:
    """References to variables of ours that there are none of: a program would get the literal text."""
    trainer = block(spec, "trainer")
    if blocks(trainer, "envFrom"):  # which may bring any name
        return []
    prefixes = tuple(input_env_prefix(text(channel, "name")) for channel in blocks(spec, "inputs"))
    known = [*Env, *StorageEnv]
    unknown = (
        (path, name)
        for path, words in _words(trainer)
        for name in _references(words)
        if name.startswith(_OURS) and name not in known and not name.startswith(prefixes)
    )
    return [
        Problem(
            path,
            f"$({name})",
            "names a variable that Footplate doesn't set",
            f"{nearest(name[:_LONGEST], known) or 'docs/trainer.md lists them'}; $$({name}) is the literal text",
        )
        for path, name in islice(unknown, _MOST)
    ]


def unexpanded_variables(config: JobConfig) -> list[Problem]:
    """References to what a program of this job finds in its environment, and its pod hasn't: set by our supervisor, for
    a rank alone, or where there are others. Kubernetes would leave the text as it is.
    """
    spec = config.spec
    if spec.trainer.env_from:
        return []
    nodes = spec.elastic.min_nodes if spec.elastic is not None else spec.nodes
    gang = AttemptSpec(config, spec, run_name(config.metadata.name, config.run, uid=config.metadata.uid), 0, nodes)
    (pod,) = build_pods(gang, [0])
    there = {variable["name"] for variable in pod["spec"]["containers"][0]["env"]}
    found = (
        (path, name)
        for path, words in _words(spec.trainer.to_json())
        for name in _references(words)
        if name not in there and _NOT_IN_PODS.fullmatch(name)
    )
    return [
        Problem(
            path,
            f"$({name})",
            "isn't among the variables of this job's pods, and no others are expanded",
            f"{_instead(name, gang)}; $$({name}) is the literal text",
        )
        for path, name in islice(found, _MOST)
    ]


def _instead(name: str, gang: AttemptSpec) -> str:
    """What says the same and is there; else where the program itself finds it."""
    if name.startswith("MASTER_"):
        return f"a gang that may be one node has none: write $(PET_{name})"
    place = place_in(
        gang.config,
        gang.spec,
        attempt=gang.attempt,
        hosts=gang.hosts,
        node_rank=0,
        processes=processes_per_node(gang.spec),
    )
    value = environment(replace(place, input_dir=_folder(Env.INPUT_DIR))).get(name, "")
    for variable in SCRATCH_FOLDERS:
        if f"{value}/".startswith(f"{_folder(variable)}/"):
            return f"write $({variable}){value.removeprefix(_folder(variable))} instead"
    return "the program finds it in its environment, where docs/trainer.md says that it does"


def _folder(variable: Env) -> str:
    return f"{MountPath.SCRATCH}/{SCRATCH_FOLDERS[variable]}"


def _references(words: str) -> Iterator[str]:
    """Names as Kubernetes reads them, from left to right. No pattern: it would go through a tenant's text again for
    each `$(` that nobody closes, while all other jobs wait.
    """
    at = words.find("$")
    while at >= 0:
        after = at + (2 if words.startswith("$$", at) else 1)
        if words.startswith("$(", at):
            end = words.find(")", at)
            if end < 0:
                return
            yield words[at + 2 : end]
            after = end + 1
        at = words.find("$", after)


def _words(trainer: Object) -> Iterator[tuple[str, str]]:
    for field in ("command", "args"):
        listed = trainer.get(field)
        for index, word in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(word, str):
                yield f"spec.trainer.{field}[{index}]", word
    for index, variable in enumerate(blocks(trainer, "env")):
        yield f"spec.trainer.env[{index}].value", text(variable, "value")
