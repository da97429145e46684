"""Masks credentials that a receiver repeats in its response, for example in a debugging page, before it is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import takewhile

from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.webhook import MASK, Webhook, is_credential

_SHORTEST = 8
"""In characters: shorter texts occur by chance."""
_SEPARATORS = re.compile(r"[\s,;=\"]+")


def redact(outcome: Outcome, webhook: Webhook, sent: Mapping[str, str]) -> Outcome:
    """The outcome with ``***`` wherever its body, headers or error repeat a credential that the webhook sends.

    ``sent`` has the headers of the request, in which names of the webhook's headers are replaced.

    Credentials are the values of those headers that the API masks, and parts of them such as the token of
    ``Bearer token``, of 8 characters or more. A credential that the receiver has encoded is not recognised.
    """
    if not webhook.headers:
        return outcome
    credentials = _credentials(
        tuple(sent.get(name, value) for name, value in webhook.headers.items() if is_credential(name))
    )
    if not credentials:
        return outcome
    body = outcome.response_body and _masked(outcome.response_body, credentials)
    if body and outcome.body_truncated:
        body = _masked_at_the_end(body, credentials)
    return replace(
        outcome,
        response_headers={name: _masked(value, credentials) for name, value in outcome.response_headers.items()},
        response_body=body,
        warnings=[_masked_in_part(sentence, credentials) for sentence in outcome.warnings],
        error_text=_masked_in_part(outcome.error_text, credentials),
    )


@lru_cache(maxsize=1024)
def _credentials(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values and their parts, the longest first."""
    texts = {text for value in values for text in (value, *_SEPARATORS.split(value)) if len(text) >= _SHORTEST}
    return tuple(sorted(texts, key=len, reverse=True))


def _masked(text: str, credentials: tuple[str, ...]) -> str:
    for credential in credentials:
        text = text.replace(credential, MASK)
    return text


def _masked_at_the_end(text: str, credentials: tuple[str, ...]) -> str:
    """Mask the beginning of a credential where a truncated body ends with it."""
    for credential in credentials:
        for length in range(min(len(credential) - 1, len(text)), _SHORTEST - 1, -1):
            if text.endswith(credential[:length]):
                return text[:-length] + MASK
    return text


def _masked_in_part(text: str, credentials: tuple[str, ...]) -> str:
    """Mask every beginning of a credential, of 8 characters or more: errors quote shortened texts."""
    for credential in credentials:
        while (start := text.find(credential[:_SHORTEST])) >= 0:
            agreeing = takewhile(lambda pair: pair[0] == pair[1], zip(text[start:], credential, strict=False))
            text = text[:start] + MASK + text[start + sum(1 for _ in agreeing) :]
    return text
