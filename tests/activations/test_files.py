"""A file is there whole or not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lens_personas.activations import replacing

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, pathlib, signal, sys
from lens_personas.activations import replacing
with replacing(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half of a file")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_written_takes_the_name(tmp_path):
    with replacing(tmp_path / "new" / "file") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "file").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_text() == "whole"


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "file").write_text("old")

    def fail():
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.slow
def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
