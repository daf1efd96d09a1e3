"""Imports point down, and nothing but the torch backend imports torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rhapsode

ROOT = Path(rhapsode.__file__).parent
MODULES = sorted(
    ".".join(("rhapsode", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.stem != "__main__"
)
HEIGHTS = [
    {"errors"},
    {"files"},
    {"config"},
    {"text", "nn", "matching"},
    {"modelfile", "sampling"},
    {"backends", "engine", "session", "model"},
    {"training", "evaluate", "analysis", "benchmark"},
    {"classify"},
    {"cli"},
]
"""CONTRIBUTING's order: a module may import from its own height and below. Those not named here share the middle."""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_everything_else_can_be_imported_without_torch():
    others = [name for name in MODULES if "backends.torch" not in name]
    code = "import importlib, sys\n"
    code += f"for name in {others!r}: importlib.import_module(name)\n"
    code += "print([m for m in sys.modules if m.split('.')[0] == 'torch'])"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("heavy", ["numpy", "torch", "tyro", "rich", "tokenizers", "safetensors"])
def test_importing_rhapsode_costs_nothing(heavy):
    assert run(f"import rhapsode, sys; print({heavy!r} in sys.modules)").strip() == "False"


def test_help_needs_neither_numpy_nor_tyro():
    code = "import sys\nfrom rhapsode.cli.main import main\nmain(['--help'])\n"
    code += "print('heavy:', [m for m in ('numpy', 'tyro', 'rich', 'torch') if m in sys.modules])"
    assert "heavy: []" in run(code)


def test_generating_imports_neither_torch_nor_the_training_loop():
    code = "import sys, rhapsode.cli.generate, rhapsode.model, rhapsode.session\n"
    code += "print([m for m in sys.modules if m.startswith(('torch', 'tokenizers', 'rhapsode.training'))])"
    assert run(code).strip() == "[]"


def height(module):
    part = module.split(".")[1] if "." in module else None
    return next((i for i, names in enumerate(HEIGHTS) if part in names), None)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    path = ROOT.joinpath(*module.split(".")[1:])
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")
    own = height(module)
    for node in ast.parse(source).body:  # what is imported when the module is; types and late imports are free
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rhapsode."):
            other = height(node.module)
            assert own is None or other is None or other <= own, f"{module} imports {node.module}"
