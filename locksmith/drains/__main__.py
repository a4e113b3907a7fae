"""`python -m locksmith.drains` is locksmith-drain."""

from locksmith.drains import main

main()
