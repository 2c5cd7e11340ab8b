"""Delivery of messages: mail, signed webhooks, and chat services."""
