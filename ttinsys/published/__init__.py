"""Data sheets, model specifications and literature; nothing here is measured."""
