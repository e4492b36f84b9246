"""PostgreSQL refuses to run as root. Started by root, the server runs as a system account of its own, which gets as few rights as will do.

Nothing is opened to everybody for reading or writing. Folders on the way to the data and to the binaries get the right to be *passed
through* where the account lacks it, and the data folder itself goes to the account's group rather than to the world.
"""

import os
import pwd
import shutil
import stat
import subprocess
import time
from pathlib import Path

import structlog

from app.errors import ConfigError

log = structlog.get_logger(__name__)

#: The name that the packaged PostgreSQL uses for the same purpose.
ACCOUNT = "pgserver"
_CREATE_TIMEOUT_S = 10.0


def server_account(cluster: Path) -> pwd.struct_passwd | None:
    """Return the account the server must run as, or None for "ourselves". Only root needs another one.

    A database folder that already belongs to an ordinary user keeps belonging to them when root starts it.

    Raises:
        ConfigError: the account cannot be made, or the folder belongs to somebody else and we are not root.
    """
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise ConfigError(
                f"the database folder {cluster} belongs to user {owner} and this is user {os.geteuid()}: "
                f"start Aristobot as that user, or choose another DATA_DIR"
            )
        return None
    if owner:  # neither a new folder nor one of root's
        try:
            return pwd.getpwuid(owner)
        except KeyError as e:
            raise ConfigError(f"the database folder {cluster} belongs to user {owner}, who has no account on this machine") from e
    return _find() or _create()


def _find() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    advice = "start Aristobot as an ordinary user, or set DATABASE_URL"
    if useradd is None:
        raise ConfigError(f"PostgreSQL refuses to run as root, and this system has no useradd to make the account {ACCOUNT!r}: {advice}")
    command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    deadline = time.monotonic() + _CREATE_TIMEOUT_S
    while True:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603  # a fixed command
        # Two first starts at once, in different data folders, race here: useradd then finds the account, or /etc/passwd locked.
        if account := _find():
            log.info("made a system account for PostgreSQL, which refuses to run as root", account=ACCOUNT)
            return account
        if time.monotonic() > deadline:
            raise ConfigError(f"the account {ACCOUNT!r} for PostgreSQL could not be made ({done.stderr.strip()}): {advice}")
        time.sleep(0.1)


def admit(account: pwd.struct_passwd, folder: Path) -> None:
    """Let the account's group pass through `folder`, which must be ours to give. Does nothing when it already may."""
    if not _may_enter(account, folder.stat()):
        os.chown(folder, -1, account.pw_gid)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXGRP)


def open_way(account: pwd.struct_passwd, target: Path) -> None:
    """Let the account pass through every folder above `target`: entering only, neither listing nor reading."""
    for folder in reversed(target.parents):
        mode = folder.stat()
        if not _may_enter(account, mode):
            log.warning("opened a folder for passing through, so that PostgreSQL's account can reach its files", folder=str(folder))
            folder.chmod(stat.S_IMODE(mode.st_mode) | stat.S_IXOTH)


def open_programs(account: pwd.struct_passwd, *trees: Path) -> None:
    """Let the account run programs installed under a umask that kept them to root. They are public software: reading is harmless."""
    for tree in trees:
        open_way(account, tree)
        if tree.stat().st_mode & stat.S_IXOTH:
            continue
        for path in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _may_enter(account: pwd.struct_passwd, folder: os.stat_result) -> bool:
    if folder.st_uid == account.pw_uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == account.pw_gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)
