"""The simulation: whole programs against a simulated region, audited from outside."""
