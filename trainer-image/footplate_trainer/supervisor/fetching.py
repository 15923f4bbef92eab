"""What a pod needs before it trains: the code, what it imports, and those of its inputs that it reads."""

from collections.abc import Callable
from dataclasses import replace

from footplate.api.packages import WHEELS
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.supervisor import packages, preparing
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.source import Code, fetch_code


def fetch_all(pod: Pod, note: Callable[[str], object]) -> tuple[Code, dict[str, Fetched]]:
    """Fetches code and inputs, but for those whose data are in the parts that it reads, and installs what the code asks
    for: wheels that are an input come before that.

    Args:
        pod: this one.
        note: tells the user something.

    Raises:
        TrainerError: something can't be fetched or installed.
    """
    endpoint = pod.spec.storage.endpoint
    code = fetch_code(pod)
    wheels = [channel for channel in pod.spec.inputs if channel.name == WHEELS]
    spared = preparing.spared(pod)
    others = [channel for channel in pod.spec.inputs if channel.name != WHEELS and channel.name not in spared]
    fetched = fetch_inputs(wheels, pod.input_dir, endpoint=endpoint)
    code = replace(code, installed=packages.install(pod, code.folder, tell=note))
    return code, fetched | spared | fetch_inputs(others, pod.input_dir, endpoint=endpoint)
