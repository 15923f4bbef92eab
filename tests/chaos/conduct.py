"""Lives a job through its schedule: waits for each strike's moment, strikes, and looks at what came of it."""

import asyncio
import time

from chaos.harm import Harm
from chaos.schedule import Moment, Schedule, Strike
from chaos.site import Life, Site, job_spec
from chaos.story import Story, Struck, parse_steps


async def live_through(site: Site, schedule: Schedule) -> Story:
    """What happened to a job of this schedule; nothing of it is left on the site."""
    story = Story(schedule)
    story.reference, text = await site.reference(schedule)
    story.reference_steps = parse_steps(text)
    began, name = time.monotonic(), f"chaos-{schedule.seed}"
    async with site.living(name, job_spec(name, schedule)) as life:
        try:
            async with Harm(site, life) as harm:
                await _strike_all(site, life, harm, story)
                await site.until(lambda: life.finished or None)
        except TimeoutError:
            story.found.append("it never came to its end")
        await _look(site, life, story)
        story.told = [*await site.events(life), *site.logs(life)]
    story.found += [f"left behind: {each}" for each in await site.left_of(life)]
    story.seconds = time.monotonic() - began
    return story


async def _strike_all(site: Site, life: Life, harm: Harm, story: Story) -> None:
    attempt = 0
    for strike in story.schedule.strikes:
        if not await site.until(lambda: _has_come(site, life, strike, attempt)):  # noqa: B023  awaited at once
            return
        await asyncio.sleep(strike.delay)
        complete = tuple(await site.storage.checkpoints(life.name))
        met, struck_at = life.attempt, time.time()
        landed = await asyncio.gather(*(harm.do(fault) for fault in strike.faults))
        kinds = tuple(fault.kind for fault, there in zip(strike.faults, landed, strict=True) if there)
        story.struck.append(Struck(strike, met, complete, kinds, struck_at))
        attempt = met + 1 if strike.ends and kinds else met


def _has_come(site: Site, life: Life, strike: Strike, attempt: int) -> bool | None:
    """True when it is time, in this attempt or a later one; False where the job has ended; None as long as neither."""
    if life.finished:
        return False
    if life.attempt < attempt:
        return None
    if strike.moment is Moment.STARTING:
        return bool(life.gang) or None
    if strike.moment is Moment.FINISHING:
        return site.has_result(life) or None
    beats = site.beats(life).values()
    if max((beat.step for beat in beats), default=0) < strike.step:
        return None
    return strike.moment is not Moment.EVALUATING or any(beat.activity == "evaluating" for beat in beats) or None


async def _look(site: Site, life: Life, story: Story) -> None:
    """Takes down what came of the job."""
    story.status = life.status
    story.steps = parse_steps(life.witness.read_text())
    story.found += life.invariants.violations
    try:
        story.result = await site.storage.result(life.name)
        found = await site.storage.checkpoints(life.name)
        whole = {step: keys for step, keys in found.items() if not await site.storage.as_damaged(keys)}
        manifests = {step: await site.storage.verify(keys) for step, keys in whole.items()}
        story.checkpoints = {step: manifest.attempt for step, manifest in manifests.items()}
    except (ValueError, FileNotFoundError) as error:
        story.found.append(f"in storage: {error}")
