"""The load of a campaign: jobs of every policy that decides about runs."""

from __future__ import annotations

from typing import Any

DELAYS = (0.1, 0.3, 0.6)
MAX_ATTEMPTS = 4
JITTER = 0.1
_METHODS = ("POST", "PUT", "GET", "DELETE", "PATCH")


def job_body(number: int, url: str) -> dict[str, Any]:
    """The job of this number with its first webhook; every policy is among eleven in a row.

    One in eleven is created disabled: it is to be enabled when it has its second webhook.
    """
    kind = number % 11
    body: dict[str, Any] = {
        "name": f"job {number}",
        "schedule": "* * * * * *",
        "spread_s": 0.9 if number % 2 else 0.0,
        "retry": {"max_attempts": MAX_ATTEMPTS, "delays": DELAYS, "jitter": JITTER},
        "auto_disable": False,
        "webhook": webhook_body(number, url),
    }
    variants: dict[int, dict[str, Any]] = {
        3: {"catchup": "all"},
        4: {"catchup": "none"},
        5: {"overlap": "skip"},
        6: {"overlap": "buffer_one"},
        7: {"overlap": "cancel_previous"},
        8: {"delivery": "at_most_once"},
        9: {"schedule": "*/2 * * * * *\n1-59/4 * * * * *", "jitter_s": 0.2},
        10: {"enabled": False, "catchup": "all"},
    }
    return body | variants.get(kind, {})


def webhook_body(number: int, url: str) -> dict[str, Any]:
    method = _METHODS[number % len(_METHODS)]
    body = {"body_template": '{"run": "{{ run.id }}", "attempt": {{ attempt }}}'} if method in ("POST", "PUT") else {}
    return {"url": f"{url}/hook/{number}", "method": method, **body}
