"""How does a notice reach a person? Mail, signed webhooks, and chat services."""
