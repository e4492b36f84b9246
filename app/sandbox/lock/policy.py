"""What a worker may ask of the kernel, as data: system calls by name, in the order in which the filter looks for them.

Everything that no group names gets ENOSYS, which is as safe as killing (the call does not happen) and lets a newer C library fall back
when it tries a call that is newer than this list.
"""

import errno
from typing import Final

#: Allowed when the first argument is the worker's one socket; another descriptor gets EBADF. What a strategy calls most comes first.
ON_THE_SOCKET: Final = ("read", "write")

#: Allowed whatever the arguments: memory, time, random numbers, waiting, and ending.
ALLOWED: Final = (
    "munmap", "mremap", "brk", "madvise", "futex", "clock_gettime", "getpid", "gettid", "getrandom",
    "rt_sigreturn", "rt_sigprocmask", "sigaltstack", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    "sched_yield", "restart_syscall", "getcwd", "getrusage", "times", "getcpu", "membarrier", "exit", "exit_group",
)  # fmt: skip

#: Refused with an error that Python understands, so that an import or a library's probe fails politely.
REFUSED: Final = (
    (
        errno.EACCES,
        ("open", "openat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
         "getdents64", "getdents"),
    ),
    (errno.EBADF, ("close", "fstat", "lseek", "ioctl", "dup", "dup2", "dup3", "fcntl", "pread64", "ftruncate")),
    (
        errno.EPERM,
        ("rt_sigaction", "sched_getaffinity", "sched_setaffinity", "prlimit64", "getrlimit", "setrlimit", "sysinfo", "uname",
         "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getppid", "prctl", "poll", "ppoll",
         "mkdir", "mkdirat", "unlink", "unlinkat", "symlink", "symlinkat", "rename", "renameat", "renameat2", "chmod", "fchmodat",
         "pipe", "pipe2"),
    ),
    (errno.ENOSYS, ("clone3",)),
)  # fmt: skip

#: Nothing that computes ever asks for these: whoever does is looking for a way out, and dies at once with a trace in the audit log.
DEADLY: Final = (
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg",
    "recvmmsg", "getsockname", "getpeername", "getsockopt", "setsockopt", "shutdown",
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease",
    "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "bpf", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "perf_event_open", "keyctl", "add_key",
    "request_key", "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr", "memfd_create", "memfd_secret",
    "shmget", "shmat", "shmctl", "shmdt", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "semtimedop",
    "mq_open", "mq_unlink", "openat2", "open_by_handle_at", "name_to_handle_at", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
    "personality", "modify_ldt", "ioperm", "iopl", "reboot", "swapon", "swapoff", "acct", "settimeofday", "clock_settime",
)  # fmt: skip

#: Looked at by their arguments; the filter has a rule of its own for each.
BY_ARGUMENT: Final = ("mmap", "mprotect", "tgkill", "clone")


def named() -> frozenset[str]:
    """Return every system call that the policy names."""
    polite = (name for _, names in REFUSED for name in names)
    return frozenset((*ON_THE_SOCKET, *ALLOWED, *polite, *DEADLY, *BY_ARGUMENT))
