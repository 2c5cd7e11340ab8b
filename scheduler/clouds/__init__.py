"""How a cloud is read and told: one port (`base`), one adapter each."""
