"""Who hears SIGTERM of what a command has started."""

import pytest

from footplate_trainer.supervisor.stopping import Running, find_hearers

SUPERVISOR = 1


def process(pid: int, parent: int, program: str = "python3.11", *, handles: bool = False) -> Running:
    return Running(pid, parent, program, handles)


@pytest.mark.parametrize(
    ("running", "hearers"),
    [
        pytest.param([process(2, 1)], [2], id="a program"),
        pytest.param([process(2, 1, "bash"), process(3, 2, handles=True)], [2, 3], id="a shell's program"),
        pytest.param([process(2, 1, "bash", handles=True), process(3, 2)], [2, 3], id="a shell with a trap"),
        pytest.param([process(2, 1, handles=True), process(3, 2, handles=True)], [2], id="data workers"),
        pytest.param([process(2, 1), process(3, 2), process(4, 3)], [2, 3, 4], id="a launcher that tells nobody"),
        pytest.param([process(2, 1), process(3, 1, "tensorboard")], [2, 3], id="what was left in the background"),
        pytest.param(
            [process(2, 1, "dash"), process(3, 2, handles=True), process(4, 3, "bash"), process(5, 4)],
            [2, 3],
            id="what a launcher has started",
        ),
        pytest.param([process(7, 6), process(1, 0, handles=True)], [], id="others"),
    ],
)
def test_who_would_not_hear_otherwise_is_told(running: list[Running], hearers: list[int]) -> None:
    assert find_hearers(SUPERVISOR, running) == hearers
