"""The service as a process of its own, to be killed, and a client of its API."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[2]
FOR_EVER = dict.fromkeys(
    (f"SCHEDULER_RETENTION__{name}" for name in ("EXECUTIONS_DAYS", "EXECUTIONS_PER_JOB", "DEAD_LETTER_DAYS")), "0"
)
"""A check of every run needs all rows, and some of these services fire each second for a long time."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any configuration of the service, and ``more``."""
    ours = ("SCHEDULER_", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


class ServiceProcess:
    """One life of the service, started by ``start``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._url = asyncio.get_running_loop().create_future()
        self.told: deque[str] = deque(maxlen=50)
        """The last lines of its log."""
        self._line_arrived = asyncio.Event()
        self.complaints: list[str] = []
        """What it logged as errors."""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, program: Sequence[str], data_dir: Path, *, allow: str, **environ: str) -> ServiceProcess:
        """Start ``program`` (a Python command line without the interpreter) as the service over ``data_dir``.

        ``environ`` has further variables of its environment.
        """
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, *program, "serve", "--port", "0", "--data-dir", str(data_dir),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=ROOT,
                env=environment(SCHEDULER_EGRESS__ALLOW=allow, **FOR_EVER | environ),
            )
        )  # fmt: skip

    async def ready(self) -> str:
        """The base URL, once it listens. Raises ``AssertionError`` with the last lines of its log if it ends before."""
        return await asyncio.shield(self._url)

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def says(self, text: str, *, within_s: float = 30) -> None:
        """Until a line of its log that is still kept has this text."""
        async with asyncio.timeout(within_s):
            while not any(text in line for line in self.told):
                self._line_arrived.clear()
                await self._line_arrived.wait()

    def kill(self) -> None:
        """SIGKILL, now."""
        self.signal(signal.SIGKILL)

    def signal(self, signum: int) -> None:
        """Send a signal, now."""
        self._process.send_signal(signum)

    async def gone(self) -> int:
        """Wait for its end; returns the exit code."""
        code = await self._process.wait()
        await self._reading
        return code

    async def stop(self) -> int:
        """Send SIGTERM and wait for its end."""
        self.signal(signal.SIGTERM)
        return await self.gone()

    async def end(self) -> None:
        """Make sure that it is gone."""
        with suppress(ProcessLookupError):
            self.kill()
        await self.gone()

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            self.told.append(text)
            self._line_arrived.set()
            if '"level":"error"' in text:
                self.complaints.append(text)
            if not self._url.done() and '"message":"started"' in text:
                self._url.set_result(json.loads(text)["url"])
        if not self._url.done():
            self._url.set_exception(AssertionError("the service ended before it listened:\n" + "\n".join(self.told)))
            self._url.exception()  # a start that was killed on purpose is not waited for


async def make_token(data_dir: Path) -> str:
    """A token of this installation, from the command that an operator would use."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scheduler", "token", "create", "--data-dir", str(data_dir),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )  # fmt: skip
    token, told = await process.communicate()
    assert process.returncode == 0, told
    return token.decode().strip()


class Api:
    """The HTTP API of whichever life listens at ``base``."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.base = ""

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON of the answer. Raises ``AssertionError`` for a refusal, ``aiohttp.ClientError`` for a dead one."""
        async with self._session.request(method, self.base + path, json=body, params=query) as answer:
            text = await answer.text()
            assert answer.status < 300, f"{method} {path}: {answer.status} {text}"
            return json.loads(text)
