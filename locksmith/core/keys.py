"""The names of the keys below the prefix: the layout of the protocol, in one place.

A limit is named `group/web`, `label/zone=a` or `fleet/all`; its guard stands under `lim/` with just that name.
"""

from hashlib import sha256

from locksmith.core.history import RING

CFG = "cfg"
QUEUES = "q/"
OWNERS = "own/"
GUARDS = "lim/"
BRAKES = "brake/"
HOLDS = "hold/"
RECORDS = "node/"
ENTRIES = "ev/lim/"
NOTES = "ev/notes/"
TRIALS = "ev/doctor/"
PROOFS = "ev/proof/"
HAND = ".hand."


def shard(node: str) -> str:
    """Two hex digits of a hash of the node's id, so that long lists can be read in pieces."""
    return sha256(node.encode()).hexdigest()[:2]


def group_limit(group: str) -> str:
    """The limit that a group is."""
    return f"group/{group}"


def guard(limit: str) -> str:
    """The guard of a limit."""
    return f"{GUARDS}{limit}"


def brake(group: str) -> str:
    """A group's pause and failed holders."""
    return f"{BRAKES}{group}"


def hold(node: str) -> str:
    """An operator's word that this node must not reboot."""
    return f"{HOLDS}{node}"


def request(node: str) -> str:
    """An operator's request for one reboot."""
    return f"req/{node}"


def own(node: str) -> str:
    """The holder: this node has a slot."""
    return f"{OWNERS}{shard(node)}/{node}"


def own_node(key: str) -> str:
    """The node of a holder's key."""
    return key.rsplit("/", 1)[1]


def queue(group: str) -> str:
    """The prefix of a group's tickets."""
    return f"{QUEUES}{group}/"


def ticket(group: str, node: str) -> str:
    """The ticket of a node's agent."""
    return f"{queue(group)}{node}"


def hand_ticket(group: str, node: str, nonce: str) -> str:
    """The ticket of one `lockctl lock`, never shared with the agent's."""
    return f"{queue(group)}{node}{HAND}{nonce}"


def ticket_node(key: str) -> str:
    """The node of a ticket's key."""
    return key.rsplit("/", 1)[1].split(HAND, 1)[0]


def is_hand_ticket(key: str) -> bool:
    """Whether the ticket was taken by hand."""
    return HAND in key.rsplit("/", 1)[1]


def records(group: str) -> str:
    """The prefix of a group's registry."""
    return f"{RECORDS}{group}/"


def record(group: str, node: str) -> str:
    """A node's entry in the registry."""
    return f"{records(group)}{shard(node)}/{node}"


def record_node(key: str) -> str:
    """The node of a registry key."""
    return key.rsplit("/", 1)[1]


def record_group(key: str) -> str:
    """The group of a registry key."""
    return key.removeprefix(RECORDS).split("/", 1)[0]


def unlocked(node: str) -> str:
    """The record of the last slot that an operator took from this node: explains to its agent where it went."""
    return f"ev/unlock/{node}"


def entries(limit: str) -> str:
    """The prefix of the ring of what was done to a limit."""
    return f"{ENTRIES}{limit}/"


def entry(limit: str, seq: int) -> str:
    """The place in the ring for the change of that number."""
    return f"{entries(limit)}{seq % RING:03d}"


def entry_limit(key: str) -> str:
    """The limit of an entry's key."""
    return key.removeprefix(ENTRIES).rsplit("/", 1)[0]


def entry_place(key: str) -> int:
    """The place in the ring of an entry's key; -1 for one that no entry has."""
    place = key.rsplit("/", 1)[1]
    return int(place) if place.isascii() and place.isdigit() else -1


def notes_of_fleet() -> str:
    """What operators did to the fleet."""
    return f"{NOTES}fleet"


def notes_of_group(group: str) -> str:
    """What was done to a group besides slots."""
    return f"{NOTES}group/{group}"


def notes_of_node(node: str) -> str:
    """What was done to a node besides slots."""
    return f"{NOTES}node/{node}"


def trial(node: str) -> str:
    """Where `lockctl doctor` tries whether the store takes writes: written and deleted at once, read by nobody."""
    return f"{TRIALS}{node}"


def proof(word: str) -> str:
    """Where `lockctl doctor --proof` leaves its word, under a session that ends by itself."""
    return f"{PROOFS}{word}"
