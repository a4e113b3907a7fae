"""JSON that nobody expects."""

from hypothesis import strategies as st


def anything(*names: str):
    """JSON values whose objects have these names, so that a reader comes deep into them."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(names)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(names) | st.text(max_size=3), inner, max_size=6)
        ),
        max_leaves=20,
    )
