"""Locks the calling process in, for good. The order matters; each step says what must not come before or after it."""

import contextlib
import os
import random
import resource
import signal
from typing import Final

import numpy as np
from numpy import random as numpy_random  # here and not at its first use, when there are no more files

from app.sandbox.lock import kernel
from app.sandbox.lock.tables import Machine
from app.sandbox.orders import Order

#: Workers get this user and the following ones, where sandboxd may choose: beyond what people, services and the users of containers get.
FIRST_UID: Final = 2_200_000_000
_STACK_BYTES: Final = 8 << 20
_NOTHING: Final = (
    resource.RLIMIT_CORE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_MEMLOCK,
    resource.RLIMIT_MSGQUEUE,
)


def lock(order: Order, here: Machine | None, *, has_own_uids: bool, parent: int) -> None:
    """Take away from this process everything but computing and the socket at descriptor 3, which is all it has open.

    Args:
        order: Its limits, and the layers to apply: each of them or an error, never less.
        here: Whose system calls; None leaves out what needs a table, which the order's layers must then do as well.
        has_own_uids: Whether the kernel lets this process change its user.
        parent: The process with which this one shall die.

    Raises:
        OSError: a layer could not be applied; the process must not run anything then.
    """
    layers = order.layers
    os.setsid()
    _volunteer_for_the_oom_killer()
    os.nice(order.nice)
    if order.is_batch:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if layers.rlimits:
        _limit(order)
    if layers.uid and has_own_uids:
        _become(FIRST_UID + order.slot)
    if here is not None and layers.uid:
        kernel.drop_capabilities(here)
    # After the change of user, which resets both.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it had died before the signal was asked for
    if layers.dumpable:
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    _reseed()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if here is not None and layers.landlock:
        kernel.deny_by_landlock(here)
    if here is not None and layers.seccomp:
        kernel.filter_by_seccomp(here)


def _volunteer_for_the_oom_killer() -> None:
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # the zygote is not, and what is not belongs to root
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _limit(order: Order) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    limits = dict.fromkeys(_NOTHING, 0)
    limits[resource.RLIMIT_SIGPENDING] = 8
    limits[resource.RLIMIT_STACK] = _STACK_BYTES
    limits[resource.RLIMIT_AS] = present + order.memory_bytes
    limits[resource.RLIMIT_NOFILE] = 16
    if order.life_cpu_s:
        limits[resource.RLIMIT_CPU] = order.life_cpu_s
    for which, most in limits.items():
        _, hard = resource.getrlimit(which)
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (bounded, bounded))


def _become(uid: int) -> None:
    kernel.drop_bounding_set()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _reseed() -> None:
    """A fork copies the state of random numbers, and numpy does not notice."""
    random.seed(os.urandom(16))
    numpy_random.seed(np.frombuffer(os.urandom(32), dtype=np.uint32))
