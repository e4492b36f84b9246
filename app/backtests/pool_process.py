"""A process of the pool: takes tasks of its server one after the other, computes them at low priority, and ends with the server.

It is a process of its own so that neither the event loop nor what is imported for computing (what loads compiled code alone is 60 MB) is
the server's business. It sees none of the server's environment.
"""

import argparse
import ctypes
import io
import os
import pickle
import resource
import signal
import socket
import struct
import sys
from typing import Any, Final

from app.backtests.lending import Descriptor
from app.sandbox.lock.kernel import keep_freed_memory

#: Length of the body, and how many descriptors come with it.
HEADER: Final = struct.Struct("<QI")
MOST_DESCRIPTORS: Final = 64
NICE: Final = 15
#: Where memory runs out the kernel takes this process before the server and the database.
_OOM_SCORE: Final = 600
_PR_SET_PDEATHSIG: Final = 1


class Pickler(pickle.Pickler):
    """Writes descriptors as their places among those that are sent along."""

    def __init__(self, target: io.BytesIO) -> None:
        super().__init__(target, protocol=pickle.HIGHEST_PROTOCOL)
        self.descriptors: list[int] = []

    def persistent_id(self, obj: Any) -> int | None:
        """Return a descriptor's place; None for anything else."""
        if not isinstance(obj, Descriptor):
            return None
        self.descriptors.append(obj.number)
        return len(self.descriptors) - 1


class _Unpickler(pickle.Unpickler):  # what this process reads is written by its own server alone
    def __init__(self, source: io.BytesIO, descriptors: list[int]) -> None:
        super().__init__(source)
        self._descriptors = descriptors

    def persistent_load(self, pid: Any) -> Descriptor:
        return Descriptor(self._descriptors[pid])


def written(message: object) -> tuple[bytes, list[int]]:
    """Return a message's body and the descriptors that go with it."""
    target = io.BytesIO()
    pickler = Pickler(target)
    pickler.dump(message)
    return target.getvalue(), pickler.descriptors


def serve(sock: socket.socket) -> None:
    """Compute what is asked until the server hangs up."""
    while (task := _next(sock)) is not None:
        body, descriptors = task
        try:
            answer = _answered(body, descriptors)
        finally:
            for number in descriptors:
                os.close(number)
        sock.sendall(HEADER.pack(len(answer), 0))
        sock.sendall(answer)


def _next(sock: socket.socket) -> tuple[bytes, list[int]] | None:
    head, descriptors, _, _ = socket.recv_fds(sock, HEADER.size, MOST_DESCRIPTORS)
    if not head:
        return None
    head += _exactly(sock, HEADER.size - len(head))
    length, _count = HEADER.unpack(head)
    return _exactly(sock, length), list(descriptors)


def _exactly(sock: socket.socket, length: int) -> bytes:
    received = bytearray(length)
    view = memoryview(received)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError("the server hung up in the middle of a message")
        view = view[count:]
    return bytes(received)


def _answered(body: bytes, descriptors: list[int]) -> bytes:
    try:
        function, arguments = _Unpickler(io.BytesIO(body), descriptors).load()
        answer: tuple[bool, object] = True, function(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is raised where the task was asked for
        answer = False, _portable(error)
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def _portable(error: Exception) -> Exception:
    """Return an error that the server can read: its own arguments, or else its text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    except Exception:  # noqa: BLE001  # an error may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _settle_in(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the server's to answer
    if sys.platform == "linux":
        # Also where the server is killed: nobody wants the rest of a computation then.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(_OOM_SCORE))
    if os.getppid() != parent:
        raise SystemExit(0)  # it had ended before this one asked to be told


def main() -> None:
    """Serve the socket that the server left open."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    _settle_in(given.parent)
    keep_freed_memory()  # the next task wants arrays as large; this process ends after some idle minutes
    with socket.socket(fileno=given.fd) as sock:
        serve(sock)
