"""All attacks, by number."""

from typing import Final

from tests.sandbox.attacks.row import Attack
from tests.sandbox.attacks.rows_files import FILES
from tests.sandbox.attacks.rows_kernel import KERNEL
from tests.sandbox.attacks.rows_memory import MEMORY
from tests.sandbox.attacks.rows_network import NETWORK
from tests.sandbox.attacks.rows_processes import PROCESSES
from tests.sandbox.attacks.rows_replies import REPLIES
from tests.sandbox.attacks.rows_resources import RESOURCES
from tests.sandbox.attacks.rows_sources import SOURCES

ATTACKS: Final[dict[int, Attack]] = {
    attack.number: attack
    for attack in sorted(
        (*FILES, *NETWORK, *PROCESSES, *KERNEL, *MEMORY, *RESOURCES, *REPLIES, *SOURCES),
        key=lambda attack: attack.number,
    )
}
