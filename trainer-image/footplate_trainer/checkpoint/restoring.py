"""Finds the newest checkpoint that is whole in the eyes of every rank, and reads it."""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint import manifest as manifests
from footplate_trainer.checkpoint.codec import Packed
from footplate_trainer.checkpoint.folder import Damaged, Folder, Found, fetch_file, verify_file
from footplate_trainer.checkpoint.initial import left_out, modules_of, read_source, what_fits
from footplate_trainer.checkpoint.manifest import File
from footplate_trainer.checkpoint.names import RANK_PART
from footplate_trainer.checkpoint.sharded import SHARDS, Plan
from footplate_trainer.checkpoint.state import MAX_NAMED, check_models
from footplate_trainer.errors import DataError, NotFound
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import Gang
from footplate_trainer.storage.store import Store


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified checkpoint, and its state trees by part."""

    found: Found
    trees: dict[str, Any]
    in_run: bool
    """False where the run has none of its own yet."""


Check = Callable[[Mapping[str, Any]], None]
"""Refuses trees, of which only names and shapes are known yet."""
Shards = Mapping[str, Mapping[int, File]]
"""The files that this rank needs shards from, by part and by the rank that wrote them."""


class Restorer:
    """Reads checkpoints together with all other ranks: all public methods are collective.

    An outage of storage is raised as it is: it is never taken for a missing or a damaged checkpoint.
    """

    def __init__(
        self,
        ctx: Context,
        gang: Gang,
        parts: Mapping[str, Any],
        *,
        open_store: Callable[[str], Store],
        staging: Path,
        note: Callable[[str], None],
    ) -> None:
        self._ctx = ctx
        self._gang = gang
        self._parts = parts
        self._open_store = open_store
        self._staging = staging
        self._note = note
        self._half: set[str] = set()
        """URIs of checkpoints that lack what was to be saved together with them."""

    def newest(self, folder: Folder) -> Loaded | None:
        """The newest whole checkpoint of a run, or None if it has none; damaged ones are condemned, and named to the
        user.

        Raises:
            DataError: all are damaged. To begin again unasked could throw weeks away, and with the next saves the last
                of what a backup might mend.
        """
        steps = self._gang.from_main(folder.complete_steps)
        loaded = self._first_whole(folder, steps, in_run=True)
        whole = [step for step in steps if folder.uri(step) not in self._half]
        if loaded is None and whole:
            raise DataError(_all_damaged(folder, whole))
        return loaded

    def newest_of_earlier(self, folder: Folder) -> Loaded | None:
        """The same of an earlier run of the job, or None also where all are damaged: they stay where they are, and the
        run that they were of is over.
        """
        return self._first_whole(folder, self._gang.from_main(folder.complete_steps), in_run=False)

    def _first_whole(self, folder: Folder, steps: Iterable[int], *, in_run: bool) -> Loaded | None:
        found = (self._find(folder, step) for step in steps)
        loaded = (self._try(folder, each, in_run=in_run) for each in found if each is not None)
        return next((each for each in loaded if each is not None), None)

    def initialise(self, uri: str, *, strict: bool) -> None:
        """Gives the model the weights that lie at a URI, of a checkpoint or of a finished model. What doesn't fit by
        name and shape stays as it is, and is told, where that isn't `strict`.

        Raises:
            DataError: there are none, or they are damaged.
            ConfigError: they don't fit.
        """
        try:
            found = self._gang.from_main(lambda: self._at(uri))
            modules = modules_of(self._parts, found.manifest)
            check = partial(self._check_fit, uri=uri, strict=strict)
            trees = self._read(found, read=_read_any, check=check, only=modules)
        except Damaged as error:
            raise DataError(f"spec.checkpoint.initFrom={uri}: it is damaged: {error}; name another one") from error
        notes = ""
        for name, tree in trees.items():
            mine = modules[name].state_dict()
            fitting = what_fits(name, mine, tree, uri=uri, strict=strict)
            modules[name].load_state_dict({key: tree[key] for key in fitting}, strict=False)
            notes += left_out(name, mine, tree)
        self._note(f"begins with the weights of {uri}, and with nothing else of it{notes}")

    def _check_fit(self, outlines: Mapping[str, Any], *, uri: str, strict: bool) -> None:
        """Before any shard of a weight is fetched."""
        for name, outline in outlines.items():
            what_fits(name, self._parts[name].state_dict(), outline, uri=uri, strict=strict)

    def _find(self, folder: Folder, step: int) -> Found | None:
        try:
            found = self._gang.from_main(lambda: folder.find(step))
        except Damaged as error:
            self._tell_damage(folder.uri(step), error)
            return None
        if found is None or found.manifest.uid != self._ctx.uid:
            return None
        if self._gang.from_main(lambda: folder.is_half(found)):
            self._half.add(found.uri)
            return None
        return found

    def _try(self, folder: Folder, found: Found, *, in_run: bool) -> Loaded | None:
        try:
            check = partial(check_models, self._parts, uri=found.uri)
            return Loaded(found, self._read(found, read=_read_file, check=check), in_run)
        except Damaged as error:
            reason = str(error)
            self._tell_damage(found.uri, error)
            self._gang.from_main(lambda: folder.condemn(found, reason))
            return None

    def _tell_damage(self, uri: str, error: Damaged) -> None:
        self._note(
            f"checkpoint {uri} is damaged and is not used: {error}; going on from the one before, if there is one"
        )

    def _at(self, uri: str) -> Found:
        store = self._open_store(uri)
        try:
            data = store.get(manifests.NAME)
        except NotFound as error:
            raise DataError(
                f"spec.checkpoint.initFrom={uri}: there is no {manifests.NAME}, so this is neither a complete "
                "checkpoint nor a model; take the URI from status.checkpoint.uri or status.artifact.uri of its job"
            ) from error
        manifest = read_source(data, f"{store.uri}/")
        return Found(f"{store.uri}/", manifest.step, manifest, "")

    def _read(
        self,
        found: Found,
        *,
        read: Callable[[File, Path], Packed],
        check: Check,
        only: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """The state trees by part, of all parts unless some are named. Reads whole tensors first: with them lies what
        says which shards of others this rank needs.
        """
        packed: dict[str, Packed] = {}
        trees: dict[str, Any] = {}
        with self._folder_for(found.step) as folder:
            wanted = [file for file in found.manifest.files if only is None or file.part in only]
            files = [file for file in wanted if self._is_for_me(file, found)]
            self._fetch(found, files, folder)
            self._gang.together(lambda: packed.update({file.part: read(file, folder) for file in files}))
            plans = {part: Plan(self._parts.get(part), read_part) for part, read_part in packed.items()}
            check({part: plan.outline() for part, plan in plans.items()})
            shards = self._fetch_shards(found, plans, folder)
            self._gang.together(lambda: trees.update(_read_shards(plans, shards, folder)))
        return trees

    def _is_for_me(self, file: File, found: Found) -> bool:
        """What one rank has of its own is of no use in another world."""
        if file.part == RANK_PART:
            return file.rank == self._ctx.rank and found.manifest.world_size == self._ctx.world_size
        return not file.part.endswith(SHARDS)

    def _fetch_shards(self, found: Found, plans: Mapping[str, Plan], folder: Path) -> Shards:
        there = {(file.part, file.rank): file for file in found.manifest.files if file.part.endswith(SHARDS)}
        shards: dict[str, dict[int, File]] = {}
        if there:
            self._gang.together(lambda: shards.update(_find_shards(plans, there)))
            self._fetch(found, [file for files in shards.values() for file in files.values()], folder)
        return shards

    def _fetch(self, found: Found, files: Sequence[File], folder: Path) -> None:
        """Downloads what the ranks of this node need, once; verifies what this one needs."""
        asked = self._gang.gather([file.name for file in files])
        first = self._ctx.rank - self._ctx.local_rank
        names = {name for ranks_names in asked[first : first + self._ctx.local_world_size] for name in ranks_names}
        self._gang.together(lambda: self._download(found, names, folder) if self._ctx.local_rank == 0 else None)
        self._gang.together(lambda: _verify(files, folder))

    def _download(self, found: Found, names: Collection[str], folder: Path) -> None:
        store = self._open_store(found.uri)
        for file in found.manifest.files:
            if file.name in names:
                fetch_file(store, file, folder / file.name)

    @contextmanager
    def _folder_for(self, step: int) -> Iterator[Path]:
        folder = self._staging / f"restore-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            if self._ctx.local_rank == 0:
                shutil.rmtree(folder, ignore_errors=True)


def _verify(files: Iterable[File], folder: Path) -> None:
    for file in files:
        verify_file(file, folder / file.name)


def _find_shards(plans: Mapping[str, Plan], there: Mapping[tuple[str, int], File]) -> dict[str, dict[int, File]]:
    try:
        return {part: {rank: there[part + SHARDS, rank] for rank in plan.shards()} for part, plan in plans.items()}
    except KeyError as missing:
        raise Damaged(f"no file has the shards {missing}") from missing


def _all_damaged(folder: Folder, steps: Sequence[int]) -> str:
    named = ", ".join(map(str, steps[:MAX_NAMED])) + (", …" if len(steps) > MAX_NAMED else "")
    return (
        f"all {len(steps)} checkpoints of this run are damaged (steps {named}; the newest is {folder.uri(steps[0])}), "
        "and a run that has got so far isn't begun again unasked. To begin again, set runPolicy.restartNonce; to go on "
        "from another's weights, create the job anew with their URI in spec.checkpoint.initFrom"
    )


def _read_any(file: File, folder: Path) -> Packed:
    """A checkpoint's file, or any other with weights."""
    try:
        return codec.read(folder / file.name)
    except ValueError:
        pass
    try:
        return codec.read_weights(folder / file.name)
    except ValueError as error:
        raise Damaged(f"{file.name}: {error}") from error


def _read_file(file: File, folder: Path) -> Packed:
    try:
        return codec.read(folder / file.name)
    except ValueError as error:
        raise Damaged(f"{file.name}: {error}") from error


def _read_shards(plans: Mapping[str, Plan], shards: Shards, folder: Path) -> dict[str, Any]:
    """The trees, whole or with this rank's shards."""
    trees = {}
    for part, plan in plans.items():
        with ExitStack() as opened:
            files = {
                rank: opened.enter_context(safe_open(folder / file.name, framework="pt"))
                for rank, file in shards.get(part, {}).items()
            }
            trees[part] = plan.load(files)
    return trees
