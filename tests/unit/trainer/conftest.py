"""What the trainer's unit tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side: threads of several processes that wait for each other take twice as long."""
    torch.set_num_threads(1)
