"""Feature distributions: kinds of set, their tables and moments, and samples that a user brings."""
