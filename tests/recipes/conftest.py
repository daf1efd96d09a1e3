"""Recipes as a user runs them, on a machine that has no text but what every CPython carries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def recipe(tmp_path):
    """Runs a recipe by its name, with options, in an empty folder."""
    shutil.copytree(RECIPES, tmp_path / "recipes", ignore=shutil.ignore_patterns("__pycache__"))

    def run(name, *options):
        command = [sys.executable, str(tmp_path / "recipes" / f"{name}.py"), *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    return run
