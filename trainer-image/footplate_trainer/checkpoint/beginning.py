"""Where a training begins: at the newest checkpoint of its run or an earlier one, with given weights, or fresh."""

from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.checkpoint.restoring import Loaded, Restorer
from footplate_trainer.checkpoint.run_store import RunStore
from footplate_trainer.checkpoint.state import TrainState, apply, changed_since
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import reporter
from footplate_trainer.rank.seeds import derive_seed, seed_everything
from footplate_trainer.storage.contact import telling


class Beginning:
    """That of one training in this attempt."""

    def __init__(self, ctx: Context, line: Gang, name: str) -> None:
        self._ctx = ctx
        self._line = line
        self._name = name

    def restore(
        self, store: RunStore | None, state: TrainState, init_from: str | None, *, again: bool = False
    ) -> Loaded | None:
        """Brings the state's objects to where the run is, and returns the checkpoint that they go on from; where there
        is none they begin fresh, perhaps with the weights of `init_from`. Collective.

        Args:
            store: the training's place in its run; None where the job has no checkpoints.
            again: this process has trained the objects before. They stay as they are where there is nothing to go on
                from; else what is undone is told.

        Raises:
            DataError: all checkpoints are damaged, or what `init_from` names is.
            ConfigError: an object doesn't fit the checkpoint, or the model the weights.
            StorageError: storage can't be asked, or written to.
            PeerLost: a newer attempt runs.
        """
        if store is None:
            if not again:
                self._seed()
            return None
        with telling(reporter().note):
            self._line.from_main(store.claim)
            restorer = Restorer(
                self._ctx,
                self._line,
                state.parts,
                open_store=store.open,
                staging=store.staging,
                note=reporter().note,
            )
            loaded = self._find(restorer, store)
            if loaded is None and not again:
                self._seed()
                if init_from is not None:
                    restorer.initialise(init_from, strict=store.block.init_strict is not False)
                    reporter().initialised(init_from)
        if loaded is not None:
            if again and (changed := changed_since(state.parts, loaded.trees)):
                reporter().note(
                    f"training {self._name!r} goes on a second time, from its newest checkpoint ({loaded.found.uri}): "
                    f"what was changed since is undone ({changed}); to go on with it give the second fit or restore "
                    f"a name of its own, such as name='{self._name}-2'"
                )
            self._continue_from(loaded, state)
        return loaded

    def _find(self, restorer: Restorer, store: RunStore) -> Loaded | None:
        resume = store.block.resume
        if resume == "never":
            return None
        loaded = restorer.newest(store.folder)
        return self._find_earlier(restorer, store) if loaded is None and resume == "latest" else loaded

    def _find_earlier(self, restorer: Restorer, store: RunStore) -> Loaded | None:
        """The newest of the earlier runs, back to the last one that succeeded: what came before that is done."""
        for run, folder in store.earlier_runs():
            if self._line.from_main(folder.is_finished):
                reporter().note(f"run {run} succeeded, so this run begins anew, not from its checkpoints")
                return None
            if (loaded := restorer.newest_of_earlier(folder)) is not None:
                reporter().note(f"goes on from step {loaded.found.step} of run {run} ({loaded.found.uri})")
                return loaded
        return None

    def _seed(self) -> None:
        """Gives this rank the random numbers of a fresh start; outside a job they are the user's own."""
        if self._ctx.config is not None:
            seed_everything(derive_seed(*self._seed_of(), "rank", self._ctx.rank))

    def _seed_of(self) -> tuple[int | str, ...]:
        """What the training's random numbers are a function of: two trainings don't draw the same."""
        return (self._ctx.seed,) if self._name == MAIN else (self._ctx.seed, "training", self._name)

    def _continue_from(self, loaded: Loaded, state: TrainState) -> None:
        manifest = loaded.found.manifest
        if manifest.world_size != self._ctx.world_size:
            seed_everything(derive_seed(*self._seed_of(), "rank", self._ctx.rank, "step", manifest.step))
            reporter().note(
                f"resumed on {self._ctx.world_size} ranks from a checkpoint of {manifest.world_size}: the same data "
                "in the same order, but rounding and dropout differ"
            )
        apply(state.parts, loaded.trees, uri=loaded.found.uri)
        state.step = manifest.step
        state.restore_epoch(manifest.epoch)
        self._ctx.resumption.step = manifest.step
        status = manifest.status(loaded.found.uri)
        reporter().resumed(
            step=manifest.step,
            uri=loaded.found.uri,
            status=status if loaded.in_run else None,
            productive_node_seconds=manifest.productive_node_seconds,
        )
