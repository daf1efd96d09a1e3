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
    {"files", "option"},
    {"config"},
    {"text", "nn", "matching"},
    {"modelfile", "sampling"},
    {"backends", "engine", "session", "model"},
    {"training", "evaluate", "scoring", "analysis", "benchmark"},
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


def parsed(module):
    path = ROOT.joinpath(*module.split(".")[1:])
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    own = height(module)
    for node in parsed(module).body:  # what is imported when the module is; types and late imports are free
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rhapsode."):
            other = height(node.module)
            assert own is None or other is None or other <= own, f"{module} imports {node.module}"


def imported(node):
    """All of rhapsode that is imported anywhere below a node, late as well; not what only types need."""
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        return
    if isinstance(node, ast.ImportFrom) and node.module:
        for name in node.names:
            full = f"{node.module}.{name.name}"
            yield full if full in MODULES else node.module
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def test_no_imports_go_in_a_circle():
    """Late ones count. The engine in numpy opens the native one, which is derived from it."""
    left = {module: set(imported(parsed(module))) & set(MODULES) - {module} for module in MODULES}
    left["rhapsode.engine"].remove("rhapsode.native_engine")
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"these import each other, or what does: {sorted(left)}"
