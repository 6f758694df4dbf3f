"""Shared utilities: errors, files, validated YAML, console output and formatting."""
