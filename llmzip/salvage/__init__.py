"""Recovery of damaged files: their sound parts are found, ordered, decoded (docs/repair.md)."""
