"""Learns to balance a pole, by REINFORCE: Gymnasium's CartPole on CPU.

A step is an episode. Weights, optimizer, torch's random numbers and the average are in each checkpoint, and an episode
begins as its number says: a training that was interrupted ends with the very weights that it would have had.
"""

import gymnasium
import torch
from safetensors.torch import save_file
from torch import nn

from footplate_trainer import checkpoint, context, report


class Average:
    """The moving average of the returns."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float) -> None:
        self.value += 0.05 * (value - self.value)

    def state_dict(self) -> dict[str, float]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.value = state["value"]


def play(environment: gymnasium.Env, policy: nn.Module, *, seed: int) -> tuple[torch.Tensor, list[float]]:
    """One episode: the log-probabilities of what was done [T], and the rewards."""
    observation, _ = environment.reset(seed=seed)
    chosen, rewards, ended = [], [], False
    while not ended:
        odds = torch.log_softmax(policy(torch.as_tensor(observation, dtype=torch.float32)), dim=0)
        action = int(torch.multinomial(odds.exp(), 1))
        observation, reward, terminated, truncated, _ = environment.step(action)
        chosen.append(odds[action])
        rewards.append(float(reward))
        ended = terminated or truncated
    return torch.stack(chosen), rewards


def advantages(rewards: list[float], *, discount: float = 0.99) -> torch.Tensor:
    """What followed each action [T], discounted, with mean 0 and variance 1."""
    following, returns = 0.0, []
    for reward in reversed(rewards):
        following = reward + discount * following
        returns.append(following)
    values = torch.tensor(returns[::-1])
    return (values - values.mean()) / (values.std(correction=0) + 1e-8)


def main() -> None:
    ctx = context()
    episodes = ctx.hyperparameters.get("episodes", 150)
    environment = gymnasium.make("CartPole-v1")
    policy = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=ctx.hyperparameters.get("learningRate", 0.01))
    average = Average()
    state = checkpoint.restore(model=policy, optimizer=optimizer, average=average)
    while state.step < episodes:
        chosen, rewards = play(environment, policy, seed=state.step)
        loss = -(chosen * advantages(rewards)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.step += 1
        average.add(sum(rewards))
        report(step=state.step, loss=loss.detach(), averageReturn=average.value)
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return
    ctx.output_dir.mkdir(parents=True, exist_ok=True)
    save_file(policy.state_dict(), ctx.output_dir / "policy.safetensors")


if __name__ == "__main__":
    main()
