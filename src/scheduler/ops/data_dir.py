"""The data directory: the first start makes it with the secrets of the installation, every other start reads them."""

from __future__ import annotations

import base64
import os
import secrets
import stat
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.config import Config, database_dsn, database_path
from scheduler.config.checks import decode_sealing_key, problem_with_secret_file
from scheduler.config.jwt_algorithms import SHORTEST_SECRET, problem_with_secret_length
from scheduler.domain.clock import Instant, format_instant, parse_instant
from scheduler.ops import files
from scheduler.ops.start_error import ExitCode, StartError


@dataclass(frozen=True, kw_only=True)
class DataDir:
    """The opened directory and the secrets in force, whether they come from its files or from the configuration."""

    path: Path
    jwt_secret: bytes = field(repr=False)
    """The HMAC key of tokens; empty where an identity provider signs them with a private key."""
    sealing_keys: tuple[bytes, ...] = field(repr=False)
    """AES-256 keys, newest first. The first one seals; the others, during a rotation, only open what they sealed."""
    created: tuple[str, ...]
    """Names of the files that this call made."""


def open_data_dir(config: Config) -> DataDir:
    """Make what is missing (directory 0700, ``jwt.secret`` and ``secret.key`` 0600) and read both secrets.

    A secret that the configuration sets is used instead of its file, which is then neither read nor made. Processes
    that start at the same moment get the same secrets. Raises ``StartError``.
    """
    created: list[str] = []
    jwt_secret = read_jwt_secret(config, created)
    sealing_keys = read_sealing_keys(config, created)
    if config.database.url is None:
        _make_directory(config.data_dir)
    if database_dsn(config) is None:
        _require_writable(database_path(config).parent)
    return DataDir(
        path=config.data_dir,
        jwt_secret=jwt_secret,
        sealing_keys=tuple(sealing_keys),
        created=tuple(created),
    )


def read_jwt_secret(config: Config, created: list[str] | None = None) -> bytes:
    """The HMAC key of tokens, from the configuration or from ``jwt.secret``, which is made when there is none.

    Adds the name of a file that it made to ``created``. Empty where an identity provider signs the
    tokens. Raises ``StartError``.
    """
    if config.auth.algorithm not in SHORTEST_SECRET:
        return b""
    path = config.data_dir / "jwt.secret"
    given = config.auth.jwt_secret
    secret = given.encode() if given else _kept(path, _new_jwt_secret, created)
    if problem := problem_with_secret_length(secret, config.auth.algorithm):
        raise StartError(f"{path}: {problem}", exit_code=ExitCode.CONFIGURATION)
    return secret


def read_sealing_keys(config: Config, created: list[str] | None = None) -> list[bytes]:
    """The sealing keys, newest first, from the configuration (one) or from ``secret.key``.

    The file is made when there is none; during a rotation it has a line for each key. Adds the name of
    a file that it made to ``created``. Raises ``StartError``.
    """
    path = sealing_key_path(config)
    text = config.secret_key or _kept(path, _new_sealing_key, created).decode("utf-8", "replace")
    try:
        return [decode_sealing_key(line) for line in text.split() or [""]]
    except ValueError as error:
        raise StartError(f"{path}: {error}", exit_code=ExitCode.CONFIGURATION) from None


def write_sealing_keys(config: Config, keys: Sequence[bytes]) -> None:
    """Make these the sealing keys in ``secret.key``, newest first. The file has all of the old or all of the new keys.

    Owner and mode of the file stay. Only the process that has locked the database may call this. Raises
    ``StartError``.
    """
    path = sealing_key_path(config).resolve()
    try:
        before = path.stat()
        files.remove_drafts(path)
        with files.draft_of(path, "".join(base64.b64encode(key).decode() + "\n" for key in keys)) as draft:
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(draft, before.st_uid, before.st_gid)
            draft.chmod(stat.S_IMODE(before.st_mode))
            files.replace(draft, path)
    except OSError as error:
        raise StartError(
            f"{path} cannot be replaced by user {os.geteuid()} ({error.strerror})", exit_code=ExitCode.NOT_PERMITTED
        ) from None


def record_backup(config: Config, name: str, now: Instant) -> None:
    """Write time and name of a backup to ``last-backup``. Raises ``OSError``."""
    path = config.data_dir / "last-backup"
    with files.draft_of(path, f"{format_instant(now)} {name!a}\n") as draft:
        files.replace(draft, path)


def last_backup_at(config: Config) -> Instant | None:
    """When the last backup was made with this data directory; ``None`` when none is on record."""
    try:
        return parse_instant((config.data_dir / "last-backup").read_text(encoding="ascii").partition(" ")[0])
    except (OSError, ValueError):
        return None


def sealing_key_path(config: Config) -> Path:
    return config.data_dir / "secret.key"


def _kept(path: Path, make: Callable[[], str], created: list[str] | None) -> bytes:
    """The stripped content of the file, which is made first, with its directory, when there is none.

    Adds the name of a file that it made to ``created``.
    """
    _make_directory(path.parent)
    try:
        if not path.exists() and _make(path, make() + "\n") and created is not None:
            created.append(path.name)
        if problem := problem_with_secret_file(path):
            raise StartError(problem, exit_code=ExitCode.NOT_PERMITTED)
        return path.read_bytes().removeprefix(BOM_UTF8).strip()
    except OSError as error:
        raise StartError(
            f"{path} cannot be read or made by user {os.geteuid()} ({error.strerror})", exit_code=ExitCode.NOT_PERMITTED
        ) from None


def _make(path: Path, text: str) -> bool:
    """Make the file; false when another process was first."""
    try:
        with files.draft_of(path, text) as draft:
            files.publish(draft, path)
    except FileExistsError:
        return False
    return True


def _make_directory(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise StartError(
            f"the data directory {path} is no directory: choose another with --data-dir",
            exit_code=ExitCode.NOT_PERMITTED,
        ) from None
    except OSError as error:
        raise StartError(
            f"the data directory {path} cannot be made ({error.strerror}): choose another with --data-dir",
            exit_code=ExitCode.NOT_PERMITTED,
        ) from None


def _new_jwt_secret() -> str:
    return secrets.token_urlsafe(48)


def _new_sealing_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _require_writable(path: Path) -> None:
    """Raises ``StartError`` when no file can be made in the directory.

    It makes one, because permission bits do not tell for root, read-only mounts and full disks.
    """
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise StartError(
            f"the directory {path} cannot be written to by user {os.geteuid()} ({error.strerror}): "
            "make it with the right owner or choose another with --data-dir",
            exit_code=ExitCode.NOT_PERMITTED,
        ) from None


def record_address(config: Config, url: str) -> None:
    """Write the base URL of a running service to ``address``, if the directory can be written to."""
    path = config.data_dir / "address"
    with suppress(OSError), files.draft_of(path, f"{url}\n") as draft:
        files.replace(draft, path)


def recorded_address(config: Config) -> str | None:
    """The base URL of the service that runs on this data directory, or was killed on it; ``None``: none is known."""
    try:
        return (config.data_dir / "address").read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def forget_address(config: Config) -> None:
    """Remove what ``record_address`` wrote."""
    with suppress(OSError):
        (config.data_dir / "address").unlink()
