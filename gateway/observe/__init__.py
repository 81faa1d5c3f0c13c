"""Metrics, logs and health: what operators see."""
