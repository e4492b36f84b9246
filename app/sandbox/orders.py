"""What sandboxd, its zygote and the workers say to each other, and the layers of the lock."""

from typing import Annotated

import msgspec
from msgspec import Meta

from app.sandbox.messages import MOST_FRAMES, Frame


class Layers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which layers of the lock a worker gets; docs/sandbox.md says what each promises.

    The product applies every one that the kernel has. Tests leave one out at a time, to see that the attacks which it stops then succeed.
    """

    close_fds: bool = True
    rlimits: bool = True
    uid: bool = True
    dumpable: bool = True
    landlock: bool = True
    seccomp: bool = True
    audit_hook: bool = True


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the kernel offers a zygote; its first message.

    Attributes:
        machine: The architecture, empty where the lock has no table for it.
        landlock_abi: 0 without landlock.
        has_seccomp: Whether filters can kill a process.
        has_own_uids: Whether workers can be given users of their own.
        is_networkless: Whether nothing but a loopback interface is there.
        is_single_threaded: A fork of a process with threads would copy locks that nobody frees.
        environment: Names of the variables that it can see.
    """

    pid: int
    machine: str
    kernel: str
    landlock_abi: int
    has_seccomp: bool
    has_own_uids: bool
    is_networkless: bool
    is_single_threaded: bool
    environment: list[str]


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a worker. Its socket, the memory of each frame, and that of the results come along as descriptors, in this order.

    Attributes:
        number: Comes back with the answer: who ordered may have gone, and the answer must not be taken for that to the next order.
        slot: Decides the worker's user: no two that live at the same time share one.
        memory_bytes: What it may use beyond what it starts with.
        life_cpu_s: Processor seconds of its whole life, after which the kernel ends it; 0 for one that lives on.
        nice: Added to the zygote's niceness.
        is_batch: Whether the scheduler may let it wait behind whoever waits for an answer.
        is_probe: Runs a source of our own as it is instead of a strategy: the doctor and the tests attack their own lock that way.
    """

    number: int = 0
    slot: Annotated[int, Meta(ge=0, lt=100_000)] = 0
    frames: Annotated[list[Frame], Meta(max_length=MOST_FRAMES)] = []
    result_rows: Annotated[int, Meta(ge=0)] = 0
    memory_bytes: int = 256 << 20
    life_cpu_s: Annotated[int, Meta(ge=0)] = 0
    nice: Annotated[int, Meta(ge=0, le=19)] = 5
    is_batch: bool = False
    is_probe: bool = False
    layers: Layers = Layers()


class Hatched(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hatched"):
    """The worker of the order with this number lives; a pidfd comes along."""

    number: int
    pid: int


class Refused(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="refused"):
    """The worker of the order with this number could not be made; the zygote and the other workers live on."""

    number: int
    detail: Annotated[str, Meta(max_length=300)]


class Died(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="died"):
    """A worker has ended. `status` is an exit code, or a signal's number made negative."""

    pid: int
    status: int
    cpu_s: float


#: The first frame that a worker sends: the lock is closed. Otherwise the frame says why it is not.
READY = b"ready"
ORDER = msgspec.msgpack.Decoder(Order)
FACTS = msgspec.msgpack.Decoder(Facts)
NEWS = msgspec.msgpack.Decoder(Hatched | Refused | Died)
encode = msgspec.msgpack.Encoder().encode
