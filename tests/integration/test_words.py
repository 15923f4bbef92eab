"""The user's words mean the same in a bare command, under our supervisor, and in an entrypoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from laptop import Laptop

pytestmark = pytest.mark.integration

WORDS = ["$(B)", "$$(A)", "$(NOWHERE)", "$(PATH)", "$(RANKS)", "$(AWS_ENDPOINT_URL)", "$(FOOTPLATE_OUTPUT_DIR)"]
ENV = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]
SHOW = ["sh", "-c", 'for word in "$@"; do echo "word: $word"; done', "-"]
SCRIPT = "import sys\nfor word in sys.argv[1:]: print('word:', word)\n"
INPUT = {"inputs": [{"name": "train", "uri": "s3://datasets/words/"}]}
FORMS: dict[str, dict[str, Any]] = {
    "bare": {"trainer": {"command": SHOW}},
    "supervised": {"trainer": {"command": SHOW}, **INPUT},
    "entrypoint": {"trainer": {"entrypoint": "show.py", "source": {"configMap": {"name": "words"}}}},
}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("laptop")) as laptop:
        laptop.store("datasets").put("words/x", b"")
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"show.py": SCRIPT}}
        laptop.apply(code, *(job_of(name) for name in FORMS))
        yield laptop


def job_of(form: str) -> dict[str, Any]:
    spec = {**FORMS[form], "storage": {"secretRef": {"name": "s3"}}, "runPolicy": {"cleanPods": "never"}}
    spec["trainer"] = {"image": "trainer:test", "args": WORDS, "env": ENV, **spec["trainer"]}
    return {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": form}, "spec": spec}


@pytest.mark.parametrize("form", FORMS)
def test_words_are_expanded_alike(laptop: Laptop, form: str, tmp_path: Path) -> None:
    assert laptop.wait(form)["phase"] == "Succeeded"
    log = laptop.kubectl("logs", f"{form}-1-0-0").stdout
    said = [line.partition("word: ")[2] for line in log.splitlines() if "word: " in line]
    assert said[:5] == ["12", "$(A)", "$(NOWHERE)", "$(PATH)", "$(RANKS)"]
    assert said[5] == laptop.storage["AWS_ENDPOINT_URL"]
    assert said[6].endswith("/output")
