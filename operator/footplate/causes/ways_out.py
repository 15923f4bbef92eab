"""What to change where an ending is one that many meet: memory, modules, files, programs."""

import re
from collections.abc import Sequence

_RULES: Sequence[tuple[re.Pattern[str], str]] = [
    (
        re.compile(
            r"(CUDA|HIP|XPU|MPS backend|GPU).{0,40}out of memory|CU(BLAS|DNN)_STATUS_(ALLOC|NOT_INIT)\w*|"
            r"OOM when allocating tensor.{0,200}GPU|RESOURCE_EXHAUSTED: Out of memory|cudaErrorMemoryAllocation",
            re.IGNORECASE,
        ),
        "lower the batch size and accumulate gradients over more steps, checkpoint activations, or shard the model "
        "over more accelerators",
    ),
    (
        re.compile(r"killed by signal: Bus error|out of shared memory|unable to (open|resize|mmap) shared memory"),
        "raise podTemplate.sharedMemory, or lower the number of data workers",
    ),
    (
        re.compile(
            r"\bMemoryError\b|Unable to allocate [\d.]+ \w+ for an array|std::bad_alloc|can't allocate memory|"
            r"Cannot allocate memory|Java heap space|killed by signal: Killed|signal SIGKILL|Signal 9|\(Killed\)|"
            r"^(\S+: line \d+: \d+ )?Killed\b|oom-kill|return code = -9|OOM when allocating tensor"
        ),
        "raise resources.limits.memory, or lower the batch size or the number of data workers",
    ),
    (
        re.compile(r"No space left on device"),
        "request more ephemeral-storage in spec.resources or a larger volume, or write less",
    ),
    (
        re.compile(r"No module named '?torch\b"),
        "add it to trainer.image, as an entrypoint needs it (footplate[trainer]), or start code that needs no torch by "
        "trainer.command, such as [python, train.py]",
    ),
    (
        re.compile(r"No module named '?footplate(_trainer)?\b"),
        "install footplate[supervisor] in trainer.image, or for a recipe, an entrypoint or code that imports it "
        "footplate[trainer]; docs/trainer.md says which commands need neither",
    ),
    (
        re.compile(r"No module named|PackageNotFoundError"),
        "add it to requirements.txt (trainer.requirements) or to trainer.image, or to trainer.source if it is yours",
    ),
    (
        re.compile(r"cannot open shared object file|symbol lookup error|version `\S+' not found|undefined symbol"),
        "what was installed doesn't fit trainer.image: use an image that has this library, or build for it",
    ),
    (
        re.compile(r"not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs are available|driver on your system"),
        "ask for accelerators in spec.resources, and use an image whose torch is built for their driver",
    ),
    (re.compile(r"can't open file '"), "correct the path, or add the file to trainer.source"),
    (
        re.compile(r"\\r['’]|\^M"),
        "the script has the line ends of Windows: save it with those of Unix",
    ),
    (
        re.compile(r"[Ee]xec format error|cannot execute binary file"),
        "use an image, or a program, that is built for the processor of the nodes; a script begins with #!",
    ),
    (
        re.compile(r"command not found|: \d+: \S+: not found|^(\S*/)?env: |executable file not found|bad interpreter"),
        "correct the name, or use a trainer.image in which this program is installed",
    ),
    (
        re.compile(r"^\S+: (line \d+: )?\S+: Permission denied"),
        "make the file executable before it is packed (chmod +x), or name what runs it, as in [bash, ./train.sh]",
    ),
    (
        re.compile(r"device-side assert"),
        "most often a label or an index is out of range: compare them with the number of classes or embeddings; "
        "CUDA_LAUNCH_BLOCKING=1 in trainer.env shows the line",
    ),
    (
        re.compile(
            r"environment variable \w+ expected, but not set|"
            r"KeyError: '(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT)'"
        ),
        "one process alone has no rank, and those that a command starts have theirs from a launcher: start it as "
        "trainer.command: [torchrun, train.py], or read these variables only where they are set",
    ),
    (
        re.compile(r"No valid checkpoint found in output directory"),
        "the first attempt has none: resume from transformers.trainer_utils.get_last_checkpoint(folder), which is None "
        "then",
    ),
    (re.compile(r"EADDRINUSE|Address already in use"), "leave MASTER_PORT as it is set, or take a free port"),
]


def way_out(words: str) -> str:
    """What to change, from an error's class and message, or from the last words of a program; empty where it is
    nothing that is known.
    """
    return next((said for pattern, said in _RULES if pattern.search(words)), "")
