"""The wheel and the source distribution: what is in them, and that the wheel works where it is installed."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import nondet
from nondet.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def give(*words: object, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What a command prints on standard output; it must end with 0."""
    done = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source distribution and of the wheel that is built from it, with the build's tools of here."""
    pytest.importorskip("build", reason="needs build and hatchling, which make test installs")
    pytest.importorskip("hatchling", reason="needs build and hatchling, which make test installs")
    folder = tmp_path_factory.mktemp("dist")
    give(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel; its libraries are those of here, which spares a download of torch."""
    folder = tmp_path_factory.mktemp("environment")
    give(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin" / "python"
    give(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder, env=clean())
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


def clean() -> dict[str, str]:
    """An environment that leads Python to no sources."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.slow
def test_the_wheel_has_all_files_of_the_package(wheel: Path) -> None:
    """Every module, and what lies beside them: the page's template and style, and the mark of types."""
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if not name.startswith(f"nondet-{__version__}.dist-info/")}
    source = ROOT / "src"
    files = {path for path in (source / "nondet").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert there == {path.relative_to(source).as_posix() for path in files}
    assert {"nondet/py.typed", "nondet/reporting/page.css", "nondet/reporting/page.html.j2"} <= there


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Version, Python, licence, links, extras and the command."""
    with zipfile.ZipFile(wheel) as archive:
        told = email.message_from_bytes(archive.read(f"nondet-{__version__}.dist-info/METADATA"))
        entries = archive.read(f"nondet-{__version__}.dist-info/entry_points.txt").decode()
    assert wheel.name == f"nondet-{__version__}-py3-none-any.whl"
    assert told["Version"] == __version__
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    links = dict(link.split(", ", 1) for link in told.get_all("Project-URL", []))
    assert links == PROJECT["urls"] != {}
    assert set(told.get_all("Provides-Extra", [])) == {*PROJECT["optional-dependencies"]}
    assert "nondet = nondet.cli.main:main" in entries


@pytest.mark.slow
def test_the_source_distribution_holds_what_git_has(built: Path) -> None:
    """Every file that git knows, and none that it ignores."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git, and a checkout")
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    known = give("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    assert there == {name for name in known if (ROOT / name).is_file()}


@pytest.mark.slow
def test_a_first_study_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    """In a folder elsewhere: a study, its table, its page and its figures, and the sources play no part."""
    command, env = environment / "bin" / "nondet", clean()
    where = "import nondet; print(nondet.__file__)"
    assert str(environment) in give(environment / "bin" / "python", "-c", where, cwd=tmp_path, env=env)
    assert give(command, "--version", cwd=tmp_path, env=env).strip() == __version__
    study = ("run", "digits", "--set", "epochs=1", "--set", "train_examples=200", "--runs", 2, "--vary", "init")
    assert "deterministic (control)" in give(command, *study, cwd=tmp_path, env=env)
    give(command, "report", "studies/digits", cwd=tmp_path, env=env)
    page = (tmp_path / "studies" / "digits" / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "<style>" in page
    assert "runs are sound" in give(command, "verify", "studies/digits", cwd=tmp_path, env=env)
    assert "compare" in give(command, "help", cwd=tmp_path, env=env)


def test_the_version_has_one_place() -> None:
    """Where another file must repeat it, it is the same."""
    assert nondet.__version__ == __version__
    assert "version" in PROJECT["dynamic"]
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


def test_the_citation_can_be_cited() -> None:
    """It has what the Citation File Format 1.2.0 asks for, and the fields are of its kinds."""
    yaml: Any = pytest.importorskip("yaml", reason="needs PyYAML, which make test installs with mkdocs")
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["cff-version"] == "1.2.0"
    assert all(isinstance(told[field], str) and told[field] for field in ("message", "title", "abstract", "license"))
    assert told["type"] in ("software", "dataset")
    assert told["license"] == PROJECT["license"]
    assert all(set(author) <= {"name", "family-names", "given-names"} for author in told["authors"])
    assert all(isinstance(word, str) for word in told["keywords"])
    for paper in told["references"]:
        assert paper["type"] == "conference-paper"
        assert isinstance(paper["year"], int)
        assert paper["url"].startswith("https://")
        assert all({"family-names", "given-names"} <= set(author) for author in paper["authors"])
        assert paper["collection-title"]
        assert all(one["type"] in ("doi", "url", "swh", "other") for one in paper["identifiers"])
