"""What a command has where no supervisor gives it: its folders, and its code in one that it may write to. Pure."""

from collections.abc import Sequence

from footplate.api.trainer import Trainer
from footplate.contract import CODE_FOLDER, SCRATCH_FOLDERS, Env, ExitCode, MountPath
from footplate.objects import Object

_SCRIPT = f"""\
fail() {{ echo "$1" >&2; exit {int(ExitCode.CONFIG_ERROR)}; }}
code="${Env.WORK_DIR}/{CODE_FOLDER}"
mkdir -p "$code" && cd "$code" || fail "the folder of the code can't be made"
for file in "${Env.SOURCE_DIR}"/* "${Env.SOURCE_DIR}"/.[!.]*; do
  if [ -f "$file" ]; then cp "$file" . || fail "spec.trainer.source: $file can't be copied"; fi
done
export PYTHONPATH="$code${{PYTHONPATH:+:$PYTHONPATH}}"
cd "$0" 2>/dev/null || fail "spec.trainer.workingDir=$0: there is no such folder in trainer.source; correct it"
case "$1" in */*) [ -x "$1" ] ;; *) command -v "$1" >/dev/null ;; esac ||
  fail "spec.trainer.command: there is no program '$1' in trainer.image or, as ./name, executable in trainer.source"
exec "$@"
"""
"""A ConfigMap's volume is read-only, and holds links into hidden folders by which Kubernetes swaps it. The command
takes the shell's place, so that signals reach it.
"""


def bare_start(trainer: Trainer, arguments: Sequence[str]) -> Object:
    """The container's command, the arguments that follow it and where they start."""
    command = list(trainer.command or ())
    if trainer.source is not None:
        copying = ["/bin/sh", "-c", _SCRIPT, trainer.working_dir or "."]
        return {"command": copying, "args": [*command, *arguments]}
    place = {"workingDir": trainer.working_dir} if trainer.working_dir is not None else {}
    return {"command": command, "args": list(arguments), **place}


def bare_folders() -> list[Object]:
    """Mounts of the contract's folders: a kubelet makes those that it mounts, and nobody else does."""
    return [
        {"name": "footplate-scratch", "mountPath": f"{MountPath.SCRATCH}/{folder}", "subPath": folder}
        for folder in SCRATCH_FOLDERS.values()
    ]
