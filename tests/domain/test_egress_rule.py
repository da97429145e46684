"""``egress.allow`` has one parser, for ``scheduler config check`` and for the check of each connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from scheduler.cli.config import config
from scheduler.config import load_config
from scheduler.engine.http.egress import Egress

ACCEPTED = [
    "172.18.0.0/16",
    "172.18.0.0/16:443",
    "10.0.0.1",
    "127.0.0.1:9000",
    "[10.0.0.1]:80",
    "fd00::/8",
    "::1",
    "[::1]",
    "[::1]:80",
    "::ffff:10.0.0.0/104",
    "app",
    "App:80",
    "app:65535",
    "a_b.example-1.test",
    "app.internal.",
    "db.internal.:5432",
    "bücher.test",
    "bücher.test:8080",
    "例え.テスト",
    "1.2.3.4.nip.test",
    "0x7f.example",
]
MALFORMED = [
    " ",
    "10.0.0.0/33",
    "10.0.0.1/8",
    "10.0.0.1/8:80",
    "fd00::1/8",
    "[fd00::]/8",
    "1.2.3",
    "foo.5",
    "foo.5:80",
    "foo.0x7f",
    "0x7f000001",
    "256.1.1.1",
    "a b",
    "a,b",
    "a..b",
    ".app",
    "app..",
    "*.test",
    "app/x",
    "http://app",
    "ann@app",
    "app:",
    "app:x",
    "app:80:80",
    "[app]:80",
    "[abc]",
    "[::1",
    "[]",
    ":80",
    "xn--aü",
    "a" * 64,
    "a." * 127 + "test",
]
WITH_A_WRONG_PORT = ["app:0", "app:65536", "10.0.0.1:0", "[::1]:99999", "foo.5:0"]


def check(tmp_path: Path, entry: str) -> tuple[int, str]:
    """The exit code and the output of ``scheduler config check`` on a file with this one entry."""
    path = tmp_path / "scheduler.toml"
    path.write_text(f"[egress]\nallow = ['{entry}']\n", encoding="utf-8")
    result = CliRunner().invoke(config, ["check", "--config", str(path)])
    return result.exit_code, result.stdout.removeprefix(f"{path}:2: egress.allow: ").rstrip("\n")


@pytest.mark.parametrize("entry", ACCEPTED)
def test_an_entry_that_the_check_accepts_is_one_that_the_service_starts_with(tmp_path: Path, entry: str) -> None:
    assert check(tmp_path, entry) == (0, "")
    loaded = load_config(path=tmp_path / "scheduler.toml", environ={}, flags={})
    assert loaded.egress.allow == (entry,)
    Egress(allow=loaded.egress.allow)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [(entry, " is no network (172.18.0.0/16), address or host name") for entry in MALFORMED]
    + [(entry, ": the port must be 1 to 65535") for entry in WITH_A_WRONG_PORT],
)
def test_a_malformed_entry_is_refused_by_both_in_the_same_words(tmp_path: Path, entry: str, reason: str) -> None:
    assert check(tmp_path, entry) == (3, f'"{entry}"{reason}')
    with pytest.raises(ValueError) as refused:
        Egress(allow=[entry])
    assert str(refused.value) == f'"{entry}"{reason}'
