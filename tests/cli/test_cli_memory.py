import subprocess
import sys

import pytest

PROGRAM = """
import resource, numpy
from robustlab.cli.memory import keep_freed_memory
{call}
for _ in range(40):
    numpy.ones(1 << 22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_used_again() -> None:
    calls = ("", "keep_freed_memory()")
    programs = [[sys.executable, "-c", PROGRAM.format(call=call)] for call in calls]
    without, kept = (int(subprocess.run(p, capture_output=True, check=True).stdout) for p in programs)
    assert kept < without / 3
