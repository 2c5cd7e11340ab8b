"""The units, as the systemd that will run them reads them."""
