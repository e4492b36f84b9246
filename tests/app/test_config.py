import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from app.core import secrets_file
from app.core.config import Settings
from app.core.secrets_file import KeySource, load_jwt_secret
from app.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STRONG = "0123456789-abcdefghijklmnopqrstuvwxyz"


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_signing_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret, is_made = load_jwt_secret(settings(data_dir=folder))
    assert is_made
    assert load_jwt_secret(settings(data_dir=folder)) == (secret, False)
    assert stat.S_IMODE((folder / "secrets.env").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"secrets.env", "secrets.lock"}


def test_processes_that_write_at_once_lose_nothing_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, key = settings(data_dir=tmp_path), Fernet.generate_key().decode()
    read, is_reading, go_on = secrets_file._read, threading.Event(), threading.Event()

    def read_slowly(data_dir: Path) -> dict[str, str]:
        found = read(data_dir)
        if threading.current_thread().name.startswith("slow") and not go_on.is_set():
            is_reading.set()
            go_on.wait(0.5)
        return found

    monkeypatch.setattr(secrets_file, "_read", read_slowly)
    with ThreadPoolExecutor(thread_name_prefix="slow") as slow, ThreadPoolExecutor(thread_name_prefix="quick") as quick:
        made = slow.submit(load_jwt_secret, chosen)
        assert is_reading.wait(5)
        written = quick.submit(KeySource(chosen).write, (key,))
        other = quick.submit(load_jwt_secret, chosen)
        written.result(5)
        go_on.set()
        assert made.result(5)[0] == other.result(5)[0], "one signing secret for both"
    assert KeySource(chosen).read() == (key,)


def test_given_secrets_are_used_and_not_written_down(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    chosen = settings(data_dir=tmp_path / "none", jwt_secret=STRONG, fernet_key=key)
    source = KeySource(chosen)
    assert load_jwt_secret(chosen) == (STRONG, False)
    assert (source.read(), source.is_given, source.place) == ((key,), True, "FERNET_KEY in the environment or .env")
    assert not (tmp_path / "none").exists()
    assert key not in repr(source)


def test_several_keys_are_taken_for_a_rotation(tmp_path: Path) -> None:
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    assert KeySource(settings(data_dir=tmp_path, fernet_key=f" {keys[0]}, {keys[1]},{keys[0]}")).read() == tuple(keys)


def test_a_written_key_is_read_again_beside_the_other_secret(tmp_path: Path) -> None:
    chosen = settings(data_dir=tmp_path)
    secret, _ = load_jwt_secret(chosen)
    source, keys = KeySource(chosen), tuple(Fernet.generate_key().decode() for _ in range(2))
    assert source.read() == ()
    source.write(keys)
    assert source.read() == keys
    assert load_jwt_secret(chosen) == (secret, False)
    assert stat.S_IMODE((tmp_path / "secrets.env").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "secret", ["short", "x" * 31, "a" * 64, "abcabcabc" * 8, "changethis-0123456789-abcdefghijkl", "my-Secret-0123456789-abcdefghijkl"]
)
def test_weak_signing_secret_is_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET"):
        load_jwt_secret(settings(data_dir=tmp_path, jwt_secret=secret))


@pytest.mark.parametrize(
    "key",
    ["x", "é" * 44, "A" * 44, ",", Fernet.generate_key().decode() + ",x"],
    ids=["short", "not ASCII", "no padding", "comma", "second short"],
)
def test_malformed_encryption_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="FERNET_KEY"):
        KeySource(settings(data_dir=tmp_path, fernet_key=key)).read()


def test_weak_secret_in_the_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("# a comment\nJWT_SECRET=\n")
    with pytest.raises(ConfigError, match="at least 32 bytes, was 0"):
        load_jwt_secret(settings(data_dir=tmp_path))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_debug_is_refused_where_others_could_reach_it(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback"):
        settings(debug_aristobot=True, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_debug_is_allowed_at_home(host: str) -> None:
    assert settings(debug_aristobot=True, host=host).is_loopback


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTBEAT_SYMBOLS", "BTC/USDT, ETH/USDT,")
    monkeypatch.setenv("ROLES", "web")
    chosen = settings()
    assert (chosen.heartbeat_symbols, chosen.roles) == (("BTC/USDT", "ETH/USDT"), ("web",))


@pytest.mark.parametrize(("url", "expected"), [(None, False), ("http://127.0.0.1:9000", True), ("https://api.binance.com", False)])
def test_only_an_emulator_on_this_machine_is_a_simulation(url: str | None, expected: bool) -> None:  # noqa: FBT001  # a column of the table
    assert settings(binance_rest_url=url).is_simulated is expected


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    shown = repr(settings(jwt_secret=STRONG, admin_password="hunter2hunter2", database_url="postgresql://u:pw@h/d"))
    assert STRONG not in shown
    assert "hunter2" not in shown
    assert ":pw@" not in shown


def test_example_file_lists_every_setting_and_no_other() -> None:
    path = ROOT / ".env.example"
    if not path.is_file():
        pytest.skip("this checkout has no .env.example")
    listed = set(re.findall(r"^#?\s*([A-Z][A-Z0-9_]+)=", path.read_text(), re.MULTILINE))
    assert listed == {name.upper() for name in Settings.model_fields}
