"""What makes two needs the same update: one digest over everything that a provider knows about what is staged.

The idea a reader would miss: the parts carry their lengths, so that `("a", "bc")` and `("ab", "c")` differ. A fingerprint
outlives a reboot in the journal, therefore nothing may go into it that differs between two questions for the same update.
"""

import hashlib

_DIGITS = 32


def fingerprint(*parts: str) -> str:
    """32 hex digits; equal if and only if the same parts came in the same order."""
    digest = hashlib.sha256()
    for part in parts:
        # Half a surrogate pair may come in from JSON or from a file name, and must neither raise nor be swallowed.
        text = part.encode(errors="surrogatepass")
        digest.update(b"%d:" % len(text) + text)
    return digest.hexdigest()[:_DIGITS]
