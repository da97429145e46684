"""Masks credentials that a receiver repeats in its response, for example in a debugging page, before it is stored."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from scheduler.domain.runs.execution import Outcome
from scheduler.domain.webhooks.webhook import MASK, Webhook, is_credential

_SHORTEST = 8
"""In characters: shorter texts occur by chance."""
_SEPARATORS = re.compile(r"[\s,;=\"]+")
_FEW = 32
"""So many texts are looked for one by one, which is faster than all at once."""
_LONG = 8192
"""Characters of credentials and of the response that take about a millisecond."""


def redact(outcome: Outcome, webhook: Webhook, sent: Mapping[str, str]) -> Outcome:
    """The outcome with ``***`` wherever its body, headers or error repeat a credential that the webhook sends.

    ``sent`` has the headers of the request, in which names of the webhook's headers are replaced.

    Credentials are the values of those headers that the API masks, and parts of them such as the token of
    ``Bearer token``, of 8 characters or more. A credential that the receiver has encoded is not recognised. The time is
    linear in the size of credentials and outcome, however many credentials there are.
    """
    credentials = _credentials_of(webhook, sent)
    if not _may_repeat(outcome, credentials):
        return outcome
    words = _Words(credentials)
    body = outcome.response_body
    return replace(
        outcome,
        response_headers={name: words.masked(value) for name, value in outcome.response_headers.items()},
        response_body=body and words.masked(body, is_cut=outcome.body_truncated),
        warnings=[words.masked(sentence, beginnings=True) for sentence in outcome.warnings],
        error_text=words.masked(outcome.error_text, beginnings=True),
    )


def takes_long_to_redact(outcome: Outcome, webhook: Webhook, sent: Mapping[str, str]) -> bool:
    """Does ``redact`` take more than a millisecond or two? Then it is for a thread."""
    credentials = _credentials_of(webhook, sent)
    sizes = len(outcome.response_body or ""), *map(len, outcome.response_headers.values()), *map(len, credentials)
    return sum(sizes) > _LONG and _may_repeat(outcome, credentials)


def _credentials_of(webhook: Webhook, sent: Mapping[str, str]) -> tuple[str, ...]:
    if not webhook.headers:
        return ()
    return _words_of(tuple(sent.get(name, value) for name, value in webhook.headers.items() if is_credential(name)))


@lru_cache(maxsize=1024)
def _words_of(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values and their parts."""
    texts = (text for value in values for text in (value, *_SEPARATORS.split(value)))
    return tuple(dict.fromkeys(text for text in texts if len(text) >= _SHORTEST))


def _may_repeat(outcome: Outcome, credentials: Sequence[str]) -> bool:
    """Might there be something to mask? That each credential begins nowhere is found fast, if they are few."""
    if not credentials or len(credentials) > _FEW:
        return bool(credentials)
    parts = outcome.response_body or "", *outcome.response_headers.values(), *outcome.warnings, outcome.error_text
    text = "\n".join(parts)
    return any(credential[:_SHORTEST] in text for credential in credentials)


class _Words:
    """Finds many words in one pass over a text: the automaton of Aho and Corasick.

    A state stands for a beginning of a word: the longest one that the text read so far ends with. State 0 is none.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._following: list[dict[str, int]] = [{}]
        self._beginnings = [0]
        """How many characters a state stands for, if they are enough to be masked; else 0."""
        self._longest = [0]
        """The length of the longest word that ends with this state; 0: none does."""
        for word in words:
            self._add(word)
        self._shorter = [0] * len(self._following)
        """The next shorter beginning of a word with which a state ends."""
        self._link()

    def masked(self, text: str, *, is_cut: bool = False, beginnings: bool = False) -> str:
        """``text`` with ``***`` for each word, and what overlaps with it.

        Where the text ``is_cut``, its end may be the beginning of a word; with ``beginnings`` each beginning of a word
        of 8 characters or more is masked, since errors quote shortened texts.
        """
        pieces: list[str] = []
        end = 0
        for start, until in self._spans(text, is_cut=is_cut, beginnings=beginnings):
            pieces += (text[end:start], MASK)
            end = until
        return "".join((*pieces, text[end:])) if pieces else text

    def _spans(self, text: str, *, is_cut: bool, beginnings: bool) -> list[tuple[int, int]]:
        """Where words stand; those that overlap are one."""
        spans: list[tuple[int, int]] = []
        following, shorter = self._following, self._shorter
        lengths = self._beginnings if beginnings else self._longest
        state = 0
        for end, character in enumerate(text, start=1):
            longer = following[state].get(character)
            while longer is None and state:
                state = shorter[state]
                longer = following[state].get(character)
            state = longer or 0
            if lengths[state]:
                _add_span(spans, end - lengths[state], end)
        if is_cut and self._beginnings[state]:
            _add_span(spans, len(text) - self._beginnings[state], len(text))
        return spans

    def _add(self, word: str) -> None:
        state = 0
        for length, character in enumerate(word, start=1):
            found = self._following[state].get(character)
            if found is None:
                found = self._following[state][character] = len(self._following)
                self._following.append({})
                self._beginnings.append(length if length >= _SHORTEST else 0)
                self._longest.append(0)
            state = found
        self._longest[state] = len(word)

    def _link(self) -> None:
        states = deque(self._following[0].values())
        while states:
            state = states.popleft()
            for character, longer in self._following[state].items():
                ending = self._shorter[state]
                while ending and character not in self._following[ending]:
                    ending = self._shorter[ending]
                self._shorter[longer] = self._following[ending].get(character, 0)
                self._longest[longer] = self._longest[longer] or self._longest[self._shorter[longer]]
                states.append(longer)


def _add_span(spans: list[tuple[int, int]], start: int, end: int) -> None:
    """Add a span that ends after all others, as one with those that it overlaps."""
    while spans and spans[-1][1] > start:
        start = min(start, spans.pop()[0])
    spans.append((start, end))
