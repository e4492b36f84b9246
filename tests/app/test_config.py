import re
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from app.core.config import Settings, load_secrets
from app.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STRONG = "0123456789-abcdefghijklmnopqrstuvwxyz"


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_first_start_makes_the_secrets_once_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secrets, made = load_secrets(settings(data_dir=folder))
    again, made_again = load_secrets(settings(data_dir=folder))
    assert (made, made_again) == (["JWT_SECRET", "FERNET_KEY"], [])
    assert (again.jwt_secret, again.fernet_keys) == (secrets.jwt_secret, secrets.fernet_keys)
    assert stat.S_IMODE((folder / "secrets.env").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["secrets.env"]
    assert secrets.jwt_secret not in repr(secrets)


def test_given_secrets_are_used_and_not_written_down(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    secrets, made = load_secrets(settings(data_dir=tmp_path / "none", jwt_secret=STRONG, fernet_key=key))
    assert (secrets.jwt_secret, secrets.fernet_keys, made) == (STRONG, (key,), [])
    assert not (tmp_path / "none").exists()


def test_several_keys_are_taken_for_a_rotation(tmp_path: Path) -> None:
    keys = [Fernet.generate_key().decode() for _ in range(2)]
    secrets, _ = load_secrets(settings(data_dir=tmp_path, jwt_secret=STRONG, fernet_key=f" {keys[0]}, {keys[1]},"))
    assert secrets.fernet_keys == tuple(keys)


@pytest.mark.parametrize(
    "secret", ["short", "x" * 31, "a" * 64, "abcabcabc" * 8, "changethis-0123456789-abcdefghijkl", "my-Secret-0123456789-abcdefghijkl"]
)
def test_weak_signing_secret_is_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET"):
        load_secrets(settings(data_dir=tmp_path, jwt_secret=secret, fernet_key=Fernet.generate_key().decode()))


@pytest.mark.parametrize(
    "key",
    ["x", "é" * 44, "A" * 44, ",", Fernet.generate_key().decode() + ",x"],
    ids=["short", "not ASCII", "no padding", "comma", "second short"],
)
def test_malformed_encryption_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="FERNET_KEY"):
        load_secrets(settings(data_dir=tmp_path, jwt_secret=STRONG, fernet_key=key))


def test_weak_secret_in_the_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("# a comment\nJWT_SECRET=\n")
    with pytest.raises(ConfigError, match="at least 32 bytes, was 0"):
        load_secrets(settings(data_dir=tmp_path))


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
