"""Requests sent at a steady rate, whatever the answers take (an open loop, as real clients are)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from localsystem.demo.plan import Schedule, Traffic

ANSWER_WITHIN_S: Final = 30.0
TICK_S: Final = 0.5


@dataclass
class Progress:
    """Counts so far. failures: by what went wrong, an HTTP status or the name of an error."""

    sent: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()


def replay(
    schedule: Schedule, traffic: Traffic, *, url: str, start_at_s: float, on_tick: Callable[[Progress], None]
) -> Progress:
    """
    Sends all, the first at wall time `start_at_s`, and waits for the answers. A request that fails is counted and not
    repeated. on_tick is called every half second; what it raises ends the replay.
    """
    return asyncio.run(_replay(schedule, traffic, url, start_at_s, on_tick))


async def _replay(
    schedule: Schedule, traffic: Traffic, url: str, start_at_s: float, on_tick: Callable[[Progress], None]
) -> Progress:
    progress = Progress()
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        ticking = asyncio.create_task(_tick(progress, on_tick))
        sending = asyncio.create_task(_send_all(session, schedule, traffic, url, start_at_s, progress))
        try:
            await asyncio.wait({ticking, sending}, return_when=asyncio.FIRST_COMPLETED)
            if ticking.done():
                ticking.result()
            await sending
        finally:
            for task in (ticking, sending):
                task.cancel()
            await asyncio.gather(ticking, sending, return_exceptions=True)
    on_tick(progress)
    return progress


async def _tick(progress: Progress, on_tick: Callable[[Progress], None]) -> None:
    while True:
        on_tick(progress)
        await asyncio.sleep(TICK_S)


async def _send_all(
    session: aiohttp.ClientSession,
    schedule: Schedule,
    traffic: Traffic,
    url: str,
    start_at_s: float,
    progress: Progress,
) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time() + start_at_s - time.time()
    async with asyncio.TaskGroup() as requests:
        for number, (identity, body) in enumerate(zip(traffic.ids, traffic.bodies, strict=True)):
            due = start + number / schedule.rate
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            progress.sent += 1
            requests.create_task(_send(session, url, identity, body, progress))


async def _send(session: aiohttp.ClientSession, url: str, identity: str, body: bytes, progress: Progress) -> None:
    try:
        async with session.post(url, data=body, headers={"x-request-id": identity}) as response:
            await response.read()
            outcome = "" if response.status == 200 else f"status {response.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome = type(error).__name__
    progress.answered += 1
    if outcome:
        progress.failures[outcome] += 1
