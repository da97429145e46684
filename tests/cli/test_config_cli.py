"""``scheduler config``, the help, and what the command line loads."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from scheduler import __version__
from scheduler.cli import main
from scheduler.cli.config import config, example_toml
from scheduler.config import SETTINGS, Config, load_config

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
EXAMPLES_BESIDE_A_DEFAULT = ("# allow = [", "# trusted_proxies = [")


@pytest.fixture(autouse=True)
def _no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCHEDULER_CONFIG", "SCHEDULER_DATA_DIR", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_example_is_what_the_program_prints() -> None:
    assert EXAMPLE.read_bytes() == example_toml().encode()
    assert CliRunner().invoke(config, ["init"]).stdout == example_toml()


def test_the_example_changes_nothing_and_names_every_key() -> None:
    assert load_config(path=EXAMPLE, environ={}, flags={}) == Config()
    uncommented = tomllib.loads(
        "\n".join(
            line.removeprefix("# ")
            for line in example_toml().splitlines()
            if (" = " in line or line[:1] == "[") and not line.startswith(EXAMPLES_BESIDE_A_DEFAULT)
        )
    )
    named = {
        f"{name}.{inner}" if isinstance(value, dict) else name
        for name, value in uncommented.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert named == set(SETTINGS)
    assert all(setting.variable in example_toml() for setting in SETTINGS.values())


def test_check_tells_each_problem_and_exits_3(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[server]\nport = 'x'\nhots = 'a'\n")
    result = CliRunner().invoke(config, ["check", "--config", str(path)])
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        f'{path}:2: server.port: must be a whole number, not "x"',
        f"{path}:3: server.hots: unknown key, did you mean server.host?",
    ]
    result = CliRunner().invoke(config, ["check", "--json", "--config", str(path)])
    assert result.exit_code == 3
    assert json.loads(result.stdout)[0] == {
        "origin": f"{path}:2",
        "key": "server.port",
        "message": 'must be a whole number, not "x"',
    }


def test_check_of_a_good_file_prints_no_problem(tmp_path: Path) -> None:
    result = CliRunner().invoke(config, ["check", "--config", str(EXAMPLE)])
    assert (result.exit_code, result.stdout) == (0, "")


def test_show_is_a_file_with_origins_and_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '[auth]\njwt_secret = "0123456789012345678901234567890123"\n[egress]\nallow = ["app", "10.0.0.0/8"]\n'
    )
    result = CliRunner().invoke(config, ["show", "--config", str(path)], env={"SCHEDULER_SERVER__PORT": "81"})
    assert result.exit_code == 0
    assert "port = 81  # SCHEDULER_SERVER__PORT\n" in result.stdout
    assert f'allow = ["app", "10.0.0.0/8"]  # {path}:4\n' in result.stdout
    assert 'jwt_secret = "***"' in result.stdout
    assert "01234567" not in result.stdout
    assert tomllib.loads(result.stdout)["server"] == {
        "host": ["127.0.0.1"],
        "port": 81,
        "keepalive_s": 75,
        "trusted_proxies": [],
    }
    shown = json.loads(CliRunner().invoke(config, ["show", "--json", "--config", str(path)]).stdout)
    assert shown["auth.jwt_secret"] == "***"
    assert set(shown) == {*SETTINGS, "zone_data"}


def test_show_of_a_bad_file_exits_3_with_nothing_on_stdout(tmp_path: Path) -> None:
    result = CliRunner().invoke(config, ["show", "--config", str(tmp_path / "absent.toml")])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"{tmp_path / 'absent.toml'}: cannot be read: No such file or directory\n"


def test_help_names_every_command_and_loads_none() -> None:
    seen = (
        "import sys; sys.argv = ['scheduler', '--help']\n"
        "from scheduler.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted(set(sys.modules) & {'asyncio', 'aiohttp', 'jwt', 'tomllib', 'dataclasses'}))"
    )
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert [name for name in ("serve", "token", "cron", "config", "healthcheck", "openapi") if name in done.stdout]
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "stdout"),
    [(["--version"], 0, f"scheduler {__version__}\n"), (["nonsense"], 2, ""), (["serve", "--port", "70000"], 2, "")],
)
def test_the_program_ends_with_these_exit_codes(
    arguments: list[str], code: int, stdout: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scheduler", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert capsys.readouterr().out == stdout
