"""What is searched: each model with its flags, and each rule taken away, which spin must then find.

The one idea: a control is the same model with one rule removed by -DNAME; a search that finds nothing wrong with it is a failure
of the model, not a success of the protocol.
"""

from dataclasses import dataclass

ONE = "-DONENODE -DNOCLI"


@dataclass(frozen=True, slots=True)
class Search:
    """One search. `finds`: a word of what must be found wrong, empty for the protocol as it is. `rule`: what is removed.

    `daggers`: which of the marked rules of docs/protocol.md it removes, numbered as they stand there.
    """

    model: str
    flags: str
    says: str
    finds: str = ""
    rule: str = ""
    daggers: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The model and its flags."""
        return f"{self.model} {self.flags}".strip()

    @property
    def fair(self) -> bool:
        """Whether it asks for liveness under weak fairness."""
        return self.model == "queue"


SMALL = (
    Search("slots", f"{ONE} -DFAULTS=2 -DOPS=1 -DTRIES=2", "one node, two faults, one act of the operator"),
    Search("slots", f"{ONE} -DGROUPS -DGUARDLOSS -DFAULTS=2 -DOPS=1 -DTRIES=2", "the group changes, a guard is lost"),
    Search("slots", "-DONENODE -DFAULTS=1 -DOPS=0 -DTRIES=1", "one node and lockctl lock --wait, one fault"),
    Search("slots", "-DNOCLI -DFAULTS=1 -DOPS=0 -DTRIES=1", "two nodes, one fault"),
    Search("restore", "-DOPS=0 -DTRIES=1", "two nodes, the store comes back from a backup, a crash"),
    Search("queue", "-DLEAVER -DWATCHERS=1", "one slot, watches alone, one who leaves the queue at any time"),
    Search("queue", "-DPAUSE -DWATCHERS=1", "one slot, watches alone, a pause and its end"),
    Search("queue", "-DPOLL -DSLEEPER", "one who never claims is passed over (node 0)"),
    Search("queue", "-DPOLL -DSLEEPER -DWHO=1", "one who never claims is passed over (node 1)"),
    Search("queue", "-DPOLL -DN0=3 -DN1=1 -DN2=2", "a node with two limits between two with one each"),
)
LARGE = (
    Search("slots", f"{ONE} -DFAULTS=4 -DOPS=2 -DTRIES=2", "one node, four faults, two acts"),
    Search("slots", f"{ONE} -DGROUPS -DGUARDLOSS -DFAULTS=3 -DOPS=2 -DTRIES=2", "the group changes, a guard is lost"),
    Search("slots", "-DONENODE -DFAULTS=1 -DOPS=1 -DTRIES=1", "one node and lockctl lock --wait, one fault, one act"),
    Search("slots", "-DONENODE -DFAULTS=2 -DOPS=0 -DTRIES=1", "one node and lockctl lock --wait, two faults"),
    Search("slots", "-DNOCLI -DGUARDLOSS -DZE=2 -DFAULTS=1 -DOPS=1 -DTRIES=1", "two nodes, a guard is lost"),
    Search("slots", "-DNOCLI -DFAULTS=2 -DOPS=1 -DTRIES=1", "two nodes, two faults, one act, to the end"),
    Search("restore", "", "two nodes with two attempts each, a backup, a crash, a forced unlock"),
    Search("queue", "-DPAUSE -DLEAVER -DN0=3 -DN1=1 -DN2=2", "overlapping limits, a pause, one who leaves"),
)


def _slots(
    name: str, flags: str, budgets: str, rule: str, *, daggers: tuple[int, ...] = (), finds: str = "assertion"
) -> Search:
    faults, ops, tries = budgets.split()
    whole = f"-D{name} {flags} -DFAULTS={faults} -DOPS={ops} -DTRIES={tries}".replace("  ", " ")
    return Search("slots", whole, "", finds, rule, daggers)


CONTROLS = (
    _slots("ARM_STALE", ONE, "3 0 2",
           "an unknown commit is resolved by its own nonce, not the wanted state; an id for each arm", daggers=(1, 7)),
    _slots("FAIL_LOCAL", ONE, "1 0 1",
           "what a commit takes away comes from its snapshot, not from memory", daggers=(2,)),
    _slots("FREE_TODAY", f"{ONE} -DGROUPS", "1 0 2",
           "what a commit takes away is computed from its snapshot: the limits in the holder, not today's", daggers=(2,)),
    _slots("NOSTART", ONE, "2 0 2", "START deletes its ticket before anything else", daggers=(3,)),
    _slots("GROUPCHANGE", f"{ONE} -DGROUPS", "2 0 2",
           "START deletes the ticket that the journal names, not today's group's", daggers=(3,)),
    _slots("MAINT_START", "-DONENODE", "1 0 1", "a hold by hand is never verified, released or armed", daggers=(4,)),
    _slots("NOTICKET", ONE, "1 0 1", "a claim checks its ticket's revision", daggers=(5,)),
    _slots("NOARM", ONE, "1 1 1", "an arm is committed before the reboot", daggers=(6,)),
    _slots("NOREARM", ONE, "2 0 2", "each call of the rebooter has its own arm before it", daggers=(8,)),
    _slots("FSCK_ORDER", ONE, "0 1 1", "fsck reads the guard first, then the holders", daggers=(9,)),
    _slots("NOGUARD", "-DNOCLI", "0 0 1", "a claim checks the guards"),
    _slots("OFFBYONE", "-DNOCLI", "0 0 1", "a slot is granted below effective, not at it"),
    _slots("NORECOUNT", "-DNOCLI -DGUARDLOSS -DZE=2", "0 1 1", "a missing guard is made with a recount"),
    _slots("CLAIM_PAUSE", ONE, "0 1 1", "a claim checks cfg, brake and hold"),
    _slots("ARM_PAUSE", ONE, "0 1 1", "an arm checks cfg, brake and hold"),
    _slots("REVOKE_BLIND", ONE, "0 1 1", "an arm heeds the revoke and then marks"),
    _slots("FAIL_VERIFY", ONE, "1 0 1", "a failed holder stays failed while it verifies again"),
    _slots("FAIL_FORCE", ONE, "0 1 1", "a forced unlock takes the failed entry off the brake"),
    _slots("HOLDER_TTL", ONE, "1 0 1", "no lease stands behind a holder"),
    _slots("RELEASE_ON_START", ONE, "0 0 1", "after a boot it is verified before the slot goes back"),
    _slots("DISARM_PENDING", ONE, "0 0 1", "it is disarmed only when nothing can still fire"),
    _slots("MAINT_CANCEL", "-DONENODE", "0 0 1", "CANCEL releases a holder of its own nonce only"),
    _slots("MAINT_ALREADY", "-DONENODE", "0 0 1", "lock does not take the agent's holder for its own"),
    _slots("SHAREDTICKET", "-DONENODE", "1 0 1", "lock has a ticket of its own, a stray one is never adopted"),
    Search("restore", "-DNOPUTBACK -DOPS=0", "", "assertion", "who owes a slot that the backup does not know puts it back"),
    Search("restore", "-DPUTBACK_UNCOUNTED -DOPS=0", "", "assertion", "a holder that is put back is counted"),
    Search("restore", "-DTWO_COMMITS -DOPS=0", "", "assertion", "the new epoch and the pause are one commit"),
    Search("restore", "-DEARLY -DOPS=0", "", "assertion", "the operator resumes when every node has settled"),
    Search("restore", "-DGAP -DOPS=0", "", "assertion", "no agent reaches the restored store before `lockctl restored`"),
    Search("restore", "-DAS_BUILT -DOPS=0", "", "assertion",
           "START asks what may still fire also when only the journal says armed"),
    Search("queue", "-DLEAVER -DGUARD_ONLY", "", "acceptance", "who is blocked on paper watches the ticket in front, too"),
    Search("queue", "-DPAUSE -DNOCFGWATCH", "", "acceptance", "who waits for the end of a pause watches cfg"),
    Search("queue", "-DPOLL -DSLEEPER -DNOSKIP", "", "acceptance", "a ticket that could claim and does not is skipped"),
    Search("queue", "-DPOLL -DN0=3 -DN1=1 -DN2=2 -DNORESERVE", "", "acceptance", "an old ticket reserves its limits"),
)  # fmt: skip
