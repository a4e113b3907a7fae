"""The steps of `why`, in order, and where each kind of `blocked` belongs: one table for the agent and for operators."""

STEP_OF_KIND = {
    "hold": "hold",
    "maintenance": "hold",
    "window": "window",
    "clock": "window",
    "paused": "pause",
    "halted": "pause",
    "queue": "queue",
    "queue_full": "queue",
    "store": "queue",
    "provider": "update",
    "loop_guard": "update",
}
"""In which step of `why` a kind of blocked is shown; the others are gates."""
STEPS = ("agent", "update", "hold", "window", "gate", "pause", "queue", "slot", "drain", "reboot", "health")
"""`agent` is there only where it is the answer: nobody there has been heard of for too long, so nothing would act."""
SILENT = "silent"
"""The kind of that step."""
