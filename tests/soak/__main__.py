"""Jobs come, fail, are suspended and finish at random, and 5 % of what the operator asks of the API server goes wrong.

    make soak                                        # 45 minutes
    PYTHONPATH=tests python -m soak --minutes 600 --seed 7

On the devcluster; nobody runs the pods. Prints a JSON line now and then and one at the end, and ends with 1 when an
invariant was broken, a job was stuck, or the operator ended, leaked memory, files or tasks.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from footplate.errors import NotFound
from soak.judge import Sample, judge, memory_slope
from soak.site import Site
from soak.stories import NODES, STORIES, Story
from soak.witness import Stuck

SAMPLE_SECONDS = 1.0
SAY_EVERY = 60
"""Samples from one line that is printed to the next."""
KINDS = ("pods", "services", "configmaps")


@dataclass
class Soak:
    """What goes on in the cluster, and what was seen of it."""

    site: Site
    chance: random.Random
    samples: list[Sample] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    told: int = 0
    """Stories that were told to their end."""

    async def live(self, *, seconds: float, lanes: int) -> None:
        """Tells stories, so many at a time, for so long; each that has begun is told to its end."""
        deadline = time.monotonic() + seconds
        await asyncio.gather(*(self._tell_on(lane, deadline) for lane in range(lanes)))

    async def sample(self) -> Sample:
        """The operator's process now."""
        return Sample(
            seconds=time.perf_counter() - self.site.operator.began,
            resident_bytes=self.site.operator.resident_bytes(),
            files=self.site.operator.count_files(),
            tasks=await self.site.operator.count_tasks(),
            queue=int((await self.site.operator.metrics()).total("footplate_workqueue_depth")),
        )

    async def until_steady(self) -> None:
        """Until the operator has begun all that it does without any job: ready it is a moment before."""
        before = -1
        while (tasks := await self.site.operator.count_tasks()) != before:
            before = tasks
            await asyncio.sleep(SAMPLE_SECONDS)

    async def keep_sampling(self) -> None:
        """Until cancelled, or the operator ends."""
        while True:
            self.samples.append(await self.sample())
            if len(self.samples) % SAY_EVERY == 0:
                say(told=self.told, **asdict(self.samples[-1]), phases=dict(self.site.witness.phases))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def until_idle(self) -> None:
        """Until garbage collection is done, and what the operator still had in mind, too."""
        for kind in KINDS:
            path = f"/api/v1/namespaces/default/{kind}?labelSelector=footplate.dev/managed-by=footplate"
            async with asyncio.timeout(60):
                while (await self.site.client.request("GET", path))["items"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        await asyncio.sleep(5 * SAMPLE_SECONDS)

    async def _tell_on(self, lane: int, deadline: float) -> None:
        number = 0
        while time.monotonic() < deadline and self.site.operator.alive:
            number += 1
            title = self.chance.choice(list(STORIES))
            job = Story(
                self.site.client, self.site.witness, f"{title}-{lane}-{number}", nodes=self.chance.choice(NODES)
            )
            try:
                await STORIES[title][0](job)
                await job.delete()
                self.told += 1
            except Stuck as error:
                self.violations.append(str(error))
                with suppress(NotFound):
                    await job.delete()


def main() -> None:
    """Soaks, says what came of it, and ends with 0 or 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--jobs", type=int, default=12, help="at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.05, help="share of the operator's requests that go wrong")
    options = parser.parse_args()
    violations = asyncio.run(
        soak(seconds=60 * options.minutes, lanes=options.jobs, seed=options.seed, rate=options.rate)
    )
    sys.exit(1 if violations else 0)


async def soak(*, seconds: float, lanes: int, seed: int, rate: float) -> list[str]:
    """Everything; what was violated."""
    async with Site(seed=seed, rate=rate) as site:
        here = Soak(site, random.Random(seed))
        await here.until_steady()
        sampling = asyncio.create_task(here.keep_sampling())
        await asyncio.sleep(2 * SAMPLE_SECONDS)
        await here.live(seconds=seconds, lanes=lanes)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        if site.operator.alive:
            await here.until_idle()
            found = judge(here.samples, after=await here.sample())
        else:
            found = ["the operator has ended"]
        violations = [*here.violations, *site.witness.violations, *found]
        slope = memory_slope(here.samples)
        say(
            minutes=round(seconds / 60, 2),
            seed=seed,
            jobs=here.told,
            phases=dict(site.witness.phases),
            requests=(await site.operator.metrics()).requests if site.operator.alive else None,
            most_files=max(each.files for each in here.samples),
            memory=None if slope is None else asdict(slope),
            first=asdict(here.samples[0]),
            last=asdict(here.samples[-1]),
            violations=violations,
        )
        return violations


def say(**figures: Any) -> None:
    """Prints one line of JSON."""
    print(json.dumps({"bench": "soak", **figures}), flush=True)


if __name__ == "__main__":
    main()
