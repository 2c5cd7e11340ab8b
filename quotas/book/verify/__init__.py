"""The proofs of `cohortd verify`: each module recomputes one part of the book from its rows."""
