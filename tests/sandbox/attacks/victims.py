"""Whom the attacks are aimed at: a process that is like the server, with secrets wherever a server may have them."""

import ctypes
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The variable in which the launcher hands the server its secret, so that /proc/<server>/environ has it too.
VARIABLE: Final = "FERNET_KEY"


def new_secret(whose: str) -> str:
    """Return a secret that attacks recognise when they find it: of the `server` or of a `tenant`."""
    return f"{whose}-secret-{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Server:
    """What this process has to lose."""

    secret: str
    memory: "ctypes.Array[ctypes.c_char]"
    folder: Path
    listeners: tuple[socket.socket, ...]
    datagrams: socket.socket

    def facts(self) -> dict[str, object]:
        """Return what an attacker is told about it: where everything is, and not one secret."""
        tcp, path, abstract = (listener.getsockname() for listener in self.listeners)
        return {
            "server_pid": os.getpid(),
            "secret_address": ctypes.addressof(self.memory),
            "secret_length": len(self.secret),
            "env_file": str(self.folder / ".env"),
            "app_file": str(self.folder / "settings.txt"),
            "closed_folder": str(self.folder),
            "open_folder": str(self.folder / "open"),
            "tcp_port": tcp[1],
            "unix_path": path,
            "abstract_name": abstract[1:].decode(),
            "udp_port": self.datagrams.getsockname()[1],
            "int_0x80": _int_0x80(),
        }

    def visitors(self) -> int:
        """Return how many connections and packets have come since the last time."""
        came = 0
        for listener in self.listeners:
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    break
                came += 1
        while True:
            try:
                self.datagrams.recv(100)
            except BlockingIOError:
                return came
            came += 1

    def is_unharmed(self) -> bool:
        """Whether memory and files are what they were."""
        kept = {path.name for path in self.folder.iterdir()} | {path.name for path in (self.folder / "open").iterdir()}
        is_secret_kept = self.memory.raw == self.secret.encode() and self.secret in (self.folder / ".env").read_text()
        return is_secret_kept and kept == {".env", "settings.txt", "open", "postgres.sock"}


def _int_0x80() -> int:
    """Where in the C library `int 0x80` stands by chance, counted from its function `syscall`; 0 where it does not."""
    start = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value or 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(it, 16) for it in line.split()[0].split("-"))
        if first <= start < last:
            found = ctypes.string_at(first, last - first).find(bytes([0xCD, 0x80]))
            return 0 if found < 0 else first + found - start
    return 0


@contextmanager
def server() -> Iterator[Server]:
    """Become like the server: the secret of the environment in memory and in files, and every kind of socket."""
    secret = os.environ[VARIABLE]
    folder = Path(tempfile.mkdtemp(prefix="aristobot-attacks-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "open").mkdir()
    (folder / "open").chmod(0o1777)
    for name, mode in ((".env", 0o600), ("settings.txt", 0o644)):
        (folder / name).write_text(f"{VARIABLE}={secret}\n")
        (folder / name).chmod(mode)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        listeners = tuple(
            stack.enter_context(_listening(family, address))
            for family, address in (
                (socket.AF_INET, ("127.0.0.1", 0)),
                (socket.AF_UNIX, str(folder / "postgres.sock")),
                (socket.AF_UNIX, f"\0aristobot-{secrets.token_hex(8)}"),
            )
        )
        (folder / "postgres.sock").chmod(0o777)
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        yield Server(secret, ctypes.create_string_buffer(secret.encode(), len(secret)), folder, listeners, datagrams)


def _listening(family: int, address: "tuple[str, int] | str") -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(128)
    listener.setblocking(False)
    return listener
