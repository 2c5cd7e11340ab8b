"""One cycle's decisions: from rules to notices, from notices to intents."""
