"""What makes two needs the same update: one digest over everything that a provider knows about what is staged.

The idea a reader would miss: the parts carry their lengths, so that `("a", "bc")` and `("ab", "c")` differ. A fingerprint
outlives a reboot in the journal, therefore nothing may go into it that differs between two questions for the same update.
"""

import hashlib

_DIGITS = 32


def of_text(text: str) -> str:
    """The digest of the two providers that 0.1.0 had, which must stay what it was.

    An agent that is upgraded or taken back finds the other's fingerprints in its journal; by another digest it would take
    an update on which a reboot was spent for a new one, and reboot once more.
    """
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_DIGITS]


def fingerprint(*parts: str) -> str:
    """32 hex digits; equal if and only if the same parts came in the same order."""
    digest = hashlib.sha256()
    for part in parts:
        # Half a surrogate pair may come in from JSON or from a file name, and must neither raise nor be swallowed.
        text = part.encode(errors="surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()[:_DIGITS]
