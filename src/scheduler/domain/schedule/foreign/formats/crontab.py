"""Lines of crontabs: with a user and a command behind the fields, with a comment, or settings of a crontab."""

from __future__ import annotations

import re

from scheduler.domain.schedule.foreign.hint import Hint

_FIELD = re.compile(r"[0-9A-Za-z*?,/#~-]+")
_SETTING = re.compile(r"[A-Z_]+\s*=.*")
_NO_FIELD = re.compile(r"[0-9*?,/#-]+|[A-Z]{3}(?:[-,#/][0-9A-Z]+)*", re.IGNORECASE)
_HINT = "the command runs nowhere: a webhook says what to call"


def recognise(line: str) -> Hint | None:
    """Five or six fields, or a macro, and behind them something that is no field."""
    words = line.split(" ")
    if words[0].startswith("@") and re.search(r"[A-Za-z/]", line.partition(" ")[2]):
        return Hint(what="is a line of a crontab: its macro alone is the schedule", write=(words[0],), more=_HINT)
    if _SETTING.fullmatch(line) and words[0].partition("=")[0] not in ("CRON_TZ", "TZ"):
        return Hint(what="is a setting of a crontab, and no schedule: leave it out")
    if len(words) < 6 or not all(_FIELD.fullmatch(word) for word in words[:5]):
        return None
    count = 6 if len(words) > 6 and _NO_FIELD.fullmatch(words[5]) else 5
    if _NO_FIELD.fullmatch(words[count]):
        return None
    return Hint(
        what="is a line of a crontab: its fields alone are the schedule", write=(" ".join(words[:count]),), more=_HINT
    )
