"""The native test program (native/tests): kernels against references, threads, layers; alone and under sanitizers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
"""Where cmake and ninja are looked for: in this environment first, where make test-all installs them."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("cmake", path=PATH), reason="cmake is not installed: pip install cmake"),
]


@pytest.mark.parametrize("sanitize", ["", "address,undefined", "thread"], ids=["plainly", "address", "thread"])
def test_program(tmp_path, sanitize):
    generator = ["-G", "Ninja"] if shutil.which("ninja", path=PATH) else []
    configure = ["cmake", "-S", ROOT, "-B", tmp_path, *generator, "-DRHAPSODE_TESTS=ON"]
    run([*configure, f"-DRHAPSODE_SANITIZE={sanitize}"])
    run(["cmake", "--build", tmp_path, "--parallel", "2"])
    run(["ctest", "--test-dir", tmp_path, "--output-on-failure"])


def run(command):
    where = os.environ | {"PATH": PATH}
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=where)
    assert done.returncode == 0, done.stdout[-5000:]
