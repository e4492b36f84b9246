"""What compose.yaml promises about the sandbox; nobody would notice a line of it that went missing."""

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return found


def test_the_sandbox_has_nothing_to_take_and_nowhere_to_go(services: dict[str, dict[str, Any]]) -> None:
    sandbox = services["sandbox"]
    expected = {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "always",
    }
    assert {name: sandbox.get(name) for name in expected} == expected
    assert not sandbox.keys() & {"environment", "env_file", "ports", "privileged", "devices", "pid", "ipc", "cap_add", "secrets", "build"}
    assert sandbox["volumes"] == ["sandbox:/run/aristobot-sandbox"], "no code, no data, no docker.sock"
    assert {"pids_limit", "mem_limit", "memswap_limit", "cpus"} <= sandbox.keys()


def test_the_sandbox_is_another_user_than_the_server_and_shares_one_group(services: dict[str, dict[str, Any]]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    uid, gid = services["sandbox"]["user"].split(":")
    assert f"--uid {gid} --gid {gid}" in dockerfile
    assert uid != gid
    assert f"install -d -o {uid} -g {gid} -m 0750 /run/aristobot-sandbox" in dockerfile


def test_server_and_sandbox_meet_at_one_socket(services: dict[str, dict[str, Any]]) -> None:
    path = services["server"]["environment"]["SANDBOX_SOCKET"]
    assert services["sandbox"]["command"][-2:] == ["--socket", path]
    assert path in services["sandbox"]["healthcheck"]["test"][-1]
    assert "sandbox:/run/aristobot-sandbox" in services["server"]["volumes"]
