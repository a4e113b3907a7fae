"""The protocol as it is built, as models that spin searches to the end: see docs/evidence/model.md."""
