"""The data directory: what the first start makes, what others read, and which directories are refused."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.config import Config, DatabaseConfig
from scheduler.config.auth import AuthConfig
from scheduler.ops.data_dir import DataDir, open_data_dir
from scheduler.ops.start_error import StartError
from scheduler.ops.start_warnings import start_warnings


def refusal(config: Config) -> StartError:
    with pytest.raises(StartError) as caught:
        open_data_dir(config)
    assert "\n" not in str(caught.value)
    return caught.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["jwt.secret", "secret.key"])
def test_a_secret_that_everybody_may_write_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "data")
    open_data_dir(config)
    (config.data_dir / name).chmod(0o666)
    assert f"{name} can be written by every user of this machine" in str(refusal(config))


def test_the_first_start_makes_private_secrets(tmp_path: Path) -> None:
    opened = open_data_dir(Config(data_dir=tmp_path / "deep" / "data"))
    assert opened.created == ("jwt.secret", "secret.key")
    assert mode(opened.path) == 0o700
    assert {path.name: mode(path) for path in opened.path.iterdir()} == {"jwt.secret": 0o600, "secret.key": 0o600}
    assert len(opened.jwt_secret) >= 64
    assert (opened.path / "jwt.secret").read_bytes().strip() == opened.jwt_secret
    assert base64.b64decode((opened.path / "secret.key").read_text()) == opened.sealing_keys[0]
    assert len(opened.sealing_keys[0]) == 32
    assert repr(opened.jwt_secret)[2:20] not in repr(opened)


def test_the_second_start_finds_them_again(tmp_path: Path) -> None:
    first = open_data_dir(Config(data_dir=tmp_path))
    assert open_data_dir(Config(data_dir=tmp_path)) == replace(first, created=())


def test_each_installation_has_its_own(tmp_path: Path) -> None:
    one, other = (open_data_dir(Config(data_dir=tmp_path / name)) for name in "ab")
    assert one.jwt_secret != other.jwt_secret
    assert one.sealing_keys != other.sealing_keys


def test_starts_at_the_same_moment_agree(tmp_path: Path) -> None:
    for turn in range(20):
        config = Config(data_dir=tmp_path / str(turn))
        with ThreadPoolExecutor(8) as pool:
            opened: list[DataDir] = list(pool.map(lambda _, config=config: open_data_dir(config), range(8)))
        assert len({(one.jwt_secret, one.sealing_keys) for one in opened}) == 1
        assert sorted(name for one in opened for name in one.created) == ["jwt.secret", "secret.key"]
        assert len(list(config.data_dir.iterdir())) == 2


def test_secrets_of_the_configuration_need_no_files(tmp_path: Path) -> None:
    config = Config(
        data_dir=tmp_path / "none",
        secret_key=base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        auth=AuthConfig(jwt_secret="é" * 16),
        database=DatabaseConfig(url=f"sqlite:///{tmp_path}/a.db"),
    )
    opened = open_data_dir(config)
    assert (opened.sealing_keys, opened.jwt_secret, opened.created) == ((b"\xff" * 32,), "é".encode() * 16, ())
    assert not config.data_dir.exists()


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    opened = open_data_dir(Config(data_dir=tmp_path))
    assert open_data_dir(Config(data_dir=tmp_path)) == replace(opened, created=())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jwt.secret", "secret.key"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("jwt.secret", "short\n", "must be 32 bytes or more for HS256, not 5"),
        ("jwt.secret", " \n", "must be 32 bytes or more for HS256, not 0"),
        ("secret.key", "c2hvcnQ=", "must be base64 of exactly 32 bytes, such as `openssl rand -base64 32` prints"),
        ("secret.key", "\x00\xff!", "must be base64 of exactly 32 bytes, such as `openssl rand -base64 32` prints"),
    ],
)
def test_a_malformed_secret_is_refused(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    error = refusal(Config(data_dir=tmp_path))
    assert (str(error), error.exit_code) == (f"{tmp_path / name}: {says}", 3)


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refusal(Config(data_dir=tmp_path / "file"))
    assert error.exit_code == 4
    assert str(error) == f"the data directory {tmp_path / 'file'} is no directory: choose another with --data-dir"
    error = refusal(Config(data_dir=tmp_path / "file" / "below"))
    assert error.exit_code == 4
    assert str(tmp_path / "file" / "below") in str(error)


def test_a_database_in_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, database=DatabaseConfig(url=f"sqlite:///{tmp_path}/absent/a.db"))
    error = refusal(config)
    assert error.exit_code == 4
    assert f"{tmp_path}/absent" in str(error)


@pytest.fixture
def foreign_directory() -> Iterator[Path]:
    """A directory that the user of the test may enter and not write to, also where tests run as root."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65_534)
        try:
            yield path
        finally:
            os.seteuid(0)
    else:
        yield path
    path.chmod(0o700)
    shutil.rmtree(path)


def test_a_directory_of_another_user_is_refused(foreign_directory: Path) -> None:
    for data_dir in (foreign_directory, foreign_directory / "below"):
        error = refusal(Config(data_dir=data_dir))
        assert error.exit_code == 4
        assert str(data_dir) in str(error)
        assert "Permission denied" in str(error)


def test_a_secret_of_another_user_is_refused(foreign_directory: Path) -> None:
    if os.geteuid() == 65_534:
        os.seteuid(0)
        (foreign_directory / "jwt.secret").touch(0o600)
        os.seteuid(65_534)
    else:
        foreign_directory.chmod(0o700)
        (foreign_directory / "jwt.secret").touch(0o000)
    error = refusal(Config(data_dir=foreign_directory))
    assert error.exit_code == 4
    assert "jwt.secret cannot be read" in str(error)


def test_no_secret_is_made_for_tokens_that_others_sign(tmp_path: Path) -> None:
    auth = AuthConfig(algorithm="RS256", jwks_url="https://id.example.org/keys")
    opened = open_data_dir(Config(data_dir=tmp_path / "data", auth=auth))
    assert (opened.jwt_secret, opened.created) == (b"", ("secret.key",))
    assert not (tmp_path / "data" / "jwt.secret").exists()


def test_secrets_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    first = open_data_dir(Config(data_dir=tmp_path))
    for name in ("jwt.secret", "secret.key"):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert open_data_dir(Config(data_dir=tmp_path)) == replace(first, created=())


def test_a_start_warns_of_secrets_that_everybody_can_read(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    assert list(start_warnings(config, {})) == []
    open_data_dir(config)
    assert list(start_warnings(config, {})) == []
    (tmp_path / "secret.key").chmod(0o640)
    assert list(start_warnings(config, {})) == []
    (tmp_path / "secret.key").chmod(0o644)
    (warning,) = start_warnings(config, {})
    assert warning == f"{tmp_path}/secret.key can be read by every user of this machine: chmod 600 it"


@pytest.mark.parametrize(
    ("variable", "value", "warned"),
    [
        ("SSL_CERT_FILE", "{here}/none.pem", True),
        ("SSL_CERT_FILE", "{here}", False),
        ("SSL_CERT_FILE", "", False),
        ("SSL_CERT_DIR", "{here}/none:{here}/neither", True),
        ("SSL_CERT_DIR", "{here}/none:{here}", False),
    ],
)
def test_a_start_warns_of_certificates_that_are_not_there(
    tmp_path: Path, variable: str, value: str, warned: bool
) -> None:
    warnings = list(start_warnings(Config(data_dir=tmp_path), {variable: value.format(here=tmp_path)}))
    assert [variable in warning for warning in warnings] == [True] * warned
