"""The trainer block of a TrainingJob's spec: which image and code run, on which words, and what the code finds there.

Its defaults are applied when the job is resolved, as those of `footplate.api.blocks`.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from footplate.api.expressions import compile_expression
from footplate.api.packages import MAX_REQUIREMENTS, Requirement
from footplate.api.patterns import (
    ENTRYPOINT_PATTERN,
    GIT_REF_PATTERN,
    HTTPS_PATTERN,
    IMAGE_PATTERN,
    WORKING_DIR_PATTERN,
)
from footplate.api.recipes import RecipeName
from footplate.api.references import EnvFromSource, EnvVar, LocalRef
from footplate.api.status import MAX_METRIC_NAME
from footplate.api.types import (
    MAX_TEXT_BYTES,
    ByName,
    FreeForm,
    Model,
    Rule,
    Sha256,
    Uri,
    at,
    count,
    keep,
    size_of,
)

ENTRY_KINDS = ("recipe", "entrypoint", "command")

Argument = Annotated[str, Field(max_length=4096)]
_TEXTS = ("command", "args")


def _env_texts(trainer: Mapping[str, Any]) -> list[Any]:
    return [at(variable, part) for variable in at(trainer, "env") or () for part in ("name", "value")]


def _json_size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


HYPERPARAMETERS_FIT = Rule(
    "",  # CEL doesn't see what the schema leaves open
    f"hyperparameters are more than {MAX_TEXT_BYTES:,} bytes of JSON; put large tables into a file, and name it as an "
    "input",
    lambda values: _json_size(values) <= MAX_TEXT_BYTES,
)


ARGUMENT_NAMES = Rule(
    "",  # names have no bound that CEL's cost could be told by
    "hyperparameterArgs makes arguments of hyperparameters: their names must then be of letters, digits, '.', '_' and "
    "'-', with a letter or '_' first, and their values without a NUL; rename them, or leave hyperparameterArgs out",
    lambda it: (
        at(it, "hyperparameterArgs") is not True
        or all(
            re.fullmatch(r"[A-Za-z_][-.\w]*", name, re.ASCII) and "\0" not in str(value)
            for name, value in (at(it, "hyperparameters") or {}).items()
        )
    ),
    "hyperparameters",
)


class GitSource(Model):
    """Code from a git repository, cloned by each pod."""

    url: Annotated[str, Field(min_length=1, max_length=1024, pattern=HTTPS_PATTERN)] = Field(
        description="HTTPS address without credentials.", examples=["https://git.example.com/team/code.git"]
    )
    ref: Annotated[str, Field(min_length=1, max_length=255, pattern=GIT_REF_PATTERN)] = Field(
        description="Commit, tag or branch; a commit makes the run reproducible.", examples=["3f2c1d0"]
    )


class Source(Model):
    """Where the user's code comes from: exactly one of configMap, uri and git."""

    config_map: LocalRef | None = Field(None, description="ConfigMap whose keys are the files.")
    uri: Uri | None = Field(
        None, description="Archive (.tar.gz, .tar, .zip) or file.", examples=["s3://code/train.tar.gz"]
    )
    sha256: Sha256 | None = Field(None, description="SHA-256 of what uri names, in hex; checked before use.")
    git: GitSource | None = Field(None, description="Git repository.")

    rules = (
        Rule(
            "[has(self.configMap), has(self.uri), has(self.git)].exists_one(x, x)",
            "set exactly one of configMap, uri and git",
            lambda it: count(it, "configMap", "uri", "git") == 1,
        ),
        Rule(
            "!has(self.uri) || !self.uri.endsWith('/')",
            "uri names a folder; name one archive (.tar.gz, .tgz, .tar.bz2, .tar.xz, .tar, .zip) or file",
            lambda it: at(it, "uri") is None or not str(at(it, "uri")).endswith("/"),
        ),
        Rule(
            "!has(self.sha256) || has(self.uri)",
            "sha256 goes with uri; git has its own commit hashes",
            lambda it: at(it, "sha256") is None or at(it, "uri") is not None,
        ),
    )


@lru_cache(maxsize=4096)
def _is_regex(text: str) -> bool:
    """Of forty in a job, which is read again and again, each is compiled once."""
    try:
        compile_expression(text)
    except ValueError:
        return False
    return True


_GROUP = re.compile(r"\((?:\?P?<\w|(?!\?))")
METRIC_REGEX_RULE = Rule(
    "",  # CEL can match an expression, but not tell whether it is one
    "must be a regular expression of RE2's syntax (no lookahead, lookbehind or backreference) with a group around the "
    "number, such as loss=([0-9.]+)",
    lambda regex: _is_regex(regex) and _GROUP.search(re.sub(r"\\.|\[\^?\]?[^]]*\]", "", regex)) is not None,
)


class MetricDefinition(Model):
    """A metric that is found in the log of rank 0's node."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_METRIC_NAME)] = Field(
        description="The metric's name; step, totalSteps, epoch and epochs are those of status.progress.",
        examples=["validation:accuracy"],
    )
    regex: Annotated[str, Field(min_length=1, max_length=512), keep(METRIC_REGEX_RULE)] = Field(
        description="Regular expression of RE2's syntax. The first group is the number; the last line that has one "
        "counts.",
        examples=["val_acc=([0-9.]+)"],
    )


class Trainer(Model):
    """What runs in each pod: an image, and exactly one of recipe, entrypoint and command."""

    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=IMAGE_PATTERN)] | None = Field(
        None,
        description="Container image. Required here or in the runtime.",
        examples=["registry.example.com/footplate/trainer:0.1.0"],
    )
    recipe: RecipeName | None = Field(
        None,
        description="A built-in training program: image-classification, tabular-classification or text-classification. "
        "Programs of your own are entrypoint or command.",
        examples=["image-classification"],
    )
    entrypoint: Annotated[str, Field(min_length=1, max_length=253, pattern=ENTRYPOINT_PATTERN)] | None = Field(
        None,
        description="Script (train.py), module (package.module) or function (package.module:main), "
        "started once an accelerator.",
        examples=["train.py"],
    )
    command: Annotated[list[Argument], Field(min_length=1, max_length=256)] | None = Field(
        None,
        description="Any command, started as it is, once a node, with the environment contract.",
        examples=[["python", "-m", "mine"]],
    )
    args: Annotated[list[Argument], Field(max_length=256)] = Field(
        default=[], description="Arguments after the entrypoint or command.", examples=[["--depth", "18"]]
    )
    source: Source | None = Field(None, description="The user's code. Its folder is the working directory.")
    working_dir: Annotated[str, Field(min_length=1, max_length=1024, pattern=WORKING_DIR_PATTERN)] | None = Field(
        None,
        description="Folder to start in: one of the source's, as src, or an absolute path of the image or a volume. "
        "Default: the source's folder; of a command without a source, the image's own working directory.",
        examples=["src"],
    )
    requirements: Annotated[list[Requirement], Field(max_length=MAX_REQUIREMENTS)] | None = Field(
        None,
        description="Python packages that are installed before the start, as in a requirements file; the image's own "
        "torch, CUDA and numpy stay as they are. Default: requirements.txt of the source, if it has one. [] installs "
        "none.",
        examples=[["transformers==4.57.1", "-r requirements.txt"]],
    )
    hyperparameters: Annotated[FreeForm, keep(HYPERPARAMETERS_FIT)] = Field(
        default={},
        description="Free-form values, 65,536 bytes of JSON at most; they reach the code as JSON. A recipe's are "
        "checked before there is a pod.",
        examples=[{"epochs": 5, "batchSize": 256, "learningRate": 0.001}],
    )
    hyperparameter_args: bool = Field(
        default=False,
        description="True also passes the hyperparameters as arguments, --name value.",
    )
    metric_definitions: Annotated[ByName[MetricDefinition], Field(max_length=40)] = Field(
        default=[], description="Metrics that are found in the log, for code that reports none."
    )
    env: Annotated[ByName[EnvVar], Field(max_length=128)] = Field(
        default=[], description="Environment variables of the trainer's container; 65,536 bytes at most together."
    )
    env_from: Annotated[list[EnvFromSource], Field(max_length=32)] = Field(
        default=[], description="Secrets and ConfigMaps whose keys become environment variables."
    )

    rules = (
        Rule(
            "[has(self.recipe), has(self.entrypoint), has(self.command)].filter(x, x).size() <= 1",
            "set only one of recipe, entrypoint and command",
            lambda it: count(it, *ENTRY_KINDS) <= 1,
        ),
        Rule(
            "!has(self.recipe) || !has(self.hyperparameterArgs) || !self.hyperparameterArgs",
            "hyperparameterArgs goes with entrypoint or command, not with recipe",
            lambda it: at(it, "recipe") is None or at(it, "hyperparameterArgs") is not True,
            "hyperparameterArgs",
        ),
        Rule(
            " + ".join(f"(has(self.{name}) ? self.{name}.map(a, bytes(a).size()).sum() : 0)" for name in _TEXTS)
            + f" <= {MAX_TEXT_BYTES}",
            f"command and args are more than {MAX_TEXT_BYTES:,} bytes together; put large values into a file",
            lambda it: size_of(text for name in _TEXTS for text in at(it, name) or ()) <= MAX_TEXT_BYTES,
        ),
        Rule(
            "!has(self.env) || self.env.map(e, e.name.size() + (has(e.value) ? bytes(e.value).size() : 0)).sum() "
            f"<= {MAX_TEXT_BYTES}",
            f"env is more than {MAX_TEXT_BYTES:,} bytes; put large values into a ConfigMap, and name it in envFrom",
            lambda it: size_of(_env_texts(it)) <= MAX_TEXT_BYTES,
            "env",
        ),
    )

    @model_validator(mode="after")
    def _can_name_arguments(self) -> Self:
        if ARGUMENT_NAMES.is_broken_by(self.to_json()):
            raise ARGUMENT_NAMES.broken()
        return self
