"""Values built for the cycle and for people: snapshot, result, view and status."""
