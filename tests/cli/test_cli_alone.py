"""Standard output under ``--json``: the result, whatever a model or a library prints meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robustlab.cli import alone

Command = Any
PROGRAM = """
import os, sys
from robustlab.cli import alone, show
with alone.results_alone():
    print("from Python")
    os.write(1, b"from a library\\n")
    os.system("echo from a child")
    sys.__stdout__.write("past the redirection\\n")
    sys.__stdout__.flush()
    show.machine({"name": "\\u00fc\\udcff", "n": 3})
print("after")
"""


def test_nothing_but_the_result_gets_out() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    message = done.stderr.decode()
    for what in ("from Python", "from a library", "from a child", "past the redirection"):
        assert what in message, what
    result, _, rest = done.stdout.partition(b"}\n")
    assert json.loads(result.decode("utf-8", "surrogateescape") + "}") == {"name": "\u00fc\udcff", "n": 3}
    assert rest.split() == [b"after"]


def test_a_closed_pipe_is_told() -> None:
    program = PROGRAM.replace('print("after")', "").replace("show.machine", "os.close(out); show.machine")
    program = f"import os\nread, out = os.pipe()\nos.dup2(out, 1)\nos.close(read)\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "BrokenPipeError" in done.stderr
    assert done.returncode == 1


@pytest.mark.slow
def test_a_model_that_prints_leaves_json_alone(command: Command, place: Path) -> None:
    text = "import tiny\n\ndef model():\n    print('hello')\n    made = tiny.means()\n"
    text += "    made.register_forward_hook(lambda *_: print('called'))\n    return made\n"
    (place / "chatty.py").write_text(text)
    done = command("evaluate", "chatty:model", "--data", "digits", "--limit", "4", "--attack", "fgsm", "--json")
    assert json.loads(done.out)["data"]["n"] == 4
    assert "hello" in done.err
    assert "called" in done.err


def test_without_the_process_own_output_python_is_redirected(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with alone.results_alone():
            sys.stdout.write("aside\n")
            alone.put("result")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    alone.put("after")
    assert capsys.readouterr() == ("result\nafter\n", "aside\n")
