"""Whatever befalls a job, it ends bit for bit as one that nothing happened to, and nothing that was complete is lost.

    make chaos                # 200 schedules
    make chaos SEED=17        # one again

Every schedule is drawn from its seed; when each strike meets the job depends on the machine.
"""

import json

import pytest

from chaos.conduct import live_through
from chaos.schedule import draw
from chaos.site import Site
from chaos.story import Story, problems, resumptions

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@pytest.mark.timeout(360)
async def test_a_schedule_of_faults_changes_nothing(site: Site, seed: int, record_property: object) -> None:
    story = await live_through(site, draw(seed))
    found = problems(story)
    record_property("story", summarize(story, exact=not found))  # type: ignore[operator]
    assert not found, tell(story, found)


def summarize(story: Story, *, exact: bool) -> dict[str, object]:
    """What the table at the end adds up."""
    return {
        "exact": exact,
        "faults": {str(kind): count for kind, count in story.landed.items()},
        "attempts": story.attempts,
        "seconds": story.seconds,
        "lost": [resumption.lost for resumption in resumptions(story)],
        "alone": [(str(each.cause), each.seconds, each.lost) for each in resumptions(story) if each.cause],
    }


def tell(story: Story, found: list[str]) -> str:
    """All that is needed to understand a failure."""
    struck = [f"  struck attempt {each.attempt} ({', '.join(each.landed)}): {each.strike}" for each in story.struck]
    status = json.dumps({**story.status, "transitions": None, "conditions": None}, indent=1)
    went_on = [f"  {resumption}" for resumption in resumptions(story)]
    return "\n".join([str(story.schedule), *struck, *went_on, status, *story.told, *found])
