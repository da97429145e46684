"""Bodies of answers that are no text by their charset: escaped as by Python's decoder, in slices."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp import HttpVersion11
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDict, CIMultiDictProxy

from scheduler.engine.http.answer import Body, text_of

LARGE = 65_536


def answer(charset: str) -> RawResponseMessage:
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": f"text/plain; charset={charset}"}))
    return RawResponseMessage(HttpVersion11, 200, "OK", headers, (), False, None, False, False)


def stored(body: bytes) -> Body:
    return Body(body, is_complete=True, has_ended=True)


@pytest.mark.parametrize("charset", ["utf-8", "ascii", "shift_jis", "gb18030", "euc_kr", "big5", "cp1252"])
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 9000])
async def test_what_is_no_text_is_escaped_as_in_one_piece(charset: str, size: int) -> None:
    draw = random.Random(size)
    body = bytes(draw.choices((0x41, 0xE4, 0xB8, 0xAD, 0x81, 0xFF), k=size))
    assert await text_of(answer(charset), stored(body)) == body.decode(charset, "backslashreplace")


@pytest.mark.parametrize(
    ("charset", "mark"), [("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff"), ("utf-32", b"\xff\xfe\0\0")]
)
async def test_a_byte_order_mark_says_how_the_rest_is_read(charset: str, mark: bytes) -> None:
    for body in (mark + b"\x00\xd8" * 3000, mark + b"\xd8\x00" * 3000):
        assert await text_of(answer(charset), stored(body)) == body.decode(charset, "backslashreplace").replace(
            "\0", "\\x00"
        )


async def test_other_tasks_run_while_a_large_body_is_escaped() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    text = await text_of(answer("utf-8"), stored(b"\xff" * LARGE))
    counting.cancel()
    assert text == "\\xff" * LARGE
    assert turns >= 16


async def test_a_cancelled_task_still_has_the_text() -> None:
    reading = asyncio.create_task(text_of(answer("utf-8"), stored(b"\xff" * LARGE)))
    await asyncio.sleep(0)
    reading.cancel()
    assert await reading == "\\xff" * LARGE
