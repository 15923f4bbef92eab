"""What a pod needs before it trains: the code, what it imports, and its inputs."""

from collections.abc import Callable
from dataclasses import replace

from footplate.api.packages import WHEELS
from footplate_trainer.storage.fetch import Fetched, fetch_inputs
from footplate_trainer.supervisor import packages
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.source import Code, fetch_code


def fetch_all(pod: Pod, note: Callable[[str], object]) -> tuple[Code, dict[str, Fetched]]:
    """Fetches code and inputs, and installs what the code asks for: wheels that are an input come before that.

    Args:
        pod: this one.
        note: tells the user something.

    Raises:
        TrainerError: something can't be fetched or installed.
    """
    endpoint = pod.spec.storage.endpoint
    code = fetch_code(pod)
    wheels = [channel for channel in pod.spec.inputs if channel.name == WHEELS]
    data = [channel for channel in pod.spec.inputs if channel.name != WHEELS]
    fetched = fetch_inputs(wheels, pod.input_dir, endpoint=endpoint)
    code = replace(code, installed=packages.install(pod, code.folder, tell=note))
    fetched |= fetch_inputs(data, pod.input_dir, endpoint=endpoint)
    return code, fetched
