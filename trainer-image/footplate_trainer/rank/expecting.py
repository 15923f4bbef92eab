"""How training code says what is to come, which percent, ETA, tokens a second and MFU follow from."""

import math

from footplate.api.scalars import MAX_COUNT
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.report import reporter


def expect(
    *,
    steps: int | None = None,
    epochs: int | None = None,
    tokens_per_step: float | None = None,
    flops_per_step: float | None = None,
) -> None:
    """Says what is to come, once, before training; what is said again replaces what was said. `Trainer` and the
    integrations say steps and epochs themselves.

    Args:
        steps: optimizer steps in all, those before a resume included.
        epochs: epochs in all.
        tokens_per_step: of all ranks together, in one optimizer step.
        flops_per_step: floating point operations of all ranks together in one optimizer step, forward and backward: of
            a transformer some 6 × parameters × tokens.

    Raises:
        ConfigError: one of them is no number above 0.
    """
    said = {"steps": steps, "epochs": epochs, "tokens_per_step": tokens_per_step, "flops_per_step": flops_per_step}
    for name, value in said.items():
        if value is not None and not _counts(value, whole=name in ("steps", "epochs")):
            kind = f"a whole number from 1 to {MAX_COUNT}" if name in ("steps", "epochs") else "a number above 0"
            raise ConfigError(f"expect({name}={value!r}): it must be {kind}")
    reporter().progress.expect(total_steps=steps, epochs=epochs, tokens=tokens_per_step, flops=flops_per_step)


def _counts(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return 0 < value <= MAX_COUNT if whole else value > 0 and math.isfinite(value)
