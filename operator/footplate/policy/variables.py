"""Which variables a job's words refer to, and whether they are there: `$(NAME)`, which Kubernetes expands, or leaves as
it is where it knows no such name. Pure.
"""

from collections.abc import Iterator
from itertools import islice

from footplate.api.errors import Problem, nearest
from footplate.contract import Env, StorageEnv, input_env_prefix
from footplate.objects import Object, block, blocks, text

_OURS = "FOOTPLATE_"
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
