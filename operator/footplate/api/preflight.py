"""What each node of a gang must show before training begins: a runtime's, since it is about the platform's hardware."""

from typing import Annotated

from pydantic import Field

from footplate.api.quantities import Bytes
from footplate.api.types import Model, Rule, at

Rate = Annotated[float, Field(ge=0.0001, le=1_000_000)]


class Floors(Model):
    """The least that a node must show; without one a check is that something works, and that it computes correctly."""

    device_memory: Bytes | None = Field(
        None, description="Free memory of each device; of a pod without accelerators its own.", examples=["75Gi"]
    )
    teraflops: Rate | None = Field(
        None,
        description="Of each device, TFLOP/s of dense matrix products (bfloat16; float32 on CPUs) over a second.",
        examples=[500],
    )
    gigabits_per_second: Rate | None = Field(
        None,
        description="Of each node, Gbit/s that it sends while all nodes sum a tensor; where that is less, of what it "
        "sends to each of two others.",
        examples=[1200],
    )


class Preflight(Model):
    """Checks before the first step of each attempt. A node that falls short ends the attempt, is named and avoided."""

    devices: bool = Field(
        default=False, description="True checks the number of devices, their memory and a second of matrix products."
    )
    network: bool = Field(default=False, description="True checks an all-reduce over all nodes.")
    timeout_seconds: Annotated[int, Field(ge=5, le=600)] = Field(
        default=60, description="Most seconds that both take, without the wait for pods that haven't started yet."
    )
    floors: Floors = Field(default=Floors(), description="The least that a node must show. Default: that it works.")

    rules = (
        Rule(
            "(has(self.devices) && self.devices) || (has(self.network) && self.network)",
            "checks nothing: set devices or network to true, or leave preflight out",
            lambda it: bool(at(it, "devices") or at(it, "network")),
        ),
        Rule(
            "!has(self.floors) || (!has(self.floors.deviceMemory) && !has(self.floors.teraflops)) || "
            "(has(self.devices) && self.devices)",
            "floors.deviceMemory and floors.teraflops go with devices: true",
            lambda it: (
                (at(it, "floors", "deviceMemory") is None and at(it, "floors", "teraflops") is None)
                or bool(at(it, "devices"))
            ),
            "floors",
        ),
        Rule(
            "!has(self.floors) || !has(self.floors.gigabitsPerSecond) || (has(self.network) && self.network)",
            "floors.gigabitsPerSecond goes with network: true",
            lambda it: at(it, "floors", "gigabitsPerSecond") is None or bool(at(it, "network")),
            "floors.gigabitsPerSecond",
        ),
    )
