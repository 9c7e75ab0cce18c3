"""The peers' environment, built once."""

import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

DEFAULT_FOLDER = Path(".peers")
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
_BUILDS = "https://download.pytorch.org/whl"


def python_of(folder: Path) -> Path:
    """The environment's interpreter, whether or not it is there."""
    if sys.platform == "win32":
        return folder.absolute() / "Scripts" / "python.exe"
    return folder.absolute() / "bin" / "python"


def is_built(folder: Path) -> bool:
    """Whether the environment was built with these requirements."""
    stamp = folder / "requirements.txt"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == REQUIREMENTS.read_text(
        encoding="utf-8"
    )


def build(folder: Path) -> None:
    """Install the peers; torch first, in our own version and build.

    Raises:
        RuntimeError: If pip fails.
    """
    venv.create(folder, with_pip=True, clear=True)
    torch = f"torch=={version('torch')}"
    with tempfile.TemporaryDirectory() as place:
        constraint = Path(place) / "torch.txt"
        constraint.write_text(torch + "\n", encoding="utf-8")
        try:
            _pip(folder, [torch])
        except RuntimeError:
            # The usual index has no build but its own: the others have theirs.
            _pip(folder, [torch, "--extra-index-url", f"{_BUILDS}/{torch.partition('+')[2]}"])
        # Whatever build that is, the peers' needs must not change it for another.
        _pip(folder, ["-c", str(constraint), "-r", str(REQUIREMENTS)])
    (folder / "requirements.txt").write_bytes(REQUIREMENTS.read_bytes())


def _pip(folder: Path, arguments: list[str]) -> None:
    command = [str(python_of(folder)), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"expected pip to install {' '.join(arguments)}, it failed: {done.stderr[-2000:]}; "
            "check the network, or run with --no-peers"
        )
