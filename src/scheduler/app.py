"""The process: a service, its listener, and the signals that end it."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from aiohttp import web

from scheduler.config import Config, ConfigError
from scheduler.config.live import reread
from scheduler.demo import add_demo_jobs, demo_receiver, remove_demo_jobs
from scheduler.domain.errors import SchedulerError
from scheduler.logs import configure_logging
from scheduler.ops.data_dir import DataDir
from scheduler.ops.start_error import ExitCode, StartError
from scheduler.service import Service, open_service
from scheduler.telemetry import attempts_log

_BACKLOG = 1024

log = logging.getLogger(__name__)


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[tuple[str, int]]:
    """Serve the API of ``service`` while the context is open; yields the first address it listens on.

    Raises ``StartError`` when it cannot listen on one of the configured addresses.
    """
    runner = web.AppRunner(service.api(), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        port = service.config.server.port
        for host in _without_covered(service.config.server.host):
            try:
                await _site(runner, host, port).start()
            except (OSError, UnicodeError) as error:
                sentence = _problem_with_listener(error, host, port)
                raise StartError(sentence, exit_code=ExitCode.NOT_PERMITTED) from None
            port = runner.addresses[0][1]  # with port 0 all listen on the one that the first got
        for host, port, *_ in runner.addresses:
            service.egress.forbid(host, port)
        host, port = runner.addresses[0][:2]
        yield host, port
    finally:
        await runner.cleanup()


def _without_covered(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Each address once, and none that another one of them listens on already."""
    if "::" in hosts and socket.has_dualstack_ipv6():
        return ("::",)
    every_ipv4 = "0.0.0.0" in hosts  # noqa: S104
    return tuple(host for host in dict.fromkeys(hosts) if not every_ipv4 or host == "0.0.0.0" or not _is_ipv4(host))  # noqa: S104


def _is_ipv4(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+", host) is not None


def _site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
    if host != "::" or not socket.has_dualstack_ipv6():
        return web.TCPSite(runner, host, port, backlog=_BACKLOG)
    # asyncio listens on IPv6 alone
    both = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    return web.SockSite(runner, both, backlog=_BACKLOG)


def _problem_with_listener(error: OSError | UnicodeError, host: str, port: int) -> str:
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return f"port {port} on {host} is taken: choose another with --port"
        case OSError(errno=errno.EACCES | errno.EPERM):
            return f"port {port} on {host} needs more rights: choose one above 1023 with --port"
        case OSError(errno=errno.EADDRNOTAVAIL) | socket.gaierror() | UnicodeError():
            return f"{host} is no address of this machine: choose another with --host"
        case OSError(errno=errno.EAFNOSUPPORT):
            return f"this machine has no IPv6, which {host} needs: choose another with --host"
        case _:
            return f"the service cannot listen on {host}, port {port} ({error}): choose another with --host"


async def serve(
    config: Config,
    data_dir: DataDir,
    *,
    demo: bool = False,
    on_ready: Callable[[str, str | None], None],
    report: Callable[[str], object] | None = None,
    read_config: Callable[[], Config] | None = None,
) -> int:
    """Run the service until SIGTERM or SIGINT; returns the exit code. A second signal ends the process at once.

    ``on_ready`` is called with the base URL (and the demo receiver's) once the listener accepts. On SIGHUP the live
    settings of what ``read_config`` returns take effect. Raises ``StartError``.
    """
    configure_logging(config.log)
    stopping, hung_up = _stop_on_signals(), _notice_hangups()
    async with AsyncExitStack() as stack:
        given = config
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
        switch_threads_often()
        on_ready(_base_url(host, port), f"http://127.0.0.1:{demo_port}/hello" if demo_port else None)
        if demo_port is not None:
            attempts_log.setLevel(logging.WARNING)  # the receiver reports each delivery already
            await add_demo_jobs(
                service.stores, service.engine.firer, service.egress, service.clock.now(), port=demo_port
            )
        stack.push_async_callback(_cancelled, asyncio.create_task(_reread_on(hung_up, read_config, given, service)))
        ended = [asyncio.ensure_future(event.wait()) for event in (stopping, service.engine.broken)]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        for waiting in ended:
            waiting.cancel()
        log.info("stopping: %d webhooks in flight", service.engine.pool.in_use)
        await service.engine.stop()
        if demo_port is not None:
            await remove_demo_jobs(service.stores, service.clock.now())
        return 1 if service.engine.broken.is_set() else 0


async def _reread_on(
    hung_up: asyncio.Event, read_config: Callable[[], Config] | None, config: Config, service: Service
) -> None:
    """Apply the live settings each time that SIGHUP came; a configuration with a mistake is refused as a whole."""
    demo_rules = service.config.egress.allow[len(config.egress.allow) :]
    while read_config is not None:
        await hung_up.wait()
        hung_up.clear()
        try:
            found = reread(config, await asyncio.to_thread(read_config))
        except ConfigError as error:
            log.error("the configuration was not read again, the old one stays: %s", error)  # noqa: TRY400
            continue
        config = found.config
        configure_logging(config.log)
        service.egress.permit((*config.egress.allow, *demo_rules))
        service.engine.pruner.keep(config.retention)
        log.info("the configuration was read again", extra={"changed": found.applied})
        if found.needs_restart:
            log.warning("some changes need a restart", extra={"unchanged": found.needs_restart})


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def collect_rarely() -> None:
    """Exempt the objects that exist now from garbage collection, and collect the short-lived ones less often."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def switch_threads_often() -> None:
    """Have a thread that computes give way to the event loop after 1 ms instead of 5.

    With computations under way the loop waits so long before each of its steps, and an answer takes several.
    """
    sys.setswitchinterval(0.001)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            os._exit(1)  # the second signal ends the process at once; the next start rescues what is in flight
        stopping.set()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)
    return stopping


def _notice_hangups() -> asyncio.Event:
    """Set by each SIGHUP, which would end the process otherwise."""
    hung_up = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
    return hung_up


def _base_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
