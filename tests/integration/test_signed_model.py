"""A whole pod that signs its model, and one that can't, and says so before it trains."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from footplate.client.artifacts import Artifact
from footplate.contract import SIGNING_KEY
from footplate_trainer.storage.store import Store
from trainer_pods import Done, RunningPod, pod_environment
from unit.trainer.test_signing import private_pem, public_pem

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TRAIN = """
import os
from pathlib import Path
print("it trains", flush=True)
Path(os.environ["FOOTPLATE_OUTPUT_DIR"], "model.bin").write_bytes(b"weights")
"""


def run(root: Path, key: bytes | None, **place: Any) -> Done:
    sign = {"secretKeyRef": {"name": "signing", "key": "key.pem"}}
    spec = {"trainer": {"entrypoint": "train.py"}, "output": {"uri": f"file://{root}/models/", "sign": sign}}
    environment = pod_environment(root, spec, files={"train.py": TRAIN}, **place)
    if key is not None:
        (root / "key.pem").write_bytes(key)
    pod = RunningPod(root, {**environment, SIGNING_KEY: str(root / "key.pem")})
    return pod.finish()


def test_a_model_is_signed_by_the_pod_that_stores_it(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    done = run(tmp_path, private_pem(key))
    assert (done.exit_code, done.verdict.outcome) == (0, "succeeded"), done.log
    assert done.verdict.artifact is not None
    assert done.verdict.artifact.signature == f"file://{tmp_path}/models/digits/1/model.sig"
    Artifact(done.verdict.artifact, Store.open).verify(key=public_pem(key))
    assert b"PRIVATE KEY" not in b"".join(
        path.read_bytes() for path in (tmp_path / "models").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("key", [None, b"", private_pem(password=b"x")], ids=["missing", "empty", "encrypted"])
def test_a_key_that_cannot_sign_ends_the_job_before_it_trains(tmp_path: Path, key: bytes | None) -> None:
    done = run(tmp_path, key)
    assert done.exit_code == 78, done.log
    assert done.verdict.error is not None
    assert "spec.output.sign.secretKeyRef: key 'key.pem' of Secret 'signing'" in done.verdict.error.message
    assert "it trains" not in done.log
