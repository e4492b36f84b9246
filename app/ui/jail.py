"""How strategies are locked in, in the words of the administration page."""

from typing import Final

from app.core.i18n import N_, gettext
from app.sandbox.jail import Jail
from app.sandbox.link import Finding, Level
from app.ui.views import JailFinding, JailPanel

_LEVELS: Final = {
    Level.A: N_("Strategies of strangers may run: two walls of the kernel hold them in, and behind these is nothing to take."),
    Level.B: N_("Strategies of strangers may run, with one protection less than there could be."),
    Level.C: N_("Strategies of strangers may not run on this machine."),
    Level.D: N_("Strategies cannot be locked in on this machine."),
}
_FINDINGS: Final = {
    "zygote": N_("The process from which strategies are made starts"),
    "lock": N_("The lock closes"),
    "machine": N_("The lock knows this processor"),
    "seccomp": N_("The kernel filters system calls (seccomp)"),
    "landlock": N_("The kernel denies files and connections (landlock)"),
    "own_users": N_("Each strategy has a user of its own"),
    "no_network": N_("There is no network around strategies"),
    "clean_spawn": N_("Nothing of the server's environment is there"),
    "no_new_privileges": N_("No rights can be gained"),
    "filter": N_("The filter is on"),
    "capabilities": N_("No rights of an administrator are left"),
    "attack_read_a_file": N_("Attack: read a file"),
    "attack_list_a_directory": N_("Attack: list a folder"),
    "attack_write_a_file": N_("Attack: write a file"),
    "attack_read_a_file_in_c": N_("Attack: read a file around Python"),
    "attack_reach_the_network": N_("Attack: reach the network"),
    "attack_reach_a_unix_socket": N_("Attack: reach a socket of this machine"),
    "attack_fork": N_("Attack: start a process"),
    "attack_run_a_program": N_("Attack: run a program"),
    "attack_start_a_thread": N_("Attack: start a thread"),
    "attack_signal_a_process": N_("Attack: signal another process"),
    "attack_trace_a_process": N_("Attack: look into another process"),
    "attack_run_machine_code": N_("Attack: run machine code"),
    "attack_use_another_descriptor": N_("Attack: use an open file of the server"),
    "attack_take_all_memory": N_("Attack: take all memory"),
    "attack_never_end": N_("Attack: never end"),
    "attack_forge_an_answer": N_("Attack: forge an answer"),
}


def jail_panel(jail: Jail) -> JailPanel:
    """Return the region; call it inside the reader's language."""
    report = jail.report
    if report is None:
        return JailPanel(problem=jail.problem, restarts=jail.restarts)
    return JailPanel(
        level=report.level.value,
        words=gettext(_LEVELS[report.level]),
        is_open=jail.is_open,
        is_forced=jail.is_forced,
        findings=tuple(_row(finding) for finding in report.findings),
        workers=jail.workers,
        restarts=jail.restarts,
    )


def _row(finding: Finding) -> JailFinding:
    # Sandboxd's words are text from outside: an unknown code is shown as it is, escaped by the template.
    words = _FINDINGS.get(finding.code)
    return JailFinding(
        code=finding.code, words=gettext(words) if words is not None else finding.code, is_good=finding.is_good, detail=finding.detail
    )
