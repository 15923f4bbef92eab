"""`exact.py` where storage is waited for some seconds instead of minutes or hours."""

import exact

from footplate_trainer import context
from footplate_trainer.checkpoint import schedule, session, trouble
from footplate_trainer.storage import clients
from footplate_trainer.storage import store as storage

if __name__ == "__main__":
    ctx = context()
    storage.OUTAGE_SECONDS = ctx.hyperparameters.get("outageSeconds", 1.0)
    clients.ANSWER_SECONDS = clients.PART_SECONDS = ctx.hyperparameters.get("answerSeconds", 1.0)
    schedule.RETRY_SECONDS = session.RETRY_SECONDS = 0.5
    schedule.MAX_RETRY_SECONDS = 1.0
    session.PATIENCE_SECONDS = ctx.hyperparameters.get("patienceSeconds", 60.0)
    trouble.SLOW_SECONDS = 1.0
    exact.main(ctx)
