"""Who may leave a model in a place: told before training, and never undone by anybody's late writes.

    <output.uri>/<job>/<number>/
      .footplate/claim-00000001.json   the run that the place belongs to; of several the highest number counts
      .footplate/proof-00000000        empty: attempt 0 has shown that the place can be written to
      .footplate/content.json          the only bytes that may ever be written here, by name

Claims and content are conditional puts. A claim is taken before training. One of a job in another namespace is
respected; one of a job that had this name in this namespace, and so is deleted, gets a successor, unless its model is
there. The content is fixed once, before the first file is uploaded: whoever else writes here later, a zombie of an
older attempt included, writes the same bytes, or goes elsewhere.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from footplate.api.scalars import Time
from footplate.api.types import Model
from footplate_trainer.errors import ConfigError, Exists, NotFound, StorageUnavailable
from footplate_trainer.model_manifest import ModelFile
from footplate_trainer.storage.proving import prove_writing
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.pod import Pod

FOLDER = ".footplate"
CONTENT = f"{FOLDER}/content.json"
_CLAIM = re.compile(re.escape(FOLDER) + r"/claim-(\d{8})\.json")
M = TypeVar("M", bound=Model)

TRIES = 100
"""Others can be faster only so often."""


class Claim(Model):
    """Whose a place is."""

    job: str
    namespace: str
    uid: str
    run: int
    time: Time

    def is_of(self, pod: Pod) -> bool:
        """True where it is this pod's run's own, whichever attempt made it."""
        return (self.uid, self.run) == (pod.uid, pod.run)

    def is_deleted(self, pod: Pod) -> bool:
        """True where its job must be gone, since this pod's has its name."""
        return (self.job, self.namespace) == (pod.job, pod.config.metadata.namespace) and self.uid != pod.uid


class Content(Model):
    """What a place holds, or is going to."""

    uid: str
    run: int
    attempt: int
    files: list[ModelFile]


def claim(store: Store, pod: Pod) -> None:
    """Makes the place this run's, unless it is already, and proves that it can be written to.

    Raises:
        ConfigError: it is another job's, or storage ignores the condition of conditional puts.
        Denied: it can't be written to or read, or not by conditional puts.
    """
    proved = False
    for _ in range(TRIES):
        claims = _read_claims(store)
        number, holder = claims[-1] if claims else (0, None)
        if holder is not None and not holder.is_of(pod) and not holder.is_deleted(pod):
            raise ConfigError(_held(store, number, holder))
        if not proved:
            prove_writing(store, f"{FOLDER}/proof-{pod.attempt:08d}")
            proved = True
        if holder is not None and holder.is_of(pod):
            return
        if _put(store, number + 1, pod):
            return
    raise StorageUnavailable(f"{store.uri}: others claim this place without end; try again")


def holder(store: Store) -> Claim | None:
    """The claim that counts, None where the place is nobody's."""
    claims = _read_claims(store)
    return claims[-1][1] if claims else None


def holds(store: Store, pod: Pod) -> bool:
    """False where a later job of this name has taken the place."""
    claim = holder(store)
    return claim is not None and claim.is_of(pod)


def has_claimed(store: Store, pod: Pod) -> bool:
    """True where this run has made a claim, whoever came after it."""
    return any(each.is_of(pod) for _, each in _read_claims(store))


def fix_content(store: Store, files: Sequence[ModelFile], pod: Pod) -> bool:
    """Fixes what the place may hold; False where it is fixed already, as other bytes or another run's."""
    content = Content(uid=pod.uid, run=pod.run, attempt=pod.attempt, files=list(files))
    try:
        store.put(CONTENT, content.model_dump_json(by_alias=True, indent=2).encode(), create=True)
    except Exists:
        there = _read(store, CONTENT, Content)
        return (there.uid, there.run, there.files) == (content.uid, content.run, content.files)
    return True


def _put(store: Store, number: int, pod: Pod) -> bool:
    """Makes a claim; False where that number is taken, if only by our own put whose answer was lost."""
    metadata = pod.config.metadata
    mine = Claim(job=pod.job, namespace=metadata.namespace, uid=pod.uid, run=pod.run, time=datetime.now(UTC))
    key, data = _key(number), mine.model_dump_json(by_alias=True, indent=2).encode()
    try:
        store.put(key, data, create=True)
    except Exists:
        return False
    return True


def _read_claims(store: Store) -> list[tuple[int, Claim]]:
    """By number, the lowest first."""
    found = (_CLAIM.fullmatch(item.key) for item in store.list(FOLDER))
    return [(number, _read(store, _key(number), Claim)) for number in sorted(int(key[1]) for key in found if key)]


def _read(store: Store, key: str, model: type[M]) -> M:
    try:
        return model.model_validate_json(store.get(key))
    except (NotFound, ValidationError) as error:
        raise ConfigError(
            f"{store.uri}/{key} is not what Footplate wrote there, so that nobody knows whose this place is; choose "
            "another output.uri, or delete it if nothing there is needed any more"
        ) from error


def _key(number: int) -> str:
    return f"{FOLDER}/claim-{number:08d}.json"


def _held(store: Store, number: int, holder: Claim) -> str:
    return (
        f"{store.uri} is claimed by run {holder.run} of TrainingJob {holder.namespace}/{holder.job} (uid {holder.uid}) "
        f"since {holder.time:%Y-%m-%d %H:%M} UTC: two jobs must not write one model. Choose another output.uri or job "
        f"name; or, if that job is gone for good, delete {store.uri}/{_key(number)}"
    )
