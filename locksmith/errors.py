"""Every error that leaves a module of locksmith, as one tree.

The kind is one closed snake_case word: the same in JSON, metrics, logs and exits. Kind and exit code live on the class,
so that nobody maps them by hand a second time (table in docs/reference.md, promise in interfaces.md).

    LocksmithError                 1  internal
    ├── UsageError                 2  usage
    ├── ConfigError                2  config
    ├── Corrupt                    1  corrupt         a document in the store cannot be read
    │   └── NewerFormat            1  newer_format    ... because a newer locksmith wrote it
    ├── Damaged                    1  damaged         fsck, doctor or audit found something
    ├── Refused                    3  (abstract)      the state of the semaphore says no
    │   ├── Full                   3  full
    │   ├── TimedOut               3  timeout
    │   ├── Paused                 3  paused
    │   ├── Halted                 3  halted
    │   ├── Held                   3  hold
    │   ├── HeldByAgent            3  held_by_agent
    │   ├── HeldElsewhere          3  held_elsewhere
    │   ├── NotHeld                3  not_held
    │   ├── ArmedHolder            3  armed
    │   ├── Asked                  3  asked
    │   ├── AmbiguousNode          3  ambiguous_node
    │   ├── NoSuchGroup            3  no_such_group
    │   └── WindowClosed           3  window
    ├── Interrupted              130  interrupted
    └── StoreError                 1  internal        (abstract) what a store's four verbs raise
        ├── Conflict               1  internal        a check failed: surely not applied; never leaves semaphore/
        ├── SessionLost            1  internal        the session of an ephemeral key is gone: surely not applied
        ├── Unknown                5  unknown         sent, and applied now, later or never
        ├── Rejected               1  internal        surely not applied; bare: our own bug (a malformed commit)
        │   ├── Unavailable        4  unavailable     no endpoint, no leader, no quorum, busy
        │   ├── StoreFull          4  store_full      the store refuses writes (etcd NOSPACE, a full disk)
        │   └── Throttled          4  throttled       HTTP 429 and its kin
        └── Denied                 6  denied          a right is missing
            ├── AuthFailed         6  auth            wrong user, password or token
            ├── TlsFailed          6  tls             certificate not trusted, handshake refused
            └── WrongStore         6  identity        another cluster or datacenter than recorded
"""

from typing import ClassVar


class LocksmithError(Exception):
    """Base of all. The message is lower case, names the thing and the remedy."""

    kind: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1


class UsageError(LocksmithError):
    """The words on the command line do not fit."""

    kind = "usage"
    exit_code = 2


class ConfigError(LocksmithError):
    """A configuration file, variable or URL is wrong; the message names file, key and remedy."""

    kind = "config"
    exit_code = 2


class Corrupt(LocksmithError):
    """A document in the store cannot be decoded; the message names the key."""

    kind = "corrupt"


class NewerFormat(Corrupt):
    """A document of a newer major format: read nothing into it, write nothing over it."""

    kind = "newer_format"


class Damaged(LocksmithError):
    """A check of the store or the host found something that needs repair."""

    kind = "damaged"


class Refused(LocksmithError):
    """The state of the semaphore does not allow it now; nothing was changed."""

    exit_code = 3


class Full(Refused):
    """No slot is free."""

    kind = "full"


class TimedOut(Refused):
    """The time that the caller gave has passed; nothing is left behind."""

    kind = "timeout"


class Paused(Refused):
    """The fleet or the group is paused."""

    kind = "paused"


class Halted(Refused):
    """More holders have failed than the group allows."""

    kind = "halted"


class Held(Refused):
    """The node is held: an operator said that it must not reboot."""

    kind = "hold"


class HeldByAgent(Refused):
    """The node's own agent has the slot."""

    kind = "held_by_agent"


class HeldElsewhere(Refused):
    """The node holds a slot of another group, or somebody else holds it by hand."""

    kind = "held_elsewhere"


class NotHeld(Refused):
    """The node has no slot."""

    kind = "not_held"


class ArmedHolder(Refused):
    """The holder may be rebooting at this moment; one more flag is needed."""

    kind = "armed"


class Asked(Refused):
    """The agent was asked to give its slot back and has not done so yet."""

    kind = "asked"


class AmbiguousNode(Refused):
    """The name fits several nodes; the message lists them."""

    kind = "ambiguous_node"


class NoSuchGroup(Refused):
    """The group has no guard; the message lists those that do."""

    kind = "no_such_group"


class WindowClosed(Refused):
    """No reboot window is open."""

    kind = "window"


class Interrupted(LocksmithError):
    """Ctrl-C, or a signal that asks to stop."""

    kind = "interrupted"
    exit_code = 130


class StoreError(LocksmithError):
    """What the verbs of a store raise. Only `Unknown` may have been applied."""


class Conflict(StoreError):
    """A check failed; nothing was applied. Expected under contention."""


class SessionLost(StoreError):
    """The session has ended, and its keys with it; nothing was applied."""


class Unknown(StoreError):
    """The commit was sent and may apply now, later or never: read back and look for your nonce."""

    kind = "unknown"
    exit_code = 5


class Rejected(StoreError):
    """Surely not applied. Raised bare it is a bug of ours: a malformed commit."""


class Unavailable(Rejected):
    """No endpoint answers, no leader, no quorum, or the database is busy."""

    kind = "unavailable"
    exit_code = 4


class StoreFull(Rejected):
    """The store refuses writes: its quota or disk is used up."""

    kind = "store_full"
    exit_code = 4


class Throttled(Rejected):
    """The store asks for fewer requests."""

    kind = "throttled"
    exit_code = 4


class Denied(StoreError):
    """The credentials lack a right; surely not applied."""

    kind = "denied"
    exit_code = 6


class AuthFailed(Denied):
    """User, password or token is wrong."""

    kind = "auth"


class TlsFailed(Denied):
    """The certificate is not trusted or the handshake was refused."""

    kind = "tls"


class WrongStore(Denied):
    """The answer comes from another cluster or datacenter than the recorded one."""

    kind = "identity"
