"""Memory that is free goes back to the machine, so that what a busy hour took is not kept for good.

asyncio asks for 256 KiB for every read of a socket and keeps what came; in glibc's heap that leaves holes which are
mostly too small for the next read, and glibc by itself gives back only what lies at the heap's end.
"""

from __future__ import annotations

import ctypes
import gc

OFTEN = 5  # collections of what is new before one of what is young, instead of 10: half as long each
NEVER = 1_000_000  # collections of what is young before one of everything


def give_back() -> bool:
    """Hand whole free pages of the heap to the kernel, which takes a few milliseconds; whether the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only: malloc_trim(3)
    if trim is None:
        return False
    trim(ctypes.c_size_t(0))
    return True


def collect_seldom() -> None:
    """Python no longer looks through everything by itself, which takes 8 ms in the midst of 200 replies: the runtime
    has it done when nobody waits. What is young is still looked through; hardly anything is left for the other but
    the transports of closed connections."""
    new, _, _ = gc.get_threshold()
    gc.set_threshold(new, OFTEN, NEVER)
