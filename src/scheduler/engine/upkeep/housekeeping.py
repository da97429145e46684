"""Housekeeping: the maintenance of the database, and checks, once a minute."""

from __future__ import annotations

import asyncio
import logging

from scheduler.domain.errors import SchedulerError
from scheduler.engine.upkeep.clock_watch import ClockWatch
from scheduler.engine.upkeep.replanner import Replanner
from scheduler.store.stores import Stores

_INTERVAL_S = 60

log = logging.getLogger(__name__)


async def keep_house(stores: Stores, replanner: Replanner, clock_watch: ClockWatch) -> None:
    """Store when API keys were last used, maintain the database, check for new zone data and the clock.

    Once a minute, until cancelled.
    """
    try:
        await replanner.count_unknown()
    except SchedulerError as error:
        log.error("counting the jobs of unknown time zones failed: %s", error.message)  # noqa: TRY400
    while True:
        await asyncio.sleep(_INTERVAL_S)
        clock_watch.look()
        try:
            await stores.keys.write_uses()
            await stores.db.maintain()
            await replanner.look()
        except SchedulerError as error:
            log.error("housekeeping failed: %s", error.message)  # noqa: TRY400
