"""Aristobot: a self-hosted, multi-tenant crypto trading platform."""

__version__ = "0.1.0"
