"""The double-entry ledger: grants, charges, holds, corrections, expiry and statements."""
