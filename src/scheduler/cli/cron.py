"""``scheduler cron``: prints what a schedule means and when it fires, offline, with the code of the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from scheduler.cli import Failure
from scheduler.domain.schedule.text import DAY_MATCHES, DST_POLICIES
from scheduler.ops.start_error import ExitCode


@click.group()
def cron() -> None:
    """Show what a schedule means and when it runs."""


def _schedule_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.argument("expression"),
        click.option("--timezone", metavar="TZ", help="IANA zone; default: CRON_TZ= of the expression, or UTC."),
        click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many runs."),
        click.option("--from", "start", metavar="RFC3339", help="Runs strictly after this time; default: now."),
        click.option(
            "--dst-policy",
            type=click.Choice(DST_POLICIES),
            default=DST_POLICIES[0],
            show_default=True,
            help="What happens in the hour that daylight saving skips or repeats.",
        ),
        click.option(
            "--day-match",
            type=click.Choice(DAY_MATCHES),
            default=DAY_MATCHES[0],
            show_default=True,
            help="Whether one of day-of-month and day-of-week has to match, or both.",
        ),
        click.option(
            "--anchor",
            metavar="RFC3339",
            help="What @every is aligned to; default: the time of --from, which @in counts from as well.",
        ),
        click.option("--zone-data", is_flag=True, help="Also print which time zone data the times come from."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@cron.command("next")
@_schedule_options
def next_runs(as_json: bool, zone_data: bool, **options: Any) -> None:
    """Print the next runs of EXPRESSION, one a line.

    Each line has the time in UTC and, if the time zone is another, the local time. With --json they are an array; with
    --zone-data as well, an object with zone_data and items.
    """
    preview = _preview(**options)
    if as_json:
        items = preview["items"]
        click.echo(json.dumps({**_zone_data(), "items": items} if zone_data else items, indent=2))
        return
    for item in preview["items"]:
        click.echo(_run_line(item, preview["timezone"]))
    if zone_data:
        _print_zone_data()


@cron.command()
@_schedule_options
def explain(as_json: bool, zone_data: bool, **options: Any) -> None:
    """Print what EXPRESSION means in English, and its next runs."""
    preview = _preview(**options)
    if as_json:
        click.echo(json.dumps({**preview, **(_zone_data() if zone_data else {})}, indent=2))
        return
    click.echo(preview["description"])
    for item in preview["items"]:
        click.echo(f"  {_run_line(item, preview['timezone'])}")
    if zone_data:
        _print_zone_data()


def _preview(
    *, expression: str, count: int, start: str | None, anchor: str | None, **timing: str | None
) -> dict[str, Any]:
    """Description, time zone and next runs of a schedule. A schedule that is refused ends the command.

    ``timing`` has the options that are fields of a ``Timing``.
    """
    from scheduler.domain.clock import MAX_INSTANT, SystemClock, format_instant
    from scheduler.domain.errors import SchedulerError
    from scheduler.domain.jobs.timing import Timing
    from scheduler.domain.schedule.schedule import check_fires

    start_at = SystemClock().now() if start is None else _instant("--from", start)
    given: dict[str, Any] = {name: value for name, value in timing.items() if value is not None}
    if anchor is not None:
        given["anchor_at"] = _instant("--anchor", anchor)
    try:
        schedule = Timing.of({"schedule": expression, **given}, now=start_at).parsed(is_stored=False)
        check_fires(schedule, start_at)
    except SchedulerError as error:
        raise Failure(error.message, exit_code=ExitCode.USAGE) from None
    return {
        "description": schedule.describe(),
        "timezone": schedule.timezone,
        "items": [
            {"at": format_instant(at), "local": schedule.local(at), "transition": schedule.transition(at)}
            for at in schedule.between(start_at + 1, MAX_INSTANT, count)
        ],
    }


def _zone_data() -> dict[str, Any]:
    from scheduler.domain.schedule.zones import zone_data

    return {"zone_data": zone_data().to_mapping()}


def _print_zone_data() -> None:
    from scheduler.domain.schedule.zones import zone_data

    click.echo(f"time zone data {zone_data()}")


def _instant(option: str, text: str) -> int:
    from scheduler.domain.clock import parse_instant

    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise Failure(f"{option}: {error}", exit_code=ExitCode.USAGE) from None


def _run_line(item: dict[str, Any], timezone: str) -> str:
    """The time in UTC, the local time in another zone, and a note on a change of the clocks."""
    marks = {None: "", "gap": "  moved: the clocks skip its time", "overlap": "  the clocks show its time twice"}
    local = "" if timezone == "UTC" else f"  {item['local']}"
    return f"{item['at']}{local}{marks[item['transition']]}"
