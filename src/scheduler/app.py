"""The process: a service, its listener, and the signals that end it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from scheduler.config import Config
from scheduler.demo import add_demo_jobs, demo_receiver, remove_demo_jobs
from scheduler.domain.errors import SchedulerError
from scheduler.ops.data_dir import DataDir
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.service import Service, open_service
from scheduler.telemetry import attempts_log, configure_logging

_KEEP_ALIVE_S = 15

log = logging.getLogger(__name__)


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[tuple[str, int]]:
    """Serve the API of ``service`` while the context is open; yields the address it listens on."""
    runner = web.AppRunner(service.api(), access_log=None, keepalive_timeout=_KEEP_ALIVE_S, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.TCPSite(runner, service.config.server.host, service.config.server.port, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        service.egress.forbid(host, port)
        yield host, port
    finally:
        await runner.cleanup()


async def serve(
    config: Config,
    data_dir: DataDir,
    *,
    demo: bool = False,
    on_ready: Callable[[str, str | None], None],
    report: Callable[[str], None] | None = None,
) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit code. A second signal ends the process at once.

    ``on_ready`` is called with the base URL (and the demo receiver's) once the listener accepts. Raises ``StartError``
    or the ``OSError`` of the listener.
    """
    configure_logging(config.log)
    stopping = _stop_on_signals()
    async with AsyncExitStack() as stack:
        demo_port = await stack.enter_async_context(demo_receiver(report or (lambda _: None))) if demo else None
        if demo_port is not None:
            allow = (*config.egress.allow, f"127.0.0.1:{demo_port}")
            config = replace(config, egress=replace(config.egress, allow=allow))
        service = await stack.enter_async_context(open_service(config, data_dir))
        host, port = await stack.enter_async_context(listening(service))
        try:
            await service.engine.start()
        except SchedulerError as error:
            raise StartError(f"the service cannot start: {error.message}", exit_code=ExitCode.NOT_PERMITTED) from None
        collect_rarely()
        on_ready(_base_url(host, port), f"http://127.0.0.1:{demo_port}/hello" if demo_port else None)
        if demo_port is not None:
            attempts_log.setLevel(logging.WARNING)  # the receiver reports each delivery already
            await add_demo_jobs(
                service.stores, service.engine.firer, service.egress, service.clock.now(), port=demo_port
            )
        ended = [asyncio.ensure_future(event.wait()) for event in (stopping, service.engine.broken)]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        for waiting in ended:
            waiting.cancel()
        log.info("stopping: %d webhooks in flight", service.engine.pool.in_use)
        await service.engine.stop()
        if demo_port is not None:
            await remove_demo_jobs(service.stores)
        return 1 if service.engine.broken.is_set() else 0


def collect_rarely() -> None:
    """Exempt the objects that exist now from garbage collection, and collect the short-lived ones less often."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)  # asked twice: now. Whatever is in flight is rescued by the next start.
        stopping.set()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)
    return stopping


def _base_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
