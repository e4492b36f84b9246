"""The zygote: has imported everything that strategies use, holds no secret, and makes each worker by a fork of itself.

Started as a script by `python -I -S -B`, with a fixed environment and one descriptor. It has one thread.
"""

import gc
import os
import platform
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # isolated and without site: it knows nothing but the standard library until it is told
    sys.path += sys.argv[2:]
    # TA-Lib imports these where they are installed: they start threads, and none of them belongs in a strategy.
    sys.modules.update(dict.fromkeys(("pandas", "polars", "pyarrow")))  # type: ignore[arg-type]  # None: it cannot be imported

from app.sandbox import orders, worker  # found on the path that was set above
from app.sandbox.guest import preload  # as above
from app.sandbox.lock import kernel  # as above
from app.sandbox.lock.sequence import FIRST_UID  # as above
from app.sandbox.lock.tables import Machine  # as above

_LARGEST_ORDER: Final = 65_536
_MOST_DESCRIPTORS: Final = 64


def main(control_fd: int) -> None:
    """Report what the kernel offers, then make workers as ordered until sandboxd closes the control socket."""
    here = kernel.machine()
    os.setsid()
    preload.warm_up()
    gc.collect()
    gc.freeze()
    facts = survey(here)
    if not facts.is_single_threaded:
        sys.exit("the zygote has more than one thread: a fork would copy locks that nobody ever frees")
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    control.setblocking(True)
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    control.send(orders.encode(facts))
    while True:
        readable = select.select([control.fileno(), woken], [], [])[0]
        if woken in readable:
            os.read(woken, 4096)
            _report_dead(control)
        if control.fileno() in readable and not _obey(control, here, facts):
            return


def _obey(control: socket.socket, here: Machine | None, facts: orders.Facts) -> bool:
    """Make one worker; False when there are no more orders to come."""
    message, descriptors, _, _ = socket.recv_fds(control, _LARGEST_ORDER, _MOST_DESCRIPTORS)
    if not message:
        return False
    order = orders.ORDER.decode(message)
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:  # no process or no memory is left for another one: the workers that live are not to end for that
        for fd in descriptors:
            os.close(fd)
        control.send(orders.encode(orders.Refused(number=order.number, detail=f"no process is left for another worker: {error}"[:300])))
        return True
    if not pid:
        control.detach()  # its descriptor becomes the worker's own socket
        worker.live(order, descriptors, here, has_own_uids=facts.has_own_uids, parent=parent)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [orders.encode(orders.Hatched(number=order.number, pid=pid))], [pidfd])
    for fd in (pidfd, *descriptors):
        os.close(fd)
    return True


def _report_dead(control: socket.socket) -> None:
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        control.send(orders.encode(orders.Died(pid=pid, status=code, cpu_s=used.ru_utime + used.ru_stime)))


def survey(here: Machine | None) -> orders.Facts:
    """Return what the kernel offers this process; nothing of it is assumed from a version."""
    interfaces = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]
    return orders.Facts(
        pid=os.getpid(),
        machine=here.name if here else "",
        kernel=platform.release()[:64],
        landlock_abi=kernel.landlock_abi(here) if here else 0,
        has_seccomp=bool(here and kernel.can_kill_by_seccomp(here)),
        has_own_uids=_may_change_user(),
        is_networkless=all(line.strip().startswith("lo:") for line in interfaces),
        is_single_threaded=len(os.listdir("/proc/self/task")) == 1,
        environment=sorted(os.environ),
    )


def _may_change_user() -> bool:
    """Whether workers can have users of their own: tried for real, for root in a container may lack the right or the numbers."""
    if os.geteuid():
        return False
    pid = os.fork()
    if not pid:
        try:
            kernel.drop_bounding_set()
            os.setgroups([])
            os.setresgid(FIRST_UID, FIRST_UID, FIRST_UID)
            os.setresuid(FIRST_UID, FIRST_UID, FIRST_UID)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
