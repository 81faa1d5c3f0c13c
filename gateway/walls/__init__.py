"""What every request passes before it is routed, whoever sends it."""
