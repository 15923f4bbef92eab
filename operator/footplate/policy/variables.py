"""Which variables a job's words refer to, and whether they are there: `$(NAME)`, which Kubernetes expands, or leaves as
it is where it knows no such name. Pure.
"""

import re
from collections.abc import Iterator

from footplate.api.errors import Problem, nearest
from footplate.contract import Env, StorageEnv, input_env_prefix
from footplate.objects import Object, block, blocks, text

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_OURS = "FOOTPLATE_"


def unknown_variables(spec: Object) -> list[Problem]:
    """References to variables of ours that there are none of: a program would get the literal text."""
    trainer = block(spec, "trainer")
    if blocks(trainer, "envFrom"):  # which may bring any name
        return []
    prefixes = tuple(input_env_prefix(text(channel, "name")) for channel in blocks(spec, "inputs"))
    known = [*Env, *StorageEnv]
    return [
        Problem(
            path,
            f"$({name})",
            "names a variable that Footplate doesn't set",
            f"{nearest(name, known) or 'docs/trainer.md lists them'}; $$({name}) is the literal text",
        )
        for path, words in _words(trainer)
        for name in _REFERENCE.findall(words)
        if name.startswith(_OURS) and name not in known and not name.startswith(prefixes)
    ]


def _words(trainer: Object) -> Iterator[tuple[str, str]]:
    for field in ("command", "args"):
        listed = trainer.get(field)
        for index, word in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(word, str):
                yield f"spec.trainer.{field}[{index}]", word
    for index, variable in enumerate(blocks(trainer, "env")):
        yield f"spec.trainer.env[{index}].value", text(variable, "value")
