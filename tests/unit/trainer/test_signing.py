"""A model's signature, held against OpenSSF model-signing's own tool, and against whoever changes something."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from footplate.client.artifacts import Artifact, ArtifactDamaged
from footplate.client.errors import ClientError
from footplate.contract import SIGNING_KEY
from footplate_trainer.errors import ConfigError
from footplate_trainer.signature import BadSignature, read_private_key, read_public_key, sign, verify
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact, committed, signing
from footplate_trainer.supervisor.pod import Pod, read_pod
from footplate_trainer.supervisor.source import Code
from trainer_pods import pod_environment
from unit.trainer.test_artifact import NOW, REPORT

FILES = {"model.safetensors": b"weights", "data/labels.json": b"[]", "ü b.txt": b"", "data.json": b"{}"}
P256 = ec.generate_private_key(ec.SECP256R1())


def private_pem(key: Any = P256, *, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def public_pem(key: Any = P256) -> bytes:
    format_ = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, format_))


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    spec = {
        "trainer": {"entrypoint": "train.py"},
        "output": {
            "uri": f"file://{tmp_path}/models/",
            "sign": {"secretKeyRef": {"name": "signing", "key": "key.pem"}},
        },
    }
    pod = read_pod(pod_environment(tmp_path, spec))
    pod.make_folders()
    for name, data in FILES.items():
        (pod.output_dir / name).parent.mkdir(exist_ok=True)
        (pod.output_dir / name).write_bytes(data)
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "key.pem"))
    (tmp_path / "key.pem").write_bytes(private_pem())
    return pod


def publish(pod: Pod, *, created: datetime = NOW) -> Artifact:
    status = artifact.publish(pod, report=REPORT, code=Code(None, None), inputs={}, clock=lambda: created)
    assert status.signature == f"{status.uri}model.sig"
    return Artifact(status, Store.open)


def by_its_tool(folder: Path, key: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature"]
    return subprocess.run(
        [*command, str(folder / "model.sig"), "--public_key", str(key)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_openssf_s_own_tool_verifies_a_downloaded_model(pod: Pod, tmp_path: Path, curve: Any) -> None:
    key = ec.generate_private_key(curve)
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    published = publish(pod)
    folder = published.download(tmp_path / "here")
    (tmp_path / "key.pub").write_bytes(public_pem(key))
    done = by_its_tool(folder, tmp_path / "key.pub")
    assert done.returncode == 0, done.stderr
    assert published.verify(key=public_pem(key)).signature == "model.sig"
    for change in (
        lambda: (folder / "model.safetensors").write_bytes(b"Weights"),
        lambda: (folder / "manifest.json").write_bytes(b"{}"),
        lambda: (folder / "more.bin").write_bytes(b""),
    )[: 3 if curve.name == "secp256r1" else 1]:
        shutil.copytree(folder, tmp_path / "kept")
        change()
        refused = by_its_tool(folder, tmp_path / "key.pub")
        assert refused.returncode != 0, refused.stdout
        shutil.rmtree(folder)
        (tmp_path / "kept").rename(folder)


def test_what_its_own_tool_has_signed_we_verify_too(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(private_pem())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_bytes(b"x")
    command = [sys.executable, "-m", "model_signing", "sign", "key", str(folder), "--private_key"]
    subprocess.run([*command, str(tmp_path / "key.pem"), "--signature", str(tmp_path / "sig")], check=True, timeout=60)
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    verify((tmp_path / "sig").read_bytes(), {"a": digest}, read_public_key(public_pem()))
    with pytest.raises(BadSignature, match="'b' differs, is missing or was added"):
        verify((tmp_path / "sig").read_bytes(), {"a": digest, "b": digest}, read_public_key(public_pem()))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file": (lambda folder: (folder / "model.safetensors").write_bytes(b"Weights"), "has other bytes"),
    "none": (lambda folder: (folder / "model.sig").unlink(), "model.sig is missing"),
    "no JSON": (lambda folder: (folder / "model.sig").write_bytes(b"{"), "is no signature of a model"),
    "deep": (lambda folder: (folder / "model.sig").write_bytes(b"[" * 100_000), "is no signature of a model"),
    "a list": (lambda folder: (folder / "model.sig").write_bytes(b"[]"), "is no signature of a model"),
    "another key's": (
        lambda folder: (folder / "model.sig").write_bytes(
            sign({"a": "00" * 32}, ec.generate_private_key(ec.SECP256R1()), name="x")
        ),
        "is not by this key",
    ),
    "another model's": (
        lambda folder: (folder / "model.sig").write_bytes(sign({"a": "00" * 32}, P256, name="x")),
        "made of other files: 'a' and 5 more",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "why"), DAMAGE.values(), ids=DAMAGE)
def test_a_model_that_was_changed_is_refused(pod: Pod, damage: Callable[[Path], object], why: str) -> None:
    published = publish(pod)
    damage(Path(published.uri.removeprefix("file://")))
    with pytest.raises(ArtifactDamaged, match=why):
        published.verify(key=public_pem())


@pytest.mark.parametrize("where", ["payload", "sig"])
def test_no_bit_of_a_signature_can_be_changed(where: str) -> None:
    files = {"a": "00" * 32}
    bundle = json.loads(sign(files, P256, name="x"))
    envelope = bundle["dsseEnvelope"]
    holder = envelope if where == "payload" else envelope["signatures"][0]
    raw = base64.b64decode(holder[where])
    for position in range(0, len(raw), 7):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        holder[where] = base64.b64encode(changed).decode()
        with pytest.raises(BadSignature):
            verify(json.dumps(bundle).encode(), files, P256.public_key())


def test_a_model_that_was_not_signed_is_not_said_to_be(pod: Pod) -> None:
    assert pod.spec.output is not None
    output = pod.spec.output.model_copy(update={"sign": None})
    spec = pod.spec.model_copy(update={"output": output})
    bare = replace(pod, config=pod.config.model_copy(update={"spec": spec}))
    status = artifact.publish(bare, report=REPORT, code=Code(None, None), inputs={}, clock=lambda: NOW)
    assert status.signature is None
    with pytest.raises(ClientError, match=r"wasn't signed; spec\.output\.sign has the next run's"):
        Artifact(status, Store.open).verify(key=public_pem())
    with pytest.raises(ClientError, match="the key is no public key in PEM"):
        Artifact(status, Store.open).verify(key=b"x")


def test_an_attempt_that_died_before_it_signed_leaves_that_to_the_next(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(committed, "sign_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(pod)
    published = publish(replace(pod, attempt=1))
    published.verify(key=public_pem())
    path = Path(published.uri.removeprefix("file://")) / "model.sig"
    before = path.read_bytes()
    publish(replace(pod, attempt=2))
    assert path.read_bytes() == before, "one that is right stays"


def test_a_signature_that_could_not_be_written_is_tried_again_in_the_same_place(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(committed, "sign_model", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(pod)
    published = publish(pod, created=NOW + timedelta(minutes=1))
    assert published.uri == f"{artifact.place_uri(pod, '1')}/"
    published.verify(key=public_pem())


def forge(folder: Path, key: Any) -> None:
    """What somebody can do who may write to the bucket, and has no key, or one of his own."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (folder / "evil.bin").write_bytes(b"evil")
    digest = hashlib.sha256(b"evil").hexdigest()
    manifest["files"] = [{"name": "evil.bin", "sizeBytes": 4, "sha256": digest}]
    data = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(data)
    if key is not None:
        files = {"evil.bin": digest, "manifest.json": hashlib.sha256(data).hexdigest()}
        (folder / "model.sig").write_bytes(sign(files, key, name="digits-1"))


@pytest.mark.parametrize("key", [None, ec.generate_private_key(ec.SECP256R1())], ids=["no key", "a key of his own"])
def test_a_forged_model_is_never_signed(pod: Pod, key: Any) -> None:
    """Neither where a job is created anew, nor where an attempt finds what seems to be its own run's model."""
    pod = replace(pod, spec_sha256="5" * 64)
    folder = Path(publish(pod).uri.removeprefix("file://"))
    before = (folder / "model.sig").read_bytes()
    forge(folder, key)
    signature = (folder / "model.sig").read_bytes()
    assert (signature == before) == (key is None)
    with pytest.raises(ConfigError, match=r"its model\.sig is missing, or not by spec\.output\.sign.*restartNonce"):
        artifact.check_output(replace(pod, uid="uid-2"))
    published = publish(replace(pod, attempt=1))
    assert published.uri == f"file://{folder}/uid-1-attempt-1/"
    assert (folder / "model.sig").read_bytes() == signature
    published.verify(key=public_pem())


def test_a_signed_model_of_the_same_job_is_taken(pod: Pod) -> None:
    pod = replace(pod, spec_sha256="5" * 64)
    published = publish(pod)
    found = artifact.check_output(replace(pod, uid="uid-2")).model
    assert found is not None
    assert found.uri == published.uri
    Artifact(found, Store.open).verify(key=public_pem())


BAD_KEYS = {
    "encrypted": (private_pem(password=b"x"), "is encrypted, and nobody is there to give a password"),
    "public": (public_pem(), "is no private key in PEM but a public one"),
    "nothing": (b"", "is no private key in PEM; make one with: openssl"),
    "RSA": (private_pem(rsa.generate_private_key(65537, 2048)), "is no elliptic curve key of P-256, P-384 or P-521"),
    "Ed25519": (private_pem(ed25519.Ed25519PrivateKey.generate()), "is no elliptic curve key"),
    "another curve": (private_pem(ec.generate_private_key(ec.SECP256K1())), "is no elliptic curve key"),
    "cosign's": (
        b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n",
        "is no private key in PEM but cosign's own, which is encrypted",
    ),
}


@pytest.mark.parametrize(("pem", "why"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_cannot_sign_is_told_before_training(pod: Pod, tmp_path: Path, pem: bytes, why: str) -> None:
    (tmp_path / "key.pem").write_bytes(pem)
    with pytest.raises(ConfigError, match=rf"key 'key.pem' of Secret 'signing' {why}"):
        signing.check_key(pod)


def test_a_missing_key_is_told_before_training(pod: Pod, tmp_path: Path) -> None:
    signing.check_key(pod)
    (tmp_path / "key.pem").unlink()
    with pytest.raises(ConfigError, match="isn't in the job's namespace; put the private key there"):
        signing.check_key(pod)


def test_an_image_without_cryptography_is_told_before_training(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"the image has no cryptography.*pip install 'footplate\[signing\]' in it"):
        signing.check_key(pod)


def test_keys_of_openssl_s_older_form_will_do() -> None:
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    pem = P256.private_bytes(serialization.Encoding.PEM, traditional, serialization.NoEncryption())
    assert read_private_key(pem).public_key() == P256.public_key()
