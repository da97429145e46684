"""Files that appear as a whole or not at all, on file systems with hard links and on those without."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.ops import files


@pytest.fixture(params=["hard links", "no hard links"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a file is to appear; nothing but that file may be beside it afterwards."""

    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", link)
    yield tmp_path / "file"
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


def test_a_published_file_has_its_text_and_is_its_owners_alone(place: Path) -> None:
    with files.draft_of(place, "text\n") as draft:
        assert not place.exists()
        files.publish(draft, place)
    assert place.read_text() == "text\n"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_publishing_never_replaces_what_another_process_has_published(place: Path) -> None:
    place.write_text("first")
    with pytest.raises(FileExistsError), files.draft_of(place, "second") as draft:
        files.publish(draft, place)
    assert place.read_text() == "first"


def test_replacing_needs_no_file_of_that_name_and_keeps_none(place: Path) -> None:
    for text in ("first", "second"):
        with files.draft_of(place, text) as draft:
            files.replace(draft, place)
        assert place.read_text() == text


def test_a_draft_that_is_not_published_leaves_nothing_behind(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.draft_of(place, "text"):
        raise ZeroDivisionError
    assert not place.exists()


def test_drafts_of_killed_processes_are_removed_and_no_other_files(tmp_path: Path) -> None:
    for name in (".secret.key.new", ".secret.key.0123456789abcdef", ".secret.keyring", "secret.key", ".env"):
        (tmp_path / name).touch()
    files.remove_drafts(tmp_path / "secret.key")
    assert {path.name for path in tmp_path.iterdir()} == {".secret.keyring", "secret.key", ".env"}
