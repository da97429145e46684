"""How much of the service one caller, one account or one host may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from scheduler.config.settings import Setting


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """Upper bounds for one caller, account or host; 0 is none."""

    request_body_bytes: Annotated[int, Setting("The largest body of a request, bytes.", low=1024, high=67_108_864)] = (
        1_048_576
    )
    account_concurrency: Annotated[
        int,
        Setting(
            "Webhooks of one account in flight at most; what is beyond waits. 0: the fair share, three times as many "
            "as there are free slots, for an account and for all accounts that one user made: three quarters of "
            "engine.concurrency while others deliver nothing, less beside them, all but the reserve for an account "
            "that owns all jobs.",
            low=0,
            high=10_000,
        ),
    ] = 0
    reserve_slots: Annotated[
        int,
        Setting(
            "The last slots for webhooks, which only users get whose accounts have nothing in flight; at most a "
            "quarter of engine.concurrency. 0: none.",
            low=0,
            high=1_000,
        ),
    ] = 4
    host_concurrency: Annotated[
        int,
        Setting("Webhooks in flight to one host at most; what is beyond waits. 0: any number.", low=0, high=10_000),
    ] = 0
    account_deliveries_per_minute: Annotated[
        int,
        Setting(
            "Attempts of one account a minute, ten seconds' worth at once; what is beyond waits. 0: any number.",
            low=0,
            high=10_000_000,
        ),
    ] = 0
    host_deliveries_per_minute: Annotated[
        int,
        Setting(
            "Attempts to one host a minute, ten seconds' worth at once; what is beyond waits. 0: any number.",
            low=0,
            high=10_000_000,
        ),
    ] = 0
    jobs_per_account: Annotated[
        int, Setting("Jobs that one account may have; another is refused. 0: any number.", low=0, high=10_000_000)
    ] = 0
    accounts_per_user: Annotated[
        int, Setting("Accounts that one user may make; another is refused. 0: any number.", low=0, high=10_000_000)
    ] = 100
    jobs_per_user: Annotated[
        int,
        Setting(
            "Jobs in all accounts together that one user made; another is refused. 0: any number.",
            low=0,
            high=10_000_000,
        ),
    ] = 0
    keys_per_account: Annotated[
        int, Setting("API keys in force that one account may have. 0: any number.", low=0, high=1_000_000)
    ] = 0
    bytes_per_account: Annotated[
        int,
        Setting(
            "Bytes that the rows of one account may hold. Beyond it bodies of answers are not kept; beyond it even "
            "without those, new jobs and larger webhooks are refused. 0: any number.",
            low=0,
            high=1_000_000_000_000_000,
        ),
    ] = 5_368_709_120
    dead_letters_per_account: Annotated[
        int,
        Setting(
            "Dead letters of one account that are kept, the newest; older ones are pruned. 0: any number.",
            low=0,
            high=1_000_000_000,
        ),
    ] = 100_000
    api_requests_per_minute: Annotated[
        int,
        Setting(
            "Requests to the API a minute by one user, or by all keys of one account, a minute's worth of them at "
            "once; what is beyond is refused. 0: any number.",
            low=0,
            high=10_000_000,
        ),
    ] = 0
