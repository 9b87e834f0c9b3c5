"""Make .venv with Osmia (editable) and the tools of development: `python3 scripts/setup_venv.py [.venv]`.

Debian and Ubuntu ship Python without ensurepip (it is in python3-venv). Then pip comes from PyPI: nothing but Python
itself needs to be installed, and nothing outside the folder is changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP_INDEX = "https://pypi.org/pypi/pip/json"


def main() -> int:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv")
    if importlib.util.find_spec("venv") is None:
        sys.exit(f"set up {target}: this Python has no venv module (apt-get install python3-venv)")
    python = target / "bin/python"
    if not works(python):
        create(target)
    if not works(python):
        sys.exit(f"set up {target}: no working pip in it (apt-get install python3-venv, remove {target}, try again)")
    pip(python, "install", "-q", "-e", f"{ROOT}[dev]")
    return 0


def works(python: Path) -> bool:
    """Whether that environment is there, with a Python that is new enough, and pip."""
    if not python.exists():
        return False
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", check], capture_output=True).returncode == 0


def create(target: Path) -> None:
    with_pip = importlib.util.find_spec("ensurepip") is not None
    command = [sys.executable, "-m", "venv", "--clear", *([] if with_pip else ["--without-pip"]), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"set up {target}: {(done.stdout + done.stderr).strip()}")
    if not with_pip:
        print(f"set up {target}: python3-venv is not installed, taking pip from PyPI", file=sys.stderr)
        install_pip(target / "bin/python")


def install_pip(python: Path) -> None:
    """Fetch pip's wheel, compare its hash with the index, and let it install itself."""
    try:
        with urllib.request.urlopen(PIP_INDEX, timeout=60) as answer:
            files = json.load(answer)["urls"]
        wheel = next(f for f in files if f["packagetype"] == "bdist_wheel")
        with urllib.request.urlopen(urllib.parse.urljoin(PIP_INDEX, wheel["url"]), timeout=60) as answer:
            content = answer.read()
    except OSError as e:
        sys.exit(f"fetch pip from PyPI: {e} (apt-get install python3-venv does without)")
    if hashlib.sha256(content).hexdigest() != wheel["digests"]["sha256"]:
        sys.exit("fetch pip from PyPI: the hash of the file is not the one of the index (try again)")
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp, wheel["filename"])
        path.write_bytes(content)
        env = {**os.environ, "PYTHONPATH": str(path)}  # a wheel is a zip file that Python can import from
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", str(path)], env=env, check=True)


def pip(python: Path, *args: str) -> None:
    """Run pip; one more try for a hiccup of the network."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *args]
    for last in (False, True):
        status = subprocess.run(command).returncode
        if status == 0:
            return
        if last:
            sys.exit(status)
        print("pip failed, trying once more", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
