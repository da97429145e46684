"""The import contracts of pyproject.toml hold, and the docstrings that map the packages are complete."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import scheduler

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "scheduler"
PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
NAMED_ABOVE = {"api": {"handlers", "schemas", "documents", "forms"}}
"""Modules that ``api/__init__.py`` names, once for the packages of all nouns."""


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


def test_the_layers_are_drawn_as_the_contract_has_them() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [one for one in config["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    assert scheduler.__doc__ is not None
    drawing = scheduler.__doc__.split("::\n", 1)[1].split("The way of one execution")[0]
    drawn = re.findall(r"^ {4}(\w+(?: \| \w+)*) {2,}", drawing, re.MULTILINE)
    assert drawn == [layer.replace("scheduler.", "") for layer in contract["layers"]]


def test_the_text_of_an_exception_decides_nothing() -> None:
    """Compared or searched, a text is an interface that changes with each version of a library."""
    found: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Compare(left=left, comparators=comparators):
                    read = [left, *comparators]
                case ast.Call(func=ast.Attribute(value=value)):
                    read = [value]
                case _:
                    continue
            if {"str(error)", "error.args[0]"} & {ast.unparse(one) for one in read}:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []


def test_what_a_test_expects_depends_on_no_condition() -> None:
    """An expectation in a branch holds in silence when the branch is not taken."""
    found: list[str] = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_"):
                found += [f"{path.name}:{line}" for line in _conditional_expectations(function)]
    assert found == []


def _conditional_expectations(test: ast.AST) -> list[int]:
    """The lines of a test where an ``if`` has an ``assert``, or an ``assert`` compares with ``x if y else z``."""
    found: list[int] = []
    for node in ast.walk(test):
        match node:
            case ast.If() if any(isinstance(inner, ast.Assert) for inner in ast.walk(node)):
                found.append(node.lineno)
            case ast.Assert(test=ast.Compare(comparators=comparators)):
                found += [node.lineno for one in comparators if isinstance(one, ast.IfExp)]
            case _:
                pass
    return found


def test_every_path_on_the_map_exists() -> None:
    paths = re.findall(r"[\w/]+\.py", scheduler.__doc__ or "")
    assert len(paths) > 10
    assert [path for path in paths if not (PACKAGE / path).exists()] == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_the_docstring_of_a_package_names_all_of_its_modules(package: Path) -> None:
    document = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    missing = modules - {"__init__", "__main__"} - set(re.findall(r"\w+", document))
    assert missing <= NAMED_ABOVE.get(package.parent.name, set())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_folder_has_more_than_twelve_modules_and_none_more_than_300_lines(package: Path) -> None:
    modules = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in package.glob("*.py")}
    assert len(modules.keys() - {"__init__.py"}) <= 12
    assert {name: lines for name, lines in modules.items() if lines > 300} == {}


def _contents(folder: Path) -> set[str]:
    """The modules and packages of a package, by their full names."""
    found = {path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    names = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in found}
    return {name for name in names if not name.endswith("__")}


def test_the_contracts_that_list_packages_list_all_of_them() -> None:
    """The other contracts list the few that may import something; what they do not list may not."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {one["name"]: one for one in config["tool"]["importlinter"]["contracts"]}
    library = contracts["The schedule language is a library of its own: of ours it imports the clock and the errors"]
    allowed = {"scheduler.domain.schedule", "scheduler.domain.clock", "scheduler.domain.errors"}
    assert set(library["forbidden_modules"]) == _contents(PACKAGE / "domain") - allowed
    shared = {
        "scheduler.api.http",
        "scheduler.api.auth",
        "scheduler.api.limits",
        "scheduler.api.app",
        "scheduler.api.services",
    }
    nouns = _contents(PACKAGE / "api") - shared - {"scheduler.api.job_creation"}
    assert set(contracts["The nouns of the API do not import each other"]["modules"]) == nouns
