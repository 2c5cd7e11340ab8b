"""The portal for founders: pages of `cohortd serve` that work without JavaScript.

`static/htmx.min.js` is htmx 2.0.11 under the Zero-Clause BSD licence, as published.
"""
