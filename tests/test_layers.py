"""The layers contract of pyproject.toml holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_layer_imports_only_what_stands_below_it() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    lint = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_the_web_server_stays_above_the_engine() -> None:
    above = {"api", "ui", "app.py", "service.py", "demo.py"}
    package = ROOT / "src" / "scheduler"
    speakers = [
        path.relative_to(package)
        for path in package.rglob("*.py")
        if "from aiohttp import web" in (text := path.read_text(encoding="utf-8")) or "aiohttp.web" in text
    ]
    assert speakers
    assert [str(path) for path in speakers if path.parts[0] not in above] == []
