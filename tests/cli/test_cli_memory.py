import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from robustlab.cli.memory import keep_freed_memory

class Counts(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype = Counts, ctypes.c_void_p
{call}
before = libc.mallinfo2().hblks
assert libc.malloc(ctypes.c_size_t(100 << 20))
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
@pytest.mark.parametrize(("call", "mapped"), [("", 1), ("keep_freed_memory()", 0)])
def test_big_blocks_come_from_memory_that_can_be_used_again(call: str, mapped: int) -> None:
    program = [sys.executable, "-c", PROGRAM.format(call=call)]
    assert int(subprocess.run(program, capture_output=True, check=True).stdout) == mapped
